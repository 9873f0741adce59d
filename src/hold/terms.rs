//! What rules ask of an approval: who may give it, how many must, and under what conditions.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::principal::{Capacity, Person};

/// What stands before the name of a group.
const GROUP: &str = "group:";
/// The longest name of a reviewer or group, in characters.
const MAX_NAME: usize = 128;

/// What all matching rules together ask of the approval of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Each must be met; none asks for one approval of any reviewer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<Demand>,
    /// The person the agent acts for does not count.
    #[serde(skip_serializing_if = "is_false")]
    pub four_eyes: bool,
    /// Reviewers may change the arguments before they approve.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_edit: bool,
    /// A verdict that approves must be signed.
    #[serde(skip_serializing_if = "is_false")]
    pub signature: bool,
    /// A client that cancels its request leaves the hold.
    #[serde(skip_serializing_if = "is_false")]
    pub keep: bool,
}

/// What one rule asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Demand {
    /// The rule.
    pub rule: String,
    /// Whose approval counts; empty for any reviewer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<Who>,
    /// How many different people must approve; at least 1.
    pub quorum: u32,
}

/// A person, or the people of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// One person, by name.
    Person(String),
    /// Everybody in a group.
    Group(String),
}

/// Says in what capacity a person may decide; none for one who may not, or not any more.
pub type People<'a> = dyn Fn(&Person) -> Option<Capacity> + 'a;

impl Demand {
    /// Whether an approval given in this capacity counts.
    #[must_use]
    pub fn admits(&self, capacity: &Capacity) -> bool {
        let named = |who: &Who| match who {
            Who::Person(name) => capacity.known_as.contains(name),
            Who::Group(group) => capacity.groups.contains(group),
        };
        self.reviewers.is_empty() || self.reviewers.iter().any(named)
    }
}

impl Terms {
    /// The demands; where no rule asks for more, one approval of any reviewer.
    #[must_use]
    pub fn demands(&self) -> Cow<'_, [Demand]> {
        if self.demands.is_empty() {
            return vec![Demand { rule: String::new(), reviewers: Vec::new(), quorum: 1 }].into();
        }
        Cow::Borrowed(&self.demands)
    }

    /// Whose approval could count, over all demands; empty for any reviewer's.
    #[must_use]
    pub fn reviewers(&self) -> Vec<Who> {
        let mut all: Vec<Who> =
            self.demands.iter().flat_map(|demand| demand.reviewers.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// How many different people must approve at the least.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.demands.iter().map(|demand| demand.quorum).max().unwrap_or(1)
    }

    /// Who must approve, in words.
    #[must_use]
    pub fn told(&self) -> String {
        let demand = |demand: &Demand| {
            let who: Vec<String> = demand.reviewers.iter().map(ToString::to_string).collect();
            let who = if who.is_empty() { "the reviewers".to_owned() } else { who.join(", ") };
            match demand.quorum {
                1 => format!("one of {who}"),
                quorum => format!("{quorum} of {who}"),
            }
        };
        let demands: Vec<String> = self.demands().iter().map(demand).collect();
        let mut told = demands.join(" and ");
        if self.four_eyes {
            told.push_str(", other than the agent's owner");
        }
        if self.signature {
            told.push_str(", signed");
        }
        told
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => f.write_str(name),
            Self::Group(group) => write!(f, "{GROUP}{group}"),
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (who, name): (fn(String) -> Self, &str) = match text.strip_prefix(GROUP) {
            Some(group) => (Self::Group, group),
            None => (Self::Person, text),
        };
        let usable = |c: char| !c.is_control() && !c.is_whitespace() && !":*`".contains(c);
        if !(1..=MAX_NAME).contains(&name.chars().count()) || !name.chars().all(usable) {
            return Err(format!(
                "`{text}` names no reviewer; write a person's name, or `group:` and a group's"
            ));
        }
        Ok(who(name.to_owned()))
    }
}

impl Serialize for Who {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Who {
    fn schema_name() -> Cow<'static, str> {
        "Who".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "A person's name, or `group:` and the name of a group."
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_false(value: &bool) -> bool {
    !*value
}
