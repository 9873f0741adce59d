//! A store whose process dies at one of its writing methods: before it, or after it is on disk. From then on
//! it answers nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use countersign::catalog::Label;
use countersign::catalog::{DefinitionNews, Said};
use countersign::digest::Digest;
use countersign::evidence::verify::{Fault, Summary};
use countersign::evidence::{Correction, Event, Intent, Outcome, Refused, Spent};
use countersign::halts::{Halt, Register};
use countersign::hold::{Account, Edited, Ending, Hold, Standing, StateName, Verdict};
use countersign::ids::{AgentName, CallId, HaltId, HoldId, PersonName, StandingId};
use countersign::principal::Person;
use countersign::storage::budgets::{Account as BudgetAccount, BudgetStore};
use countersign::storage::history::{
    ComesInForce, HistoryStore, KeptFile, KeptRevision, RolledBack,
};
use countersign::storage::sqlite::SqliteStore;
use countersign::storage::{
    AccessError, AccessStore, ActingStore, Agent, CallPage, CallQuery, ChannelState, Credential,
    Credentials, DefinitionStore, Effects, Ended, EntryPage, EntryQuery, EntrySearch, FlowStore,
    HaltEnding, HaltError, HaltStore, HoldError, HoldPlace, HoldQuery, KeptDefinitions, Link,
    ListedWorkflow, Passkey, PeopleError, Proof, Receipt, ReportStore, Reviewer, ReviewerChange,
    Rotation, Session, Span, SshKey, Statistics, Store, StoreError, StoredEntry, Timeline,
    ToldEntries, Wait, Which, WorkflowCall, WorkflowPage, WorkflowQuery, WorkflowStore,
};
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::watch;

/// On which side of a commit the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// At which method, and on which side of it, the process died.
pub(super) type Death = (&'static str, Side);

#[derive(Default)]
struct Plan {
    /// After how many more writing methods it dies, and how.
    dies: Option<(u8, Side)>,
    died: Option<Death>,
}

/// The store, and how it is to die.
pub(super) struct Faulty {
    inner: SqliteStore,
    plan: Mutex<Plan>,
}

impl Faulty {
    pub(super) fn new(inner: SqliteStore) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// From now on it dies at the `count`-th writing method, from 0; or not at all.
    pub(super) fn dies_at(&self, count: Option<(u8, Side)>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).dies = count;
    }

    /// Where it died.
    pub(super) fn died(&self) -> Option<Death> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).died
    }

    fn alive(&self) -> Result<(), StoreError> {
        self.died().map_or(Ok(()), |_| Err(gone()))
    }

    /// Whether the process dies once `method` is on disk.
    fn writes(&self, method: &'static str) -> Result<bool, StoreError> {
        self.alive()?;
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((left, side)) = plan.dies else { return Ok(false) };
        if left > 0 {
            plan.dies = Some((left - 1, side));
            return Ok(false);
        }
        plan.died = Some((method, side));
        if side == Side::Before { Err(gone()) } else { Ok(true) }
    }
}

fn gone() -> StoreError {
    StoreError::Unwritable("the process is dead".to_owned())
}

/// Hands every method on to the store; those that write may be where the process dies.
macro_rules! handed_on {
    (
        $trait:ident
        writes { $(fn $write:ident($($w:ident: $w_type:ty),*) -> $w_result:ty;)* }
        reads { $(fn $read:ident($($r:ident: $r_type:ty),*) -> $r_result:ty;)* }
        $(at_once { $(fn $now:ident() -> $now_result:ty;)* } watched { $(fn $watched:ident() -> $watched_result:ty;)* })?
    ) => {
        #[async_trait]
        impl $trait for Faulty {
            $(async fn $write(&self, $($w: $w_type),*) -> $w_result {
                let last = self.writes(stringify!($write))?;
                let done = self.inner.$write($($w),*).await;
                if last {
                    // What was only accepted is on disk too before nobody answers any more.
                    self.inner.settle().await?;
                    return Err(gone().into());
                }
                done
            })*

            $(async fn $read(&self, $($r: $r_type),*) -> $r_result {
                self.alive()?;
                self.inner.$read($($r),*).await
            })*

            $($(fn $now(&self) -> $now_result {
                self.alive()?;
                self.inner.$now()
            })*
            $(fn $watched(&self) -> $watched_result {
                self.inner.$watched()
            })*)?
        }
    };
}

type Told = Option<Box<RawValue>>;
type Idempotent<'i> = &'i (dyn for<'a> Fn(&'a str) -> bool + Send + Sync);

