//! What the shim is told: it comes in its argument vector, which the program that it becomes does not see.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first argument of a process that confines itself and becomes a program.
pub(super) const WORD: &str = "__confine";
/// How it ends when it could not; it then says why on standard error, after the word of the plan.
pub(super) const REFUSED: u8 = 125;

/// Everything about one confined program but its own arguments and environment. All paths are absolute
/// and lead through no symbolic link.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// A word that the program cannot know, by which a refusal of the shim is told from the program's words.
    pub(super) word: String,
    /// The process that starts it; none that it can see when it has been set apart.
    pub(super) parent: Option<i32>,
    /// Whether it still has to be set apart, in a namespace of process numbers.
    pub(super) apart: bool,
    /// The program's file.
    pub(super) program: PathBuf,
    /// What it may read.
    pub(super) read: Vec<PathBuf>,
    /// What it may read and change.
    pub(super) write: Vec<PathBuf>,
    /// What it may read and run.
    pub(super) execute: Vec<PathBuf>,
    /// Its own directory for temporary files.
    pub(super) temporary: PathBuf,
    /// Whether it may open connections.
    pub(super) network: bool,
    /// Whether it may change modes and owners by path.
    pub(super) chmod: bool,
    /// In bytes.
    pub(super) memory_bytes: Option<u64>,
    /// In seconds.
    pub(super) cpu: Option<u64>,
    /// How many processes more than the user has now.
    pub(super) processes: u64,
    /// How many files each may have open.
    pub(super) open_files: u64,
    /// In bytes.
    pub(super) file_bytes: u64,
    /// Whether the kernel is to be taken for one that cannot guard signals.
    pub(super) no_signals: bool,
}
