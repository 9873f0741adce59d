//! What entries say about each other: no outcome without an intent, no held call without an approval
//! that is spent once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use super::{Head, Summary};
use crate::digest::Digest;
use crate::evidence::{Event, Intent};
use crate::hold::{Decision, StateName, Verdict};
use crate::ids::{CallId, HoldId};

/// How many ended calls, and how many ended holds, are kept to say of a second ending what it is;
/// a later one is a fault as well, under a more general name.
const RECENT: usize = 65_536;

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
}

/// Where a hold stands while it is open.
#[derive(Debug)]
enum Phase {
    Pending { digest: Digest },
    Approved { digest: Digest },
    Executing { digest: Digest, call: CallId },
    Unknown { digest: Digest, call: CallId },
}

/// What the log has said so far, as far as later entries depend on it.
#[derive(Debug, Default)]
pub(super) struct Story {
    running: HashMap<CallId, Option<HoldId>>,
    holds: HashMap<HoldId, Phase>,
    ended_calls: Recent<CallId>,
    spent: Recent<HoldId>,
    intents: u64,
    refusals: u64,
    approvals_spent: u64,
}

impl Story {
    /// Takes the next entry into account.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), Twist> {
        match event {
            Event::Intent(intent) => self.intent(intent),
            Event::Outcome { call, hold, .. } => self.outcome(*call, *hold),
            Event::Refusal(_) => {
                self.refusals += 1;
                Ok(())
            }
            Event::Hold { hold, asked, .. } => {
                let phase = Phase::Pending { digest: asked.digest };
                match self.holds.insert(*hold, phase) {
                    None => Ok(()),
                    Some(_) => Err(Twist::SecondHold(*hold)),
                }
            }
            Event::Verdict { hold, verdict, state } => self.verdict(*hold, verdict, *state),
            Event::HoldChanged { hold, state, .. } => self.changed(*hold, *state),
            Event::HoldsExtended { holds, .. } => self.extended(holds),
            Event::RevisionLoaded { .. }
            | Event::AgentAdded { .. }
            | Event::AgentRevoked { .. }
            | Event::ClockSkew { .. }
            | Event::Absence { .. }
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

    fn intent(&mut self, intent: &Intent) -> Result<(), Twist> {
        let call = intent.asked.call;
        match intent.hold {
            Some(hold) => self.spend(hold, intent)?,
            None if intent.asked.decision == NEEDS_APPROVAL => {
                return Err(Twist::WithoutHold(call));
            }
            None => {}
        }
        if self.running.insert(call, intent.hold).is_some() {
            return Err(Twist::SecondIntent(call));
        }
        self.intents += 1;
        Ok(())
    }

    fn spend(&mut self, hold: HoldId, intent: &Intent) -> Result<(), Twist> {
        let call = intent.asked.call;
        match self.holds.get(&hold) {
            Some(Phase::Approved { digest }) if *digest != intent.asked.digest => {
                Err(Twist::OtherCall { call, hold })
            }
            Some(Phase::Approved { digest }) => {
                let phase = Phase::Executing { digest: *digest, call };
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
        match (self.holds.remove(&hold), verdict.decision, to) {
            (Some(Phase::Pending { digest }), Decision::Approve, StateName::Approved)
                if digest == verdict.digest =>
            {
                self.holds.insert(hold, Phase::Approved { digest });
                Ok(())
            }
            (Some(Phase::Pending { digest }), Decision::Reject, StateName::Rejected)
                if digest == verdict.digest =>
            {
                Ok(())
            }
            (_, Decision::Approve | Decision::Reject, _) => Err(out_of_turn),
        }
    }

    fn changed(&mut self, hold: HoldId, to: StateName) -> Result<(), Twist> {
        let stays = match (self.holds.remove(&hold), to) {
            (Some(Phase::Pending { .. }), StateName::Expired | StateName::Withdrawn)
            | (Some(Phase::Approved { .. }), StateName::Lapsed | StateName::Superseded)
            | (Some(Phase::Pending { .. } | Phase::Approved { .. }), StateName::Halted) => None,
            (Some(Phase::Executing { digest, call }), StateName::Unknown) => {
                self.interrupt(call);
                Some(Phase::Unknown { digest, call })
            }
            (Some(Phase::Executing { digest, call }), StateName::Approved) => {
                self.interrupt(call);
                Some(Phase::Approved { digest })
            }
            (Some(Phase::Unknown { digest, .. }), StateName::Approved) => {
                Some(Phase::Approved { digest })
            }
            (Some(_) | None, to) => return Err(Twist::OutOfTurn { hold, to }),
        };
        if let Some(phase) = stays {
            self.holds.insert(hold, phase);
        }
        Ok(())
    }

    fn extended(&self, holds: &[HoldId]) -> Result<(), Twist> {
        let pending = |id: &HoldId| matches!(self.holds.get(id), Some(Phase::Pending { .. }));
        match holds.iter().find(|id| !pending(id)) {
            None => Ok(()),
            Some(hold) => Err(Twist::OutOfTurn { hold: *hold, to: StateName::Pending }),
        }
    }

    fn interrupt(&mut self, call: CallId) {
        self.running.remove(&call);
        self.ended_calls.add(call);
    }
}

/// The last [`RECENT`] things that were added.
#[derive(Debug)]
struct Recent<T> {
    order: VecDeque<T>,
    all: HashSet<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), all: HashSet::new() }
    }
}

impl<T: Copy + Eq + Hash> Recent<T> {
    fn add(&mut self, thing: T) {
        if !self.all.insert(thing) {
            return;
        }
        self.order.push_back(thing);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }

    fn holds(&self, thing: &T) -> bool {
        self.all.contains(thing)
    }
}
