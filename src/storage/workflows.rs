//! Workflows as people see them: which calls are whose, how they fared, and what undid them.

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CallStatus, ListedCall, StoreError};
use crate::catalog::Label;
use crate::evidence::Intent;
use crate::hold::StateName;
use crate::ids::{AgentName, CallId, HoldId};

/// What is kept of workflows. A workflow is known by its first call.
#[async_trait]
pub trait WorkflowStore: Send + Sync {
    /// Workflows, those that began last first.
    async fn workflows(&self, query: WorkflowQuery) -> Result<WorkflowPage, StoreError>;

    /// One workflow.
    async fn workflow(&self, id: CallId) -> Result<Option<ListedWorkflow>, StoreError>;

    /// The calls of a workflow whose first entry stands after `after`, in order; at most `limit`, and at most 200.
    async fn workflow_calls(
        &self,
        id: CallId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<WorkflowCall>, StoreError>;

    /// The calls of a workflow that were dispatched, newest first, with their intents. It goes over a bounded
    /// number of calls and bytes, and says whether those were all.
    async fn effects(&self, id: CallId) -> Result<Effects, StoreError>;

    /// Ends at most `limit` workflows in which nothing happened since `since`, and gives them. They ended when
    /// something last happened. It changes nothing that the log tells of, so it makes no entry.
    async fn end_idle_workflows(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<ListedWorkflow>, StoreError>;

    /// Ends the workflow of this name that the agent has open, now, and gives it; none where there is none.
    async fn end_workflow(
        &self,
        agent: &AgentName,
        name: &str,
    ) -> Result<Option<ListedWorkflow>, StoreError>;
}

/// Which workflows to list.
#[derive(Clone, Debug, Default)]
pub struct WorkflowQuery {
    /// Only this agent's.
    pub agent: Option<AgentName>,
    /// Only those whose first entry stands before this place in the log.
    pub below: Option<u64>,
    /// At most so many; the store's own bound is 200.
    pub limit: u32,
}

/// A part of the list of workflows.
#[derive(Clone, Debug)]
pub struct WorkflowPage {
    /// The workflows.
    pub workflows: Vec<ListedWorkflow>,
    /// What to ask for next as [`WorkflowQuery::below`]; none when there are no more.
    pub next: Option<u64>,
}

/// A workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedWorkflow {
    /// Its first call, by which it is known.
    pub id: CallId,
    /// The agent.
    pub agent: AgentName,
    /// Its name, which counts within its agent only.
    pub name: String,
    /// The place of its first entry in the log.
    pub place: u64,
    /// When that was written.
    pub began: Timestamp,
    /// When a call of it last began or ended.
    pub last: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How its calls stand.
    pub counts: WorkflowCounts,
}

/// How the calls of a workflow stand. A call that is held and runs later counts twice: as held, and where it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowCounts {
    /// Dispatched, and no outcome is recorded yet.
    pub running: u64,
    /// Held for people.
    pub held: u64,
    /// Turned away.
    pub refused: u64,
    /// The tool gave a result.
    pub succeeded: u64,
    /// Dispatched, and no result came of it.
    pub failed: u64,
}

/// A call of a workflow.
#[derive(Clone, Debug)]
pub struct WorkflowCall {
    /// The call.
    pub call: ListedCall,
    /// What was decided, as the entry says it; none where no rule decided.
    pub decision: Option<String>,
    /// What it brought to the agent; a call that was not dispatched brought nothing.
    pub brings: Vec<Label>,
    /// The call that it undoes.
    pub compensates: Option<CallId>,
    /// The call that undoes it, or was to.
    pub attempt: Option<Attempt>,
}

/// A call that was to undo another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The call.
    pub call: CallId,
    /// Where it stands.
    pub status: CallStatus,
    /// The hold that it opened, or whose approval it spent, and that hold's state now.
    pub hold: Option<(HoldId, StateName)>,
}

/// Calls that were dispatched.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The calls, newest first.
    pub effects: Vec<Effect>,
    /// Whether these are all.
    pub whole: bool,
}

/// A call that was dispatched.
#[derive(Clone, Debug)]
pub struct Effect {
    /// When.
    pub at: Timestamp,
    /// Where it stands.
    pub status: CallStatus,
    /// Its intent.
    pub intent: Box<Intent>,
    /// The call that undoes it, or was to: one that succeeded, else the last that was not turned away, else the
    /// last.
    pub attempt: Option<Attempt>,
}
