//! Who asks: the authenticated agent a call is made for, and the person who resolves a hold, with what that person may do.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, InvalidId, PersonName};

/// An authenticated agent. There is no empty one, and none without a credential that was checked.
///
/// Only `authentication` makes it:
///
/// ```compile_fail
/// let name = "intruder".parse().unwrap();
/// let principal = countersign::principal::Principal { agent: name, groups: vec![], owner: None };
/// ```
///
/// There is none by default either, and none is read from anywhere:
///
/// ```compile_fail,E0277
/// fn nobody<P: Default>() -> P { P::default() }
/// let principal: countersign::principal::Principal = nobody();
/// ```
///
/// ```compile_fail,E0277
/// fn said<P: for<'a> serde::Deserialize<'a>>(text: &str) -> P { serde_json::from_str(text).unwrap() }
/// let principal: countersign::principal::Principal = said("{}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    agent: AgentName,
    groups: Vec<String>,
    owner: Option<String>,
    via: Option<Via>,
}

/// The orchestrator whose credential acted for an agent, as it was verified then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Via {
    /// The orchestrator.
    pub agent: AgentName,
    /// The person it acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Principal {
    /// For `authentication` alone, after it has checked a credential (`tests/architecture.rs` holds this).
    pub(crate) const fn authenticated(
        agent: AgentName,
        groups: Vec<String>,
        owner: Option<String>,
    ) -> Self {
        Self { agent, groups, owner, via: None }
    }

    /// The same agent, for which another acts; for `authentication` alone.
    pub(crate) fn through(self, via: Option<Via>) -> Self {
        Self { via, ..self }
    }

    /// Who acts for the agent, where it is not its own credential that came.
    #[must_use]
    pub const fn via(&self) -> Option<&Via> {
        self.via.as_ref()
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

/// A person, as the edge that let them in knows them. What they may do is looked up when they do it
/// ([`Capacity`]), because it may have changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The person's name: over the local socket the operating-system user's, else that in the register.
    pub name: String,
    /// Whether the operating system vouched for the name, over the local socket; else a token did.
    /// Written only when it did not: whoever decided before people had tokens came over the socket.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub local: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_yes(flag: &bool) -> bool {
    *flag
}

impl Person {
    /// The operating-system user `name`, who came over the local socket.
    #[must_use]
    pub const fn local(name: String) -> Self {
        Self { name, local: true }
    }

    /// The person who is `name` in the register and showed a valid token.
    #[must_use]
    pub fn registered(name: &PersonName) -> Self {
        Self { name: name.to_string(), local: false }
    }
}

/// How a person showed who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// With a password.
    Password,
    /// With a passkey, whose holder was verified (by a PIN, a finger, a face).
    Passkey,
    /// By an OpenID provider.
    Oidc,
    /// With a link that works once.
    Link,
    /// With a token.
    Token,
    /// As the operating-system user at the other end of the local socket.
    Local,
}

impl Authentication {
    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Passkey => "passkey",
            Self::Oidc => "oidc",
            Self::Link => "link",
            Self::Token => "token",
            Self::Local => "local",
        }
    }
}

/// What a person may do, each role also what those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything that people may read.
    Viewer,
    /// Decides about held calls.
    Reviewer,
    /// Adds and revokes agents and people.
    Operator,
}

impl Role {
    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reviewer => "reviewer",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for Role {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        [Self::Viewer, Self::Reviewer, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(InvalidId("role: one of viewer, reviewer, operator"))
    }
}

/// What a person may do at one moment, by the register as it is then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The role.
    pub role: Role,
    /// Whether the person's verdicts count.
    pub decides: bool,
    /// The person's groups.
    pub groups: Vec<String>,
    /// The names under which rules may call for this person: the own, and for a local person those of the
    /// records that stand for the same human.
    pub known_as: Vec<String>,
    /// Every name that the register says is the same human's, however it was revoked: who must be two
    /// humans may share none of them.
    pub same_human: Vec<String>,
    /// The public keys whose signatures are this person's, each in OpenSSH's one-line form.
    pub keys: Vec<String>,
    /// The passkeys whose signatures are this person's.
    pub passkeys: Vec<crate::evidence::passkey::Registered>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2026_59822_no_principal_is_empty() {
        for nobody in ["", " ", "\0", "\u{200b}", "a b", "\n"] {
            assert!(nobody.parse::<AgentName>().is_err(), "{nobody:?}");
            assert!(nobody.parse::<PersonName>().is_err(), "{nobody:?}");
        }
        let named = "a".parse().unwrap();
        assert_eq!(Principal::authenticated(named, Vec::new(), None).agent().as_str(), "a");
    }

    #[test]
    fn a_person_of_an_earlier_record_came_over_the_socket_and_is_written_as_then() {
        let written = r#"{"name":"ada"}"#;
        let ada: Person = serde_json::from_str(written).unwrap();
        assert_eq!(ada, Person::local("ada".to_owned()));
        assert_eq!(serde_json::to_string(&ada).unwrap(), written);
        let name = "ada".parse().unwrap();
        let written = r#"{"name":"ada","local":false}"#;
        assert_eq!(serde_json::to_string(&Person::registered(&name)).unwrap(), written);
        let read: Person = serde_json::from_str(written).unwrap();
        assert_eq!(read, Person::registered(&name));
    }
}
