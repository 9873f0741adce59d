//! Entries of the audit log as they are asked for and given.

use crate::digest::Digest;
use crate::evidence::Entry;
use crate::ids::CallId;

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct EntryQuery {
    /// Only entries with an index greater than this.
    pub after: Option<u64>,
    /// The last so many instead of the first.
    pub newest: bool,
    /// Only entries about this call.
    pub call: Option<CallId>,
    /// At most so many; the store's own bound is 1000.
    pub limit: u32,
}

/// An entry with its place in the log.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// Its place, from 1.
    pub index: u64,
    /// What it says.
    pub entry: Entry,
    /// The chain's value at this entry.
    pub chain: Digest,
}
