//! What entries say of definitions of servers.

use serde::{Deserialize, Serialize};

use crate::catalog::{Changed, DefinitionKey, Said};
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

/// A definition that waits for an operator, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionHeld {
    /// What the server says now.
    #[serde(flatten)]
    pub now: DefinitionSeen,
    /// The digest of what was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

impl DefinitionHeld {
    /// Of `changed`, where a definition with the digest `before` was accepted.
    #[must_use]
    pub fn of(changed: &Changed, before: Option<Digest>) -> Self {
        Self { now: DefinitionSeen::of(&changed.now), before }
    }
}
