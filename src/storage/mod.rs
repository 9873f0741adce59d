//! What must survive: one trait whose methods are named after what happens, each one transaction,
//! each change with its audit entry.

mod access;
mod agents;
pub mod budgets;
mod calls;
mod channels;
mod definitions;
mod entries;
mod errors;
#[cfg(feature = "testing")]
pub mod failpoint;
mod flow;
mod halts;
pub mod history;
mod people;
pub mod reports;
pub mod sqlite;
mod workflows;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::digest::Digest;
use crate::evidence::{Event, Intent, Outcome, Refused};
use crate::hold::{Account, Edited, Ending, Hold, Standing, StateName, Verdict};
use crate::ids::{AgentName, CallId, HoldId, PersonName, StandingId};

pub use access::{
    AccessError, AccessStore, Credential, Credentials, Link, LinkKind, MAX_PASSKEYS, MAX_SESSIONS,
    Passkey, PasswordHash, Proof, Ruled, Session, Subject, Which,
};
pub use agents::{ActingStore, MAX_ACTS_FOR, Rotation};
pub use budgets::BudgetStore;
pub use calls::{CallPage, CallQuery, CallStatus, ListedCall, Timeline};
pub use channels::{ChannelState, Delivery, Told, ToldEntries};
pub use definitions::{DefinitionStore, KeptDefinitions};
pub use entries::{EntryQuery, StoredEntry};
pub use errors::{HoldError, StoreError};
pub use flow::FlowStore;
pub use halts::{Ended, HaltEnding, HaltError, HaltStore, HoldPlace};
pub use history::HistoryStore;
pub use people::{
    MAX_KEYS, MAX_REVIEWERS, PeopleError, Reviewer, ReviewerChange, SshKey, capacity,
};
pub use reports::{EntryPage, EntrySearch, MAX_STEPS, ReportStore, Span, Statistics};

pub use workflows::{
    Attempt, Effect, Effects, ListedWorkflow, WorkflowCall, WorkflowCounts, WorkflowPage,
    WorkflowQuery, WorkflowStore,
};

/// For how long the gateway, or its machine, must have been away to be called absent.
pub const ABSENT: Duration = Duration::from_secs(60);

