//! The smallest change of a call that would alter what is decided about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Policy;
use super::applying;
use super::binding::Binding;
use super::constraints::{Bounds, Demand};
use super::decide::Matched;
use super::explain::{ExplainedCondition, Explanation, Hypothetical, explained, matches};
use super::index::Entry;
use super::rule::Rule;
use super::rules::Ruling;
use crate::catalog::Tool;
use crate::json::Object;

/// How many rules are looked at for the one that is nearest.
const MAX_RULES: usize = 10_000;
/// How many rules that would have to match no more are still a small change.
const MAX_FEWER: usize = 20;
/// How many other values of arguments are tried.
const MAX_TRIES: usize = 64;

/// The smallest change found that would alter the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nearest {
    /// What would change.
    pub change: Change,
    /// What would be decided then. Of a rule that matches too, or no more, it is what the rules decide; their
    /// constraints come after.
    pub then: Ruling,
}

/// What would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// Another value of an argument.
    Argument {
        /// Which, as a JSON pointer (RFC 6901).
        pointer: String,
        /// The value.
        value: Value,
    },
    /// A rule matches besides.
    Match {
        /// The rule.
        rule: String,
        /// Where it stands: `file:line:column`.
        location: String,
        /// The conditions of `match` that would have to hold.
        unmet: Vec<ExplainedCondition>,
        /// The conditions of `except` of which one would have to fail.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        excepted: Vec<ExplainedCondition>,
    },
    /// Rules match no more: of each, one condition would have to fail.
    Without {
        /// The rules.
        rules: Vec<String>,
    },
}

impl Policy {
    /// The smallest change that would alter what `now` says; none where none was found.
    pub(super) fn nearest(
        &self,
        call: &Hypothetical<'_>,
        entry: &Entry,
        now: &Explanation,
    ) -> Option<Nearest> {
        if let Some(nearest) = self.another_argument(call, entry, now) {
            return Some(nearest);
        }
        // What constraints refuse, no rule besides lets pass.
        if !matches!(now.denial.as_deref(), None | Some("rule" | "no_rule")) {
            return None;
        }
        let another = self.another_rule(call, entry, now.decision);
        let fewer = self.fewer_rules(call, entry, now.decision);
        match (another, fewer) {
            (Some((cost, found)), Some((less, without))) => {
                Some(if less < cost { without } else { found })
            }
            (Some((_, found)), None) | (None, Some((_, found))) => Some(found),
            (None, None) => None,
        }
    }

    /// Another value of an argument that a rule bounds, or that chooses an attribute.
    fn another_argument(
        &self,
        call: &Hypothetical<'_>,
        entry: &Entry,
        now: &Explanation,
    ) -> Option<Nearest> {
        let tool = call.checked.tool();
        let mut tries = chosen(tool);
        for matched in self.matching(call, entry) {
            tries.extend(bounded(&matched));
        }
        tries.into_iter().take(MAX_TRIES).find_map(|(pointer, steps, value)| {
            let mut arguments = call.checked.arguments().clone();
            if !applying::put(&mut arguments, &steps, value.clone()) {
                return None;
            }
            let checked = tool.check(arguments).ok()?;
            let then = self.outcome(&Hypothetical { checked: &checked, ..*call }).decision;
            let change = Change::Argument { pointer, value };
            (then != now.decision).then_some(Nearest { change, then })
        })
    }

