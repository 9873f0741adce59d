//! Revisions in the database: one row for each that came into force, and each text once.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::SqliteStore;
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::digest::Digest;
use crate::evidence::{Event, Loading};
use crate::storage::StoreError;
use crate::storage::history::{
    ComesInForce, FileKind, HistoryStore, KeptFile, KeptRevision, MAX_REVISION_BYTES,
    MAX_REVISIONS, Pin, RolledBack,
};

/// A row of `revisions`.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(flatten)]
    kept: KeptRevision,
    /// Its files by the digests of their texts; nothing where they are not kept.
    texts: Vec<Text>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    kind: FileKind,
    name: String,
    text: Digest,
}

impl Tx<'_> {
    fn put_in_force(&mut self, it: ComesInForce) -> Result<(), Trouble> {
        match &it.pin {
            Pin::Stays => {}
            Pin::Ends => self.execute("DELETE FROM rolled_back", [])?,
            Pin::Becomes(pinned) => {
                let sql = "INSERT OR REPLACE INTO rolled_back(one, body) VALUES (1, ?1)";
                self.execute(sql, [json(pinned)?])?;
            }
        }
        self.keep(&it)?;
        let ComesInForce { revision, rules, tools, cause, .. } = it;
        self.append(Event::RevisionLoaded { revision, rules, tools, cause }, None)
    }

    /// Keeps a revision. One that is the last already, and one that comes back by itself, as with every start, is
    /// kept once.
    fn keep(&mut self, it: &ComesInForce) -> Result<(), Trouble> {
        let revision = it.revision.to_string();
        let comes_back = matches!(it.cause.how, Some(Loading::Start | Loading::Server));
        let known = self
            .connection
            .prepare_cached(
                "SELECT place = (SELECT max(place) FROM revisions) FROM revisions
                 WHERE revision = ?1 ORDER BY place DESC LIMIT 1",
            )?
            .query_row([&revision], |row| row.get::<_, bool>(0))
            .optional()?;
        if known.is_some_and(|is_last| is_last || comes_back) {
            return Ok(());
        }
        let size = |file: &KeptFile| (file.text.len() + file.name.len()) as u64;
        let kept = it.files.iter().map(size).fold(0, u64::saturating_add) <= MAX_REVISION_BYTES;
        let mut texts = Vec::new();
        for file in it.files.iter().filter(|_| kept) {
            let text = Digest::of(file.text.as_bytes());
            let sql = "INSERT OR IGNORE INTO revision_texts(digest, text) VALUES (?1, ?2)";
            self.execute(sql, params![text.to_string(), &*file.text])?;
            texts.push(Text { kind: file.kind, name: file.name.clone(), text });
        }
        let (rules, tools, cause) = (it.rules, it.tools, it.cause.clone());
        let (at, files) = (self.now(), it.files.len() as u64);
        let kept = KeptRevision { revision: it.revision, at, rules, tools, cause, files, kept };
        let body = json(&Body { kept, texts })?;
        self.execute("INSERT INTO revisions(revision, body) VALUES (?1, ?2)", [revision, body])?;
        self.forget_revisions()
    }

    /// Lets the oldest go that are beyond the bounds, and the texts that no other has.
    fn forget_revisions(&mut self) -> Result<(), Trouble> {
        let pinned = rolled_back(self.connection)?.map(|it| it.revision.to_string());
        loop {
            let (count, bytes): (u32, i64) = self.connection.query_row(
                "SELECT (SELECT count(*) FROM revisions),
                    (SELECT coalesce(sum(octet_length(text)), 0) FROM revision_texts)
                    + (SELECT coalesce(sum(octet_length(body)), 0) FROM revisions)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            if count <= MAX_REVISIONS && bytes <= MAX_REVISION_BYTES {
                return Ok(());
            }
            let gone = self
                .connection
                .prepare_cached(
                    "DELETE FROM revisions WHERE place = (SELECT min(place) FROM revisions
                        WHERE revision IS NOT ?1
                        AND place < (SELECT max(place) FROM revisions))",
                )?
                .execute([&pinned])?;
            if gone == 0 {
                return Ok(());
            }
            self.execute(
                "DELETE FROM revision_texts WHERE digest NOT IN (SELECT value ->> '$.text'
                    FROM revisions, json_each(revisions.body, '$.texts'))",
                [],
            )?;
        }
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), Trouble> {
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn put_in_force(&self, revision: ComesInForce) -> Result<(), StoreError> {
        let work = move |tx: &mut Tx<'_>| tx.put_in_force(revision);
        self.durably("put_in_force", work).await.map_err(plain)
    }

    async fn revisions(&self) -> Result<Vec<KeptRevision>, StoreError> {
        self.reports.read(revisions).await
    }

    async fn revision_files(&self, revision: Digest) -> Result<Option<Vec<KeptFile>>, StoreError> {
        self.reports.read(move |connection| files(connection, &revision)).await
    }

    async fn rolled_back(&self) -> Result<Option<RolledBack>, StoreError> {
        self.readers.read(rolled_back).await
    }
}

fn revisions(connection: &Connection) -> Result<Vec<KeptRevision>, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM revisions ORDER BY place DESC LIMIT ?1")?;
    let rows = statement.query_map([MAX_REVISIONS], |row| row.get::<_, String>(0))?;
    rows.map(|body| Ok(read::<Body>(&body?)?.kept)).collect()
}

fn files(connection: &Connection, revision: &Digest) -> Result<Option<Vec<KeptFile>>, Trouble> {
    let snapshot = connection.unchecked_transaction()?;
    let body = snapshot
        .prepare_cached(
            "SELECT body FROM revisions WHERE revision = ?1 ORDER BY place DESC LIMIT 1",
        )?
        .query_row([revision.to_string()], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(body) = body.as_deref().map(read::<Body>).transpose()? else { return Ok(None) };
    if !body.kept.kept {
        return Ok(None);
    }
    let mut find = snapshot.prepare_cached("SELECT text FROM revision_texts WHERE digest = ?1")?;
    let mut files = Vec::with_capacity(body.texts.len());
    for Text { kind, name, text: digest } in body.texts {
        let text: String = find.query_row([digest.to_string()], |row| row.get(0))?;
        // Rules that are not those which were in force must never come into force by this way.
        if !Digest::of(text.as_bytes()).is(&digest) {
            return Err(Trouble::corrupt(format!("the kept file `{name}`")));
        }
        files.push(KeptFile { kind, name, text: text.into() });
    }
    Ok(Some(files))
}

fn rolled_back(connection: &Connection) -> Result<Option<RolledBack>, Trouble> {
    let body = connection
        .prepare_cached("SELECT body FROM rolled_back LIMIT 1")?
        .query_row([], |row| row.get::<_, String>(0))
        .optional()?;
    body.as_deref().map(read).transpose()
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, Trouble> {
    serde_json::from_str(body).map_err(|error| Trouble::corrupt(format!("a revision: {error}")))
}

fn json<T: Serialize>(value: &T) -> Result<String, Trouble> {
    serde_json::to_string(value).map_err(|error| Trouble::engine(error.to_string()))
}
