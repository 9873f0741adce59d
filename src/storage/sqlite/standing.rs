//! Standing approvals in the database.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::trouble::Trouble;
use crate::hold::Standing;
use crate::ids::StandingId;

/// How many standing approvals are listed at the most.
const MAX_LISTED: u32 = 1000;

/// Stores a standing approval, in place of the one with its identifier.
pub(super) fn put(connection: &Connection, standing: &Standing) -> Result<(), Trouble> {
    let body =
        serde_json::to_string(standing).map_err(|error| Trouble::engine(error.to_string()))?;
    connection
        .prepare_cached(
            "INSERT INTO standing(id, live, body) VALUES (?1, ?2, ?3)
             ON CONFLICT(id) DO UPDATE SET live = excluded.live, body = excluded.body",
        )?
        .execute(params![standing.id.to_string(), standing.revoked_at.is_none(), body])?;
    Ok(())
}

/// The standing approval with this identifier, if it is in force at `now`.
pub(super) fn live(
    connection: &Connection,
    id: StandingId,
    now: Timestamp,
) -> Result<Option<Standing>, Trouble> {
    let body = connection
        .prepare_cached("SELECT body FROM standing WHERE id = ?1 AND live = 1")?
        .query_row([id.to_string()], |row| row.get::<_, String>(0))
        .optional()?;
    let standing = body.map(|body| read(&body)).transpose()?;
    Ok(standing.filter(|standing| standing.is_live(now)))
}

/// The standing approvals that were not revoked, oldest first.
pub(super) fn all(connection: &Connection) -> Result<Vec<Standing>, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM standing WHERE live = 1 ORDER BY rowid DESC LIMIT ?1")?;
    let rows = statement.query_map([MAX_LISTED], |row| row.get::<_, String>(0))?;
    let mut found = rows.map(|body| read(&body?)).collect::<Result<Vec<_>, _>>()?;
    found.reverse();
    Ok(found)
}

fn read(body: &str) -> Result<Standing, Trouble> {
    serde_json::from_str(body)
        .map_err(|error| Trouble::corrupt(format!("a standing approval: {error}")))
}
