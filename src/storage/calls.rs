//! Calls as people search them: one line each, made from the record.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StoredEntry;
use crate::evidence::OutcomeStatus;
use crate::hold::StateName;
use crate::ids::{AgentName, CallId, HoldId};

/// Where a call stands, by the last entry that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// It was dispatched, and no outcome is recorded yet.
    Running,
    /// It opened a hold; what became of it says the hold's state.
    Held,
    /// It was turned away.
    Refused,
    /// The tool gave a result.
    Success,
    /// The tool said that it failed.
    ToolError,
    /// The backend could not be reached, died, or answered nonsense.
    BackendError,
    /// The time limit passed.
    Timeout,
    /// The caller took it back while it ran.
    Cancelled,
    /// A halt stopped it while it ran.
    Halted,
    /// The result broke a rule and was kept from the caller.
    ResultRefused,
    /// The gateway stopped before the outcome was recorded.
    Unknown,
}

impl CallStatus {
    /// Every status.
    pub const ALL: [Self; 11] = [
        Self::Running,
        Self::Held,
        Self::Refused,
        Self::Success,
        Self::ToolError,
        Self::BackendError,
        Self::Timeout,
        Self::Cancelled,
        Self::Halted,
        Self::ResultRefused,
        Self::Unknown,
    ];

    /// The status as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Success => OutcomeStatus::Success.as_str(),
            Self::ToolError => OutcomeStatus::ToolError.as_str(),
            Self::BackendError => OutcomeStatus::BackendError.as_str(),
            Self::Timeout => OutcomeStatus::Timeout.as_str(),
            Self::Cancelled => OutcomeStatus::Cancelled.as_str(),
            Self::Halted => OutcomeStatus::Halted.as_str(),
            Self::ResultRefused => OutcomeStatus::ResultRefused.as_str(),
            Self::Unknown => OutcomeStatus::Unknown.as_str(),
        }
    }
}

/// Which calls to list.
#[derive(Clone, Debug, Default)]
pub struct CallQuery {
    /// Only this agent's.
    pub agent: Option<AgentName>,
    /// Only calls of this tool.
    pub tool: Option<String>,
    /// Only those that stand so.
    pub status: Option<CallStatus>,
    /// Only those that this rule decided.
    pub rule: Option<String>,
    /// Only those that belong to this hold.
    pub hold: Option<HoldId>,
    /// Only those whose identifier begins so.
    pub id: Option<String>,
    /// Only those that began then or later.
    pub after: Option<Timestamp>,
    /// Only those that began earlier.
    pub before: Option<Timestamp>,
    /// Only those whose first entry stands before this place in the log.
    pub below: Option<u64>,
    /// At most so many; the store's own bound is 200.
    pub limit: u32,
}

/// A call of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCall {
    /// The place of its first entry in the log.
    pub first: u64,
    /// When that was written.
    pub at: Timestamp,
    /// The call.
    pub call: CallId,
    /// The agent.
    pub agent: AgentName,
    /// The tool.
    pub tool: String,
    /// Where it stands.
    pub status: CallStatus,
    /// The kind of its refusal, one word.
    pub refusal: Option<String>,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// The hold that it opened, or whose approval it spent, and that hold's state now.
    pub hold: Option<(HoldId, StateName)>,
}

/// A part of the list of calls.
#[derive(Clone, Debug)]
pub struct CallPage {
    /// The calls, newest first.
    pub calls: Vec<ListedCall>,
    /// What to ask for next as [`CallQuery::below`]; none when there are no more.
    pub next: Option<u64>,
}

/// Everything that the record says of one call.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The call.
    pub call: ListedCall,
    /// All calls of its hold, itself among them, oldest first.
    pub calls: Vec<CallId>,
    /// The entries about them, in order.
    pub entries: Vec<StoredEntry>,
    /// Whether there are more of them than the store gives.
    pub more: bool,
}
