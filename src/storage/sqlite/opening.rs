//! What a store that opens finds, and writes before anything else: a torn tail, an absence.

use rusqlite::Connection;

use super::absence::{self, NOT_RUNNING};
use super::log::{self, Tip};
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::evidence::Event;
use crate::evidence::chain::Draft;
use crate::storage::ABSENT;

/// Goes on after `tip`: time no earlier than the last entry's; then, in one transaction, what was found.
/// `torn` is how many bytes of a commit that is not whole the write-ahead log ended in.
pub(super) fn go_on(
    connection: &mut Connection,
    tip: &mut Tip,
    clock: &dyn Clock,
    torn: Option<u64>,
) -> Result<(), Trouble> {
    clock.not_before(tip.time);
    let now = clock.now();
    let mut found = Vec::new();
    if let Some(bytes) = torn {
        tracing::warn!(bytes, "the write-ahead log ended in a commit that was not whole; cut off");
        found.push((Event::TailRepaired { bytes }, None));
    }
    let away = now.duration_since(tip.time).unsigned_abs();
    if tip.head.count > 0 && away > ABSENT && absence::ended_in(connection, tip.time, now)? {
        let event = absence::event(tip.time, now, NOT_RUNNING);
        found.push((event, Some(absence::FOUND_UNDER)));
    }
    if found.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (event, found_under) in found {
        log::append(&transaction, tip, now, &Draft::new(event)?, found_under)?;
    }
    log::save_head(&transaction, &tip.head)?;
    transaction.commit()?;
    if torn.is_some() {
        // What is left of the tail after the commit above goes, or it would be found again.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}
