//! The list of calls: one row for each, kept with every entry that tells of one, so that a search goes over
//! rows that are small and not over the log.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params};

use super::log::{self, as_sql, at_most, raw_row, stored};
use super::trouble::Trouble;
use super::{absence, holds};
use crate::evidence::{Began, Event, How, Mention};
use crate::hold::{Hold, StateName};
use crate::ids::{CallId, HoldId};
use crate::storage::{CallPage, CallQuery, CallStatus, ListedCall, StoredEntry, Timeline};

/// How many calls one query gives at most.
const MAX_CALLS: u32 = 200;
/// How many rows one query goes over, at most; what lies further is asked for next.
const LOOKED_AT: u32 = 20_000;
/// How many calls of one hold a timeline shows, the oldest: each time it runs again is one.
const MAX_OF_HOLD: u32 = 100;
/// How many entries a timeline shows, the oldest.
const MAX_TIMELINE: u32 = 1000;
/// Among how many of the newest extensions a timeline looks for its hold's.
const EXTENSIONS: u32 = 256;

const COLUMNS: &str = "first, at, call, agent, tool, status, refusal, rules, hold";

/// Takes note of what the entry at `index`, written at `time`, says of a call.
pub(super) fn note(
    connection: &Connection,
    index: u64,
    time: Timestamp,
    mention: &Mention,
) -> Result<(), Trouble> {
    match mention {
        Mention::Began(began) => begin(connection, index, time, began),
        Mention::Ended { call, status } => {
            connection
                .prepare_cached("UPDATE calls SET status = ?2 WHERE call = ?1")?
                .execute(params![call.to_string(), status.as_str()])?;
            Ok(())
        }
        Mention::Lost { hold } => {
            connection
                .prepare_cached(
                    "UPDATE calls SET status = ?2 WHERE hold = ?1 AND status = 'running'",
                )?
                .execute(params![hold.to_string(), CallStatus::Unknown.as_str()])?;
            Ok(())
        }
    }
}

fn begin(
    connection: &Connection,
    index: u64,
    time: Timestamp,
    began: &Began,
) -> Result<(), Trouble> {
    let (status, refusal) = match &began.how {
        How::Running => (CallStatus::Running, None),
        How::Held => (CallStatus::Held, None),
        How::Refused(kind) => (CallStatus::Refused, Some(kind)),
    };
    let rules =
        serde_json::to_string(&began.rules).map_err(|error| Trouble::engine(error.to_string()))?;
    connection
        .prepare_cached(
            "INSERT INTO calls(first, at, call, agent, tool, status, refusal, rules, hold)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(call) DO NOTHING",
        )?
        .execute(params![
            as_sql(index),
            time.to_string(),
            began.call.to_string(),
            began.agent.as_str(),
            began.tool,
            status.as_str(),
            refusal,
            rules,
            began.hold.map(|hold| hold.to_string()),
        ])?;
    Ok(())
}

