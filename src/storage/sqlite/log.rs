//! The audit log in the database: appending, its head, and reading it.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::calls;
use super::trouble::Trouble;
use super::{flow, schema, spent, workflows};
use crate::digest::Digest;
use crate::evidence::Entry;
use crate::evidence::chain::{self, Draft};
use crate::evidence::verify::{Fault, Head, Row, Summary, Verifier};
use crate::ids::CallId;
use crate::storage::{EntryQuery, StoreError, StoredEntry};

/// How many entries one query gives at most.
pub const MAX_ENTRIES: u32 = 1000;

/// The end of the log: its head, and the last entry's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    pub(super) head: Head,
    pub(super) time: Timestamp,
}

/// The log's end as it is stored, for a program that is about to go on writing after it.
pub(super) fn tip(connection: &Connection) -> Result<Tip, Trouble> {
    let head = stored_head(connection)?;
    let last = connection
        .query_row(
            "SELECT idx, CAST(body AS BLOB), chain FROM entries ORDER BY idx DESC LIMIT 1",
            [],
            raw_row,
        )
        .optional()?;
    let last = last.map(stored).transpose()?;
    let (count, chain) =
        last.as_ref().map_or((0, chain::GENESIS), |entry| (entry.index, entry.chain));
    if (Head { count, chain }) != head {
        let what = format!("the log ends at entry {count}, but its head is at {}", head.count);
        return Err(Trouble::corrupt(what));
    }
    Ok(Tip { head, time: last.map_or(Timestamp::MIN, |stored| stored.entry.time) })
}

/// Appends an entry at `now`, or at the last entry's time if the clock was set back.
pub(super) fn append(
    connection: &Connection,
    tip: &mut Tip,
    now: Timestamp,
    draft: &Draft,
    call: Option<&str>,
) -> Result<(), Trouble> {
    let time = now.max(tip.time);
    let body = draft.at(time);
    let count = tip.head.count.saturating_add(1);
    let chain = chain::next(&tip.head.chain, &chain::leaf(body.as_bytes()));
    connection
        .prepare_cached("INSERT INTO entries(idx, body, chain, call) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![as_sql(count), body, chain.as_bytes(), call])?;
    if let Some(mention) = draft.mention() {
        // First what is counted by how calls stood before.
        workflows::note(connection, count, time, mention)?;
        calls::note(connection, count, time, mention)?;
        flow::note(connection, time, mention)?;
    }
    *tip = Tip { head: Head { count, chain }, time };
    for alert in spent::charge(connection, draft.charges(), time)? {
        append(connection, tip, now, &Draft::new(alert)?, None)?;
    }
    Ok(())
}

/// Stores where the log ends.
pub(super) fn save_head(connection: &Connection, head: &Head) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT INTO head(one, count, chain) VALUES (1, ?1, ?2)
             ON CONFLICT(one) DO UPDATE SET count = excluded.count, chain = excluded.chain",
        )?
        .execute(params![as_sql(head.count), head.chain.as_bytes()])?;
    Ok(())
}

/// Entries, in order.
pub(super) fn entries(
    connection: &Connection,
    query: &EntryQuery,
) -> Result<Vec<StoredEntry>, Trouble> {
    let by_call = if query.call.is_some() { "call = ?2" } else { "?2 IS NULL" };
    let order = if query.newest { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT idx, CAST(body AS BLOB), chain FROM entries
         WHERE idx > ?1 AND {by_call} ORDER BY idx {order} LIMIT ?3"
    );
    let call = query.call.map(|call: CallId| call.to_string());
    let limit = at_most(query.limit, MAX_ENTRIES);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows =
        statement.query_map(params![as_sql(query.after.unwrap_or(0)), call, limit], raw_row)?;
    let mut found = rows.map(|row| stored(row?)).collect::<Result<Vec<_>, Trouble>>()?;
    if query.newest {
        found.reverse();
    }
    Ok(found)
}

/// The newest entries that were appended under one name.
pub(super) fn found_under(
    connection: &Connection,
    name: &str,
    limit: u32,
) -> Result<Vec<Entry>, Trouble> {
    let found = stored_under(connection, name, limit)?;
    Ok(found.into_iter().map(|stored| stored.entry).collect())
}

