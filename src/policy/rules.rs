//! The form of a file in `policies/` (design §5 and §6).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::budgets::BudgetSpec;
use super::condition::{ActiveSpec, Mode};
use crate::catalog::Label;
use crate::catalog::manifest::Span;
use crate::hold::Who;
use crate::json::Object;
use crate::source;

/// A policy file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// What happens to a call that no rule matches; `DENY` unless one file says otherwise.
    #[serde(default)]
    pub default: Option<Ruling>,
    /// The rules; their order never matters.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    /// How often calls may be made.
    #[serde(default)]
    pub limits: Vec<LimitSpec>,
    /// How much calls may spend.
    #[serde(default)]
    pub budgets: Vec<BudgetSpec>,
}

/// What is decided about a call, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ruling {
    /// It may run.
    Allow,
    /// It may run within constraints.
    AllowWithConstraints,
    /// It waits for people.
    RequireApproval,
    /// It may not run.
    Deny,
}

impl Ruling {
    const ALL: [Self; 4] =
        [Self::Allow, Self::AllowWithConstraints, Self::RequireApproval, Self::Deny];

    /// The decision that rules write so.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ruling| ruling.as_str() == text)
    }

    /// The decision as rules write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::AllowWithConstraints => "ALLOW_WITH_CONSTRAINTS",
            Self::RequireApproval => "REQUIRE_APPROVAL",
            Self::Deny => "DENY",
        }
    }
}

impl<'de> Deserialize<'de> for Ruling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::named(&text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str);
            let hint = match source::nearest(&text.to_ascii_uppercase(), names.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use one of {}", names.join(", ")),
            };
            D::Error::custom(format!("`{text}` is not a decision; {hint}"))
        })
    }
}

/// One rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Its name, unique over all files.
    pub name: String,
    /// Which calls it is about; `{}` is every call.
    #[serde(rename = "match")]
    pub matches: MatchSpec,
    /// Which of these it is not about.
    #[serde(default)]
    pub except: Option<MatchSpec>,
    /// What is decided about them.
    pub decision: Ruling,
    /// Why, in words for agents and reviewers.
    #[serde(default)]
    pub reason: Option<String>,
    /// What arguments must keep to: `max_P`, `min_P`, `allowed_P`, `denied_P`, `set_P` for a parameter `P`,
    /// and the gateway's own `timeout`, `max_result_bytes`, `redact` and `dry_run`.
    #[serde(default)]
    pub constraints: Option<Object>,
    /// Who must approve and how long people have, with `REQUIRE_APPROVAL`.
    #[serde(default)]
    pub approval: Option<ApprovalSpec>,
    /// What else must hold of a call: an expression in CEL over `arguments`, `agent`, `tool`, `client` and `time`.
    #[serde(default)]
    pub when: Option<String>,
    /// When it is in force; always when absent.
    #[serde(default)]
    pub active: Option<ActiveSpec>,
    /// `shadow` when it is only recorded where it matches; `enforce` when absent.
    #[serde(default)]
    pub mode: Option<Mode>,
}

/// Who must approve, and how long people have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalSpec {
    /// Whose approval counts: names of people, and groups as `group:sre`; any reviewer's when absent.
    #[serde(default)]
    pub reviewers: Option<Vec<Who>>,
    /// How many different people must approve; 1 when absent.
    #[serde(default)]
    pub quorum: Option<NonZeroU32>,
    /// Whether the person the agent acts for does not count; they do when absent.
    #[serde(default)]
    pub four_eyes: Option<bool>,
    /// Whether reviewers may change the arguments before they approve; they may not when absent.
    #[serde(default)]
    pub allow_edit: Option<bool>,
    /// `required` when every approval must be signed.
    #[serde(default)]
    pub signature: Option<SignatureSpec>,
    /// Whether the hold stays when the client cancels its request; it is withdrawn when absent.
    #[serde(default)]
    pub keep: Option<bool>,
    /// How long people may decide; 1 h when absent.
    #[serde(default)]
    pub decide_within: Option<Span>,
    /// How long after approval the call may begin to run; 15 min when absent.
    #[serde(default)]
    pub execute_within: Option<Span>,
}

/// Whether approvals must be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureSpec {
    /// Every one of them.
    Required,
}

