//! Workflows in the database: a row for each, kept with every entry that tells of a call of theirs.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, ToSql, params};

use super::SqliteStore;
use super::calls::{self, call_id};
use super::log::{as_sql, at_most, stored};
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::evidence::verify::Row;
use crate::evidence::{Began, Event, How, Mention, OutcomeStatus};
use crate::ids::{AgentName, CallId};
use crate::storage::{
    Attempt, CallQuery, CallStatus, Effect, Effects, ListedWorkflow, StoreError, WorkflowCall,
    WorkflowCounts, WorkflowPage, WorkflowQuery, WorkflowStore,
};

/// How many rows one query gives at most.
const MAX_ROWS: u32 = 200;
/// How many dispatched calls of a workflow are gone over at once.
const MAX_EFFECTS: usize = 1000;
/// How many bytes their entries may have together.
const MAX_EFFECT_BYTES: usize = 16 << 20;

const COLUMNS: &str = "id, agent, name, place, began, last, ended, \
                       running, held, refused, succeeded, failed";
/// A call as it is listed, as [`calls::read`] reads it.
const CALL: &str = "c.first, c.at, c.call, c.agent, c.tool, c.status, c.refusal, c.rules, c.hold";

/// Takes note of what the entry at `index`, written at `time`, says of a call. It goes before the list of calls,
/// which still says how the call stood.
pub(super) fn note(
    connection: &Connection,
    index: u64,
    time: Timestamp,
    mention: &Mention,
) -> Result<(), Trouble> {
    match mention {
        Mention::Began(began) => begin(connection, index, time, began),
        Mention::Ended { call, status } => {
            let found = connection
                .prepare_cached(
                    "SELECT w.workflow, c.status FROM workflow_calls w JOIN calls c ON c.call = w.call
                     WHERE w.call = ?1",
                )?
                .query_row([call.to_string()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                .optional()?;
            let Some((workflow, before)) = found else { return Ok(()) };
            let workflow: String = workflow;
            moved(connection, &workflow, bucket(&before), bucket(status.as_str()), time)
        }
        Mention::Lost { hold } => {
            let mut statement = connection.prepare_cached(
                "SELECT w.workflow FROM calls c JOIN workflow_calls w ON w.call = c.call
                 WHERE c.hold = ?1 AND c.status = 'running'",
            )?;
            let rows = statement.query_map([hold.to_string()], |row| row.get::<_, String>(0))?;
            for workflow in rows.collect::<Result<Vec<_>, _>>()? {
                moved(connection, &workflow, "running", "failed", time)?;
            }
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
    let Some(name) = &began.workflow else { return Ok(()) };
    let (call, agent) = (began.call.to_string(), began.agent.as_str());
    let open = connection
        .prepare_cached(
            "SELECT id FROM workflows WHERE agent = ?1 AND name = ?2 AND ended IS NULL",
        )?
        .query_row([agent, name], |row| row.get::<_, String>(0))
        .optional()?;
    let workflow = open.unwrap_or_else(|| call.clone());
    let new = connection
        .prepare_cached(
            "INSERT INTO workflow_calls(call, workflow, place, compensates)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT(call) DO NOTHING",
        )?
        .execute(params![
            call,
            workflow,
            as_sql(index),
            began.compensates.map(|it| it.to_string())
        ])?;
    if new == 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO workflows(id, agent, name, place, began, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT(id) DO NOTHING",
        )?
        .execute(params![workflow, agent, name, as_sql(index), time.as_millisecond()])?;
    let status = match &began.how {
        How::Running => CallStatus::Running,
        How::Held => CallStatus::Held,
        How::Refused(_) => CallStatus::Refused,
    };
    counted(connection, &workflow, bucket(status.as_str()), 1, time)
}

/// As what a call is counted that stands so.
fn bucket(status: &str) -> &'static str {
    match status {
        "running" => "running",
        "held" => "held",
        "refused" => "refused",
        _ if status == OutcomeStatus::Success.as_str() => "succeeded",
        _ => "failed",
    }
}

fn moved(
    connection: &Connection,
    workflow: &str,
    from: &'static str,
    to: &'static str,
    time: Timestamp,
) -> Result<(), Trouble> {
    counted(connection, workflow, from, -1, time)?;
    counted(connection, workflow, to, 1, time)
}

fn counted(
    connection: &Connection,
    workflow: &str,
    column: &'static str,
    by: i64,
    time: Timestamp,
) -> Result<(), Trouble> {
    // What comes after its end does not prolong it.
    connection
        .prepare_cached(&format!(
            "UPDATE workflows SET {column} = {column} + ?2,
                last = CASE WHEN ended IS NULL THEN ?3 ELSE last END WHERE id = ?1"
        ))?
        .execute(params![workflow, by, time.as_millisecond()])?;
    Ok(())
}

#[async_trait]
impl WorkflowStore for SqliteStore {
    async fn workflows(&self, query: WorkflowQuery) -> Result<WorkflowPage, StoreError> {
        self.readers.read(move |connection| list(connection, &query)).await
    }

    async fn workflow(&self, id: CallId) -> Result<Option<ListedWorkflow>, StoreError> {
        self.readers.read(move |connection| find(connection, id)).await
    }

    async fn workflow_calls(
        &self,
        id: CallId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<WorkflowCall>, StoreError> {
        self.readers.read(move |connection| calls_of(connection, id, after, limit)).await
    }

    async fn effects(&self, id: CallId) -> Result<Effects, StoreError> {
        self.readers.read(move |connection| effects(connection, id)).await
    }

    async fn end_idle_workflows(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<ListedWorkflow>, StoreError> {
        let work = move |tx: &mut Tx<'_>| end_idle(tx.connection, since, limit);
        self.durably("end_idle_workflows", work).await.map_err(plain)
    }

    async fn end_workflow(
        &self,
        agent: &AgentName,
        name: &str,
    ) -> Result<Option<ListedWorkflow>, StoreError> {
        let (agent, name) = (agent.clone(), name.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let now = tx.now().as_millisecond();
            let mut statement = tx.connection.prepare_cached(&format!(
                "UPDATE workflows SET ended = max(?3, last)
                 WHERE agent = ?1 AND name = ?2 AND ended IS NULL RETURNING {COLUMNS}"
            ))?;
            let mut rows = statement.query(params![agent.as_str(), name, now])?;
            rows.next()?.map(read).transpose()
        };
        self.durably("end_workflow", work).await.map_err(plain)
    }
}

/// What still runs is not idle, however long it takes.
fn end_idle(
    connection: &Connection,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<ListedWorkflow>, Trouble> {
    let mut statement = connection.prepare_cached(&format!(
        "UPDATE workflows SET ended = last WHERE id IN (
            SELECT id FROM workflows WHERE ended IS NULL AND last <= ?1 AND running = 0
            ORDER BY last LIMIT ?2)
         RETURNING {COLUMNS}"
    ))?;
    let mut rows = statement.query(params![since.as_millisecond(), at_most(limit, MAX_ROWS)])?;
    let mut ended = Vec::new();
    while let Some(row) = rows.next()? {
        ended.push(read(row)?);
    }
    Ok(ended)
}

fn list(connection: &Connection, query: &WorkflowQuery) -> Result<WorkflowPage, Trouble> {
    let limit = at_most(query.limit, MAX_ROWS);
    let below = query.below.map_or(i64::MAX, as_sql);
    let agent = query.agent.as_ref().map(AgentName::as_str);
    let condition = if agent.is_some() { "agent = ?3 AND" } else { "" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM workflows WHERE {condition} place < ?1 ORDER BY place DESC LIMIT ?2"
    ))?;
    let one_more = limit.saturating_add(1);
    let mut values: Vec<&dyn ToSql> = vec![&below, &one_more];
    values.extend(agent.as_ref().map(|agent| agent as &dyn ToSql));
    let mut rows = statement.query(values.as_slice())?;
    let mut workflows = Vec::new();
    while let Some(row) = rows.next()? {
        workflows.push(read(row)?);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = workflows.len() > limit;
    workflows.truncate(limit);
    let next = workflows.last().map(|it| it.place).filter(|_| more);
    Ok(WorkflowPage { workflows, next })
}

fn find(connection: &Connection, id: CallId) -> Result<Option<ListedWorkflow>, Trouble> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM workflows WHERE id = ?1"))?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(read).transpose()
}

fn read(row: &SqlRow<'_>) -> Result<ListedWorkflow, Trouble> {
    let moment = |ms| Timestamp::from_millisecond(ms).map_err(|_| corrupt("time"));
    let count = |column| -> Result<u64, Trouble> {
        u64::try_from(row.get::<_, i64>(column)?).map_err(|_| corrupt("count"))
    };
    Ok(ListedWorkflow {
        id: call_id(&row.get::<_, String>(0)?)?,
        agent: row.get::<_, String>(1)?.parse().map_err(|_| corrupt("agent"))?,
        name: row.get(2)?,
        place: count(3)?,
        began: moment(row.get(4)?)?,
        last: moment(row.get(5)?)?,
        ended: row.get::<_, Option<i64>>(6)?.map(moment).transpose()?,
        counts: WorkflowCounts {
            running: count(7)?,
            held: count(8)?,
            refused: count(9)?,
            succeeded: count(10)?,
            failed: count(11)?,
        },
    })
}

fn calls_of(
    connection: &Connection,
    id: CallId,
    after: u64,
    limit: u32,
) -> Result<Vec<WorkflowCall>, Trouble> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT {CALL}, w.compensates, CASE WHEN json_valid(e.body) THEN e.body ->> '$.decision' END,
         CASE WHEN json_valid(e.body) THEN e.body -> '$.brings' END
         FROM workflow_calls w JOIN calls c ON c.call = w.call JOIN entries e ON e.idx = c.first
         WHERE w.workflow = ?1 AND w.place > ?2 ORDER BY w.place LIMIT ?3"
    ))?;
    let mut rows =
        statement.query(params![id.to_string(), as_sql(after), at_most(limit, MAX_ROWS)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(call) = calls::read(&snapshot, row, &CallQuery::default())? else { continue };
        let compensates = row.get::<_, Option<String>>(9)?;
        let decision = match &call.refusal {
            Some(kind) => (kind == "denied").then(|| "DENY".to_owned()),
            None => row.get(10)?,
        };
        let brings = row.get::<_, Option<String>>(11)?.map(|text| serde_json::from_str(&text));
        found.push(WorkflowCall {
            decision,
            brings: brings.transpose().map_err(|_| corrupt("label"))?.unwrap_or_default(),
            compensates: compensates.as_deref().map(call_id).transpose()?,
            attempt: attempt(&snapshot, call.call)?,
            call,
        });
    }
    Ok(found)
}

/// What undoes a call: what succeeded goes before what did not, and what ran before what was turned away.
fn attempt(connection: &Connection, undone: CallId) -> Result<Option<Attempt>, Trouble> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {CALL} FROM workflow_calls w JOIN calls c ON c.call = w.call
         WHERE w.compensates = ?1
         ORDER BY c.status = 'success' DESC, c.status = 'refused', w.place DESC LIMIT 1"
    ))?;
    let mut rows = statement.query([undone.to_string()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let call = calls::read(connection, row, &CallQuery::default())?;
    Ok(call.map(|it| Attempt { call: it.call, status: it.status, hold: it.hold }))
}

fn effects(connection: &Connection, id: CallId) -> Result<Effects, Trouble> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT {CALL}, CAST(e.body AS BLOB), e.chain
         FROM workflow_calls w JOIN calls c ON c.call = w.call JOIN entries e ON e.idx = c.first
         WHERE w.workflow = ?1 AND c.status NOT IN ('held', 'refused') ORDER BY w.place DESC"
    ))?;
    let mut rows = statement.query([id.to_string()])?;
    let (mut effects, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(9)?;
        bytes = bytes.saturating_add(body.len());
        if effects.len() >= MAX_EFFECTS || bytes > MAX_EFFECT_BYTES {
            return Ok(Effects { effects, whole: false });
        }
        let Some(call) = calls::read(&snapshot, row, &CallQuery::default())? else { continue };
        let entry = stored(Row { index: call.first, body, chain: row.get(10)? })?.entry;
        let Event::Intent(intent) = entry.event else { return Err(corrupt("first entry")) };
        effects.push(Effect {
            at: call.at,
            status: call.status,
            intent: Box::new(intent),
            attempt: attempt(&snapshot, call.call)?,
        });
    }
    Ok(Effects { effects, whole: true })
}

fn corrupt(what: &str) -> Trouble {
    Trouble::corrupt(format!("a workflow whose {what} makes no sense"))
}
