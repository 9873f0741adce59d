//! What a rule asks beside what is known of tool and caller: `active`, a window of time, `workflow_holds`, what calls
//! brought to the agent, and `when`, an expression. They are
//! looked at last, and only of rules that match otherwise.

mod active;
mod checking;
mod holds;
mod noticed;
mod scene;
mod spec;
mod typing;
mod when;

use std::cell::OnceCell;
use std::sync::Arc;

use jiff::Timestamp;

pub(super) use holds::{check_brought, refuse as refuse_holds};
pub use noticed::{ConditionError, Noticed, ShadowRule};
pub use spec::{ActiveSpec, Day, Mode};

use super::explain::ExplainedCondition;
use super::index::Index;
use super::matching::Caller;
use super::reading::{At, Files};
use super::rule::Rule;
use super::rules::RuleSpec;
use super::written::Condition;
use crate::catalog::{CheckedArguments, Label, Tool};
use crate::source;
use active::Active;
use holds::Holds;
use scene::Scene;
use typing::Parameters;
use when::When;

/// What a rule asks beside `match` and `except`.
#[derive(Debug, Default)]
pub(super) struct Further {
    active: Option<Active>,
    holds: Option<Holds>,
    when: Option<When>,
}

/// What such conditions look at.
pub(super) struct Circumstances<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) owner: Option<&'a str>,
    pub(super) workflow: Option<&'a str>,
    pub(super) checked: &'a CheckedArguments,
    pub(super) now: Timestamp,
    /// What the agent holds.
    pub(super) holds: &'a [Label],
    /// Made for the first expression that is evaluated.
    pub(super) seen: Seen,
}

/// The call as expressions see it, once one looked.
#[derive(Default)]
pub(super) struct Seen(OnceCell<Scene>);

impl Circumstances<'_> {
    fn scene(&self) -> &Scene {
        let Self { caller, owner, workflow, checked, now, seen, .. } = self;
        seen.0.get_or_init(|| Scene::of(caller, *owner, *workflow, checked, *now))
    }
}

impl Further {
    /// Compiles; what is wrong is noted in `files`, with the rule at `at`.
    pub(super) fn compile(spec: &RuleSpec, at: &At, files: &mut Files) -> Self {
        let active =
            spec.active.as_ref().map(|spec| Active::compile(spec, &at.below("active"), files));
        let when =
            spec.when.as_ref().and_then(|text| When::compile(text, &at.below("when"), files));
        let labels = spec.matches.workflow_holds.as_ref();
        let at = at.below("match").below("workflow_holds");
        let holds = labels.map(|labels| Holds::compile(labels, &at, files));
        Self { active, holds, when }
    }

    /// Whether nothing is asked.
    pub(super) const fn is_empty(&self) -> bool {
        self.active.is_none() && self.holds.is_none() && self.when.is_none()
    }

    /// Whether all of it holds.
    ///
    /// # Errors
    /// In words, where that cannot be told.
    pub(super) fn holds(&self, of: &Circumstances<'_>) -> Result<bool, String> {
        if self.active.as_ref().is_some_and(|active| !active.covers(of.now)) {
            return Ok(false);
        }
        if self.holds.as_ref().is_some_and(|holds| !holds.met(of.holds)) {
            return Ok(false);
        }
        self.when.as_ref().map_or(Ok(true), |when| when.holds(of.scene()))
    }

    /// As the rule writes it.
    pub(super) fn shown(&self) -> Vec<Condition> {
        let active = self.active.as_ref().map(|active| ("active", active.text()));
        let when = self.when.as_ref().map(|when| ("when", when.text()));
        let holds = self.holds.as_ref().map(|holds| ("workflow_holds", holds.text()));
        let one = |(key, text): (&str, &str)| Condition {
            key: key.to_owned(),
            any_of: vec![text.to_owned()],
        };
        active.into_iter().chain(holds).chain(when).map(one).collect()
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
        let holds = self.holds.as_ref().map(|holds| ExplainedCondition {
            key: "workflow_holds".to_owned(),
            any_of: vec![holds.text().to_owned()],
            values: of.holds.iter().map(Label::to_string).collect(),
            holds: holds.met(of.holds),
        });
        active.into_iter().chain(holds).chain(when).collect()
    }
}

/// Notes what conditions say of arguments that goes with no tool that their rules can match: names that no such
/// tool has, and comparisons of what can never be alike.
pub(super) fn check_arguments(rules: &[Rule], places: &[At], index: &Index, files: &mut Files) {
    let mut wrong: Vec<(usize, String, String)> = Vec::new();
    let mut of_tools: Option<(*const Arc<Tool>, Parameters<'_>)> = None;
    for (number, tools) in index.reaching() {
        let Some(when) = rules.get(number).and_then(|rule| rule.further.when.as_ref()) else {
            continue;
        };
        // Rules that reach the same tools come one after the other.
        if of_tools.as_ref().is_none_or(|(known, _)| *known != tools.as_ptr()) {
            of_tools = Some((tools.as_ptr(), Parameters::of(tools)));
        }
        let Some((_, parameters)) = &of_tools else { continue };
        let missing = when.arguments().filter(|name| !parameters.may_have(name));
        let before = wrong.len();
        wrong.extend(missing.map(|name| {
            let hint = match source::nearest(name, parameters.names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "compare it with `catalog show`".to_owned(),
            };
            let message = format!("no tool that the rule can match has an argument `{name}`");
            (number, message, hint)
        }));
        if wrong.len() == before
            && let Some((message, hint)) = when.fault(parameters)
        {
            wrong.push((number, message, hint));
        }
    }
    wrong.sort();
    for (number, message, hint) in wrong {
        if let Some(at) = places.get(number) {
            files.wrong(&at.below("when"), format!("`when`: {message}"), hint);
        }
    }
}
