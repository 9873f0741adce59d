//! What may happen to a hold in each state, and who wins when two things happen at once.

use jiff::Timestamp;

use super::{Hold, State, StateName};
use crate::digest::Digest;
use crate::evidence::Outcome;
use crate::ids::{CallId, HoldId};

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
        /// The hold that is opened in its place.
        anew: Option<HoldId>,
    },
    /// `Pending` or `Approved`, and a halt covers it.
    Halt {
        /// What was stopped, and why.
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
    /// The person may not decide about this hold.
    #[error("{person} may not decide this: {why}")]
    NotAllowed {
        /// Who.
        person: String,
        /// Why not, and who may.
        why: String,
    },
    /// The person has approved already; the others are waited for.
    #[error("{person} has approved already; {missing}")]
    Again {
        /// Who.
        person: String,
        /// Who is waited for.
        missing: String,
    },
    /// The rules do not let reviewers change the arguments.
    #[error(
        "the rules of this hold do not let its arguments be changed; reject it with a reason instead"
    )]
    NotEditable,
    /// A halt covers the call.
    #[error("{0}; nobody decides on it until that is resumed")]
    Halted(String),
    /// An approval that must be signed is not, or its signature does not hold.
    #[error("{0}")]
    Signature(String),
}

impl Lost {
    /// Whether it was a person who tried what that person may not do.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        match self {
            Self::NotAllowed { .. } | Self::Signature(_) | Self::NotEditable => true,
            Self::Already(_)
            | Self::OtherDigest { .. }
            | Self::TooLate(_)
            | Self::Again { .. }
            | Self::Halted(_) => false,
        }
    }
}

impl Hold {
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
        self.state = match (ending, self.state) {
            (Ending::Expire, State::Pending { .. }) if at > self.decide_by => State::Expired { at },
            (Ending::Withdraw, State::Pending { .. }) => State::Withdrawn { at },
            (Ending::Lapse, State::Approved { verdicts, execute_by, .. }) if at > execute_by => {
                State::Lapsed { verdicts, at }
            }
            (Ending::Supersede { why, anew }, State::Approved { verdicts, .. }) => {
                State::Superseded { verdicts, at, why, anew }
            }
            (Ending::Halt { why }, State::Pending { .. } | State::Approved { .. }) => {
                State::Halted { at, why }
            }
            (
                Ending::Expire
                | Ending::Withdraw
                | Ending::Lapse
                | Ending::Supersede { .. }
                | Ending::Halt { .. },
                _,
            ) => return Err(Lost::Already(name)),
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
            State::Pending { .. }
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

    pub(super) fn must_be(&self, wanted: StateName) -> Result<(), Lost> {
        let name = self.state.name();
        if name == wanted { Ok(()) } else { Err(Lost::Already(name)) }
    }
}
