//! Channels in the database, and the part of the log that they follow.

use rusqlite::{Connection, OptionalExtension, params};

use super::log::{as_sql, raw_row, stored};
use super::trouble::Trouble;
use crate::storage::{ChannelState, ToldEntries};

/// How many entries one look goes over, at most.
const LOOKED_AT: u64 = 2_000;

/// How many bytes of entries one look gives, and one entry more.
const MAX_BYTES: usize = 8 << 20;

/// What is kept of a channel.
pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<ChannelState>, Trouble> {
    let body = connection
        .prepare_cached("SELECT body FROM channels WHERE name = ?1")?
        .query_row([name], |row| row.get::<_, String>(0))
        .optional()?;
    body.map(|body| serde_json::from_str(&body))
        .transpose()
        .map_err(|error| Trouble::corrupt(format!("channel `{name}`: {error}")))
}

/// Keeps it.
pub(super) fn put(
    connection: &Connection,
    name: &str,
    state: &ChannelState,
) -> Result<(), Trouble> {
    let body = serde_json::to_string(state).map_err(|error| Trouble::engine(error.to_string()))?;
    connection
        .prepare_cached(
            "INSERT INTO channels(name, body) VALUES (?1, ?2)
             ON CONFLICT(name) DO UPDATE SET body = excluded.body",
        )?
        .execute(params![name, body])?;
    Ok(())
}

/// At most `limit` entries after `after` that may name a hold.
///
/// An entry is canonical JSON, so one that names a hold holds the text `"hold":"`, or `"holds":[` for many;
/// others whose arguments happen to hold it are given too.
pub(super) fn told_entries(
    connection: &Connection,
    after: u64,
    limit: u32,
) -> Result<ToldEntries, Trouble> {
    // The end first: what is written meanwhile is seen the next time.
    let end: Option<i64> = connection
        .prepare_cached("SELECT max(idx) FROM entries WHERE idx > ?1 AND idx <= ?2")?
        .query_row(params![as_sql(after), as_sql(after.saturating_add(LOOKED_AT))], |row| {
            row.get(0)
        })?;
    let Some(end) = end else { return Ok(ToldEntries { entries: Vec::new(), reached: after }) };
    let mut statement = connection.prepare_cached(
        "SELECT idx, CAST(body AS BLOB), chain FROM entries
         WHERE idx > ?1 AND idx <= ?2
            AND (instr(body, '\"hold\":\"') > 0 OR instr(body, '\"holds\":[') > 0
                OR instr(body, '\"kind\":\"halt') > 0 OR instr(body, '\"kind\":\"resume\"') > 0
                OR instr(body, '\"kind\":\"budget_alert\"') > 0)
         ORDER BY idx LIMIT ?3",
    )?;
    let rows = statement.query_map(params![as_sql(after), end, limit], raw_row)?;
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    let mut full = false;
    for row in rows {
        let row = row?;
        bytes = bytes.saturating_add(row.body.len());
        entries.push(stored(row)?);
        full = bytes >= MAX_BYTES || u32::try_from(entries.len()).is_ok_and(|it| it >= limit);
        if full {
            break;
        }
    }
    let reached = match entries.last() {
        Some(last) if full => last.index,
        _ => u64::try_from(end).unwrap_or(after),
    };
    Ok(ToldEntries { entries, reached })
}