handed_on! {
    Store
    writes {
        fn begin_call(intent: Intent, wait: Wait) -> Result<Receipt, StoreError>;
        fn end_call(call: CallId, outcome: Outcome) -> Result<(), StoreError>;
        fn refuse_call(refused: Refused) -> Result<(), StoreError>;
        fn open_hold(hold: Hold, event: Event, cap: u32) -> Result<Hold, HoldError>;
        fn decide_hold(id: HoldId, verdict: Verdict) -> Result<Hold, HoldError>;
        fn amend_hold(id: HoldId, edited: Edited, verdict: Verdict) -> Result<Hold, HoldError>;
        fn resolve_hold(id: HoldId, account: Account, result: Told) -> Result<Hold, HoldError>;
        fn grant_standing(standing: Standing, of: HoldId) -> Result<(), HoldError>;
        fn revoke_standing(id: StandingId, by: String) -> Result<bool, StoreError>;
        fn begin_standing_call(intent: Intent) -> Result<Receipt, HoldError>;
        fn spend_approval(id: HoldId, intent: Intent) -> Result<Receipt, HoldError>;
        fn finish_hold(id: HoldId, outcome: Outcome, result: Told) -> Result<Hold, HoldError>;
        fn end_hold(id: HoldId, ending: Ending) -> Result<Hold, HoldError>;
        fn collect_hold(id: HoldId) -> Result<Box<RawValue>, HoldError>;
        fn forget_results(before: Timestamp, limit: u32) -> Result<u32, StoreError>;
        fn note_absence(from: Timestamp, to: Timestamp, why: &'static str) -> Result<bool, StoreError>;
        fn extend_holds(grace: Duration, limit: u32) -> Result<u32, StoreError>;
        fn recover(idempotent: Idempotent<'_>) -> Result<Vec<Hold>, StoreError>;
        fn add_agent(agent: Agent, by: String) -> Result<(), StoreError>;
        fn revoke_agent(name: &AgentName, by: String) -> Result<bool, StoreError>;
        fn rotate_agent(name: &AgentName, rotation: Rotation, by: String) -> Result<Option<Agent>, StoreError>;
        fn note_uses(uses: Vec<(AgentName, Timestamp)>) -> Result<(), StoreError>;
        fn add_reviewer(reviewer: Reviewer, by: String) -> Result<Reviewer, PeopleError>;
        fn change_reviewer(name: &PersonName, change: ReviewerChange, by: String) -> Result<Reviewer, PeopleError>;
        fn revoke_reviewer(name: &PersonName, by: String) -> Result<Reviewer, PeopleError>;
        fn register_key(name: &PersonName, key: SshKey) -> Result<Reviewer, PeopleError>;
        fn remove_key(name: &PersonName, fingerprint: &str, by: String) -> Result<Reviewer, PeopleError>;
        fn record(event: Event) -> Result<(), StoreError>;
        fn keep_channel(name: &str, state: ChannelState) -> Result<(), StoreError>;
    }
    reads {
        fn standing() -> Result<Vec<Standing>, StoreError>;
        fn hold_result(id: HoldId) -> Result<Told, StoreError>;
        fn hold(id: HoldId) -> Result<Option<Hold>, StoreError>;
        fn holds(query: HoldQuery) -> Result<Vec<Hold>, StoreError>;
        fn pending_calls(agent: Option<AgentName>, limit: u32) -> Result<Vec<(Hold, u32)>, StoreError>;
        fn identical(digest: &Digest) -> Result<u32, StoreError>;
        fn identical_holds(digest: &Digest) -> Result<Vec<HoldId>, StoreError>;
        fn joinable(agent: &AgentName, requested: &Digest, rejected_since: Timestamp) -> Result<Vec<Hold>, StoreError>;
        fn due(now: Timestamp, limit: u32) -> Result<Vec<Hold>, StoreError>;
        fn agents() -> Result<Vec<Agent>, StoreError>;
        fn reviewers() -> Result<Vec<Reviewer>, StoreError>;
        fn settle() -> Result<(), StoreError>;
        fn entries(query: EntryQuery) -> Result<Vec<StoredEntry>, StoreError>;
        fn told_entries(after: u64, limit: u32) -> Result<ToldEntries, StoreError>;
        fn calls(query: CallQuery) -> Result<CallPage, StoreError>;
        fn timeline(call: CallId) -> Result<Option<Timeline>, StoreError>;
        fn channel(name: &str) -> Result<Option<ChannelState>, StoreError>;
        fn pending_by_rule() -> Result<Vec<(String, u64)>, StoreError>;
    }
    at_once {
        fn writable() -> Result<(), StoreError>;
    }
    watched {
        fn written() -> watch::Receiver<u64>;
    }
}

handed_on! {
    AccessStore
    writes {
        fn invite(link: Link, new: Option<Reviewer>, by: String) -> Result<(), AccessError>;
        fn make_link(link: Link, by: String) -> Result<(), AccessError>;
        fn accept_invitation(link: Digest, credential: Credential, session: Session) -> Result<(), AccessError>;
        fn open_session(session: Session, proof: Proof) -> Result<(), AccessError>;
        fn touch_session(digest: &Digest, at: Timestamp) -> Result<(), StoreError>;
        fn end_sessions(which: Which, by: String) -> Result<(), StoreError>;
        fn set_credential(person: &PersonName, credential: Credential, keep: Digest) -> Result<(), AccessError>;
        fn remove_passkey(person: &PersonName, id: &str, by: String) -> Result<(), AccessError>;
    }
    reads {
        fn link(digest: &Digest, now: Timestamp) -> Result<Option<Link>, StoreError>;
        fn sessions(now: Timestamp) -> Result<Vec<Session>, StoreError>;
        fn credentials(person: &PersonName) -> Result<Credentials, StoreError>;
        fn passkey(id: &str) -> Result<Option<(PersonName, Passkey)>, StoreError>;
    }
}

handed_on! {
    ActingStore
    writes {
        fn let_act_for(name: &AgentName, acts_for: Vec<AgentName>, by: String) -> Result<Option<Agent>, StoreError>;
    }
    reads {}
}

handed_on! {
    ReportStore
    writes {}
    reads {
        fn statistics(span: Span) -> Result<Statistics, StoreError>;
        fn search_entries(query: EntrySearch) -> Result<EntryPage, StoreError>;
        fn first_entries(below: Option<u64>, since: Option<Timestamp>, limit: u32) -> Result<EntryPage, StoreError>;
        fn verify_log() -> Result<Option<Result<Summary, Fault>>, StoreError>;
    }
}

handed_on! {
    DefinitionStore
    writes {
        fn note_definitions(news: DefinitionNews) -> Result<(), StoreError>;
        fn accept_definition(said: Said, by: Person) -> Result<(), StoreError>;
    }
    reads {
        fn definitions() -> Result<KeptDefinitions, StoreError>;
    }
}

handed_on! {
    WorkflowStore
    writes {
        fn end_idle_workflows(since: Timestamp, limit: u32) -> Result<Vec<ListedWorkflow>, StoreError>;
        fn end_workflow(agent: &AgentName, name: &str) -> Result<Option<ListedWorkflow>, StoreError>;
    }
    reads {
        fn workflows(query: WorkflowQuery) -> Result<WorkflowPage, StoreError>;
        fn workflow(id: CallId) -> Result<Option<ListedWorkflow>, StoreError>;
        fn workflow_calls(id: CallId, after: u64, limit: u32) -> Result<Vec<WorkflowCall>, StoreError>;
        fn effects(id: CallId) -> Result<Effects, StoreError>;
    }
}

handed_on! {
    BudgetStore
    writes {
        fn settle_spent(
            corrections: Vec<Correction>,
            forgotten: Vec<BudgetAccount>
        ) -> Result<(), StoreError>;
    }
    reads {
        fn spent() -> Result<Vec<(BudgetAccount, Spent)>, StoreError>;
    }
}

handed_on! {
    FlowStore
    writes {
        fn shed_labels(agents: Vec<AgentName>, since: Timestamp) -> Result<(), StoreError>;
    }
    reads {
        fn held_labels() -> Result<Vec<(AgentName, Label, Timestamp)>, StoreError>;
    }
}

handed_on! {
    HistoryStore
    writes {
        fn put_in_force(revision: ComesInForce) -> Result<(), StoreError>;
    }
    reads {
        fn revisions() -> Result<Vec<KeptRevision>, StoreError>;
        fn revision_files(revision: Digest) -> Result<Option<Vec<KeptFile>>, StoreError>;
        fn rolled_back() -> Result<Option<RolledBack>, StoreError>;
    }
}

handed_on! {
    HaltStore
    writes {
        fn engage_halt(halt: Halt) -> Result<(), HaltError>;
        fn end_halt(id: HaltId, ending: HaltEnding) -> Result<bool, StoreError>;
        fn halt_holds(holds: Vec<HoldId>, why: String) -> Result<Vec<Ended>, StoreError>;
    }
    reads {
        fn holds_from(state: StateName, after: Option<HoldPlace>) -> Result<(Vec<Hold>, Option<HoldPlace>), StoreError>;
    }
    at_once {}
    watched {
        fn halts() -> &Arc<Register>;
    }
}
