//! Times in which people could decide nothing, and the holds whose time to decide ended in one.
//!
//! What is noted in the record stays owed until each such hold is extended, over any number of starts.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::holds::nanos;
use super::log;
use super::trouble::Trouble;
use super::tx::Tx;
use crate::evidence::Event;
use crate::evidence::chain::Draft;
use crate::hold::StateName;
use crate::ids::HoldId;

/// What the column `call` holds for an absence, so that it is found; no call is named like that.
pub(super) const FOUND_UNDER: &str = "absence";

/// The same for what was extended because of one.
pub(super) const EXTENDED_UNDER: &str = "extended";

/// Why there was one before a start.
pub(super) const NOT_RUNNING: &str = "the gateway was not running when the time to decide ended";

/// How many absences may be owed for at once, the newest.
const REMEMBERED: u32 = 64;

/// The entry that notes an absence.
pub(super) fn event(from: Timestamp, to: Timestamp, why: &str) -> Event {
    Event::Absence { from, to, why: why.to_owned() }
}

/// Whether the time to decide a pending hold ended after `from` and not after `to`.
pub(super) fn ended_in(
    connection: &Connection,
    from: Timestamp,
    to: Timestamp,
) -> Result<bool, Trouble> {
    Ok(!pending(connection, from, to, 1)?.is_empty())
}

/// Extends pending holds for which time is owed, and records that; says how many.
pub(super) fn extend(tx: &mut Tx<'_>, grace: Duration, limit: u32) -> Result<u32, Trouble> {
    let now = tx.now();
    let decide_by = now.saturating_add(grace).unwrap_or(Timestamp::MAX);
    let mut left = limit;
    for entry in log::found_under(tx.connection, FOUND_UNDER, REMEMBERED)? {
        let Event::Absence { from, to, why } = entry.event else { continue };
        let holds = pending(tx.connection, from, to, left)?;
        if holds.is_empty() {
            continue;
        }
        for id in &holds {
            tx.move_hold(*id, |hold| hold.extend(decide_by, now, &why))?;
        }
        left = left.saturating_sub(u32::try_from(holds.len()).unwrap_or(u32::MAX));
        let draft = Draft::new(Event::HoldsExtended { holds, decide_by, why })?;
        tx.append_draft(&draft, Some(EXTENDED_UNDER))?;
    }
    Ok(limit - left)
}

fn pending(
    connection: &Connection,
    from: Timestamp,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<HoldId>, Trouble> {
    // `+`: found by when they are due. By their state, all that are pending would be sorted first.
    let mut statement = connection.prepare_cached(
        "SELECT id FROM holds WHERE due_at > ?1 AND due_at <= ?2 AND +state = ?3
         ORDER BY due_at LIMIT ?4",
    )?;
    let state = StateName::Pending.as_str();
    let ids = statement
        .query_map(params![nanos(from), nanos(to), state, limit], |row| row.get::<_, String>(0))?;
    ids.map(|id| id?.parse().map_err(|_| Trouble::corrupt("a hold without an id".to_owned())))
        .collect()
}
