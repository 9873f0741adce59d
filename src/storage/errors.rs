//! Why the store did not do what was asked: nothing was changed.

use std::path::PathBuf;
use std::sync::Arc;

use crate::halts::Halt;
use crate::hold::{Hold, Lost};

/// Why the store did not do what was asked. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The commit queue is full.
    #[error("the record cannot keep up: {capacity} entries wait to be written")]
    Busy {
        /// The queue's size.
        capacity: usize,
    },
    /// The last attempt to write failed; nothing is accepted until one succeeds.
    #[error("the record cannot be written: {0}")]
    Unwritable(String),
    /// A halt covers the call that would have begun.
    #[error("stopped by halt {}", .0.id)]
    Halted(Arc<Halt>),
    /// Another process owns the data directory.
    #[error("another gateway owns {}", .0.display())]
    Owned(PathBuf),
    /// Stored data that this program did not write.
    #[error("the store holds what this program did not write: {0}")]
    Corrupt(String),
    /// Any other failure of the storage engine.
    #[error("storage failed: {0}")]
    Engine(String),
}

/// Why a transition of a hold was not made. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HoldError {
    /// There is no such hold.
    #[error("no such hold")]
    NotFound,
    /// Somebody or something else was first, or the transition does not fit.
    #[error("{lost}")]
    Lost {
        /// Why.
        lost: Lost,
        /// The hold as it stands.
        hold: Box<Hold>,
    },
    /// The agent already has as many pending holds as it may.
    #[error("the agent already has {cap} calls waiting for people")]
    TooMany {
        /// How many it may have.
        cap: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
