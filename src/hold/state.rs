//! The states of a hold, each holding what is true in it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Verdict;
use crate::evidence::Outcome;
use crate::ids::{CallId, HoldId};

/// Where a hold stands (design §7).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum State {
    /// People have not decided, or not enough of them.
    Pending {
        /// The approvals given so far.
        #[serde(default)]
        verdicts: Vec<Verdict>,
    },
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
        /// The verdicts that made the approval; those of earlier versions are in the log alone.
        #[serde(default)]
        verdicts: Vec<Verdict>,
        /// When that was noticed.
        at: Timestamp,
    },
    /// Approved, but the definition, the policy or the edits no longer give the approved digest.
    Superseded {
        /// The verdicts that made the approval; those of earlier versions are in the log alone.
        #[serde(default)]
        verdicts: Vec<Verdict>,
        /// When that was noticed.
        at: Timestamp,
        /// What changed, in words.
        why: String,
        /// The hold that was opened in its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anew: Option<HoldId>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
            Self::Pending { .. } => StateName::Pending,
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
            Self::Pending { verdicts }
            | Self::Approved { verdicts, .. }
            | Self::Executing { verdicts, .. }
            | Self::Finished { verdicts, .. }
            | Self::Unknown { verdicts, .. }
            | Self::Lapsed { verdicts, .. }
            | Self::Superseded { verdicts, .. } => verdicts,
            Self::Rejected { verdict } => std::slice::from_ref(verdict),
            Self::Expired { .. } | Self::Withdrawn { .. } | Self::Halted { .. } => &[],
        }
    }
}
