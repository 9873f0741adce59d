//! What came out of a call that was dispatched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Charge;
use crate::catalog::Ability;
use crate::digest::Digest;

/// What came out of a dispatched call, as it is recorded, counted and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// How it ended.
    pub status: OutcomeStatus,
    /// What went wrong, in words without arguments or secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// SHA-256 of the result as the caller got it, before the gateway's own `_meta`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_digest: Option<Digest>,
    /// The size of that result, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
    /// How long the backend took, in milliseconds.
    pub backend_ms: u64,
    /// What the backend asked of the caller's client meanwhile, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<AskedClient>,
    /// Whether the result was kept from an earlier call, and the backend was not asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// What it took from budgets, beside what its intent says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
}

/// One thing that a backend asked of the client whose call it ran; what it said, and what was answered, is
/// in no entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedClient {
    /// What for.
    pub ability: Ability,
    /// SHA-256 of the request's `method` and `params`, as JSON, as the client was sent them.
    pub digest: Digest,
    /// Whether the client answered with a result.
    pub answered: bool,
}

/// How a dispatched call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    /// The tool gave a result.
    Success,
    /// The tool said that it failed (`isError: true`, or a non-zero exit).
    ToolError,
    /// The backend could not be reached, died, or answered nonsense.
    BackendError,
    /// The time limit passed; the tool was stopped.
    Timeout,
    /// The caller took it back; the tool was stopped.
    Cancelled,
    /// A halt stopped it.
    Halted,
    /// The result broke a rule (size, `output_schema`) and was kept from the caller.
    ResultRefused,
    /// The gateway stopped before the outcome was recorded.
    Unknown,
}

impl OutcomeStatus {
    /// The status as text: in entries, metrics and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ToolError => "tool_error",
            Self::BackendError => "backend_error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Halted => "halted",
            Self::ResultRefused => "result_refused",
            Self::Unknown => "unknown",
        }
    }
}