/// Calls, newest first. One filter is looked up by an index; the others are applied to what it gives.
pub(super) fn list(connection: &Connection, query: &CallQuery) -> Result<CallPage, Trouble> {
    let limit = usize::try_from(at_most(query.limit, MAX_CALLS)).unwrap_or(usize::MAX);
    let low = query.after.map(|time| place_of(connection, time)).transpose()?.unwrap_or(0);
    let high = query.before.map(|time| place_of(connection, time)).transpose()?;
    let high = high.unwrap_or(i64::MAX).min(query.below.map_or(i64::MAX, as_sql));
    if let Some(id) = &query.id {
        return with_id(connection, query, id, (low, high), limit);
    }
    let hold = query.hold.map(|hold| hold.to_string());
    let agent = query.agent.as_ref().map(crate::ids::AgentName::as_str);
    let (condition, value): (_, Option<&dyn ToSql>) = match (&hold, &agent, &query.tool) {
        (Some(hold), ..) => ("hold = ?4 AND", Some(hold)),
        (None, Some(agent), _) => ("agent = ?4 AND", Some(agent)),
        (None, None, Some(tool)) => ("tool = ?4 AND", Some(tool)),
        (None, None, None) => ("", None),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM calls WHERE {condition} first >= ?1 AND first < ?2
         ORDER BY first DESC LIMIT ?3"
    ))?;
    let mut values: Vec<&dyn ToSql> = vec![&low, &high, &LOOKED_AT];
    values.extend(value);
    let mut rows = statement.query(values.as_slice())?;
    let (mut calls, mut looked_at, mut next) = (Vec::new(), 0_u32, None);
    while let Some(row) = rows.next()? {
        looked_at = looked_at.saturating_add(1);
        let call = read(connection, row, query)?;
        let place = row.get::<_, i64>(0)?;
        calls.extend(call);
        if calls.len() >= limit || looked_at >= LOOKED_AT {
            next = u64::try_from(place).ok();
            break;
        }
    }
    let more = match next {
        Some(_) => rows.next()?.is_some() || looked_at >= LOOKED_AT,
        None => false,
    };
    Ok(CallPage { calls, next: next.filter(|_| more) })
}

/// The calls whose identifier begins with `id`; of very many the latest by identifier.
fn with_id(
    connection: &Connection,
    query: &CallQuery,
    id: &str,
    (low, high): (i64, i64),
    limit: usize,
) -> Result<CallPage, Trouble> {
    // `~` comes after every digit.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM calls WHERE call >= ?1 AND call < ?2 ORDER BY call DESC LIMIT ?3"
    ))?;
    let mut rows = statement.query(params![id, format!("{id}~"), MAX_CALLS])?;
    let mut calls = Vec::new();
    while let Some(row) = rows.next()? {
        let place = row.get::<_, i64>(0)?;
        if place >= low && place < high {
            calls.extend(read(connection, row, query)?);
        }
    }
    calls.sort_by_key(|call| std::cmp::Reverse(call.first));
    calls.truncate(limit);
    Ok(CallPage { calls, next: None })
}

/// Everything about one call.
pub(super) fn timeline(connection: &Connection, id: CallId) -> Result<Option<Timeline>, Trouble> {
    // One moment: a call that ends meanwhile is told with its end, or without.
    let snapshot = connection.unchecked_transaction()?;
    let connection = &*snapshot;
    let Some(call) = find(connection, id)? else { return Ok(None) };
    let calls = match &call.hold {
        Some((hold, _)) => calls_of(connection, *hold)?,
        None => vec![id],
    };
    let mut entries = Vec::new();
    for call in &calls {
        entries.extend(about(connection, &call.to_string())?);
    }
    if let Some((hold, _)) = call.hold
        && let Some(hold) = holds::find(connection, hold)?
    {
        entries.extend(extensions(connection, &hold)?);
    }
    entries.sort_by_key(|entry| entry.index);
    let most = usize::try_from(MAX_TIMELINE).unwrap_or(usize::MAX);
    let more = entries.len() >= most;
    entries.truncate(most);
    Ok(Some(Timeline { call, calls, entries, more }))
}

fn find(connection: &Connection, id: CallId) -> Result<Option<ListedCall>, Trouble> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM calls WHERE call = ?1"))?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map_or(Ok(None), |row| read(connection, row, &CallQuery::default()))
}

fn calls_of(connection: &Connection, hold: HoldId) -> Result<Vec<CallId>, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT call FROM calls WHERE hold = ?1 ORDER BY first LIMIT ?2")?;
    let rows = statement
        .query_map(params![hold.to_string(), MAX_OF_HOLD], |row| row.get::<_, String>(0))?;
    rows.map(|call| call_id(&call?)).collect()
}

fn about(connection: &Connection, call: &str) -> Result<Vec<StoredEntry>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT idx, CAST(body AS BLOB), chain FROM entries WHERE call = ?1
         ORDER BY idx LIMIT ?2",
    )?;
    let rows = statement.query_map(params![call, MAX_TIMELINE], raw_row)?;
    rows.map(|row| stored(row?)).collect()
}

