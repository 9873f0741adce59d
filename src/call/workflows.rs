//! The end of workflows: when nothing happened for a while, or when their agents say so.

use std::time::Duration;

use jiff::Timestamp;

use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::storage::{ListedWorkflow, StoreError};

/// How many workflows are ended at once.
const BATCH: u32 = 200;

/// Ends workflows that are idle for longer than the configuration says, and forgets what agents hold who have not
/// called for so long; whether more may be due.
///
/// # Errors
/// When that cannot be written.
pub async fn sweep(gateway: &Gateway) -> Result<bool, StoreError> {
    let idle = gateway.config.workflows.idle.0;
    let since = gateway.clock.now().checked_sub(idle).unwrap_or(Timestamp::MIN);
    // A crash in between leaves more held than there was to be, until the agent is idle again.
    let shed = gateway.held.shed(since);
    if !shed.is_empty() {
        gateway.store.shed_labels(shed, since).await?;
    }
    let ended = gateway.store.end_idle_workflows(since, BATCH).await?;
    ended.iter().for_each(|it| observed(gateway, it));
    Ok(!ended.is_empty())
}

/// Ends the workflow of this name that the agent has open; false where there is none.
///
/// # Errors
/// When that cannot be written.
pub async fn end(gateway: &Gateway, agent: &AgentName, name: &str) -> Result<bool, StoreError> {
    let ended = gateway.store.end_workflow(agent, name).await?;
    if let Some(it) = &ended {
        observed(gateway, it);
    }
    Ok(ended.is_some())
}

/// Only who has ended it in the store counts it, so it is counted at most once.
fn observed(gateway: &Gateway, workflow: &ListedWorkflow) {
    let took = workflow.ended.unwrap_or(workflow.last).duration_since(workflow.began);
    gateway.metrics.workflows.ended(Duration::try_from(took).unwrap_or_default());
}
