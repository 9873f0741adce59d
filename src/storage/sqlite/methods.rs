//! The store's methods: each one job for the writer, or one read.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::SqliteStore;
use super::job::{Carried, Job, Step};
use super::trouble::plain;
use super::tx::Tx;
use super::{absence, agents, calls, channels, holds, log, pending, reviewers, standing, stopped};
use crate::digest::Digest;
use crate::evidence::chain::Draft;
use crate::evidence::{Event, Intent, Outcome, Refused};
use crate::hold::{Account, Edited, Ending, Hold, Lost, Standing, StateName, Verdict};
use crate::ids::{AgentName, CallId, HoldId, PersonName, StandingId};
use crate::storage::{
    Agent, CallPage, CallQuery, ChannelState, EntryQuery, HoldError, HoldQuery, PeopleError,
    Receipt, Reviewer, ReviewerChange, Rotation, SshKey, Store, StoreError, StoredEntry, Timeline,
    ToldEntries, Wait,
};

#[async_trait]
impl Store for SqliteStore {
    async fn begin_call(&self, intent: Intent, wait: Wait) -> Result<Receipt, StoreError> {
        let call = intent.asked.call;
        if intent.hold.is_some() || intent.standing.is_some() {
            let why = "an intent that names an approval depends on it".to_owned();
            return Err(StoreError::Engine(why));
        }
        let asked = intent.asked.clone();
        let draft = Draft::new(Event::Intent(intent))?;
        match wait {
            Wait::Queued => {
                let accept = || self.accept(Step::Begin, call, draft);
                self.halts
                    .unless_halted(|| asked.subject(), accept)
                    .map_err(StoreError::Halted)??;
            }
            Wait::Durable => {
                let id = call.to_string();
                let work = move |tx: &mut Tx<'_>| tx.begin(&id, None, &draft);
                self.durably_unless_halted(&asked, "begin_call", work).await.map_err(plain)?;
            }
        }
        Ok(Receipt::new(call, None))
    }

    async fn end_call(&self, call: CallId, outcome: Outcome) -> Result<(), StoreError> {
        let draft = Draft::new(Event::Outcome { call, hold: None, outcome })?;
        self.health.check_for_good()?;
        let job = Job::Carried(Carried { step: Step::End, call: call.to_string(), draft });
        self.queue()?.send(job).await.map_err(|_| stopped())
    }

    async fn refuse_call(&self, refused: Refused) -> Result<(), StoreError> {
        let call = refused.call;
        self.accept(Step::Refuse, call, Draft::new(Event::Refusal(refused))?)
    }

