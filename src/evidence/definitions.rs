//! What entries say of definitions of servers.

use serde::{Deserialize, Serialize};

use crate::catalog::{DefinitionKey, Said};
use crate::digest::Digest;

/// A definition that a server gave, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionSeen {
    /// Of what.
    #[serde(flatten)]
    pub key: DefinitionKey,
    /// SHA-256 of its canonical JSON.
    pub digest: Digest,
}

impl DefinitionSeen {
    /// Of `said`.
    #[must_use]
    pub fn of(said: &Said) -> Self {
        Self { key: said.key.clone(), digest: said.digest }
    }
}