fn extensions(connection: &Connection, hold: &Hold) -> Result<Vec<StoredEntry>, Trouble> {
    if hold.extended.is_none() {
        return Ok(Vec::new());
    }
    let mut found = log::stored_under(connection, absence::EXTENDED_UNDER, EXTENSIONS)?;
    found.retain(|stored| {
        matches!(&stored.entry.event, Event::HoldsExtended { holds, .. } if holds.contains(&hold.id))
    });
    Ok(found)
}

/// The place of the first call that began at `time` or later. The log's times never run back, so it is
/// found by halving.
pub(super) fn place_of(connection: &Connection, time: Timestamp) -> Result<i64, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT first, at FROM calls WHERE first >= ?1 ORDER BY first LIMIT 1")?;
    let end = "SELECT max(first) FROM calls";
    let end: Option<i64> = connection.prepare_cached(end)?.query_row([], |row| row.get(0))?;
    let (mut low, mut high) = (0_i64, end.unwrap_or(0).saturating_add(1));
    while low < high {
        let middle = low.midpoint(high);
        let found = statement
            .query_row([middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        match found {
            Some((place, at)) if timestamp(&at)? < time => low = place.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The call of a row, if it is one of those that `query` asks for.
pub(super) fn read(
    connection: &Connection,
    row: &SqlRow<'_>,
    query: &CallQuery,
) -> Result<Option<ListedCall>, Trouble> {
    let text = |column: usize| row.get::<_, String>(column);
    let status = read_status(&text(5)?)?;
    let (agent, tool) = (text(3)?, text(4)?);
    let other = query.status.is_some_and(|wanted| wanted != status)
        || query.agent.as_ref().is_some_and(|wanted| wanted.as_str() != agent)
        || query.tool.as_ref().is_some_and(|wanted| *wanted != tool);
    if other {
        return Ok(None);
    }
    let rules: Vec<String> = serde_json::from_str(&text(7)?).map_err(|_| corrupt("rules"))?;
    if query.rule.as_ref().is_some_and(|wanted| !rules.contains(wanted)) {
        return Ok(None);
    }
    let hold: Option<String> = row.get(8)?;
    let hold = hold.map(|hold| hold.parse::<HoldId>().map_err(|_| corrupt("hold"))).transpose()?;
    if query.hold.is_some() && query.hold != hold {
        return Ok(None);
    }
    let first = row.get::<_, i64>(0)?;
    Ok(Some(ListedCall {
        first: u64::try_from(first).map_err(|_| corrupt("place"))?,
        at: timestamp(&text(1)?)?,
        call: call_id(&text(2)?)?,
        agent: agent.parse().map_err(|_| corrupt("agent"))?,
        tool,
        status,
        refusal: row.get(6)?,
        rules,
        hold: hold.map(|hold| state_of(connection, hold)).transpose()?.flatten(),
    }))
}

fn state_of(connection: &Connection, hold: HoldId) -> Result<Option<(HoldId, StateName)>, Trouble> {
    let state: Option<String> = connection
        .prepare_cached("SELECT state FROM holds WHERE id = ?1")?
        .query_row([hold.to_string()], |row| row.get(0))
        .optional()?;
    let Some(state) = state else { return Ok(None) };
    let state = serde_json::from_value(state.into()).map_err(|_| corrupt("hold's state"))?;
    Ok(Some((hold, state)))
}

pub(super) fn read_status(text: &str) -> Result<CallStatus, Trouble> {
    CallStatus::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| corrupt("status"))
}

pub(super) fn timestamp(text: &str) -> Result<Timestamp, Trouble> {
    text.parse().map_err(|_| corrupt("time"))
}

pub(super) fn call_id(text: &str) -> Result<CallId, Trouble> {
    text.parse().map_err(|_| corrupt("identifier"))
}

fn corrupt(what: &str) -> Trouble {
    Trouble::corrupt(format!("a listed call whose {what} makes no sense"))
}
