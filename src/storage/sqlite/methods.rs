//! The store's methods: each one job for the writer, or one read.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::SqliteStore;
use super::job::{Carried, Job, Step};
use super::trouble::{Trouble, plain};
use super::{absence, agents, holds, log, stopped};
use crate::digest::Digest;
use crate::evidence::chain::Draft;
use crate::evidence::{Event, Intent, Outcome, Refused};
use crate::hold::{Ending, Hold, StateName, Verdict};
use crate::ids::{AgentName, CallId, HoldId};
use crate::storage::{
    Agent, EntryQuery, HoldError, HoldQuery, Receipt, Store, StoreError, StoredEntry, Wait,
};

#[async_trait]
impl Store for SqliteStore {
    async fn begin_call(&self, intent: Intent, wait: Wait) -> Result<Receipt, StoreError> {
        let call = intent.asked.call;
        if intent.hold.is_some() {
            let why = "an intent that names a hold spends its approval".to_owned();
            return Err(StoreError::Engine(why));
        }
        let draft = Draft::new(Event::Intent(intent))?;
        match wait {
            Wait::Queued => self.accept(Step::Begin, call, draft)?,
            Wait::Durable => {
                let id = call.to_string();
                self.durably("begin_call", move |tx| tx.begin(&id, None, &draft))
                    .await
                    .map_err(plain)?;
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
        if !matches!(&event, Event::Hold { hold: id, .. } if *id == hold.id)
            || hold.state.name() != StateName::Pending
        {
            let why = "a hold opens as pending, with the entry that says so".to_owned();
            return Err(StoreError::Engine(why).into());
        }
        self.durably("open_hold", move |tx| {
            if holds::at_cap(tx.connection, &hold.agent, cap)? {
                return Err(HoldError::TooMany { cap }.into());
            }
            holds::insert(tx.connection, &hold)?;
            tx.append(event, Some(hold.call))?;
            Ok(hold)
        })
        .await
    }

    async fn decide_hold(&self, id: HoldId, verdict: Verdict) -> Result<Hold, HoldError> {
        self.durably("decide_hold", move |tx| {
            let moved = tx.move_hold(id, |hold| hold.decide(verdict.clone()))?;
            let state = moved.state.name();
            tx.append(Event::Verdict { hold: id, verdict, state }, Some(moved.call))?;
            Ok(moved)
        })
        .await
    }

    async fn spend_approval(&self, id: HoldId, mut intent: Intent) -> Result<Receipt, HoldError> {
        if intent.hold.is_some_and(|named| named != id) {
            return Err(StoreError::Engine("the intent names another hold".to_owned()).into());
        }
        intent.hold = Some(id);
        let (call, digest) = (intent.asked.call, intent.asked.digest);
        let draft = Draft::new(Event::Intent(intent)).map_err(StoreError::from)?;
        self.durably("spend_approval", move |tx| {
            let now = tx.now();
            tx.move_hold(id, |hold| hold.spend(call, &digest, now))?;
            tx.begin(&call.to_string(), Some(id), &draft)
        })
        .await?;
        Ok(Receipt::new(call, Some(id)))
    }

    async fn finish_hold(
        &self,
        id: HoldId,
        outcome: Outcome,
        result: Option<Box<RawValue>>,
    ) -> Result<Hold, HoldError> {
        self.durably_when_there_is_room("finish_hold", move |tx| {
            let now = tx.now();
            let moved = tx.move_hold(id, |hold| hold.finish(outcome.clone(), now))?;
            if let Some(result) = result {
                holds::keep_result(tx.connection, id, &result)?;
            }
            let call = holds::execution(&moved)?;
            tx.stops_running(&call.to_string())?;
            tx.append(Event::Outcome { call, hold: Some(id), outcome }, Some(call))?;
            Ok(moved)
        })
        .await
    }

    async fn end_hold(&self, id: HoldId, ending: Ending) -> Result<Hold, HoldError> {
        self.durably("end_hold", move |tx| {
            let why = match &ending {
                Ending::Supersede { why } => Some(why.clone()),
                Ending::Expire | Ending::Withdraw | Ending::Lapse => None,
            };
            let now = tx.now();
            let moved = tx.move_hold(id, |hold| hold.end(ending, now))?;
            let state = moved.state.name();
            tx.append(Event::HoldChanged { hold: id, state, why }, Some(moved.call))?;
            Ok(moved)
        })
        .await
    }

    async fn collect_hold(&self, id: HoldId) -> Result<Box<RawValue>, HoldError> {
        self.durably("collect_hold", move |tx| {
            tx.move_hold(id, Hold::collect)?;
            Ok(holds::result(tx.connection, id)?.unwrap_or_else(|| RawValue::NULL.to_owned()))
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

    async fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        self.readers.read(agents::all).await
    }

    async fn record(&self, event: Event) -> Result<(), StoreError> {
        let draft = Draft::new(event)?;
        let work =
            move |tx: &mut super::Tx<'_>| -> Result<(), Trouble> { tx.append_draft(&draft, None) };
        self.durably("record", work).await.map_err(plain)
    }

    async fn settle(&self) -> Result<(), StoreError> {
        // Jobs are done in their order, so one that changes nothing is answered after all before it.
        self.durably_when_there_is_room("settle", |_| Ok(())).await.map_err(plain)
    }

    async fn entries(&self, query: EntryQuery) -> Result<Vec<StoredEntry>, StoreError> {
        self.readers.read(move |connection| log::entries(connection, &query)).await
    }

    async fn pending_by_rule(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers.read(holds::pending_by_rule).await
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.health.check()
    }
}
