//! Links, passwords, passkeys and sessions as rows.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::trouble::Trouble;
use crate::digest::Digest;
use crate::ids::PersonName;
use crate::storage::{
    Credentials, Link, LinkKind, MAX_SESSIONS, Passkey, PasswordHash, Session, Subject,
};

/// What is stored of a person's credentials but the passkeys.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<PasswordHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
}

/// A time as it stands in a column.
fn column(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn written<T: Serialize>(value: &T) -> Result<String, Trouble> {
    serde_json::to_string(value).map_err(|error| Trouble::engine(error.to_string()))
}

fn read<T: DeserializeOwned>(what: &str, body: &str) -> Result<T, Trouble> {
    serde_json::from_str(body).map_err(|error| Trouble::corrupt(format!("{what}: {error}")))
}

fn one<T: DeserializeOwned>(
    connection: &Connection,
    what: &str,
    (sql, key): (&str, &str),
) -> Result<Option<T>, Trouble> {
    let mut statement = connection.prepare_cached(sql)?;
    let body = statement.query_row([key], |row| row.get::<_, String>(0)).optional()?;
    body.map(|body| read(what, &body)).transpose()
}

fn many<T: DeserializeOwned>(
    connection: &Connection,
    what: &str,
    (sql, values): (&str, &[&dyn rusqlite::ToSql]),
) -> Result<Vec<T>, Trouble> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| row.get::<_, String>(0))?;
    rows.map(|row| row.map_err(Trouble::from).and_then(|body| read(what, &body))).collect()
}

/// Stores a link in place of the person's last one of its kind, and drops those at their end.
pub(super) fn put_link(
    connection: &Connection,
    link: &Link,
    now: Timestamp,
) -> Result<(), Trouble> {
    connection.execute(
        "DELETE FROM links WHERE expires_at <= ?1 OR (person = ?2 AND kind = ?3)",
        params![column(now), link.person.name, link.kind.as_str()],
    )?;
    connection.execute(
        "INSERT INTO links(digest, person, kind, expires_at, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            link.digest.to_string(),
            link.person.name,
            link.kind.as_str(),
            column(link.expires_at),
            written(link)?
        ],
    )?;
    Ok(())
}

