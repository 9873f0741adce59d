//! The revisions that were in force, with their files, and the one that an operator went back to.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::digest::Digest;
use crate::evidence::Cause;

/// How many revisions are kept.
pub const MAX_REVISIONS: u32 = 200;
/// How many bytes of files and of their names are kept, of all revisions together. A revision whose files are
/// more is kept without them.
pub const MAX_REVISION_BYTES: u64 = 64 << 20;

/// What is kept of revisions.
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// Records that a revision comes into force, keeps its files, and does what is to be done with the revision
    /// that an operator went back to; durably, in one transaction. The oldest revisions beyond the bounds go, but
    /// never the last one, nor the one that was gone back to.
    async fn put_in_force(&self, revision: ComesInForce) -> Result<(), StoreError>;

    /// The revisions that are kept, the newest first.
    async fn revisions(&self) -> Result<Vec<KeptRevision>, StoreError>;

    /// The files of a revision, if they are kept.
    async fn revision_files(&self, revision: Digest) -> Result<Option<Vec<KeptFile>>, StoreError>;

    /// The revision that an operator went back to, until another comes into force on purpose.
    async fn rolled_back(&self) -> Result<Option<RolledBack>, StoreError>;
}

/// A revision that comes into force.
#[derive(Clone, Debug)]
pub struct ComesInForce {
    /// Its digest.
    pub revision: Digest,
    /// How many rules it has.
    pub rules: u64,
    /// How many tools it has.
    pub tools: u64,
    /// What brought it into force, and who.
    pub cause: Cause,
    /// All its files.
    pub files: Vec<KeptFile>,
    /// What becomes of the revision that was gone back to.
    pub pin: Pin,
}

/// What becomes of the revision that an operator went back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It stays, if there is one.
    Stays,
    /// It is this one, which is kept under this digest.
    Becomes(RolledBack),
    /// There is none any more: the files of the directories are in force again.
    Ends,
}

/// The revision that an operator went back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolledBack {
    /// Its digest, as it is kept.
    pub revision: Digest,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Rules.
    Policy,
    /// Tools.
    Manifest,
}

/// One file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptFile {
    /// What it says.
    pub kind: FileKind,
    /// Its name, as it was read.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// A revision that is kept, without its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptRevision {
    /// Its digest.
    pub revision: Digest,
    /// When it came into force.
    pub at: Timestamp,
    /// How many rules it has.
    pub rules: u64,
    /// How many tools it has.
    pub tools: u64,
    /// What brought it into force, and who.
    #[serde(flatten)]
    pub cause: Cause,
    /// How many files it has.
    pub files: u64,
    /// Whether the files are kept: without them nobody can go back to it.
    pub kept: bool,
}
