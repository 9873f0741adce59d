//! What must survive: one trait whose methods are named after what happens, each one transaction,
//! each change with its audit entry.

#[cfg(feature = "testing")]
pub mod failpoint;
pub mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::evidence::{Entry, Event, Intent, Outcome, Refused};
use crate::hold::{Ending, Hold, Lost, StateName, Verdict};
use crate::ids::{AgentName, CallId, HoldId};

/// For how long the gateway, or its machine, must have been away to be called absent.
pub const ABSENT: Duration = Duration::from_secs(60);

/// Everything the gateway must not forget.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Records the intent to dispatch a call that needs no approval. With [`Wait::Durable`] it returns
    /// when the intent is on disk, with [`Wait::Queued`] when it is in the bounded commit queue.
    async fn begin_call(&self, intent: Intent, wait: Wait) -> Result<Receipt, StoreError>;

    /// Records the outcome of a call begun with [`Store::begin_call`]. Waits for a place in the queue,
    /// never gives the entry up while the process lives.
    async fn end_call(&self, call: CallId, outcome: Outcome) -> Result<(), StoreError>;

    /// Records that a call was turned away; returns when it is in the commit queue.
    async fn refuse_call(&self, refused: Refused) -> Result<(), StoreError>;

    /// Stores a new pending hold with its entry, durably, unless the agent already has `cap` pending.
    async fn open_hold(&self, hold: Hold, event: Event, cap: u32) -> Result<Hold, HoldError>;

    /// Applies one person's verdict ([`Hold::decide`]), durably.
    async fn decide_hold(&self, id: HoldId, verdict: Verdict) -> Result<Hold, HoldError>;

    /// Spends an approval and records the intent it is spent on ([`Hold::spend`]), in one durable transaction.
    async fn spend_approval(&self, id: HoldId, intent: Intent) -> Result<Receipt, HoldError>;

    /// Records the outcome of a held call and keeps its result for the agent ([`Hold::finish`]), durably.
    async fn finish_hold(
        &self,
        id: HoldId,
        outcome: Outcome,
        result: Option<Box<RawValue>>,
    ) -> Result<Hold, HoldError>;

    /// Ends a hold that will not run ([`Hold::end`]), durably.
    async fn end_hold(&self, id: HoldId, ending: Ending) -> Result<Hold, HoldError>;

    /// Hands out the kept result of a finished hold, once ([`Hold::collect`]).
    async fn collect_hold(&self, id: HoldId) -> Result<Box<RawValue>, HoldError>;

    /// The kept result of a finished hold, without marking it collected.
    async fn hold_result(&self, id: HoldId) -> Result<Option<Box<RawValue>>, StoreError>;

    /// One hold.
    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError>;

    /// Holds, newest first.
    async fn holds(&self, query: HoldQuery) -> Result<Vec<Hold>, StoreError>;

    /// The holds that a repetition of a call may join: same agent and requested digest; pending,
    /// approved, executing, finished and not collected, of unknown outcome, or rejected at or after
    /// `rejected_since`. Oldest first.
    async fn joinable(
        &self,
        agent: &AgentName,
        requested: &Digest,
        rejected_since: Timestamp,
    ) -> Result<Vec<Hold>, StoreError>;

    /// At most `limit` holds whose clock has run out at `now`: pending past `decide_by`, approved past `execute_by`.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Hold>, StoreError>;

    /// Notes that people could decide nothing between `from` and `to`, if the time to decide a pending
    /// hold ended then; says whether it did. The time before this start is noted when the store is opened.
    async fn note_absence(
        &self,
        from: Timestamp,
        to: Timestamp,
        why: &'static str,
    ) -> Result<bool, StoreError>;

    /// Gives people `grace` from now ([`Hold::extend`]) for at most `limit` pending holds whose time ended
    /// in a noted absence; says for how many. Nothing is extended by no grace.
    async fn extend_holds(&self, grace: Duration, limit: u32) -> Result<u32, StoreError>;

    /// What a stopped gateway left behind: calls and holds between intent and outcome. Marks the calls
    /// unknown, applies [`Hold::interrupt`] to the holds (`idempotent` says for which tools), and
    /// returns every hold that is now `Approved` and should run.
    async fn recover(
        &self,
        idempotent: &(dyn for<'a> Fn(&'a str) -> bool + Send + Sync),
    ) -> Result<Vec<Hold>, StoreError>;

    /// Adds an agent, or gives an existing one a new token.
    async fn add_agent(&self, agent: Agent, by: String) -> Result<(), StoreError>;

    /// Revokes an agent's token; false when there is no such agent.
    async fn revoke_agent(&self, name: &AgentName, by: String) -> Result<bool, StoreError>;

    /// All agents, by name.
    async fn agents(&self) -> Result<Vec<Agent>, StoreError>;

    /// Records an event that changes no other state; returns when it is on disk.
    async fn record(&self, event: Event) -> Result<(), StoreError>;

    /// Returns when everything that was accepted before is on disk: the last thing to do before the process
    /// ends.
    async fn settle(&self) -> Result<(), StoreError>;

    /// Entries of the audit log, in order.
    async fn entries(&self, query: EntryQuery) -> Result<Vec<StoredEntry>, StoreError>;

    /// How many holds are pending, by the name of the rules that hold them.
    async fn pending_by_rule(&self) -> Result<Vec<(String, u64)>, StoreError>;

    /// Whether the log can be written, as far as the last attempt showed.
    fn writable(&self) -> Result<(), StoreError>;
}

/// How long [`Store::begin_call`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until the entry is on disk.
    Durable,
    /// Until the entry is in the bounded commit queue.
    Queued,
}

/// Proof that the intent of one call is recorded as its durability class demands. Only the store makes it.
///
/// ```compile_fail
/// let forged = countersign::storage::Receipt { call: countersign::ids::CallId::new() };
/// ```
#[derive(Debug)]
pub struct Receipt {
    call: CallId,
    hold: Option<HoldId>,
}

impl Receipt {
    pub(in crate::storage) const fn new(call: CallId, hold: Option<HoldId>) -> Self {
        Self { call, hold }
    }

    /// The call whose intent is recorded.
    #[must_use]
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// The hold whose approval the call spent.
    #[must_use]
    pub const fn hold(&self) -> Option<HoldId> {
        self.hold
    }
}

/// Which holds to list.
#[derive(Clone, Debug, Default)]
pub struct HoldQuery {
    /// Only these states; empty for all.
    pub states: Vec<StateName>,
    /// Only this agent's.
    pub agent: Option<AgentName>,
    /// At most so many; the store's own bound is 1000.
    pub limit: u32,
}

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

/// A registered agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// Its groups.
    pub groups: Vec<String>,
    /// The person it acts for.
    pub owner: Option<String>,
    /// SHA-256 of its token; the token itself is never stored.
    pub token_digest: Digest,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its token ends.
    pub expires_at: Option<Timestamp>,
    /// When its token was revoked.
    pub revoked_at: Option<Timestamp>,
}

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
