//! Holds in the database: one row each, whole as JSON, with columns only for finding it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, ToSql, params};
use serde_json::value::RawValue;

use super::log::at_most;
use super::pending;
use super::trouble::Trouble;
use crate::digest::Digest;
use crate::hold::{Hold, State, StateName};
use crate::ids::{AgentName, HoldId};
use crate::storage::{HoldPlace, HoldQuery};

/// How many holds one query gives at most.
pub(super) const MAX_HOLDS: u32 = 1000;

/// Stores a new hold.
pub(super) fn insert(connection: &Connection, hold: &Hold) -> Result<(), Trouble> {
    let found = Finding::of(hold);
    connection
        .prepare_cached(
            "INSERT INTO holds(id, state, agent, requested_digest, created_at, decide_by,
                execute_by, due_at, live, rejected_at, body, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            hold.id.to_string(),
            hold.state.name().as_str(),
            hold.agent.as_str(),
            hold.requested_digest.to_string(),
            nanos(hold.created_at),
            nanos(hold.decide_by),
            found.execute_by,
            found.due_at,
            found.live,
            found.rejected_at,
            written(hold)?,
            hold.digest.to_string(),
        ])?;
    pending::enter(connection, hold)
}

/// Stores a hold, which was as `was`, as it is now.
pub(super) fn update(connection: &Connection, was: &Hold, hold: &Hold) -> Result<(), Trouble> {
    let found = Finding::of(hold);
    connection
        .prepare_cached(
            "UPDATE holds SET state = ?2, execute_by = ?3, due_at = ?4, live = ?5,
                rejected_at = ?6, body = ?7, digest = ?8, decide_by = ?9
             WHERE id = ?1",
        )?
        .execute(params![
            hold.id.to_string(),
            hold.state.name().as_str(),
            found.execute_by,
            found.due_at,
            found.live,
            found.rejected_at,
            written(hold)?,
            hold.digest.to_string(),
            nanos(hold.decide_by),
        ])?;
    let pending = |hold: &Hold| hold.state.name() == StateName::Pending;
    let amended = was.digest != hold.digest || was.rules != hold.rules;
    if pending(was) && (amended || !pending(hold)) {
        pending::leave(connection, was)?;
    }
    if pending(hold) && (amended || !pending(was)) {
        pending::enter(connection, hold)?;
    }
    Ok(())
}

/// Keeps the result of a hold's call, since `now`.
pub(super) fn keep_result(
    connection: &Connection,
    id: HoldId,
    result: &RawValue,
    now: Timestamp,
) -> Result<(), Trouble> {
    connection
        .prepare_cached("UPDATE holds SET result = ?2, kept_since = ?3 WHERE id = ?1")?
        .execute(params![id.to_string(), result.get(), nanos(now)])?;
    Ok(())
}

