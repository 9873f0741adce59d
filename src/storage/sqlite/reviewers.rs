//! The register of people in the database: rows, and the changes with their entries.

use rusqlite::{Connection, OptionalExtension, params};

use super::access;
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::evidence::{Event, Listed};
use crate::ids::PersonName;
use crate::storage::{MAX_KEYS, MAX_REVIEWERS, PeopleError, Reviewer, ReviewerChange, SshKey};

/// What became of a change: the record as it is now, or why it was not made.
type Changed = Result<Reviewer, PeopleError>;

/// One person.
pub(super) fn find(
    connection: &Connection,
    name: &PersonName,
) -> Result<Option<Reviewer>, Trouble> {
    let body = connection
        .query_row("SELECT body FROM reviewers WHERE name = ?1", [name.as_str()], |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    let Some(body) = body else { return Ok(None) };
    let passkeys = access::credentials(connection, name)?.passkeys;
    Ok(Some(Reviewer { passkeys, ..read(name.as_str(), &body)? }))
}

/// Everybody, by name.
pub(super) fn all(connection: &Connection) -> Result<Vec<Reviewer>, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT name, body FROM reviewers ORDER BY name")?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut passkeys = access::passkeys(connection)?;
    let mut with_passkeys = |(name, body): (String, String)| {
        let passkeys = passkeys.remove(&name).unwrap_or_default();
        Ok(Reviewer { passkeys, ..read(&name, &body)? })
    };
    rows.map(|row| row.map_err(Trouble::from).and_then(&mut with_passkeys)).collect()
}

fn put(connection: &Connection, reviewer: &Reviewer) -> Result<(), Trouble> {
    let body =
        serde_json::to_string(reviewer).map_err(|error| Trouble::engine(error.to_string()))?;
    connection.execute(
        "INSERT INTO reviewers(name, token_digest, body) VALUES (?1, ?2, ?3)
         ON CONFLICT(name) DO UPDATE SET token_digest = excluded.token_digest, body = excluded.body",
        params![reviewer.name.as_str(), reviewer.token_digest.to_string(), body],
    )?;
    Ok(())
}

fn read(name: &str, body: &str) -> Result<Reviewer, Trouble> {
    let reviewer: Reviewer = serde_json::from_str(body)
        .map_err(|error| Trouble::corrupt(format!("person `{name}`: {error}")))?;
    if reviewer.name.as_str() == name {
        Ok(reviewer)
    } else {
        Err(Trouble::corrupt(format!("person `{name}` under another name")))
    }
}

fn listed(reviewer: &Reviewer) -> Listed {
    Listed {
        reviewer: reviewer.name.clone(),
        role: reviewer.role,
        groups: reviewer.groups.clone(),
        also: reviewer.also.clone(),
        expires_at: reviewer.expires_at,
    }
}