/// Everything the gateway must not forget.
#[async_trait]
pub trait Store:
    AccessStore
    + ActingStore
    + BudgetStore
    + DefinitionStore
    + FlowStore
    + HaltStore
    + HistoryStore
    + ReportStore
    + WorkflowStore
    + Send
    + Sync
    + 'static
{
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

    /// Applies a reviewer's change of the arguments and the verdict on what they are then ([`Hold::amend`],
    /// [`Hold::decide`]), in one durable transaction.
    async fn amend_hold(
        &self,
        id: HoldId,
        edited: Edited,
        verdict: Verdict,
    ) -> Result<Hold, HoldError>;

    /// Applies what a person says of a hold of unknown outcome ([`Hold::resolve`]), durably; `result` is what
    /// its agent is told in place of the result.
    async fn resolve_hold(
        &self,
        id: HoldId,
        account: Account,
        result: Option<Box<RawValue>>,
    ) -> Result<Hold, HoldError>;

    /// Stores a standing approval for calls like that of the hold `of`, with its entry, durably, if who grants
    /// it may ([`Hold::may_grant`]).
    async fn grant_standing(&self, standing: Standing, of: HoldId) -> Result<(), HoldError>;

    /// Revokes a standing approval, durably; false when there is none of this identifier in force.
    async fn revoke_standing(&self, id: StandingId, by: String) -> Result<bool, StoreError>;

    /// The standing approvals that were not revoked, oldest first; of those that ended by themselves at most
    /// the last 1000.
    async fn standing(&self) -> Result<Vec<Standing>, StoreError>;

    /// Records the intent of a call that a standing approval covers, durably, if the approval is in force then.
    async fn begin_standing_call(&self, intent: Intent) -> Result<Receipt, HoldError>;

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

    /// The pending holds, one for each set of identical ones (same agent, tool and digest) with the size of
    /// the set: the oldest of each, sets with the newest hold first.
    async fn pending_calls(
        &self,
        agent: Option<AgentName>,
        limit: u32,
    ) -> Result<Vec<(Hold, u32)>, StoreError>;

    /// How many pending holds are for the call with this digest.
    async fn identical(&self, digest: &Digest) -> Result<u32, StoreError>;

    /// The pending holds for the call with this digest, oldest first; at most 1000.
    async fn identical_holds(&self, digest: &Digest) -> Result<Vec<HoldId>, StoreError>;

    /// Forgets the kept results of at most `limit` holds that ended before `before`; gives how many.
    async fn forget_results(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError>;

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

    /// Gives an agent a new token; none, and nothing changed, when there is no such agent or it was revoked.
    async fn rotate_agent(
        &self,
        name: &AgentName,
        rotation: Rotation,
        by: String,
    ) -> Result<Option<Agent>, StoreError>;

    /// Notes when agents' tokens were last used. Tells of nothing that was decided, so it makes no entry.
    async fn note_uses(&self, uses: Vec<(AgentName, Timestamp)>) -> Result<(), StoreError>;

    /// All agents, by name.
    async fn agents(&self) -> Result<Vec<Agent>, StoreError>;

    /// Adds a person, with a first token; one that was revoked begins anew.
    async fn add_reviewer(&self, reviewer: Reviewer, by: String) -> Result<Reviewer, PeopleError>;

    /// Changes what a person may do, or the person's token.
    async fn change_reviewer(
        &self,
        name: &PersonName,
        change: ReviewerChange,
        by: String,
    ) -> Result<Reviewer, PeopleError>;

    /// Ends a person's token and role; a second time changes nothing.
    async fn revoke_reviewer(&self, name: &PersonName, by: String)
    -> Result<Reviewer, PeopleError>;

    /// Registers a public key as a person's.
    async fn register_key(&self, name: &PersonName, key: SshKey) -> Result<Reviewer, PeopleError>;

    /// Takes a public key from a person, by its fingerprint.
    async fn remove_key(
        &self,
        name: &PersonName,
        fingerprint: &str,
        by: String,
    ) -> Result<Reviewer, PeopleError>;

    /// Everybody in the register, revoked ones too, by name.
    async fn reviewers(&self) -> Result<Vec<Reviewer>, StoreError>;

    /// Records an event that changes no other state; returns when it is on disk.
    async fn record(&self, event: Event) -> Result<(), StoreError>;

    /// Returns when everything that was accepted before is on disk: the last thing to do before the process
    /// ends.
    async fn settle(&self) -> Result<(), StoreError>;

    /// Entries of the audit log, in order.
    async fn entries(&self, query: EntryQuery) -> Result<Vec<StoredEntry>, StoreError>;

    /// At most `limit` entries after the one at `after`, in order, leaving out those that people are told nothing of:
    /// they name no hold, engage or end no halt, and alert of no budget.
    async fn told_entries(&self, after: u64, limit: u32) -> Result<ToldEntries, StoreError>;

    /// Calls, newest first. It goes over so many calls at the most, and says where to go on.
    async fn calls(&self, query: CallQuery) -> Result<CallPage, StoreError>;

    /// Everything that the record says of one call, and of the hold it belongs to; at most 1000 entries.
    async fn timeline(&self, call: CallId) -> Result<Option<Timeline>, StoreError>;

    /// The place of the last entry that is on disk, and every change of it.
    fn written(&self) -> watch::Receiver<u64>;

    /// What is kept of a channel of notices, if it was seen before.
    async fn channel(&self, name: &str) -> Result<Option<ChannelState>, StoreError>;

    /// Keeps how far a channel has come. It changes nothing that the log tells of, so it makes no entry.
    async fn keep_channel(&self, name: &str, state: ChannelState) -> Result<(), StoreError>;

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
    /// The token before this one, where it lives on for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousToken>,
    /// When its token was last used, to a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// The agents that it may act for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts_for: Vec<AgentName>,
}

impl Agent {
    /// Whether the token whose digest is `token` is good at `now`.
    #[must_use]
    pub fn accepts(&self, token: &Digest, now: Timestamp) -> bool {
        let stands = self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end);
        let previous = self.previous.as_ref();
        let before = previous.is_some_and(|it| it.token_digest.is(token) && now < it.until);
        stands && (self.token_digest.is(token) || before)
    }
}

/// A token that was replaced and lives on until its users have the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousToken {
    /// Its SHA-256.
    pub token_digest: Digest,
    /// When it ends.
    pub until: Timestamp,
}
