//! Halts: what an operator has stopped, which calls that covers, and the register that calls and halts meet in.

mod register;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, HaltId};
use crate::principal::{Person, Via};

pub use register::{Entry, Full, Pass, Register};

/// How many halts may be engaged at once.
pub const MAX_HALTS: usize = 100;
/// The longest name in a scope, in characters.
pub const MAX_NAME: usize = 256;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 2000;

/// An engaged kill switch (design §10): calls that it covers do not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halt {
    /// Its identifier.
    pub id: HaltId,
    /// What it stops.
    pub scope: Scope,
    /// Why, in the operator's words; agents are told.
    pub reason: String,
    /// Who engaged it.
    pub by: Person,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a halt stops.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every call.
    All,
    /// The calls of one agent.
    Agent(#[schemars(length(min = 1, max = 256))] String),
    /// The calls of the agents in one group.
    Group(#[schemars(length(min = 1, max = 256))] String),
    /// The calls of one tool.
    Tool(#[schemars(length(min = 1, max = 256))] String),
    /// The calls of all tools of one backend.
    Backend(#[schemars(length(min = 1, max = 256))] String),
    /// The calls of all tools with one capability.
    Capability(#[schemars(length(min = 1, max = 256))] String),
    /// The calls of one workflow.
    Workflow(#[schemars(length(min = 1, max = 256))] String),
}

/// The facts of a call that a halt may be about. A scope that names a fact which a call has not does not cover it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The agent.
    pub agent: AgentName,
    /// Its groups.
    pub groups: Vec<String>,
    /// The orchestrator that acts for the agent.
    pub via: Option<Via>,
    /// The tool.
    pub tool: String,
    /// The backend that would run it.
    pub backend: Option<String>,
    /// The tool's capability, as this call's arguments choose it.
    pub capability: Option<String>,
    /// The workflow, as the caller names it.
    pub workflow: Option<String>,
}

impl Scope {
    /// The kinds of scopes, as [`Self::kind`] gives them.
    pub const KINDS: [&str; 7] =
        ["all", "agent", "group", "tool", "backend", "capability", "workflow"];

    /// The kind, as one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Agent(_) => "agent",
            Self::Group(_) => "group",
            Self::Tool(_) => "tool",
            Self::Backend(_) => "backend",
            Self::Capability(_) => "capability",
            Self::Workflow(_) => "workflow",
        }
    }

    /// The name in it; none of [`Self::All`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Agent(name)
            | Self::Group(name)
            | Self::Tool(name)
            | Self::Backend(name)
            | Self::Capability(name)
            | Self::Workflow(name) => Some(name),
        }
    }

    /// Whether it is about a call with these facts.
    #[must_use]
    pub fn covers(&self, subject: &Subject) -> bool {
        match self {
            Self::All => true,
            Self::Agent(name) => {
                let via = subject.via.as_ref().map(|via| via.agent.as_str());
                subject.agent.as_str() == name || via == Some(name)
            }
            Self::Group(name) => {
                let via = subject.via.as_ref().map_or(&[][..], |via| &via.groups);
                subject.groups.contains(name) || via.contains(name)
            }
            Self::Tool(name) => subject.tool == *name,
            Self::Backend(name) => subject.backend.as_ref() == Some(name),
            Self::Capability(name) => subject.capability.as_ref() == Some(name),
            Self::Workflow(name) => subject.workflow.as_ref() == Some(name),
        }
    }

    /// Whether its name is one.
    ///
    /// # Errors
    /// In words that say what would be accepted.
    pub fn check(&self) -> Result<(), String> {
        match self.name() {
            Some(name) if name.is_empty() || name.chars().count() > MAX_NAME => {
                let kind = self.kind();
                Err(format!("the name of the {kind} has 1 to {MAX_NAME} characters"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What it stops, in words that go on after "people have stopped".
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::All => "all calls".to_owned(),
            Self::Agent(name) => format!("all calls of the agent `{name}`"),
            Self::Group(name) => format!("all calls of agents in the group `{name}`"),
            Self::Tool(name) => format!("all calls of `{name}`"),
            Self::Backend(name) => format!("all calls of the backend `{name}`"),
            Self::Capability(name) => format!("all calls with the capability `{name}`"),
            Self::Workflow(name) => format!("all calls of the workflow `{name}`"),
        }
    }
}

impl Halt {
    /// What was stopped, why and until when, in words for an agent: without who did it.
    #[must_use]
    pub fn told(&self) -> String {
        let until = self.until.map(|until| format!(", until {until:.0}")).unwrap_or_default();
        let reason = self.reason.trim_end_matches('.');
        format!("people have stopped {} for now{until}: {reason}", self.scope.told())
    }

    /// Whether its time is over at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Whether the reason of a halt, or of its end, is one.
///
/// # Errors
/// In words that say what would be accepted.
pub fn check_reason(reason: &str) -> Result<(), String> {
    if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
        return Err(format!(
            "a reason has 1 to {MAX_REASON} characters; agents and people read it"
        ));
    }
    Ok(())
}
