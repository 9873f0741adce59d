//! Reads that go over much: how calls fared, and whether the log is as it was written.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::calls::{place_of, read_status, timestamp};
use super::log::{as_sql, open_log_read_only, raw_row, stored};
use super::trouble::Trouble;
use super::{SqliteStore, holds};
use crate::evidence::verify::{Fault, Summary};
use crate::storage::StoreError;
use crate::storage::reports::{
    Counted, EntryPage, EntrySearch, ReportStore, Span, Statistics, Tally,
};

/// How many calls one report goes over, at most; the newest.
const COUNTED_CALLS: u32 = 200_000;
/// How many entries one search goes over, at most.
const SEARCHED_ENTRIES: u32 = 20_000;
/// How many bytes of entries one search reads, at most, and how many it gives, but for the last entry.
const SEARCHED_BYTES: usize = 64 << 20;
const FOUND_BYTES: usize = 8 << 20;
/// How many held calls one report goes over, at most; the newest.
const COUNTED_HOLDS: u32 = 20_000;

#[async_trait]
impl ReportStore for SqliteStore {
    async fn statistics(&self, span: Span) -> Result<Statistics, StoreError> {
        self.reports.read(move |connection| statistics(connection, span)).await
    }

    async fn search_entries(&self, query: EntrySearch) -> Result<EntryPage, StoreError> {
        self.reports.read(move |connection| search(connection, &query)).await
    }

    async fn first_entries(
        &self,
        below: Option<u64>,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<EntryPage, StoreError> {
        let read = move |connection: &Connection| first_entries(connection, below, since, limit);
        self.reports.read(read).await
    }

    async fn verify_log(&self) -> Result<Option<Result<Summary, Fault>>, StoreError> {
        let Ok(turn) = Arc::clone(&self.verifying).try_acquire_owned() else {
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

fn search(connection: &Connection, query: &EntrySearch) -> Result<EntryPage, Trouble> {
    // As they stand in JSON: between quotes that are not part of them.
    let written = |word: &String| {
        let word = serde_json::Value::from(word.to_ascii_lowercase()).to_string();
        word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).map(str::to_owned)
    };
    let words: Vec<String> = query.words.iter().filter_map(written).collect();
    let mut statement = connection.prepare_cached(
        "SELECT idx, CAST(body AS BLOB), chain FROM entries WHERE idx < ?1
         ORDER BY idx DESC LIMIT ?2",
    )?;
    let below = query.below.map_or(i64::MAX, as_sql);
    let mut rows = statement.query(params![below, SEARCHED_ENTRIES])?;
    let (mut entries, mut last) = (Vec::new(), None);
    let (mut read, mut found) = (0_usize, 0_usize);
    while let Some(row) = rows.next()? {
        let row = raw_row(row)?;
        read = read.saturating_add(row.body.len());
        last = Some(row.index);
        let text = String::from_utf8_lossy(&row.body).to_ascii_lowercase();
        if words.iter().all(|word| text.contains(word.as_str())) {
            found = found.saturating_add(row.body.len());
            entries.push(stored(row)?);
        }
        if entries.len() >= query.limit || read >= SEARCHED_BYTES || found >= FOUND_BYTES {
            break;
        }
    }
    // Indexes have no gaps: the search was whole where it reached the first entry.
    Ok(EntryPage { entries, next: last.filter(|place| *place > 1) })
}

fn first_entries(
    connection: &Connection,
    below: Option<u64>,
    since: Option<Timestamp>,
    limit: u32,
) -> Result<EntryPage, Trouble> {
    let from = since.map(|since| place_of(connection, since)).transpose()?.unwrap_or(0);
    let mut statement = connection.prepare_cached(
        "SELECT idx, CAST(body AS BLOB), chain FROM calls JOIN entries ON idx = first
         WHERE first >= ?1 AND first < ?2 ORDER BY first DESC LIMIT ?3",
    )?;
    let mut rows = statement.query(params![from, below.map_or(i64::MAX, as_sql), limit])?;
    let (mut entries, mut read) = (Vec::new(), 0_usize);
    let mut ended = true;
    while let Some(row) = rows.next()? {
        let row = raw_row(row)?;
        read = read.saturating_add(row.body.len());
        entries.push(stored(row)?);
        if read >= FOUND_BYTES {
            ended = false;
            break;
        }
    }
    let full = entries.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = entries.last().map(|last| last.index).filter(|_| full || !ended);
    Ok(EntryPage { entries, next })
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
