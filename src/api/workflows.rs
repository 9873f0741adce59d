//! Workflows: the list, the timeline of one, and rolling it back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, CallView, Failure, Operator, Path, Query, Viewer};
use crate::call::undoing::{self, NotUndone, Plan, Ran};
use crate::catalog::Label;
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::ids::{AgentName, CallId};
use crate::storage::{CallStatus, ListedWorkflow, WorkflowCall, WorkflowCounts, WorkflowQuery};

/// How many rows a list shows when nobody says.
const LISTED: u32 = 50;
/// How many it shows at the most.
const MAX_LISTED: u32 = 200;
/// How many calls a person can leave as they are.
const MAX_SKIPPED: usize = 1000;

/// A workflow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowView {
    /// Its first call, by which it is known.
    pub id: CallId,
    /// The agent.
    pub agent: AgentName,
    /// Its name, which counts within its agent only.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// When a call of it last began or ended.
    pub last: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How its calls stand.
    pub counts: WorkflowCounts,
}

impl From<ListedWorkflow> for WorkflowView {
    fn from(it: ListedWorkflow) -> Self {
        let ListedWorkflow { id, agent, name, began, last, ended, counts, .. } = it;
        Self { id, agent, name, began, last, ended, counts }
    }
}

/// A part of the list of workflows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowList {
    /// The workflows, those that began last first.
    pub workflows: Vec<WorkflowView>,
    /// What to give as `cursor` to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A part of the timeline of a workflow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowTimeline {
    /// The workflow.
    pub workflow: WorkflowView,
    /// Its calls, in order.
    pub calls: Vec<WorkflowCallView>,
    /// What to give as `cursor` to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A call of a workflow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowCallView {
    /// The call.
    #[serde(flatten)]
    pub call: CallView,
    /// What was decided; absent where no rule decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// What it brought to the agent, as its tool's manifest said when it was dispatched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<Label>,
    /// The call that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensates: Option<CallId>,
    /// The call that undoes it, or was to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensated_by: Option<CallId>,
    /// Where that call stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation_status: Option<CallStatus>,
}

impl From<WorkflowCall> for WorkflowCallView {
    fn from(it: WorkflowCall) -> Self {
        Self {
            call: it.call.into(),
            decision: it.decision,
            brings: it.brings,
            compensates: it.compensates,
            compensated_by: it.attempt.map(|attempt| attempt.call),
            compensation_status: it.attempt.map(|attempt| attempt.status),
        }
    }
}

/// Which workflows to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only this agent's.
    agent: Option<AgentName>,
    /// At most so many; 50 when absent.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// Where an earlier answer said that it goes on.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    cursor: Option<String>,
}

/// Which part of a timeline to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartWanted {
    /// At most so many calls; 50 when absent.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// Where an earlier answer said that it goes on.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    cursor: Option<String>,
}

/// What to roll back: without a plan, the plan is made and shown.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoWanted {
    /// The digest of the plan to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// Calls that are left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub skip: Vec<CallId>,
}

/// What rolling back would do, and what it has done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UndoView {
    /// The workflow.
    pub workflow: WorkflowView,
    /// What is to be done now.
    pub plan: Plan,
    /// What this request has done, in order. Only the last may not have succeeded, and then it stopped there.
    pub ran: Vec<Ran>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<WorkflowList>, Failure> {
    let limit = limited(wanted.limit)?;
    let below = wanted.cursor.as_deref().map(super::calls::place).transpose()?;
    let query = WorkflowQuery { agent: wanted.agent, below, limit };
    let page = gateway.store.workflows(query).await?;
    Ok(Json(WorkflowList {
        workflows: page.workflows.into_iter().map(WorkflowView::from).collect(),
        next: page.next.map(cursor),
    }))
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Path(id): Path<String>,
    Query(wanted): Query<PartWanted>,
) -> Result<Json<WorkflowTimeline>, Failure> {
    let limit = limited(wanted.limit)?;
    let after = wanted.cursor.as_deref().map(super::calls::place).transpose()?;
    let workflow = found(&gateway, &id).await?;
    let calls = gateway.store.workflow_calls(workflow.id, after.unwrap_or(0), limit).await?;
    let full = u32::try_from(calls.len()).is_ok_and(|count| count >= limit);
    let next = calls.last().filter(|_| full).map(|it| cursor(it.call.first));
    let calls = calls.into_iter().map(WorkflowCallView::from).collect();
    Ok(Json(WorkflowTimeline { workflow: workflow.into(), calls, next }))
}

pub(super) async fn roll_back(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(id): Path<String>,
    Body(wanted): Body<UndoWanted>,
) -> Result<Json<UndoView>, Failure> {
    if wanted.skip.len() > MAX_SKIPPED {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "`skip` has at most 1000 calls"));
    }
    let workflow = found(&gateway, &id).await?;
    let mut ran = Vec::new();
    if let Some(agreed) = wanted.plan {
        let principal = gateway.agents.of_page(&person).ok_or_else(super::trying::taken)?;
        let Ok(_place) = gateway.places.try_acquire() else {
            let told = "too many calls are under way; try again in a moment";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, told));
        };
        let all = Arc::clone(&gateway);
        ran = undoing::run(all, workflow.id, &wanted.skip, agreed, principal).await?;
    }
    let plan = undoing::plan(&gateway, workflow.id, &wanted.skip).await?;
    Ok(Json(UndoView { workflow: workflow.into(), plan, ran }))
}

async fn found(gateway: &Gateway, id: &str) -> Result<ListedWorkflow, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no workflow `{id}`"));
    let id: CallId = id.parse().map_err(|_| unknown())?;
    gateway.store.workflow(id).await?.ok_or_else(unknown)
}

fn limited(limit: Option<u32>) -> Result<u32, Failure> {
    let limit = limit.unwrap_or(LISTED);
    if (1..=MAX_LISTED).contains(&limit) {
        return Ok(limit);
    }
    Err(Failure::new(StatusCode::BAD_REQUEST, "`limit` is 1 to 200"))
}

fn cursor(place: u64) -> String {
    format!("{place:016x}")
}

impl From<NotUndone> for Failure {
    fn from(error: NotUndone) -> Self {
        match error {
            NotUndone::Store(error) => error.into(),
            NotUndone::Stale | NotUndone::Busy | NotUndone::TooLarge => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
        }
    }
}
