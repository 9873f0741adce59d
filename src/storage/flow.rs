//! What agents hold, in the store. What calls bring is added in the transaction of their intents, which say so
//! (`brings`), and every entry about a call of the agent's says that it called; here is the rest.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::catalog::Label;
use crate::ids::AgentName;

/// What is kept of what agents hold.
#[async_trait]
pub trait FlowStore: Send + Sync {
    /// Everything that is held: by whom, what, and when that agent last called.
    async fn held_labels(&self) -> Result<Vec<(AgentName, Label, Timestamp)>, StoreError>;

    /// Forgets what these agents hold, durably, of those that have not called since `since`.
    async fn shed_labels(&self, agents: Vec<AgentName>, since: Timestamp)
    -> Result<(), StoreError>;
}
