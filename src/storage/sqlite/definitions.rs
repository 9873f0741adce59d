//! Definitions in the database: one row for each that was accepted, one for each that waits.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SqliteStore;
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::catalog::{Changed, DefinitionKey, DefinitionNews, Said};
use crate::digest::Digest;
use crate::evidence::{DefinitionHeld, DefinitionSeen, Event};
use crate::principal::Person;
use crate::storage::{DefinitionStore, KeptDefinitions, StoreError};

/// How many definitions one entry of the log names.
const NAMED: usize = 256;

impl Tx<'_> {
    fn note_definitions(&mut self, news: &DefinitionNews) -> Result<(), Trouble> {
        let DefinitionNews { first, changed, ended } = news;
        let mut accepted = Vec::new();
        for said in first {
            let key = json(&said.key)?;
            if self.accepted(&key)?.is_none() {
                self.accept(&key, said)?;
                accepted.push(said);
            }
        }
        for some in accepted.chunks(NAMED) {
            let definitions = some.iter().map(|said| DefinitionSeen::of(said)).collect();
            self.append(Event::DefinitionsSeen { definitions }, None)?;
        }
        let mut held = Vec::new();
        for changed in changed {
            let Changed { now, since, .. } = changed;
            let key = json(&now.key)?;
            let noted = json(&(&now.digest, since))?;
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO quarantined(key, body) VALUES (?1, ?2)")?
                .execute(params![key, noted])?;
            let before = self.accepted(&key)?.map(|said| said.digest);
            held.push(DefinitionHeld::of(changed, before));
        }
        for some in held.chunks(NAMED) {
            let (definitions, ended) = (some.to_vec(), Vec::new());
            self.append(Event::DefinitionsQuarantined { definitions, ended }, None)?;
        }
        for key in ended {
            self.released(&json(key)?)?;
        }
        for some in ended.chunks(NAMED) {
            let (definitions, ended) = (Vec::new(), some.to_vec());
            self.append(Event::DefinitionsQuarantined { definitions, ended }, None)?;
        }
        Ok(())
    }

    fn released(&self, key: &str) -> Result<(), Trouble> {
        self.connection
            .prepare_cached("DELETE FROM quarantined WHERE key = ?1")?
            .execute(params![key])?;
        Ok(())
    }

    fn accept_definition(&mut self, said: &Said, by: Person) -> Result<(), Trouble> {
        let key = json(&said.key)?;
        let before = self.accepted(&key)?.map(|said| said.digest);
        self.accept(&key, said)?;
        let definition = DefinitionSeen::of(said);
        self.append(Event::DefinitionAccepted { definition, before, by }, None)
    }

    fn accepted(&self, key: &str) -> Result<Option<Said>, Trouble> {
        let mut statement =
            self.connection.prepare_cached("SELECT body FROM definitions WHERE key = ?1")?;
        let body = statement.query_row([key], |row| row.get::<_, String>(0)).optional()?;
        body.as_deref().map(read).transpose()
    }

    fn accept(&self, key: &str, said: &Said) -> Result<(), Trouble> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO definitions(key, body) VALUES (?1, ?2)")?
            .execute(params![key, json(said)?])?;
        self.released(key)
    }
}

#[async_trait]
impl DefinitionStore for SqliteStore {
    async fn definitions(&self) -> Result<KeptDefinitions, StoreError> {
        self.readers.read(all).await
    }

    async fn note_definitions(&self, news: DefinitionNews) -> Result<(), StoreError> {
        let work = move |tx: &mut Tx<'_>| tx.note_definitions(&news);
        self.durably("note_definitions", work).await.map_err(plain)
    }

    async fn accept_definition(&self, said: Said, by: Person) -> Result<(), StoreError> {
        let work = move |tx: &mut Tx<'_>| tx.accept_definition(&said, by);
        self.durably("accept_definition", work).await.map_err(plain)
    }
}

fn all(connection: &Connection) -> Result<KeptDefinitions, Trouble> {
    let snapshot = connection.unchecked_transaction()?;
    let mut kept = KeptDefinitions::default();
    let mut statement = snapshot.prepare_cached("SELECT body FROM definitions ORDER BY key")?;
    let bodies = statement.query_map([], |row| row.get::<_, String>(0))?;
    for body in bodies {
        let said: Said = read(&body?)?;
        // What is compared with must be what was accepted.
        if !said.is_itself() {
            return Err(Trouble::corrupt(format!("the definition of `{}`", said.key.name)));
        }
        kept.accepted.push(said);
    }
    let mut statement =
        snapshot.prepare_cached("SELECT key, body FROM quarantined ORDER BY key")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    for row in rows {
        let (key, body): (String, String) = row?;
        let key: DefinitionKey = read(&key)?;
        let (digest, since): (Digest, _) = read(&body)?;
        kept.noted.push((key, digest, since));
    }
    Ok(kept)
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Trouble> {
    serde_json::from_str(body).map_err(|error| Trouble::corrupt(format!("a definition: {error}")))
}

fn json<T: Serialize>(value: &T) -> Result<String, Trouble> {
    serde_json::to_string(value).map_err(|error| Trouble::engine(error.to_string()))
}
