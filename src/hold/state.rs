//! The states of a hold, each holding what is true in it, and who wins when two things happen at once.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Hold;
use crate::digest::Digest;
use crate::evidence::Outcome;
use crate::ids::CallId;
use crate::principal::Person;

/// Where a hold stands (design §7).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum State {
    /// People have not decided.
    Pending,
    /// Approved; not yet running.
    Approved {
        /// The verdicts that make the approval.
        verdicts: Vec<Verdict>,
        /// When the last of them was given.
        at: Timestamp,
        /// Until when it may begin to run.
        execute_by: Timestamp,
    },
    /// The approval is spent and the call is running.
    Executing {
        /// The verdicts that made the approval.
        verdicts: Vec<Verdict>,
        /// The execution's call.
        call: CallId,
        /// When its intent was recorded.
        since: Timestamp,
    },
    /// The call ran; its outcome is known.
    Finished {
        /// The verdicts that made the approval.
        verdicts: Vec<Verdict>,
        /// The execution's call.
        call: CallId,
        /// What came out.
        outcome: Outcome,
        /// When.
        at: Timestamp,
        /// Whether the agent has had the result.
        collected: bool,
    },
    /// The gateway stopped between intent and outcome; people must say what happened.
    Unknown {
        /// The verdicts that made the approval.
        verdicts: Vec<Verdict>,
        /// The execution's call.
        call: CallId,
        /// When its intent was recorded.
        since: Timestamp,
    },
    /// A person said no.
    Rejected {
        /// The verdict.
        verdict: Verdict,
    },
    /// Nobody decided in time.
    Expired {
        /// When that was noticed.
        at: Timestamp,
    },
    /// The agent took the call back.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
    /// Approved, but the execution window passed.
    Lapsed {
        /// When that was noticed.
        at: Timestamp,
    },
    /// Approved, but the definition, the policy or the edits no longer give the approved digest.
    Superseded {
        /// When that was noticed.
        at: Timestamp,
        /// What changed, in words.
        why: String,
    },
    /// Stopped by a halt.
    Halted {
        /// When.
        at: Timestamp,
        /// The halt's reason.
        why: String,
    },
}

/// Reads a state by way of a [`Value`]: a tagged type cannot take integers straight from a text whose
/// digits are kept.
pub(super) fn by_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
    let value = Value::deserialize(deserializer)?;
    State::deserialize(value).map_err(D::Error::custom)
}

/// The name of a state, as it is stored, shown and filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is described at the state it names")]
pub enum StateName {
    Pending,
    Approved,
    Executing,
    Finished,
    Unknown,
    Rejected,
    Expired,
    Withdrawn,
    Lapsed,
    Superseded,
    Halted,
}

impl StateName {
    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Finished => "finished",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Lapsed => "lapsed",
            Self::Superseded => "superseded",
            Self::Halted => "halted",
        }
    }

    /// Whether nothing can happen to the hold any more but that its result is collected.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Executing)
    }
}

impl State {
    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::Pending => StateName::Pending,
            Self::Approved { .. } => StateName::Approved,
            Self::Executing { .. } => StateName::Executing,
            Self::Finished { .. } => StateName::Finished,
            Self::Unknown { .. } => StateName::Unknown,
            Self::Rejected { .. } => StateName::Rejected,
            Self::Expired { .. } => StateName::Expired,
            Self::Withdrawn { .. } => StateName::Withdrawn,
            Self::Lapsed { .. } => StateName::Lapsed,
            Self::Superseded { .. } => StateName::Superseded,
            Self::Halted { .. } => StateName::Halted,
        }
    }

    /// The verdicts given so far.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        match self {
            Self::Approved { verdicts, .. }
            | Self::Executing { verdicts, .. }
            | Self::Finished { verdicts, .. }
            | Self::Unknown { verdicts, .. } => verdicts,
            Self::Rejected { verdict } => std::slice::from_ref(verdict),
            Self::Pending
            | Self::Expired { .. }
            | Self::Withdrawn { .. }
            | Self::Lapsed { .. }
            | Self::Superseded { .. }
            | Self::Halted { .. } => &[],
        }
    }
}

/// Approve or reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The exact call may run, once.
    Approve,
    /// It may not.
    Reject,
}

/// One person's decision on one hold, bound to the digest that person saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who.
    pub person: Person,
    /// What.
    pub decision: Decision,
    /// The call digest the person saw.
    pub digest: Digest,
    /// Why, in the person's words; shown to the agent.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// How a hold may end without a verdict and without running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `Pending` past its `decide_by`.
    Expire,
    /// The agent took it back.
    Withdraw,
    /// `Approved` past its `execute_by`.
    Lapse,
    /// `Approved`, but the walk no longer gives the approved digest.
    Supersede {
        /// What changed.
        why: String,
    },
}

