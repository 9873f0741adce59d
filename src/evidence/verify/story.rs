//! What entries say about each other: no outcome without an intent, no held call without an approval
//! that is spent once.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::halted::Halted;
use super::people::Register;
use super::recent::Recent;
use super::{Head, Summary};
use crate::digest::Digest;
use crate::evidence::signature::Resolves;
use crate::evidence::{Event, Intent};
use crate::hold::{Amendment, Decision, Resolution, Standing, StateName, Terms, Verdict};
use crate::ids::{AgentName, CallId, HaltId, HoldId, StandingId};
use crate::principal::Person;

/// How much later than it was checked the intent of a call under a standing approval may be written.
const COMMIT_SLACK: SignedDuration = SignedDuration::from_secs(10);

/// The decision that no call with it may run without a hold.
const NEEDS_APPROVAL: &str = "REQUIRE_APPROVAL";

/// An entry that cannot follow what the log said before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says it in its message")]
pub enum Twist {
    #[error("a second intent for call {0}")]
    SecondIntent(CallId),
    #[error("an outcome without an intent for call {0}")]
    OutcomeWithoutIntent(CallId),
    #[error("a second outcome for call {0}")]
    SecondOutcome(CallId),
    #[error("the outcome of call {0} names another hold than its intent")]
    OtherHold(CallId),
    #[error("call {0} was dispatched without the approval that it needs")]
    WithoutHold(CallId),
    #[error("call {call} was dispatched without an approval of hold {hold} before it")]
    WithoutApproval { call: CallId, hold: HoldId },
    #[error("the approval of hold {hold} is spent a second time, by call {call}")]
    SpentTwice { call: CallId, hold: HoldId },
    #[error("call {call} is another call than was approved in hold {hold}")]
    OtherCall { call: CallId, hold: HoldId },
    #[error("a second hold {0}")]
    SecondHold(HoldId),
    #[error("hold {hold} cannot become {} here", .to.as_str())]
    OutOfTurn { hold: HoldId, to: StateName },
    #[error("hold {hold} was approved by {given} people where {needed} are needed")]
    TooFewApprovals { hold: HoldId, given: usize, needed: u32 },
    #[error("hold {hold} was approved without the signature of {person} that it needs")]
    WithoutSignature { hold: HoldId, person: String },
    #[error("hold {hold} was decided by {person}, who may not decide")]
    MayNotDecide { hold: HoldId, person: String },
    #[error("the signature of {person} on hold {hold} does not hold: {why}")]
    WrongSignature { hold: HoldId, person: String, why: String },
    #[error("hold {0} cannot be changed here")]
    AmendedOutOfTurn(HoldId),
    #[error(
        "call {call} was dispatched under the standing approval {standing}, which does not cover it"
    )]
    NotStanding { call: CallId, standing: StandingId },
    #[error("call {call} was dispatched while halt {halt}, which covers it, was engaged")]
    WhileHalted { call: CallId, halt: HaltId },
    #[error("a second halt {0}")]
    SecondHalt(HaltId),
    #[error("halt {0} ends, and was not engaged")]
    NotHalted(HaltId),
}

/// Where a hold stands while it is open.
#[derive(Debug)]
enum Phase {
    Pending { bound: Bound, approvals: Vec<Person> },
    Approved { bound: Bound },
    Executing { bound: Bound, call: CallId },
    Unknown { bound: Bound, call: CallId },
}

/// What an approval is for, and what it must at least be.
#[derive(Clone, Copy, Debug)]
struct Bound {
    digest: Digest,
    quorum: u32,
    signature: bool,
    decide_by: Timestamp,
}

impl Bound {
    fn of(digest: Digest, terms: &Terms, decide_by: Timestamp) -> Self {
        Self { digest, quorum: terms.quorum(), signature: terms.signature, decide_by }
    }
}

/// What a standing approval covers, while it was not revoked.
#[derive(Debug)]
struct Granted {
    agent: AgentName,
    tool: String,
    until: Timestamp,
}

/// What the log has said so far, as far as later entries depend on it.
#[derive(Debug, Default)]
pub(super) struct Story {
    running: HashMap<CallId, Option<HoldId>>,
    holds: HashMap<HoldId, Phase>,
    standing: HashMap<StandingId, Granted>,
    people: Register,
    halts: Halted,
    ended_calls: Recent<CallId>,
    spent: Recent<HoldId>,
    intents: u64,
    refusals: u64,
    approvals_spent: u64,
}

