//! What servers said and operators accepted, in the store: each change in one transaction with its entry.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::catalog::{DefinitionKey, DefinitionNews, Said};
use crate::digest::Digest;
use crate::principal::Person;

/// What is kept of definitions.
#[async_trait]
pub trait DefinitionStore: Send + Sync {
    /// Every definition that was accepted, and what was last seen of those that are not.
    async fn definitions(&self) -> Result<KeptDefinitions, StoreError>;

    /// Takes note of what a server says, durably: what is first of its name is accepted, unless something is
    /// accepted for it already.
    async fn note_definitions(&self, news: DefinitionNews) -> Result<(), StoreError>;

    /// Accepts a definition in place of the one before, durably.
    async fn accept_definition(&self, said: Said, by: Person) -> Result<(), StoreError>;
}

/// What is kept of definitions.
#[derive(Clone, Debug, Default)]
pub struct KeptDefinitions {
    /// What was accepted.
    pub accepted: Vec<Said>,
    /// What was last seen of a key that is not accepted, and since when.
    pub noted: Vec<(DefinitionKey, Digest, Timestamp)>,
}
