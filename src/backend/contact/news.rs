//! What a tool tells its caller while it runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::secrets::Redactor;

/// Something that a tool tells.
#[derive(Clone, Debug)]
pub enum News {
    /// How far it is.
    Progress(Progress),
    /// A message for the log.
    Log(Log),
}

impl News {
    /// Takes secrets out.
    pub(super) fn redact(&mut self, redactor: &Redactor) {
        match self {
            Self::Progress(Progress { message: Some(message), .. }) => {
                let mut text = Value::String(std::mem::take(message));
                redactor.redact_json(&mut text);
                if let Value::String(text) = text {
                    *message = text;
                }
            }
            Self::Progress(_) => {}
            Self::Log(log) => {
                let mut whole = Value::Array(vec![
                    std::mem::take(&mut log.data),
                    log.logger.take().map_or(Value::Null, Value::String),
                ]);
                redactor.redact_json(&mut whole);
                if let Value::Array(parts) = whole {
                    let mut parts = parts.into_iter();
                    log.data = parts.next().unwrap_or_default();
                    log.logger = parts.next().and_then(|it| it.as_str().map(str::to_owned));
                }
            }
        }
    }
}

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

/// One log message on its way to the caller (MCP `notifications/message`).
#[derive(Clone, Debug)]
pub struct Log {
    /// How severe.
    pub level: Level,
    /// Who says it, in the words of the server.
    pub logger: Option<String>,
    /// What is said; any JSON value.
    pub data: Value,
}

/// How severe a log message is (RFC 5424, section 6.2.1), the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// The level that `text` names.
    #[must_use]
    pub fn of(text: &Value) -> Option<Self> {
        Self::deserialize(text).ok()
    }
}