impl Story {
    /// Takes the next entry, written at `time`, into account.
    pub(super) fn follow(&mut self, event: &Event, time: Timestamp) -> Result<(), Twist> {
        self.people.follow(event);
        match event {
            Event::Intent(intent) => self.intent(intent, time),
            Event::Outcome { call, hold, .. } => self.outcome(*call, *hold),
            Event::Refusal(_) => {
                self.refusals += 1;
                Ok(())
            }
            Event::Hold { hold, asked, terms, decide_by, .. } => {
                let bound = Bound::of(asked.digest, terms, *decide_by);
                let phase = Phase::Pending { bound, approvals: Vec::new() };
                match self.holds.insert(*hold, phase) {
                    None => Ok(()),
                    Some(_) => Err(Twist::SecondHold(*hold)),
                }
            }
            Event::Verdict { hold, verdict, state } => self.verdict(*hold, verdict, *state),
            Event::HoldAmended { hold, amendment, terms, .. } => {
                self.amended(*hold, amendment, terms)
            }
            Event::HoldResolved { hold, call, resolution, verdict, state } => {
                self.resolved((*hold, *call), *resolution, verdict, *state)
            }
            Event::HoldChanged { hold, state, .. } => self.changed(*hold, *state),
            Event::HoldsExtended { holds, decide_by, .. } => self.extended(holds, *decide_by),
            Event::StandingGranted { standing, .. } => {
                let Standing { id, agent, tool, until, .. } = standing;
                let granted = Granted { agent: agent.clone(), tool: tool.clone(), until: *until };
                self.standing.insert(*id, granted);
                Ok(())
            }
            Event::StandingRevoked { standing, .. } => {
                self.standing.remove(standing);
                Ok(())
            }
            Event::Halt { .. } | Event::Resume { .. } | Event::HaltEnded { .. } => {
                self.halts.follow(event)
            }
            Event::VerdictRefused { .. }
            | Event::DefinitionsSeen { .. }
            | Event::DefinitionsQuarantined { .. }
            | Event::DefinitionAccepted { .. }
            | Event::RevisionLoaded { .. }
            | Event::AgentAdded { .. }
            | Event::AgentActsFor { .. }
            | Event::AgentRevoked { .. }
            | Event::AgentRotated { .. }
            | Event::ReviewerAdded { .. }
            | Event::ReviewerChanged { .. }
            | Event::ReviewerRevoked { .. }
            | Event::KeyRegistered { .. }
            | Event::Access { .. }
            | Event::KeyRemoved { .. }
            | Event::ClockSkew { .. }
            | Event::Absence { .. }
            | Event::BudgetAlert(_)
            | Event::TailRepaired { .. } => Ok(()),
        }
    }

    /// What it all came to.
    pub(super) fn end(&self, head: Head) -> Summary {
        Summary {
            head,
            intents: self.intents,
            refusals: self.refusals,
            approvals_spent: self.approvals_spent,
            open: u64::try_from(self.running.len()).unwrap_or(u64::MAX),
        }
    }

    fn intent(&mut self, intent: &Intent, time: Timestamp) -> Result<(), Twist> {
        let call = intent.asked.call;
        self.halts.check(intent)?;
        match (intent.hold, intent.standing) {
            (Some(hold), _) => self.spend(hold, intent)?,
            (None, Some(standing)) if !self.covers(standing, intent, time) => {
                return Err(Twist::NotStanding { call, standing });
            }
            (None, None) if intent.asked.decision == NEEDS_APPROVAL => {
                return Err(Twist::WithoutHold(call));
            }
            (None, _) => {}
        }
        if self.running.insert(call, intent.hold).is_some() {
            return Err(Twist::SecondIntent(call));
        }
        self.intents += 1;
        Ok(())
    }

    /// Whether a standing approval is for calls like this one, and in force.
    fn covers(&self, standing: StandingId, intent: &Intent, time: Timestamp) -> bool {
        let asked = &intent.asked;
        self.standing.get(&standing).is_some_and(|granted| {
            let last = granted.until.saturating_add(COMMIT_SLACK).unwrap_or(Timestamp::MAX);
            granted.agent == asked.agent && granted.tool == asked.tool && time <= last
        })
    }

    fn spend(&mut self, hold: HoldId, intent: &Intent) -> Result<(), Twist> {
        let call = intent.asked.call;
        match self.holds.get(&hold) {
            Some(Phase::Approved { bound }) if bound.digest != intent.asked.digest => {
                Err(Twist::OtherCall { call, hold })
            }
            Some(Phase::Approved { bound }) => {
                let phase = Phase::Executing { bound: *bound, call };
                self.holds.insert(hold, phase);
                self.spent.add(hold);
                self.approvals_spent += 1;
                Ok(())
            }
            Some(Phase::Executing { .. } | Phase::Unknown { .. }) => {
                Err(Twist::SpentTwice { call, hold })
            }
            None if self.spent.holds(&hold) => Err(Twist::SpentTwice { call, hold }),
            Some(Phase::Pending { .. }) | None => Err(Twist::WithoutApproval { call, hold }),
        }
    }

    fn outcome(&mut self, call: CallId, hold: Option<HoldId>) -> Result<(), Twist> {
        if let Some(id) = hold
            && let Some(Phase::Unknown { call: unknown, .. }) = self.holds.get(&id)
            && *unknown == call
        {
            self.holds.remove(&id);
            return Ok(());
        }
        match self.running.remove(&call) {
            None if self.ended_calls.holds(&call) => return Err(Twist::SecondOutcome(call)),
            None => return Err(Twist::OutcomeWithoutIntent(call)),
            Some(began) if began != hold => return Err(Twist::OtherHold(call)),
            Some(_) => self.ended_calls.add(call),
        }
        if let Some(id) = hold {
            self.holds.remove(&id);
        }
        Ok(())
    }