/// A link that can still be used.
pub(super) fn link(
    connection: &Connection,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<Link>, Trouble> {
    let sql = "SELECT body FROM links WHERE digest = ?1";
    let link: Option<Link> = one(connection, "a link", (sql, &digest.to_string()))?;
    Ok(link.filter(|link| link.digest == *digest && now < link.expires_at))
}

/// Takes a link of this kind, which nobody can use again.
pub(super) fn take_link(
    connection: &Connection,
    digest: &Digest,
    kind: LinkKind,
    now: Timestamp,
) -> Result<Option<Link>, Trouble> {
    let Some(link) = link(connection, digest, now)?.filter(|link| link.kind == kind) else {
        return Ok(None);
    };
    connection.execute("DELETE FROM links WHERE digest = ?1", [digest.to_string()])?;
    Ok(Some(link))
}

/// What a person signs in with.
pub(in crate::storage::sqlite) fn credentials(
    connection: &Connection,
    person: &PersonName,
) -> Result<Credentials, Trouble> {
    let Body { password, subject } = body(connection, person)?;
    let sql = "SELECT body FROM passkeys WHERE person = ?1 ORDER BY rowid";
    let passkeys = many(connection, "a passkey", (sql, &[&person.as_str()]))?;
    Ok(Credentials { password, subject, passkeys })
}

fn body(connection: &Connection, person: &PersonName) -> Result<Body, Trouble> {
    let sql = "SELECT body FROM credentials WHERE person = ?1";
    Ok(one(connection, "credentials", (sql, person.as_str()))?.unwrap_or_default())
}

fn put_body(connection: &Connection, person: &PersonName, body: &Body) -> Result<(), Trouble> {
    connection.execute(
        "INSERT INTO credentials(person, body) VALUES (?1, ?2)
         ON CONFLICT(person) DO UPDATE SET body = excluded.body",
        params![person.as_str(), written(body)?],
    )?;
    Ok(())
}

pub(super) fn put_password(
    connection: &Connection,
    person: &PersonName,
    password: PasswordHash,
) -> Result<(), Trouble> {
    let known = body(connection, person)?;
    put_body(connection, person, &Body { password: Some(password), ..known })
}

pub(super) fn put_subject(
    connection: &Connection,
    person: &PersonName,
    subject: Subject,
) -> Result<(), Trouble> {
    let known = body(connection, person)?;
    put_body(connection, person, &Body { subject: Some(subject), ..known })
}

/// Everybody's passkeys, by name, each person's oldest first.
pub(in crate::storage::sqlite) fn passkeys(
    connection: &Connection,
) -> Result<HashMap<String, Vec<Passkey>>, Trouble> {
    let sql = "SELECT person, body FROM passkeys ORDER BY rowid";
    let mut statement = connection.prepare_cached(sql)?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut all: HashMap<String, Vec<Passkey>> = HashMap::new();
    for row in rows {
        let (person, body) = row?;
        all.entry(person).or_default().push(read("a passkey", &body)?);
    }
    Ok(all)
}

/// The passkey with this identifier, and whose it is.
pub(super) fn passkey(
    connection: &Connection,
    id: &str,
) -> Result<Option<(PersonName, Passkey)>, Trouble> {
    let row = connection
        .query_row("SELECT person, body FROM passkeys WHERE id = ?1", [id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((person, body)) = row else { return Ok(None) };
    let person = person.parse().map_err(|_| Trouble::corrupt("whose a passkey is".to_owned()))?;
    Ok(Some((person, read("a passkey", &body)?)))
}

pub(super) fn put_passkey(
    connection: &Connection,
    person: &PersonName,
    passkey: &Passkey,
) -> Result<(), Trouble> {
    connection.execute(
        "INSERT INTO passkeys(id, person, body) VALUES (?1, ?2, ?3)
         ON CONFLICT(id) DO UPDATE SET body = excluded.body",
        params![passkey.id, person.as_str(), written(passkey)?],
    )?;
    Ok(())
}

/// Takes a passkey from the person; false when it is not theirs.
pub(super) fn remove_passkey(
    connection: &Connection,
    person: &PersonName,
    id: &str,
) -> Result<bool, Trouble> {
    let sql = "DELETE FROM passkeys WHERE id = ?1 AND person = ?2";
    Ok(connection.execute(sql, [id, person.as_str()])? > 0)
}

/// Stores a session; drops those at their end, and the person's oldest beyond the bound.
pub(super) fn put_session(
    connection: &Connection,
    session: &Session,
    now: Timestamp,
) -> Result<(), Trouble> {
    connection.execute("DELETE FROM sessions WHERE expires_at <= ?1", [column(now)])?;
    connection.execute(
        "INSERT INTO sessions(digest, person, created_at, expires_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            session.digest.to_string(),
            session.person.name,
            column(session.created_at),
            column(session.expires_at),
            written(session)?
        ],
    )?;
    connection.execute(
        "DELETE FROM sessions WHERE rowid IN (SELECT rowid FROM sessions WHERE person = ?1
         ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?2)",
        params![session.person.name, i64::try_from(MAX_SESSIONS).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

/// Stores when a session was used; nothing when it has ended.
pub(super) fn touch_session(
    connection: &Connection,
    digest: &Digest,
    at: Timestamp,
) -> Result<(), Trouble> {
    let Some(session) = session(connection, digest)? else { return Ok(()) };
    let body = written(&Session { seen_at: at, ..session })?;
    let sql = "UPDATE sessions SET body = ?2 WHERE digest = ?1";
    connection.execute(sql, params![digest.to_string(), body])?;
    Ok(())
}

pub(super) fn session(
    connection: &Connection,
    digest: &Digest,
) -> Result<Option<Session>, Trouble> {
    let sql = "SELECT body FROM sessions WHERE digest = ?1";
    one(connection, "a session", (sql, &digest.to_string()))
}

pub(super) fn sessions_of(connection: &Connection, name: &str) -> Result<Vec<Session>, Trouble> {
    let sql = "SELECT body FROM sessions WHERE person = ?1 ORDER BY created_at, rowid";
    many(connection, "a session", (sql, &[&name]))
}

pub(super) fn sessions(connection: &Connection, now: Timestamp) -> Result<Vec<Session>, Trouble> {
    let sql = "SELECT body FROM sessions WHERE expires_at > ?1 ORDER BY created_at, rowid";
    many(connection, "a session", (sql, &[&column(now)]))
}

pub(super) fn end_session(connection: &Connection, digest: &Digest) -> Result<(), Trouble> {
    connection.execute("DELETE FROM sessions WHERE digest = ?1", [digest.to_string()])?;
    Ok(())
}

/// Drops everything that a person could sign in with, and the sessions.
pub(in crate::storage::sqlite) fn forget(
    connection: &Connection,
    person: &PersonName,
) -> Result<(), Trouble> {
    for table in ["links", "credentials", "passkeys", "sessions"] {
        let sql = format!("DELETE FROM {table} WHERE person = ?1");
        connection.execute(&sql, [person.as_str()])?;
    }
    Ok(())
}
