//! What brought a revision into force, and who.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::principal::Person;

/// What brought a revision into force, and who. Entries from before this was recorded say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// By what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<Loading>,
    /// The person who asked for it; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Person>,
    /// Why, in that person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// By what a revision came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loading {
    /// The gateway started.
    Start,
    /// Files changed, or the process was told to read them (SIGHUP).
    Files,
    /// A person had the files read again.
    Reload,
    /// An MCP server offered something else.
    Server,
    /// A person went back to an earlier revision.
    Rollback,
}

impl Loading {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Reload => "reload",
            Self::Server => "server",
            Self::Rollback => "rollback",
        }
    }
}

impl From<Loading> for Cause {
    fn from(how: Loading) -> Self {
        Self { how: Some(how), by: None, reason: None }
    }
}
