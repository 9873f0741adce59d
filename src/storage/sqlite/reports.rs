//! Reads that go over much: how calls fared, and whether the log is as it was written.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::calls::{place_of, read_status, timestamp};
use super::log::open_log_read_only;
use super::trouble::Trouble;
use super::{SqliteStore, holds};
use crate::evidence::verify::{Fault, Summary};
use crate::storage::StoreError;
use crate::storage::reports::{Counted, ReportStore, Span, Statistics, Tally};

/// How many calls one report goes over, at most; the newest.
const COUNTED_CALLS: u32 = 200_000;
/// How many held calls one report goes over, at most; the newest.
const COUNTED_HOLDS: u32 = 20_000;

#[async_trait]
impl ReportStore for SqliteStore {
    async fn statistics(&self, span: Span) -> Result<Statistics, StoreError> {
        self.readers.read(move |connection| statistics(connection, span)).await
    }

    async fn verify_log(&self) -> Result<Option<Result<Summary, Fault>>, StoreError> {
        let Ok(turn) = std::sync::Arc::clone(&self.verifying).try_acquire_owned() else {
            return Ok(None);
        };
        // A connection of its own: it reads for long, and others wait for the few that serve.
        let dir = self.readers.dir().to_owned();
        let verifying = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            open_log_read_only(&dir)?.verify()
        });
        let verified = verifying.await.map_err(|error| StoreError::Engine(error.to_string()))?;
        verified.map(Some)
    }
}

fn statistics(connection: &Connection, span: Span) -> Result<Statistics, Trouble> {
    let snapshot = connection.unchecked_transaction()?;
    let mut tally = Tally::new(span);
    let calls = calls(&snapshot, span.since, &mut tally)?;
    let holds = waits(&snapshot, span.since, &mut tally)?;
    let pending: i64 = snapshot
        .prepare_cached("SELECT coalesce(sum(holds), 0) FROM pending_agents")?
        .query_row([], |row| row.get(0))?;
    Ok(tally.done(pending.try_into().unwrap_or(0), calls && holds))
}

/// Whether those were all.
fn calls(connection: &Connection, since: Timestamp, tally: &mut Tally) -> Result<bool, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT at, tool, status, refusal, hold IS NOT NULL FROM calls WHERE first >= ?1
         ORDER BY first DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![place_of(connection, since)?, COUNTED_CALLS])?;
    let mut count = 0_u32;
    while let Some(row) = rows.next()? {
        count = count.saturating_add(1);
        let text = |column| row.get::<_, String>(column);
        tally.count(&Counted {
            at: timestamp(&text(0)?)?,
            tool: row.get(1)?,
            status: read_status(&text(2)?)?,
            refusal: row.get(3)?,
            has_hold: row.get(4)?,
        });
    }
    Ok(count < COUNTED_CALLS)
}

fn waits(connection: &Connection, since: Timestamp, tally: &mut Tally) -> Result<bool, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT id, state, body FROM holds WHERE created_at >= ?1 AND state != 'pending'
         ORDER BY created_at DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![holds::nanos(since), COUNTED_HOLDS])?;
    let mut count = 0_u32;
    while let Some(row) = rows.next()? {
        count = count.saturating_add(1);
        let text = |column| row.get::<_, String>(column);
        let hold = holds::read(&text(0)?, &text(1)?, &text(2)?)?;
        if let Some(last) = hold.state.verdicts().last() {
            let waited = last.at.duration_since(hold.created_at).as_secs_f64();
            tally.waited(hold.created_at, waited);
        }
    }
    Ok(count < COUNTED_HOLDS)
}