/// The same with their places.
pub(super) fn stored_under(
    connection: &Connection,
    name: &str,
    limit: u32,
) -> Result<Vec<StoredEntry>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT idx, CAST(body AS BLOB), chain FROM entries WHERE call = ?1
         ORDER BY idx DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![name, limit], raw_row)?;
    rows.map(|row| stored(row?)).collect()
}

/// A limit of a query: zero, which asks for nothing in particular, is the store's own bound.
pub(super) fn at_most(asked: u32, bound: u32) -> u32 {
    if asked == 0 { bound } else { asked.min(bound) }
}

/// The audit log of a data directory, read beside a running gateway or without one.
#[derive(Debug)]
pub struct LogReader {
    connection: Connection,
}

/// Opens the log in `dir` to read it, without owning the directory.
///
/// # Errors
/// When there is no database, or it is of another version.
pub fn open_log_read_only(dir: &Path) -> Result<LogReader, StoreError> {
    let connection = schema::open_reader(dir)?;
    Ok(LogReader { connection })
}

impl LogReader {
    /// Verifies the log as it is at this moment, from its first entry to its head.
    ///
    /// # Errors
    /// When it cannot be read; what is wrong with what it says is the inner error.
    pub fn verify(&self) -> Result<Result<Summary, Fault>, StoreError> {
        Ok(self.verify_snapshot()?)
    }

    fn verify_snapshot(&self) -> Result<Result<Summary, Fault>, Trouble> {
        // One read transaction: rows and head are of the same moment.
        let snapshot = self.connection.unchecked_transaction()?;
        let head = stored_head(&snapshot)?;
        let mut verifier = Verifier::default();
        let mut statement =
            snapshot.prepare("SELECT idx, CAST(body AS BLOB), chain FROM entries ORDER BY idx")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Err(fault) = verifier.push(&raw_row(row)?) {
                return Ok(Err(fault));
            }
        }
        Ok(verifier.finish(&head))
    }

    /// Entries, in order.
    ///
    /// # Errors
    /// When they cannot be read, or are not what this program writes.
    pub fn entries(&self, query: &EntryQuery) -> Result<Vec<StoredEntry>, StoreError> {
        Ok(entries(&self.connection, query)?)
    }

    /// The rows after `after`, unread and unchecked, at most [`MAX_ENTRIES`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn rows(&self, after: u64) -> Result<Vec<Row>, StoreError> {
        let read = || -> Result<Vec<Row>, Trouble> {
            let mut statement = self.connection.prepare_cached(
                "SELECT idx, CAST(body AS BLOB), chain FROM entries
                 WHERE idx > ?1 ORDER BY idx LIMIT ?2",
            )?;
            let rows = statement.query_map(params![as_sql(after), MAX_ENTRIES], raw_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        Ok(read()?)
    }

    /// The log's head as it is stored.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        Ok(stored_head(&self.connection)?)
    }
}

fn stored_head(connection: &Connection) -> Result<Head, Trouble> {
    let stored = connection
        .query_row("SELECT count, chain FROM head", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    let Some((count, chain)) = stored else { return Ok(Head::EMPTY) };
    let count =
        u64::try_from(count).map_err(|_| Trouble::corrupt(format!("a head at entry {count}")))?;
    Ok(Head { count, chain: digest_of(chain)? })
}

pub(super) fn raw_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let index = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
    // An empty value, which a damaged row may hold, is an empty body: the chain tells.
    let body = row.get_ref(1)?.as_blob_or_null()?.unwrap_or_default().to_vec();
    Ok(Row { index, body, chain: row.get(2)? })
}

pub(super) fn stored(row: Row) -> Result<StoredEntry, Trouble> {
    let Row { index, body, chain } = row;
    let entry = chain::read(&body)
        .map_err(|error| Trouble::corrupt(format!("entry {index} is {error}")))?;
    Ok(StoredEntry { index, entry, chain: digest_of(chain)? })
}

fn digest_of(bytes: Vec<u8>) -> Result<Digest, Trouble> {
    <[u8; 32]>::try_from(bytes)
        .map(Digest::from_bytes)
        .map_err(|_| Trouble::corrupt("a chain value that is not 32 bytes long".to_owned()))
}

/// An index as the database holds it; a log does not reach 2^63 entries.
pub(super) fn as_sql(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