    async fn open_hold(&self, hold: Hold, event: Event, cap: u32) -> Result<Hold, HoldError> {
        let asked = if let Event::Hold { hold: id, asked, .. } = &event
            && *id == hold.id
            && hold.state.name() == StateName::Pending
        {
            asked.clone()
        } else {
            let why = "a hold opens as pending, with the entry that says so".to_owned();
            return Err(StoreError::Engine(why).into());
        };
        let work = move |tx: &mut Tx<'_>| {
            if pending::at_cap(tx.connection, &hold.agent, cap)? {
                return Err(HoldError::TooMany { cap }.into());
            }
            holds::insert(tx.connection, &hold)?;
            tx.append(event, Some(hold.call))?;
            Ok(hold)
        };
        self.durably_unless_halted(&asked, "open_hold", work).await
    }

    async fn decide_hold(&self, id: HoldId, verdict: Verdict) -> Result<Hold, HoldError> {
        self.durably("decide_hold", move |tx| tx.decide(id, verdict)).await
    }

    async fn amend_hold(
        &self,
        id: HoldId,
        edited: Edited,
        verdict: Verdict,
    ) -> Result<Hold, HoldError> {
        self.durably("amend_hold", move |tx| tx.amend(id, edited, verdict)).await
    }

    async fn resolve_hold(
        &self,
        id: HoldId,
        account: Account,
        result: Option<Box<RawValue>>,
    ) -> Result<Hold, HoldError> {
        self.durably("resolve_hold", move |tx| tx.resolve(id, account, result)).await
    }

    async fn grant_standing(&self, standing: Standing, of: HoldId) -> Result<(), HoldError> {
        self.durably("grant_standing", move |tx| tx.grant(standing, of)).await
    }

    async fn revoke_standing(&self, id: StandingId, by: String) -> Result<bool, StoreError> {
        self.durably("revoke_standing", move |tx| tx.revoke_standing(id, by)).await.map_err(plain)
    }

    async fn standing(&self) -> Result<Vec<Standing>, StoreError> {
        self.readers.read(standing::all).await
    }

    async fn begin_standing_call(&self, intent: Intent) -> Result<Receipt, HoldError> {
        let Some(standing) = intent.standing.filter(|_| intent.hold.is_none()) else {
            let why = "the intent names no standing approval".to_owned();
            return Err(StoreError::Engine(why).into());
        };
        let (call, asked) = (intent.asked.call, intent.asked.clone());
        let draft = Draft::new(Event::Intent(intent)).map_err(StoreError::from)?;
        let id = call.to_string();
        let work = move |tx: &mut Tx<'_>| tx.begin_standing(standing, &id, &draft);
        self.durably_unless_halted(&asked, "begin_standing_call", work).await?;
        Ok(Receipt::new(call, None))
    }

    async fn spend_approval(&self, id: HoldId, mut intent: Intent) -> Result<Receipt, HoldError> {
        if intent.hold.is_some_and(|named| named != id) {
            return Err(StoreError::Engine("the intent names another hold".to_owned()).into());
        }
        intent.hold = Some(id);
        let (call, asked) = (intent.asked.call, intent.asked.clone());
        let draft = Draft::new(Event::Intent(intent)).map_err(StoreError::from)?;
        let digest = asked.digest;
        let work = move |tx: &mut Tx<'_>| {
            let now = tx.now();
            tx.move_hold(id, |hold| hold.spend(call, &digest, now))?;
            tx.begin(&call.to_string(), Some(id), &draft)
        };
        self.durably_unless_halted(&asked, "spend_approval", work).await?;
        Ok(Receipt::new(call, Some(id)))
    }

    async fn finish_hold(
        &self,
        id: HoldId,
        outcome: Outcome,
        result: Option<Box<RawValue>>,
    ) -> Result<Hold, HoldError> {
        self.durably_when_there_is_room("finish_hold", move |tx| {
            tx.finish(id, outcome, result.as_deref())
        })
        .await
    }

    async fn end_hold(&self, id: HoldId, ending: Ending) -> Result<Hold, HoldError> {
        self.durably("end_hold", move |tx| tx.end_hold(id, ending)).await
    }

    async fn collect_hold(&self, id: HoldId) -> Result<Box<RawValue>, HoldError> {
        self.durably("collect_hold", move |tx| {
            let hold = tx.move_hold(id, Hold::collect)?;
            let lost = Lost::Already(hold.state.name());
            let gone = || HoldError::Lost { lost, hold: Box::new(hold) };
            Ok(holds::result(tx.connection, id)?.ok_or_else(gone)?)
        })
        .await
    }

    async fn hold_result(&self, id: HoldId) -> Result<Option<Box<RawValue>>, StoreError> {
        self.readers.read(move |connection| holds::result(connection, id)).await
    }

    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        self.readers.read(move |connection| holds::find(connection, id)).await
    }

    async fn holds(&self, query: HoldQuery) -> Result<Vec<Hold>, StoreError> {
        self.readers.read(move |connection| holds::list(connection, &query)).await
    }

    async fn pending_calls(
        &self,
        agent: Option<AgentName>,
        limit: u32,
    ) -> Result<Vec<(Hold, u32)>, StoreError> {
        self.readers.read(move |connection| pending::calls(connection, agent.as_ref(), limit)).await
    }

    async fn identical(&self, digest: &Digest) -> Result<u32, StoreError> {
        let digest = *digest;
        self.readers.read(move |connection| pending::identical(connection, &digest)).await
    }

    async fn identical_holds(&self, digest: &Digest) -> Result<Vec<HoldId>, StoreError> {
        let digest = *digest;
        self.readers.read(move |connection| pending::identical_holds(connection, &digest)).await
    }

    async fn forget_results(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let forget =
            move |tx: &mut super::Tx<'_>| holds::forget_results(tx.connection, before, limit);
        self.durably("forget_results", forget).await.map_err(plain)
    }

    async fn joinable(
        &self,
        agent: &AgentName,
        requested: &Digest,
        rejected_since: Timestamp,
    ) -> Result<Vec<Hold>, StoreError> {
        let (agent, requested) = (agent.clone(), *requested);
        self.readers
            .read(move |connection| holds::joinable(connection, &agent, &requested, rejected_since))
            .await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Hold>, StoreError> {
        self.readers.read(move |connection| holds::due(connection, now, limit)).await
    }

    async fn note_absence(
        &self,
        from: Timestamp,
        to: Timestamp,
        why: &'static str,
    ) -> Result<bool, StoreError> {
        self.durably("note_absence", move |tx| {
            let noted = absence::ended_in(tx.connection, from, to)?;
            if noted {
                let draft = Draft::new(absence::event(from, to, why))?;
                tx.append_draft(&draft, Some(absence::FOUND_UNDER))?;
            }
            Ok(noted)
        })
        .await
        .map_err(plain)
    }

    async fn extend_holds(&self, grace: Duration, limit: u32) -> Result<u32, StoreError> {
        if grace.is_zero() {
            return Ok(0);
        }
        let extend = move |tx: &mut super::Tx<'_>| absence::extend(tx, grace, limit);
        self.durably("extend_holds", extend).await.map_err(plain)
    }

    async fn recover(
        &self,
        idempotent: &(dyn for<'a> Fn(&'a str) -> bool + Send + Sync),
    ) -> Result<Vec<Hold>, StoreError> {
        let left = |tx: &mut super::Tx<'_>| holds::all_in(tx.connection, StateName::Executing);
        let left = self.durably("recover", left).await.map_err(plain)?;
        let again: HashSet<String> =
            left.into_iter().map(|hold| hold.tool).filter(|tool| idempotent(tool)).collect();
        self.durably("recover", move |tx| tx.recover(&again)).await.map_err(plain)
    }

    async fn add_agent(&self, agent: Agent, by: String) -> Result<(), StoreError> {
        self.durably("add_agent", move |tx| tx.add_agent(&agent, by)).await.map_err(plain)
    }

    async fn revoke_agent(&self, name: &AgentName, by: String) -> Result<bool, StoreError> {
        let name = name.clone();
        self.durably("revoke_agent", move |tx| tx.revoke_agent(&name, by)).await.map_err(plain)
    }

    async fn rotate_agent(
        &self,
        name: &AgentName,
        rotation: Rotation,
        by: String,
    ) -> Result<Option<Agent>, StoreError> {
        let name = name.clone();
        let work = move |tx: &mut super::Tx<'_>| tx.rotate_agent(&name, rotation, by);
        self.durably("rotate_agent", work).await.map_err(plain)
    }

    async fn note_uses(&self, uses: Vec<(AgentName, Timestamp)>) -> Result<(), StoreError> {
        self.durably("note_uses", move |tx| agents::note_uses(tx.connection, &uses))
            .await
            .map_err(plain)
    }

    async fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        self.readers.read(agents::all).await
    }

    async fn add_reviewer(&self, reviewer: Reviewer, by: String) -> Result<Reviewer, PeopleError> {
        self.change_people("add_reviewer", move |tx| tx.add_reviewer(reviewer, by)).await
    }

    async fn change_reviewer(
        &self,
        name: &PersonName,
        change: ReviewerChange,
        by: String,
    ) -> Result<Reviewer, PeopleError> {
        let name = name.clone();
        self.change_people("change_reviewer", move |tx| tx.change_reviewer(&name, change, by)).await
    }

    async fn revoke_reviewer(
        &self,
        name: &PersonName,
        by: String,
    ) -> Result<Reviewer, PeopleError> {
        let name = name.clone();
        self.change_people("revoke_reviewer", move |tx| tx.revoke_reviewer(&name, by)).await
    }

    async fn register_key(&self, name: &PersonName, key: SshKey) -> Result<Reviewer, PeopleError> {
        let name = name.clone();
        self.change_people("register_key", move |tx| tx.register_key(&name, key)).await
    }

    async fn remove_key(
        &self,
        name: &PersonName,
        fingerprint: &str,
        by: String,
    ) -> Result<Reviewer, PeopleError> {
        let (name, key) = (name.clone(), fingerprint.to_owned());
        self.change_people("remove_key", move |tx| tx.remove_key(&name, key, by)).await
    }

    async fn reviewers(&self) -> Result<Vec<Reviewer>, StoreError> {
        self.readers.read(reviewers::all).await
    }

    async fn record(&self, event: Event) -> Result<(), StoreError> {
        let hold = if let Event::VerdictRefused { hold, .. } = &event { Some(*hold) } else { None };
        let draft = Draft::new(event)?;
        self.durably("record", move |tx| {
            // It is found with the other entries of its hold.
            let hold = hold.map(|hold| holds::find(tx.connection, hold)).transpose()?.flatten();
            let call = hold.map(|hold| hold.call.to_string());
            tx.append_draft(&draft, call.as_deref())
        })
        .await
        .map_err(plain)
    }

    async fn settle(&self) -> Result<(), StoreError> {
        // Jobs are done in their order, so one that changes nothing is answered after all before it.
        self.durably_when_there_is_room("settle", |_| Ok(())).await.map_err(plain)
    }

    async fn entries(&self, query: EntryQuery) -> Result<Vec<StoredEntry>, StoreError> {
        self.readers.read(move |connection| log::entries(connection, &query)).await
    }

    async fn told_entries(&self, after: u64, limit: u32) -> Result<ToldEntries, StoreError> {
        self.readers.read(move |connection| channels::told_entries(connection, after, limit)).await
    }

    async fn calls(&self, query: CallQuery) -> Result<CallPage, StoreError> {
        self.readers.read(move |connection| calls::list(connection, &query)).await
    }

    async fn timeline(&self, call: CallId) -> Result<Option<Timeline>, StoreError> {
        self.readers.read(move |connection| calls::timeline(connection, call)).await
    }

    fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    async fn channel(&self, name: &str) -> Result<Option<ChannelState>, StoreError> {
        let name = name.to_owned();
        self.readers.read(move |connection| channels::find(connection, &name)).await
    }

    async fn keep_channel(&self, name: &str, state: ChannelState) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.durably("keep_channel", move |tx| channels::put(tx.connection, &name, &state))
            .await
            .map_err(plain)
    }

    async fn pending_by_rule(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers.read(pending::by_rule).await
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.health.check()
    }
}
