//! Halts in the store: engaged and ended in one transaction with their entries, and the holds that they end.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::halts::{Full, Halt, Register};
use crate::hold::{Hold, StateName};
use crate::ids::{HaltId, HoldId};
use crate::principal::Person;

/// What is kept of halts. The store has the register in which calls and halts meet: nothing that a halt covers is
/// accepted after the halt, so no intent follows it in the log.
#[async_trait]
pub trait HaltStore: Send + Sync {
    /// The halts that are engaged, as the database says since it was opened, and the calls under way.
    fn halts(&self) -> &Arc<Register>;

    /// Engages a halt, durably. It covers calls from this moment on, before it is on disk; if that fails, it is
    /// as if it had not been, but for the calls that it ended.
    async fn engage_halt(&self, halt: Halt) -> Result<(), HaltError>;

    /// Ends a halt, durably, and only then lets calls in again; false when there is none of this identifier.
    async fn end_halt(&self, id: HaltId, ending: HaltEnding) -> Result<bool, StoreError>;

    /// Ends those of `holds` that are pending or approved ([`crate::hold::Ending::Halt`]), durably; gives them
    /// as they are then, each with the state it was in. At most 256 at once.
    async fn halt_holds(&self, holds: Vec<HoldId>, why: String) -> Result<Vec<Ended>, StoreError>;

    /// At most 256 holds in `state`, oldest first, after the place that the part before gave; and the place to
    /// go on from, if there may be more.
    async fn holds_from(
        &self,
        state: StateName,
        after: Option<HoldPlace>,
    ) -> Result<(Vec<Hold>, Option<HoldPlace>), StoreError>;
}

/// A hold that a halt ended, and the state that it was in.
pub type Ended = (StateName, Hold);

/// A place in the order of holds in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPlace {
    pub(in crate::storage) created_at: i64,
    pub(in crate::storage) row: i64,
}

/// How a halt ends.
#[derive(Clone, Debug)]
pub enum HaltEnding {
    /// An operator ended it.
    Resumed {
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },
    /// Its time is over.
    Over,
}

/// Why a halt was not engaged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HaltError {
    /// There are too many.
    #[error(transparent)]
    Full(#[from] Full),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
