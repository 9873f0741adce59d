//! What a client can do for a server whose tool it calls, as MCP names it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a client can do for a server, as MCP names it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// Let its model write something (`sampling/createMessage`).
    Sampling,
    /// Ask its person (`elicitation/create`).
    Elicitation,
    /// Name its directories (`roots/list`).
    Roots,
}

impl Ability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sampling, Self::Elicitation, Self::Roots];

    /// Its name among a client's capabilities.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::Elicitation => "elicitation",
            Self::Roots => "roots",
        }
    }

    /// The method by which a server asks for it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Sampling => "sampling/createMessage",
            Self::Elicitation => "elicitation/create",
            Self::Roots => "roots/list",
        }
    }

    /// The ways in which a client may be able to do it, as members of that capability (MCP 2026-07-28,
    /// `ClientCapabilities`).
    #[must_use]
    pub const fn ways(self) -> &'static [&'static str] {
        match self {
            Self::Sampling => &["context", "tools"],
            Self::Elicitation => &["form", "url"],
            Self::Roots => &[],
        }
    }

    /// What is asked for by `method`.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.method() == method)
    }
}
