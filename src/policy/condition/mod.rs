//! What a rule asks beside `match` and `except`: `active`, a window of time, and `when`, an expression. They are
//! looked at last, and only of rules that match otherwise.

mod active;
mod checking;
mod noticed;
mod scene;
mod spec;
mod when;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use jiff::Timestamp;

pub use noticed::{ConditionError, Noticed, ShadowRule};
pub use spec::{ActiveSpec, Day, Mode};

use super::explain::ExplainedCondition;
use super::matching::{Caller, Certainty, Subject};
use super::reading::{At, Files};
use super::rule::Rule;
use super::rules::RuleSpec;
use super::written::Condition;
use crate::catalog::{Catalog, CheckedArguments, Tool};
use crate::source;
use active::Active;
use scene::Scene;
use when::When;

/// What a rule asks beside `match` and `except`.
#[derive(Debug, Default)]
pub(super) struct Further {
    active: Option<Active>,
    when: Option<When>,
}

/// What such conditions look at.
pub(super) struct Circumstances<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) owner: Option<&'a str>,
    pub(super) checked: &'a CheckedArguments,
    pub(super) now: Timestamp,
    /// Made for the first expression that is evaluated.
    pub(super) seen: Seen,
}

/// The call as expressions see it, once one looked.
#[derive(Default)]
pub(super) struct Seen(OnceCell<Scene>);

impl Circumstances<'_> {
    fn scene(&self) -> &Scene {
        let Self { caller, owner, checked, now, seen } = self;
        seen.0.get_or_init(|| Scene::of(caller, *owner, checked, *now))
    }
}

impl Further {
    /// Compiles; what is wrong is noted in `files`, with the rule at `at`.
    pub(super) fn compile(spec: &RuleSpec, at: &At, files: &mut Files) -> Self {
        let active =
            spec.active.as_ref().map(|spec| Active::compile(spec, &at.below("active"), files));
        let when =
            spec.when.as_ref().and_then(|text| When::compile(text, &at.below("when"), files));
        Self { active, when }
    }

    /// Whether nothing is asked.
    pub(super) const fn is_empty(&self) -> bool {
        self.active.is_none() && self.when.is_none()
    }

    /// Whether all of it holds.
    ///
    /// # Errors
    /// In words, where that cannot be told.
    pub(super) fn holds(&self, of: &Circumstances<'_>) -> Result<bool, String> {
        if self.active.as_ref().is_some_and(|active| !active.covers(of.now)) {
            return Ok(false);
        }
        self.when.as_ref().map_or(Ok(true), |when| when.holds(of.scene()))
    }

    /// As the rule writes it.
    pub(super) fn shown(&self) -> Vec<Condition> {
        let active = self.active.as_ref().map(|active| ("active", active.text()));
        let when = self.when.as_ref().map(|when| ("when", when.text()));
        let one = |(key, text): (&str, &str)| Condition {
            key: key.to_owned(),
            any_of: vec![text.to_owned()],
        };
        active.into_iter().chain(when).map(one).collect()
    }

    /// Each condition with what it looks at.
    pub(super) fn explained(&self, of: &Circumstances<'_>) -> Vec<ExplainedCondition> {
        let active = self.active.as_ref().map(|active| ExplainedCondition {
            key: "active".to_owned(),
            any_of: vec![active.text().to_owned()],
            values: vec![active.reading(of.now)],
            holds: active.covers(of.now),
        });
        let when = self.when.as_ref().map(|when| {
            let scene = of.scene();
            let mut values = when.values(scene);
            let holds = when.holds(scene);
            if let Err(error) = &holds {
                values.push(format!("cannot be evaluated: {error}"));
            }
            ExplainedCondition {
                key: "when".to_owned(),
                any_of: vec![when.text().to_owned()],
                values,
                holds: holds == Ok(true),
            }
        });
        active.into_iter().chain(when).collect()
    }
}

/// Notes the arguments that a condition names and no tool has that its rule can match.
pub(super) fn check_arguments(rule: &Rule, at: &At, catalog: &Catalog, files: &mut Files) {
    let Some(when) = &rule.further.when else { return };
    let mut missing: BTreeSet<&str> = when.arguments().collect();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for tool in catalog.tools() {
        if missing.is_empty() {
            return;
        }
        let subject = Subject { tool, caller: None, attributes: None };
        if rule.scope.covers(&subject) == Certainty::Never {
            continue;
        }
        let Some(parameters) = parameters(tool) else { return };
        for name in parameters {
            missing.remove(name);
            known.insert(name);
        }
    }
    if known.is_empty() {
        return;
    }
    for name in missing {
        let hint = match source::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "compare it with `catalog show`".to_owned(),
        };
        let message = format!("`when`: no tool that the rule can match has an argument `{name}`");
        files.wrong(&at.below("when"), message, hint);
    }
}

/// The arguments that a tool has; none where it could have any.
fn parameters(tool: &Tool) -> Option<impl Iterator<Item = &str>> {
    let schema = tool.input().text();
    let open = ["additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"];
    let closes = |key: &str| schema.get(key).is_none_or(|it| *it == serde_json::Value::Bool(false));
    let properties = schema.get("properties")?.as_object()?;
    open.iter().all(|key| closes(key)).then(|| properties.keys().map(String::as_str))
}
