//! What goes wrong inside the store: a job's own failure, or one of the engine that takes its batch along.

use rusqlite::ErrorCode;

use crate::evidence::chain::NotDraftable;
use crate::storage::{HoldError, StoreError};

/// Why a job, or a read, did not do what was asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The job's own: it alone is undone.
    Own(HoldError),
    /// The engine's: nothing of the transaction stands.
    Engine(EngineFault),
}

/// A failure of the storage engine.
#[derive(Clone, Debug)]
pub(super) struct EngineFault {
    /// What it said.
    pub(super) why: String,
    /// Whether the same attempt may succeed later: a full disk may get room again, but after a failed
    /// sync nobody knows what is on the disk.
    pub(super) again: bool,
}

impl EngineFault {
    /// What it means to whoever wanted something written.
    pub(super) fn unwritable(&self) -> StoreError {
        StoreError::Unwritable(self.why.clone())
    }
}

impl Trouble {
    /// A failure that is not this job's fault but leaves the rest of the batch alone.
    pub(super) fn engine(why: String) -> Self {
        StoreError::Engine(why).into()
    }

    /// Stored data that this program did not write.
    pub(super) fn corrupt(what: String) -> Self {
        StoreError::Corrupt(what).into()
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Own(error.into())
    }
}

impl From<HoldError> for Trouble {
    fn from(error: HoldError) -> Self {
        Self::Own(error)
    }
}

impl From<NotDraftable> for Trouble {
    fn from(error: NotDraftable) -> Self {
        Self::engine(error.to_string())
    }
}

impl From<NotDraftable> for StoreError {
    fn from(error: NotDraftable) -> Self {
        Self::Engine(error.to_string())
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error_code() else {
            return Self::corrupt(error.to_string());
        };
        let why = error.to_string();
        if code == ErrorCode::ConstraintViolation {
            return Self::engine(why);
        }
        let again = matches!(
            code,
            ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked
        );
        Self::Engine(EngineFault { why, again })
    }
}

impl From<Trouble> for HoldError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Own(error) => error,
            Trouble::Engine(fault) => StoreError::Engine(fault.why).into(),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        plain(trouble.into())
    }
}

/// The error of something that moves no hold.
pub(super) fn plain(error: HoldError) -> StoreError {
    match error {
        HoldError::Store(error) => error,
        HoldError::NotFound | HoldError::Lost { .. } | HoldError::TooMany { .. } => {
            StoreError::Engine(error.to_string())
        }
    }
}