/// A transition that came too late or does not fit: what stands instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The hold is already in another state.
    #[error("the hold is already {}", .0.as_str())]
    Already(StateName),
    /// The verdict carries another digest than the hold.
    #[error("the verdict is for {seen}, but the hold is for {held}; look at it again")]
    OtherDigest {
        /// What the person saw.
        seen: Digest,
        /// What is held.
        held: Digest,
    },
    /// The window in which it could be decided or run has passed.
    #[error("too late: the window closed at {0}")]
    TooLate(Timestamp),
}

impl Hold {
    /// A person's verdict on a pending hold. One rejection rejects; one approval approves.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not pending, the digest is another, or the time to decide is over.
    pub fn decide(mut self, verdict: Verdict) -> Result<Self, Lost> {
        self.must_be(StateName::Pending)?;
        if verdict.digest != self.digest {
            return Err(Lost::OtherDigest { seen: verdict.digest, held: self.digest });
        }
        if verdict.at > self.decide_by {
            return Err(Lost::TooLate(self.decide_by));
        }
        self.state = match verdict.decision {
            Decision::Reject => State::Rejected { verdict },
            Decision::Approve => {
                let at = verdict.at;
                let execute_by = at.saturating_add(self.execute_within).unwrap_or(Timestamp::MAX);
                State::Approved { verdicts: vec![verdict], at, execute_by }
            }
        };
        Ok(self)
    }

    /// Spends the approval on the execution `call`: once, and only for the approved digest.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not approved, `digest` is another, or the execution window has passed.
    pub fn spend(mut self, call: CallId, digest: &Digest, now: Timestamp) -> Result<Self, Lost> {
        let name = self.state.name();
        let State::Approved { verdicts, execute_by, .. } = self.state else {
            return Err(Lost::Already(name));
        };
        if *digest != self.digest {
            return Err(Lost::OtherDigest { seen: *digest, held: self.digest });
        }
        if now > execute_by {
            return Err(Lost::TooLate(execute_by));
        }
        self.state = State::Executing { verdicts, call, since: now };
        Ok(self)
    }

    /// The execution ended and its outcome is known.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not executing (or of unknown outcome, which people may resolve).
    pub fn finish(mut self, outcome: Outcome, at: Timestamp) -> Result<Self, Lost> {
        let name = self.state.name();
        let (State::Executing { verdicts, call, .. } | State::Unknown { verdicts, call, .. }) =
            self.state
        else {
            return Err(Lost::Already(name));
        };
        self.state = State::Finished { verdicts, call, outcome, at, collected: false };
        Ok(self)
    }

    /// The gateway stopped between intent and outcome: nobody can know, so nobody guesses. A tool
    /// declared `idempotent` goes back to `Approved` instead, to be run again by itself.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not executing.
    pub fn interrupt(mut self, idempotent: bool, now: Timestamp) -> Result<Self, Lost> {
        let name = self.state.name();
        let State::Executing { verdicts, call, since } = self.state else {
            return Err(Lost::Already(name));
        };
        self.state = if idempotent {
            let execute_by = now.saturating_add(self.execute_within).unwrap_or(Timestamp::MAX);
            State::Approved { verdicts, at: now, execute_by }
        } else {
            State::Unknown { verdicts, call, since }
        };
        Ok(self)
    }

    /// Ends the hold without running it.
    ///
    /// # Errors
    /// [`Lost`] when it is no longer in the state that `ending` starts from, or its time has not come.
    pub fn end(mut self, ending: Ending, at: Timestamp) -> Result<Self, Lost> {
        let name = self.state.name();
        self.state = match (ending, &self.state) {
            (Ending::Expire, State::Pending) if at > self.decide_by => State::Expired { at },
            (Ending::Withdraw, State::Pending) => State::Withdrawn { at },
            (Ending::Lapse, State::Approved { execute_by, .. }) if at > *execute_by => {
                State::Lapsed { at }
            }
            (Ending::Supersede { why }, State::Approved { .. }) => State::Superseded { at, why },
            (Ending::Expire | Ending::Withdraw | Ending::Lapse | Ending::Supersede { .. }, _) => {
                return Err(Lost::Already(name));
            }
        };
        Ok(self)
    }

    /// The agent has had the result.
    ///
    /// # Errors
    /// [`Lost`] when there is no result, or it was collected before.
    pub fn collect(mut self) -> Result<Self, Lost> {
        let name = self.state.name();
        match &mut self.state {
            State::Finished { collected, .. } if !*collected => *collected = true,
            State::Pending
            | State::Approved { .. }
            | State::Executing { .. }
            | State::Finished { .. }
            | State::Unknown { .. }
            | State::Rejected { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Superseded { .. }
            | State::Halted { .. } => return Err(Lost::Already(name)),
        }
        Ok(self)
    }

    fn must_be(&self, wanted: StateName) -> Result<(), Lost> {
        let name = self.state.name();
        if name == wanted { Ok(()) } else { Err(Lost::Already(name)) }
    }
}