    fn matching<'p>(
        &'p self,
        call: &Hypothetical<'_>,
        entry: &'p Entry,
    ) -> impl Iterator<Item = Matched<'p>> {
        let subject = call.subject();
        let circumstances = call.circumstances();
        self.candidates(entry, &call.caller)
            .filter(move |matched| matches(matched.rule, &subject, &circumstances))
    }

    /// The rule with the fewest conditions missing whose matching would alter the decision: of those that can
    /// match the tool first, for what a call is of changes less easily than who makes it.
    fn another_rule(
        &self,
        call: &Hypothetical<'_>,
        entry: &Entry,
        now: Ruling,
    ) -> Option<(usize, Nearest)> {
        let subject = call.subject();
        let circumstances = call.circumstances();
        let matched = self.matching(call, entry).map(|matched| matched.rule.decision).max();
        let cost = |(number, rule): (usize, &Rule)| {
            let then = matched.map_or(rule.decision, |now| now.max(rule.decision));
            let counts = rule.mode.is_enforced() && then != now;
            if !counts || matches(rule, &subject, &circumstances) {
                return None;
            }
            let told = explained(rule, &subject, &circumstances);
            let missing = told.conditions.iter().filter(|it| !it.holds).count();
            let excepted = !told.except.is_empty() && told.except.iter().all(|it| it.holds);
            Some((missing + usize::from(excepted), number, then))
        };
        let rule = |number: usize| self.rules.get(number).map(|rule| (number, rule));
        let able = self.index.all(entry).into_iter().take(MAX_RULES).filter_map(|it| rule(it.rule));
        let (cost, number, then) = able
            .filter_map(cost)
            .min()
            .or_else(|| self.rules.iter().enumerate().take(MAX_RULES).filter_map(cost).min())?;
        let told = explained(self.rules.get(number)?, &subject, &circumstances);
        let excepted = told.except.iter().all(|it| it.holds);
        let change = Change::Match {
            rule: told.name,
            location: self.location(number),
            unmet: told.conditions.into_iter().filter(|it| !it.holds).collect(),
            excepted: if excepted { told.except } else { Vec::new() },
        };
        Some((cost, Nearest { change, then }))
    }

    /// What is decided if the strictest of the rules that match did not.
    fn fewer_rules(
        &self,
        call: &Hypothetical<'_>,
        entry: &Entry,
        now: Ruling,
    ) -> Option<(usize, Nearest)> {
        let (mut rules, mut rest) = (Vec::new(), None);
        for Matched { rule, .. } in self.matching(call, entry) {
            if rule.decision == now {
                rules.push(rule.name.clone());
            } else {
                rest = rest.max(Some(rule.decision));
            }
        }
        let then = rest.unwrap_or(self.default);
        if rules.is_empty() || rules.len() > MAX_FEWER || then == now {
            return None;
        }
        Some((rules.len(), Nearest { change: Change::Without { rules }, then }))
    }
}

/// A value to try: where, as a pointer and in steps, and which.
type Try = (String, Vec<String>, Value);

/// Every value that an argument may have that chooses an attribute.
fn chosen(tool: &Tool) -> Vec<Try> {
    let choices = tool.attribute_specs().choices();
    let of = |(argument, values): (&str, std::collections::BTreeSet<&str>)| {
        let pointer = format!("/{}", argument.replace('~', "~0").replace('/', "~1"));
        let one = |value: &str| (pointer.clone(), vec![argument.to_owned()], value.into());
        values.into_iter().map(one).collect::<Vec<Try>>()
    };
    choices.into_iter().flat_map(of).collect()
}

/// Every value that a constraint of a matching rule names for its parameter.
fn bounded(matched: &Matched<'_>) -> Vec<Try> {
    let Binding::Bound(bound) = matched.binding else { return Vec::new() };
    let mut tries = Vec::new();
    for bound in bound {
        let Some(constraint) = matched.rule.constraints.get(bound.constraint) else { continue };
        let Demand::Parameter { bounds, .. } = &constraint.demand else { continue };
        let values: Vec<Value> = match bounds {
            Bounds::Max(number) | Bounds::Min(number) => vec![Value::Number(number.clone())],
            Bounds::Allowed(set) => set.iter().take(MAX_TRIES).cloned().collect(),
            Bounds::Set(value) => vec![value.clone()],
            Bounds::Denied(_) => Vec::new(),
        };
        let target = &bound.target;
        tries.extend(
            values.into_iter().map(|value| (target.pointer.clone(), target.steps.clone(), value)),
        );
    }
    tries
}

/// The arguments as they were before `edits` were made.
#[must_use]
pub fn unedited(arguments: &Object, edits: &[super::Edit]) -> Object {
    let mut before = Value::Object(arguments.clone());
    for edit in edits.iter().rev() {
        let Some((around, last)) = edit.pointer.rsplit_once('/') else { continue };
        let last = last.replace("~1", "/").replace("~0", "~");
        match (&edit.from, before.pointer_mut(around)) {
            (Some(from), Some(Value::Object(members))) => {
                members.insert(last, from.clone());
            }
            (None, Some(Value::Object(members))) => {
                members.remove(&last);
            }
            (Some(from), Some(Value::Array(items))) => {
                if let Some(place) = last.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                    *place = from.clone();
                }
            }
            (None, Some(Value::Array(_)))
            | (
                _,
                Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None,
            ) => {}
        }
    }
    match before {
        Value::Object(before) => before,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Object::new()
        }
    }
}