    fn verdict(&mut self, hold: HoldId, verdict: &Verdict, to: StateName) -> Result<(), Twist> {
        let out_of_turn = Twist::OutOfTurn { hold, to };
        let Some(Phase::Pending { bound, mut approvals }) = self.holds.remove(&hold) else {
            return Err(out_of_turn);
        };
        if bound.digest != verdict.digest {
            return Err(out_of_turn);
        }
        match (verdict.decision, to) {
            (Decision::Reject, StateName::Rejected) => {
                return self.people.check(hold, verdict, bound.decide_by, false, None);
            }
            (Decision::Approve, StateName::Pending | StateName::Approved) => {}
            (Decision::Approve | Decision::Reject, _) => return Err(out_of_turn),
        }
        self.people.check(hold, verdict, bound.decide_by, bound.signature, None)?;
        let own = self.people.same_human(&verdict.person.name);
        approvals.retain(|known| !own.contains(&known.name));
        approvals.push(verdict.person.clone());
        let given = approvals.iter().filter(|it| self.people.may_decide(it, verdict.at)).count();
        let phase = if to == StateName::Pending {
            Phase::Pending { bound, approvals }
        } else if u32::try_from(given).is_ok_and(|given| given < bound.quorum) {
            return Err(Twist::TooFewApprovals { hold, given, needed: bound.quorum });
        } else {
            Phase::Approved { bound }
        };
        self.holds.insert(hold, phase);
        Ok(())
    }

    fn amended(&mut self, hold: HoldId, amendment: &Amendment, terms: &Terms) -> Result<(), Twist> {
        match self.holds.remove(&hold) {
            Some(Phase::Pending { bound, .. }) if bound.digest == amendment.from => {
                let bound = Bound::of(amendment.to, terms, bound.decide_by);
                self.holds.insert(hold, Phase::Pending { bound, approvals: Vec::new() });
                Ok(())
            }
            Some(_) | None => Err(Twist::AmendedOutOfTurn(hold)),
        }
    }

    fn resolved(
        &mut self,
        (hold, call): (HoldId, CallId),
        resolution: Resolution,
        verdict: &Verdict,
        to: StateName,
    ) -> Result<(), Twist> {
        let out_of_turn = Twist::OutOfTurn { hold, to };
        let Some(Phase::Unknown { bound, call: unknown }) = self.holds.remove(&hold) else {
            return Err(out_of_turn);
        };
        let is_of_it = verdict.digest == bound.digest && verdict.decision == Decision::Approve;
        if unknown != call || !is_of_it {
            return Err(out_of_turn);
        }
        let resolves = Some(Resolves { resolution, call });
        self.people.check(hold, verdict, bound.decide_by, bound.signature, resolves)?;
        match (resolution, to) {
            (Resolution::Done | Resolution::Failed, StateName::Finished) => Ok(()),
            (Resolution::RunAgain, StateName::Approved) => {
                self.holds.insert(hold, Phase::Approved { bound });
                Ok(())
            }
            (Resolution::Done | Resolution::Failed | Resolution::RunAgain, _) => Err(out_of_turn),
        }
    }

    fn changed(&mut self, hold: HoldId, to: StateName) -> Result<(), Twist> {
        let stays = match (self.holds.remove(&hold), to) {
            (Some(Phase::Pending { .. }), StateName::Expired | StateName::Withdrawn)
            | (Some(Phase::Approved { .. }), StateName::Lapsed | StateName::Superseded)
            | (Some(Phase::Pending { .. } | Phase::Approved { .. }), StateName::Halted) => None,
            (Some(Phase::Executing { bound, call }), StateName::Unknown) => {
                self.interrupt(call);
                Some(Phase::Unknown { bound, call })
            }
            (Some(Phase::Executing { bound, call }), StateName::Approved) => {
                self.interrupt(call);
                Some(Phase::Approved { bound })
            }
            (Some(_) | None, to) => return Err(Twist::OutOfTurn { hold, to }),
        };
        if let Some(phase) = stays {
            self.holds.insert(hold, phase);
        }
        Ok(())
    }

    fn extended(&mut self, holds: &[HoldId], until: Timestamp) -> Result<(), Twist> {
        holds.iter().try_for_each(|hold| match self.holds.get_mut(hold) {
            Some(Phase::Pending { bound, .. }) => {
                bound.decide_by = until;
                Ok(())
            }
            Some(_) | None => Err(Twist::OutOfTurn { hold: *hold, to: StateName::Pending }),
        })
    }

    fn interrupt(&mut self, call: CallId) {
        self.running.remove(&call);
        self.ended_calls.add(call);
    }
}
