//! The only way out: what really runs a tool.

pub mod mcp;

use serde_json::value::RawValue;

/// What a backend gave back: the text of an MCP `CallToolResult` object, not yet checked.
#[derive(Debug)]
pub struct RawResult(pub Box<RawValue>);

/// One progress notification on its way to the caller (MCP `notifications/progress`).
#[derive(Clone, Debug)]
pub struct Progress {
    /// How far, in units of the tool's choosing; must grow.
    pub progress: f64,
    /// Out of how much, if known.
    pub total: Option<f64>,
    /// In words.
    pub message: Option<String>,
}

/// Where progress goes. Bounded; what does not fit is dropped.
pub type ProgressSink = tokio::sync::mpsc::Sender<Progress>;

/// Why a backend gave no result. The texts are for operators; agents get a fixed sentence per kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// It cannot be reached or started now. Nothing ran.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// All worker slots are taken and the queue is full or its deadline passed. Nothing ran.
    #[error("busy: {waiting} calls wait already")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The time limit passed; it was stopped. It may have had an effect.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The caller took the call back; it was stopped. It may have had an effect.
    #[error("cancelled")]
    Cancelled,
    /// It ended or lost its connection before it answered. It may have had an effect.
    #[error("died: {0}")]
    Died(String),
    /// It answered what is not an MCP result. It may have had an effect.
    #[error("nonsense: {0}")]
    Nonsense(String),
    /// Its result is larger than the limit, in bytes.
    #[error("a result of more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It refused the request itself, with a JSON-RPC error. As a rule nothing ran.
    #[error("refused with code {code}: {message}")]
    Refused {
        /// The JSON-RPC error code, as the backend sent it.
        code: i64,
        /// What it said, bounded; never shown to agents as it stands.
        message: String,
    },
}