/// Conditions on a call, all of which must hold. Texts are globs: `*` stands for anything. A condition
/// on an attribute that a tool does not have never holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSpec {
    /// The agent's name.
    #[serde(default)]
    pub agent: Option<Patterns>,
    /// Any of the agent's groups.
    #[serde(default)]
    pub group: Option<Patterns>,
    /// The tool's name.
    #[serde(default)]
    pub tool: Option<Patterns>,
    /// The name of the tool's backend.
    #[serde(default)]
    pub backend: Option<Patterns>,
    /// Any of the tool's tags.
    #[serde(default)]
    pub tags: Option<Patterns>,
    /// `low`, `medium`, `high`, `critical`, or a comparison like `">=high"`.
    #[serde(default)]
    pub risk: Option<Patterns>,
    /// The client program, as it names itself.
    #[serde(default)]
    pub client: Option<Patterns>,
    /// What kind of thing is acted on.
    #[serde(default)]
    pub capability: Option<Patterns>,
    /// What is done.
    #[serde(default)]
    pub action: Option<Patterns>,
    /// `read`, `write`, `delete`, `admin`; `write` covers the last two, which are writes too.
    #[serde(default)]
    pub action_type: Option<Patterns>,
    /// Where it takes effect.
    #[serde(default)]
    pub environment: Option<Patterns>,
    /// What the agent holds, all of it: what calls brought to it. Of rules only, and not in `except`.
    #[serde(default)]
    pub workflow_holds: Option<BTreeSet<Label>>,
}

/// One text, or a list of which any may fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(pub Vec<String>);

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = match Value::deserialize(deserializer)? {
            Value::Array(items) => items,
            one @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => vec![one],
        };
        let text = |item: &Value| {
            item.as_str().map(str::to_owned).ok_or_else(|| {
                D::Error::custom(format!("`{item}` is not a text; put a text in quotes"))
            })
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Self)
    }
}

impl JsonSchema for Patterns {
    fn schema_name() -> Cow<'static, str> {
        "Patterns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One text, or a list of which any may fit.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } }
            ]
        })
    }
}

/// How often calls may be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// Its name, unique over all files.
    pub name: String,
    /// Which calls count; `{}` is every call.
    #[serde(rename = "match")]
    pub matches: MatchSpec,
    /// Which of these do not.
    #[serde(default)]
    pub except: Option<MatchSpec>,
    /// What is counted apart: one dimension or several.
    pub per: Dimensions,
    /// How many calls in which time, like `30/minute`.
    pub rate: Rate,
    /// How many of them may come at once; as many as `rate` says when absent.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

/// What calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dimension {
    Agent,
    Tool,
    Backend,
    Client,
    Workflow,
    Gateway,
}

impl Dimension {
    const ALL: [Self; 6] =
        [Self::Agent, Self::Tool, Self::Backend, Self::Client, Self::Workflow, Self::Gateway];

    /// The dimension as limits write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Tool => "tool",
            Self::Backend => "backend",
            Self::Client => "client",
            Self::Workflow => "workflow",
            Self::Gateway => "gateway",
        }
    }
}

/// One dimension or several, in the order of [`Dimension`], none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimensions(pub Vec<Dimension>);

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Patterns(names) = Patterns::deserialize(deserializer)?;
        let all = Dimension::ALL.map(Dimension::as_str);
        if let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) {
            let hint = format!("use one or several of {}", all.join(", "));
            return Err(D::Error::custom(format!("`{unknown}` cannot be counted by; {hint}")));
        }
        if names.is_empty() {
            return Err(D::Error::custom("an empty list; use `gateway` to count all calls"));
        }
        let named = |dimension: &Dimension| names.iter().any(|name| name == dimension.as_str());
        Ok(Self(Dimension::ALL.into_iter().filter(named).collect()))
    }
}

impl JsonSchema for Dimensions {
    fn schema_name() -> Cow<'static, str> {
        "Dimensions".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Dimension>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

/// So many calls in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many calls.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => other.to_string(),
        };
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let seconds = match unit {
                "second" => 1,
                "minute" => 60,
                "hour" => 3_600,
                "day" => 86_400,
                _ => return None,
            };
            Some(Self { count: count.parse().ok()?, period: Duration::from_secs(seconds) })
        });
        parsed.ok_or_else(|| {
            let hint = "write it like `30/minute`, with second, minute, hour or day";
            D::Error::custom(format!("`{text}` is not a rate; {hint}"))
        })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[1-9][0-9]*/(second|minute|hour|day)$",
            "description": "So many calls in such a time, like `30/minute`."
        })
    }
}
