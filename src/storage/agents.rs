//! What changes of registered agents: their tokens, and for whom they may act.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Agent, StoreError};
use crate::digest::Digest;
use crate::ids::AgentName;

/// How many agents one may act for.
pub const MAX_ACTS_FOR: usize = 256;

/// The part of the store that is about acting for others; each method is one transaction with its entry.
#[async_trait]
pub trait ActingStore: Send + Sync {
    /// Lets the agent act for exactly these from now on; gives the agent as it is then, or none where there is
    /// none of this name that is valid.
    async fn let_act_for(
        &self,
        name: &AgentName,
        acts_for: Vec<AgentName>,
        by: String,
    ) -> Result<Option<Agent>, StoreError>;
}

/// A new token for an agent.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The new token's SHA-256.
    pub token_digest: Digest,
    /// Until when the old one is good too; it ends at once when absent.
    pub overlap_until: Option<Timestamp>,
    /// When the new one ends; when the old one would have, when absent.
    pub expires_at: Option<Timestamp>,
}