impl Tx<'_> {
    /// Adds a person.
    pub(super) fn add_reviewer(
        &mut self,
        reviewer: Reviewer,
        by: String,
    ) -> Result<Changed, Trouble> {
        let known = all(self.connection)?;
        match known.iter().find(|known| known.name == reviewer.name) {
            Some(known) if known.revoked_at.is_none() => {
                return Ok(Err(PeopleError::Exists(reviewer.name)));
            }
            None if known.len() >= MAX_REVIEWERS => return Ok(Err(PeopleError::Full)),
            Some(_) | None => {}
        }
        put(self.connection, &reviewer)?;
        self.append(Event::ReviewerAdded { listed: listed(&reviewer), by }, None)?;
        Ok(Ok(reviewer))
    }

    /// Changes a person's record; the same again is recorded too, because somebody asked for it.
    pub(super) fn change_reviewer(
        &mut self,
        name: &PersonName,
        change: ReviewerChange,
        by: String,
    ) -> Result<Changed, Trouble> {
        let mut reviewer = match self.valid(name)? {
            Ok(reviewer) => reviewer,
            Err(error) => return Ok(Err(error)),
        };
        let new_token = change.token_digest.is_some();
        reviewer.role = change.role.unwrap_or(reviewer.role);
        reviewer.groups = change.groups.unwrap_or(reviewer.groups);
        reviewer.also = change.also.unwrap_or(reviewer.also);
        reviewer.token_digest = change.token_digest.unwrap_or(reviewer.token_digest);
        reviewer.expires_at = change.expires_at.or(reviewer.expires_at);
        put(self.connection, &reviewer)?;
        self.append(Event::ReviewerChanged { listed: listed(&reviewer), new_token, by }, None)?;
        Ok(Ok(reviewer))
    }

    /// Revokes a person's record; a second time changes nothing.
    pub(super) fn revoke_reviewer(
        &mut self,
        name: &PersonName,
        by: String,
    ) -> Result<Changed, Trouble> {
        let Some(mut reviewer) = find(self.connection, name)? else {
            return Ok(Err(PeopleError::NotFound(name.clone())));
        };
        if reviewer.revoked_at.is_none() {
            reviewer.revoked_at = Some(self.now());
            put(self.connection, &reviewer)?;
            access::forget(self.connection, name)?;
            self.append(Event::ReviewerRevoked { reviewer: name.clone(), by }, None)?;
        }
        Ok(Ok(reviewer))
    }

    /// Registers a public key as a person's.
    pub(super) fn register_key(
        &mut self,
        name: &PersonName,
        key: SshKey,
    ) -> Result<Changed, Trouble> {
        let mut reviewer = match self.valid(name)? {
            Ok(reviewer) => reviewer,
            Err(error) => return Ok(Err(error)),
        };
        let has = |person: &Reviewer| {
            person.keys.iter().any(|known| known.fingerprint == key.fingerprint)
        };
        if let Some(owner) = all(self.connection)?.into_iter().find(has) {
            let (fingerprint, person) = (key.fingerprint, owner.name);
            return Ok(Err(PeopleError::KeyTaken { fingerprint, person }));
        }
        if reviewer.keys.len() >= MAX_KEYS {
            return Ok(Err(PeopleError::TooManyKeys));
        }
        let event = Event::KeyRegistered {
            person: name.clone(),
            key: key.public.clone(),
            fingerprint: key.fingerprint.clone(),
            by: key.added_by.clone(),
        };
        reviewer.keys.push(key);
        put(self.connection, &reviewer)?;
        self.append(event, None)?;
        Ok(Ok(reviewer))
    }

    /// Takes a public key from a person, a revoked one too.
    pub(super) fn remove_key(
        &mut self,
        name: &PersonName,
        fingerprint: String,
        by: String,
    ) -> Result<Changed, Trouble> {
        let Some(mut reviewer) = find(self.connection, name)? else {
            return Ok(Err(PeopleError::NotFound(name.clone())));
        };
        let before = reviewer.keys.len();
        reviewer.keys.retain(|key| key.fingerprint != fingerprint);
        let person = name.clone();
        if reviewer.keys.len() == before {
            return Ok(Err(PeopleError::NoSuchKey { fingerprint, person }));
        }
        put(self.connection, &reviewer)?;
        self.append(Event::KeyRemoved { person, fingerprint, by }, None)?;
        Ok(Ok(reviewer))
    }

    /// A person who was not revoked.
    fn valid(&self, name: &PersonName) -> Result<Changed, Trouble> {
        Ok(match find(self.connection, name)? {
            None => Err(PeopleError::NotFound(name.clone())),
            Some(reviewer) if reviewer.revoked_at.is_some() => {
                Err(PeopleError::Revoked(name.clone()))
            }
            Some(reviewer) => Ok(reviewer),
        })
    }
}

impl super::SqliteStore {
    /// Makes one change of the register, durably.
    pub(super) async fn change_people(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<Changed, Trouble> + Send + 'static,
    ) -> Changed {
        self.durably(method, work).await.map_err(plain)?
    }
}
