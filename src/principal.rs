//! Who asks: the authenticated agent a call is made for, and the person who resolves a hold.

use serde::{Deserialize, Serialize};

use crate::ids::AgentName;

/// An authenticated agent. There is no empty one, and none without a credential that was checked.
///
/// Only `authentication` makes it:
///
/// ```compile_fail
/// let name = "intruder".parse().unwrap();
/// let principal = countersign::principal::Principal { agent: name, groups: vec![], owner: None };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    agent: AgentName,
    groups: Vec<String>,
    owner: Option<String>,
}

impl Principal {
    /// For `authentication` alone, after it has checked a credential (`tests/architecture.rs` holds this).
    pub(crate) const fn authenticated(
        agent: AgentName,
        groups: Vec<String>,
        owner: Option<String>,
    ) -> Self {
        Self { agent, groups, owner }
    }

    /// The agent's name.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The groups the agent belongs to, as operators assigned them.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The person the agent acts for, if one is known.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
}

/// A person, as the edge that let them in knows them. Role and groups are looked up when they count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The person's name, unique among people.
    pub name: String,
    /// Whether they came with a registered reviewer's credential; if not, the operating system vouched for
    /// their name at the local socket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub registered: bool,
}
