//! Rules as their files write them, for whoever reads them.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::constraints::{Bounds, Constraint, Demand};
use super::rule::Rule;
use super::rules::{MatchSpec, Patterns, Ruling};
use crate::hold::Terms;
use crate::json::Object;

/// One condition of `match` or `except`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Its key, like `environment`.
    pub key: String,
    /// What it names; any of them may fit.
    pub any_of: Vec<String>,
}

/// What is asked of the approval of a call, and how long people and the call have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalTerms {
    /// Who must approve, in words.
    pub told: String,
    /// Whether the person the agent acts for does not count.
    pub four_eyes: bool,
    /// Whether reviewers may change the arguments before they approve.
    pub allow_edit: bool,
    /// Whether every approval must be signed.
    pub signature: bool,
    /// Whether the hold stays when the client cancels its request.
    pub keep: bool,
    /// For how many seconds people may decide.
    pub decide_within: i64,
    /// Within how many seconds of its approval the call may begin to run.
    pub execute_within: i64,
}

impl ApprovalTerms {
    pub(super) fn new(terms: &Terms, decide: SignedDuration, execute: SignedDuration) -> Self {
        Self {
            told: terms.told(),
            four_eyes: terms.four_eyes,
            allow_edit: terms.allow_edit,
            signature: terms.signature,
            keep: terms.keep,
            decide_within: decide.as_secs(),
            execute_within: execute.as_secs(),
        }
    }
}

/// The conditions of one rule.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) matches: Box<[(&'static str, Patterns)]>,
    pub(super) except: Option<Box<[(&'static str, Patterns)]>>,
}

impl Written {
    pub(super) fn of(matches: &MatchSpec, except: Option<&MatchSpec>) -> Self {
        Self { matches: conditions(matches), except: except.map(conditions) }
    }
}

fn conditions(spec: &MatchSpec) -> Box<[(&'static str, Patterns)]> {
    let MatchSpec {
        agent,
        group,
        tool,
        backend,
        tags,
        risk,
        client,
        capability,
        action,
        action_type,
        environment,
        workflow_holds: _,
    } = spec;
    let all = [
        ("agent", agent),
        ("group", group),
        ("client", client),
        ("tool", tool),
        ("backend", backend),
        ("capability", capability),
        ("action", action),
        ("action_type", action_type),
        ("environment", environment),
        ("risk", risk),
        ("tags", tags),
    ];
    all.into_iter().filter_map(|(key, patterns)| Some((key, patterns.clone()?))).collect()
}

pub(super) fn shown(conditions: &[(&'static str, Patterns)]) -> Vec<Condition> {
    let one = |(key, Patterns(any_of)): &(&str, Patterns)| Condition {
        key: (*key).to_owned(),
        any_of: any_of.clone(),
    };
    conditions.iter().map(one).collect()
}

/// The constraints of a rule, by name.
pub(super) fn constraints(rule: &Rule) -> Object {
    let one = |constraint: &Constraint| (constraint.name.clone(), value(&constraint.demand));
    rule.constraints.iter().map(one).collect()
}

fn value(demand: &Demand) -> Value {
    match demand {
        Demand::Timeout(limit) => {
            SignedDuration::try_from(*limit).map_or(Value::Null, |it| format!("{it:#}").into())
        }
        Demand::MaxResultBytes(limit) => (*limit).into(),
        Demand::Redact(patterns) => patterns.each().map(|it| it.as_str()).collect(),
        Demand::DryRun => true.into(),
        Demand::Parameter { bounds: Bounds::Max(number) | Bounds::Min(number), .. } => {
            Value::Number(number.clone())
        }
        Demand::Parameter { bounds: Bounds::Allowed(set) | Bounds::Denied(set), .. } => {
            set.clone().into()
        }
        Demand::Parameter { bounds: Bounds::Set(value), .. } => value.clone(),
    }
}

/// What a rule asks of the approval of the calls it holds.
pub(super) fn approval(rule: &Rule) -> Option<ApprovalTerms> {
    let asks = rule.decision == Ruling::RequireApproval;
    asks.then(|| ApprovalTerms::new(&rule.terms, rule.decide_within, rule.execute_within))
}