/// Forgets results that are kept since before `before`; such a hold is joined no more.
pub(super) fn forget_results(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> Result<u32, Trouble> {
    let forgotten = connection
        .prepare_cached(
            "UPDATE holds SET result = NULL, kept_since = NULL, live = 0 WHERE id IN
                (SELECT id FROM holds WHERE kept_since < ?1 ORDER BY kept_since LIMIT ?2)",
        )?
        .execute(params![nanos(before), at_most(limit, MAX_HOLDS)])?;
    Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
}

/// The kept result of a hold's call.
pub(super) fn result(
    connection: &Connection,
    id: HoldId,
) -> Result<Option<Box<RawValue>>, Trouble> {
    let text = connection
        .prepare_cached("SELECT result FROM holds WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get::<_, Option<String>>(0))
        .optional()?
        .flatten();
    text.map(RawValue::from_string)
        .transpose()
        .map_err(|error| Trouble::corrupt(format!("the result of hold {id}: {error}")))
}

/// One hold.
pub(super) fn find(connection: &Connection, id: HoldId) -> Result<Option<Hold>, Trouble> {
    select(connection, "WHERE id = ?1", [id.to_string()]).map(|found| found.into_iter().next())
}

/// Every hold in one state, oldest first.
pub(super) fn all_in(connection: &Connection, state: StateName) -> Result<Vec<Hold>, Trouble> {
    select(connection, "WHERE state = ?1 ORDER BY created_at", [state.as_str()])
}

/// At most `limit` holds in one state, oldest first, after a place; and the place to go on from, if there may be
/// more.
pub(super) fn from(
    connection: &Connection,
    state: StateName,
    after: Option<HoldPlace>,
    limit: u32,
) -> Result<(Vec<Hold>, Option<HoldPlace>), Trouble> {
    let after = after.unwrap_or(HoldPlace { created_at: i64::MIN, row: i64::MIN });
    let mut statement = connection.prepare_cached(
        "SELECT id, state, body, created_at, rowid FROM holds
         WHERE state = ?1 AND (created_at, rowid) > (?2, ?3) ORDER BY created_at, rowid LIMIT ?4",
    )?;
    let wanted = params![state.as_str(), after.created_at, after.row, limit];
    let mut rows = statement.query(wanted)?;
    let (mut found, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let [id, state, body]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
        found.push(read(&id, &state, &body)?);
        last = Some(HoldPlace { created_at: row.get(3)?, row: row.get(4)? });
    }
    let full = u32::try_from(found.len()).is_ok_and(|found| found >= limit);
    Ok((found, last.filter(|_| full)))
}

/// Holds, newest first. Each wanted state is looked up by itself, so that an index gives its newest.
pub(super) fn list(connection: &Connection, query: &HoldQuery) -> Result<Vec<Hold>, Trouble> {
    let limit = at_most(query.limit, MAX_HOLDS);
    let agent = query.agent.as_ref().map(AgentName::as_str);
    let newest = |state: Option<StateName>| {
        let mut conditions = Vec::new();
        let mut values: Vec<&dyn ToSql> = vec![&limit];
        let state = state.map(StateName::as_str);
        if let Some(agent) = &agent {
            values.push(agent);
            conditions.push(format!("agent = ?{}", values.len()));
        }
        if let Some(state) = &state {
            values.push(state);
            conditions.push(format!("state = ?{}", values.len()));
        }
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", conditions.join(" AND "))
        };
        let clause = format!("{filter} ORDER BY created_at DESC LIMIT ?1");
        select(connection, &clause, values.as_slice())
    };
    if query.states.is_empty() {
        return newest(None);
    }
    let mut states = query.states.clone();
    states.sort_by_key(|state| state.as_str());
    states.dedup();
    let mut found = Vec::new();
    for state in states {
        found.extend(newest(Some(state))?);
    }
    found.sort_by_key(|hold| std::cmp::Reverse(hold.created_at));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// The holds that a repetition of a call may join, oldest first; never more than [`MAX_HOLDS`] of
/// those that live, and as many rejected.
pub(super) fn joinable(
    connection: &Connection,
    agent: &AgentName,
    requested: &Digest,
    rejected_since: Timestamp,
) -> Result<Vec<Hold>, Trouble> {
    let requested = requested.to_string();
    let mut found = select(
        connection,
        "WHERE agent = ?1 AND requested_digest = ?2 AND live = 1 ORDER BY created_at LIMIT ?3",
        params![agent.as_str(), requested, MAX_HOLDS],
    )?;
    found.extend(select(
        connection,
        "WHERE agent = ?1 AND requested_digest = ?2 AND rejected_at >= ?3
         ORDER BY rejected_at DESC LIMIT ?4",
        params![agent.as_str(), requested, nanos(rejected_since), MAX_HOLDS],
    )?);
    found.sort_by_key(|hold| hold.created_at);
    Ok(found)
}

/// Holds whose present clock has run out.
pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Hold>, Trouble> {
    select(
        connection,
        "WHERE due_at < ?1 ORDER BY due_at LIMIT ?2",
        params![nanos(now), at_most(limit, MAX_HOLDS)],
    )
}

/// What a hold is found by beside its identity.
struct Finding {
    execute_by: Option<i64>,
    due_at: Option<i64>,
    live: bool,
    rejected_at: Option<i64>,
}

impl Finding {
    fn of(hold: &Hold) -> Self {
        let nothing = Self { execute_by: None, due_at: None, live: false, rejected_at: None };
        match &hold.state {
            State::Pending { .. } => {
                Self { due_at: Some(nanos(hold.decide_by)), live: true, ..nothing }
            }
            State::Approved { execute_by, .. } => {
                let execute_by = Some(nanos(*execute_by));
                Self { execute_by, due_at: execute_by, live: true, ..nothing }
            }
            State::Executing { .. } | State::Unknown { .. } => Self { live: true, ..nothing },
            State::Finished { collected, .. } => Self { live: !collected, ..nothing },
            State::Rejected { verdict } => Self { rejected_at: Some(nanos(verdict.at)), ..nothing },
            State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Superseded { .. }
            | State::Halted { .. } => nothing,
        }
    }
}

pub(super) fn select(
    connection: &Connection,
    clause: &str,
    values: impl Params,
) -> Result<Vec<Hold>, Trouble> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT id, state, body FROM holds {clause}"))?;
    let rows = statement.query_map(values, |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    rows.map(|row| {
        row.map_err(Trouble::from).and_then(|(id, state, body)| read(&id, &state, &body))
    })
    .collect()
}

pub(super) fn read(id: &str, state: &str, body: &str) -> Result<Hold, Trouble> {
    let hold: Hold = serde_json::from_str(body)
        .map_err(|error| Trouble::corrupt(format!("hold {id}: {error}")))?;
    if hold.id.to_string() != id || hold.state.name().as_str() != state {
        return Err(Trouble::corrupt(format!("hold {id}: its columns say another hold or state")));
    }
    Ok(hold)
}

fn written(hold: &Hold) -> Result<String, Trouble> {
    serde_json::to_string(hold).map_err(|error| Trouble::engine(error.to_string()))
}

/// A time as the database holds it: nanoseconds since 1970, clamped to the years 1677 to 2262.
pub(super) fn nanos(time: Timestamp) -> i64 {
    let nanos = time.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}
