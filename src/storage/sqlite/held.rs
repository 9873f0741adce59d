//! What happens to holds inside a transaction: the transition, and the entry that records it.

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::value::RawValue;

use super::trouble::Trouble;
use super::tx::Tx;
use super::{holds, reviewers, standing};
use crate::evidence::chain::Draft;
use crate::evidence::{Event, Outcome};
use crate::hold::{Account, Edited, Ending, Hold, Lost, People, Standing, State, Verdict};
use crate::ids::{HoldId, StandingId};
use crate::principal::Person;
use crate::storage::{HoldError, capacity};

impl Tx<'_> {
    /// Applies a transition to a hold and stores it as it is then.
    pub(super) fn move_hold(
        &mut self,
        id: HoldId,
        transition: impl FnOnce(Hold) -> Result<Hold, Lost>,
    ) -> Result<Hold, Trouble> {
        let was = holds::find(self.connection, id)?.ok_or(HoldError::NotFound)?;
        match transition(was.clone()) {
            Ok(moved) => {
                holds::update(self.connection, &was, &moved)?;
                Ok(moved)
            }
            Err(lost) => Err(HoldError::Lost { lost, hold: Box::new(was) }.into()),
        }
    }

    /// Applies a transition that depends on who the people are now.
    fn move_hold_by(
        &mut self,
        id: HoldId,
        transition: impl FnOnce(Hold, &People<'_>) -> Result<Hold, Lost>,
    ) -> Result<Hold, Trouble> {
        let (connection, now) = (self.connection, self.now());
        asking_people(connection, now, |people| self.move_hold(id, |hold| transition(hold, people)))
    }

    /// One person's verdict; a second time under its sender's name for it, it changes nothing.
    pub(super) fn decide(&mut self, id: HoldId, verdict: Verdict) -> Result<Hold, Trouble> {
        if let Some(hold) = holds::find(self.connection, id)?
            && hold.has_heard(&verdict)
        {
            return Ok(hold);
        }
        let given = verdict.clone();
        let moved = self.move_hold_by(id, |hold, people| hold.decide(given, people))?;
        let state = moved.state.name();
        self.append(Event::Verdict { hold: id, verdict, state }, Some(moved.call))?;
        Ok(moved)
    }

    /// A reviewer's change of the arguments, and the verdict on what they are then.
    pub(super) fn amend(
        &mut self,
        id: HoldId,
        edited: Edited,
        mut verdict: Verdict,
    ) -> Result<Hold, Trouble> {
        if let Some(hold) = holds::find(self.connection, id)?
            && hold.has_heard(&verdict)
        {
            return Ok(hold);
        }
        let to = edited.digest;
        let moved = self.move_hold_by(id, |hold, people| hold.amend(edited, &verdict, people))?;
        let amended = Event::HoldAmended {
            hold: id,
            amendment: moved.amendments.last().cloned().ok_or(HoldError::NotFound)?,
            arguments: moved.arguments,
            rules: moved.rules,
            terms: moved.terms,
        };
        self.append(amended, Some(moved.call))?;
        verdict.digest = to;
        self.decide(id, verdict)
    }

    /// What a person says of a hold of unknown outcome.
    pub(super) fn resolve(
        &mut self,
        id: HoldId,
        account: Account,
        result: Option<Box<RawValue>>,
    ) -> Result<Hold, Trouble> {
        let Account { resolution, verdict } = account.clone();
        let before = holds::find(self.connection, id)?.ok_or(HoldError::NotFound)?;
        let moved = self.move_hold_by(id, |hold, people| hold.resolve(account, people))?;
        let call = before
            .execution()
            .ok_or_else(|| Trouble::corrupt(format!("hold {id}: unknown without a call")))?;
        if let (Some(result), State::Finished { .. }) = (&result, &moved.state) {
            holds::keep_result(self.connection, id, result, self.now())?;
        }
        let state = moved.state.name();
        let event = Event::HoldResolved { hold: id, call, resolution, verdict, state };
        self.append(event, Some(moved.call))?;
        Ok(moved)
    }

    /// The outcome of a held call, and the result that is kept for its agent.
    pub(super) fn finish(
        &mut self,
        id: HoldId,
        outcome: Outcome,
        result: Option<&RawValue>,
    ) -> Result<Hold, Trouble> {
        let now = self.now();
        let ended = outcome.clone();
        let moved = self.move_hold(id, |hold| hold.finish(ended, now))?;
        if let Some(result) = result {
            holds::keep_result(self.connection, id, result, now)?;
        }
        let call = moved
            .execution()
            .ok_or_else(|| Trouble::corrupt(format!("hold {id}: finished without a call")))?;
        self.stops_running(&call.to_string())?;
        self.append(Event::Outcome { call, hold: Some(id), outcome }, Some(call))?;
        Ok(moved)
    }

    /// Ends a hold that will not run.
    pub(super) fn end_hold(&mut self, id: HoldId, ending: Ending) -> Result<Hold, Trouble> {
        let why = match &ending {
            Ending::Supersede { why, .. } | Ending::Halt { why } => Some(why.clone()),
            Ending::Expire | Ending::Withdraw | Ending::Lapse => None,
        };
        let now = self.now();
        let moved = self.move_hold(id, |hold| hold.end(ending, now))?;
        let state = moved.state.name();
        self.append(Event::HoldChanged { hold: id, state, why }, Some(moved.call))?;
        Ok(moved)
    }

    /// The intent of a call that a standing approval covers, if the approval is in force now.
    pub(super) fn begin_standing(
        &mut self,
        id: StandingId,
        call: &str,
        draft: &Draft,
    ) -> Result<(), Trouble> {
        standing::live(self.connection, id, self.now())?.ok_or(HoldError::NotFound)?;
        self.begin(call, None, draft)
    }

    /// A standing approval, from now on.
    pub(super) fn grant(&mut self, granted: Standing, of: HoldId) -> Result<(), Trouble> {
        let hold = holds::find(self.connection, of)?.ok_or(HoldError::NotFound)?;
        asking_people(self.connection, self.now(), |people| {
            let may = hold.may_grant(&granted.granted_by, people);
            may.map_err(|lost| HoldError::Lost { lost, hold: Box::new(hold.clone()) }.into())
        })?;
        standing::put(self.connection, &granted)?;
        let rule = granted.rule();
        self.append(Event::StandingGranted { standing: granted, rule }, None)
    }

    /// Ends a standing approval; false when it is not in force.
    pub(super) fn revoke_standing(&mut self, id: StandingId, by: String) -> Result<bool, Trouble> {
        let now = self.now();
        let Some(mut standing) = standing::live(self.connection, id, now)? else {
            return Ok(false);
        };
        standing.revoked_at = Some(now);
        standing::put(self.connection, &standing)?;
        self.append(Event::StandingRevoked { standing: id, by }, None)?;
        Ok(true)
    }
}

/// Does what depends on who the people are now.
fn asking_people<T>(
    connection: &Connection,
    now: Timestamp,
    work: impl FnOnce(&People<'_>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let register = reviewers::all(connection)?;
    work(&|person: &Person| capacity(person, &register, now))
}
