//! What an agent is shown of a tool: its schema as narrow as the rules make it for every call of that agent, and
//! whether people have to approve. It refuses nothing: calls are checked against the tool's own schema.

use std::collections::BTreeSet;

use serde_json::{Number, Value, json};

use super::Policy;
use super::binding::{self, Binding};
use super::constraints::{Bounds, Demand, Exact, same};
use super::decide::Matched;
use super::matching::{Caller, Certainty, Subject};
use super::rules::Ruling;
use super::showing;
use crate::catalog::Tool;
use crate::hold::Who;
use crate::json::Object;
use crate::principal::Principal;

/// How many values of a set are shown; a set of more narrows nothing that is listed.
const MAX_SHOWN_VALUES: usize = 100;
/// How many groups of reviewers are named.
const MAX_GROUPS: usize = 5;
/// Where a schema may refer to, so that what is narrowed stands for nothing else.
const DEFINITIONS: [&str; 2] = ["#/$defs/", "#/definitions/"];

/// A tool as it is listed for one agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// The schema of its arguments, where it is another than the tool's own: it refuses only what rules would
    /// change or deny in every call of the agent.
    pub input: Option<Object>,
    /// What to know of approvals, and that nothing runs, for the end of the description.
    pub note: Option<String>,
}

impl Policy {
    /// How `tool` is listed for `principal`; none where every call would be denied, as [`Policy::lists`] says.
    #[must_use]
    pub fn listing(
        &self,
        principal: &Principal,
        client: Option<&str>,
        tool: &Tool,
    ) -> Option<Listed> {
        let entry = self.index.entry(tool)?;
        let by = self.showing(entry, (principal, client), tool)?;
        let caller = Caller::of(principal, client);
        let subject = Subject { tool, caller: Some(caller), attributes: None };
        let sure =
            |matched: &&Matched<'_>| showing::certainty(matched, &subject) == Certainty::Always;
        let certain: Vec<&Matched<'_>> = by.iter().filter(sure).collect();
        let input = narrowed(tool, &certain);
        let held = self.rulings(entry, &subject);
        let all = held.iter().all(|ruling| *ruling == Ruling::RequireApproval);
        let tries = |it: &&Matched<'_>| {
            it.rule.constraints.iter().any(|it| matches!(it.demand, Demand::DryRun))
        };
        let note = if certain.iter().any(tries) {
            Some("Calls are only tried: nothing runs.".to_owned())
        } else {
            held.contains(&Ruling::RequireApproval).then(|| {
                if all {
                    surely(&certain)
                } else {
                    "A person may have to approve a call.".to_owned()
                }
            })
        };
        Some(Listed { input, note })
    }
}

/// Who has to approve every call.
fn surely(certain: &[&Matched<'_>]) -> String {
    let asking = certain.iter().filter(|it| it.rule.decision == Ruling::RequireApproval);
    let demands = asking.flat_map(|it| &it.rule.terms.demands);
    let groups: BTreeSet<&str> = demands
        .flat_map(|demand| &demand.reviewers)
        .filter_map(|who| match who {
            Who::Group(group) => Some(group.as_str()),
            Who::Person(_) => None,
        })
        .collect();
    if groups.is_empty() {
        return "A person must approve each call.".to_owned();
    }
    let mut named: Vec<&str> = groups.iter().copied().take(MAX_GROUPS).collect();
    if groups.len() > MAX_GROUPS {
        named.push("…");
    }
    format!("A person must approve each call (reviewers: {}).", named.join(", "))
}

/// The tool's schema with the constraints of rules that match every call.
fn narrowed(tool: &Tool, certain: &[&Matched<'_>]) -> Option<Object> {
    let text = tool.input().text();
    let mut schema: Option<Object> = None;
    for matched in certain {
        let Binding::Bound(bound) = matched.binding else { continue };
        for bound in bound {
            let constraint = matched.rule.constraints.get(bound.constraint);
            let Some(Demand::Parameter { bounds, .. }) = constraint.map(|it| &it.demand) else {
                continue;
            };
            if schema.is_none() && !refers_to_definitions_only(text) {
                return None;
            }
            let schema = schema.get_or_insert_with(|| text.clone());
            if let Some(node) = parameter(schema, &bound.target.steps) {
                narrow(node, bounds, of_values(text, node));
            }
        }
    }
    schema.filter(|schema| schema != text)
}

/// Whether nothing in the schema stands for a parameter besides: what is narrowed at one would be at the other.
fn refers_to_definitions_only(schema: &Object) -> bool {
    fn fine(value: &Value) -> bool {
        match value {
            Value::Object(members) => refers_to_definitions_only(members),
            Value::Array(items) => items.iter().all(fine),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    schema.iter().all(|(key, value)| match (key.as_str(), value) {
        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) => {
            DEFINITIONS.iter().any(|definitions| to.starts_with(definitions))
        }
        _ => fine(value),
    })
}

/// The schema of the parameter to which `steps` lead through properties.
fn parameter<'s>(schema: &'s mut Object, steps: &[String]) -> Option<&'s mut Object> {
    steps.iter().try_fold(schema, |node, step| {
        node.get_mut("properties")?.as_object_mut()?.get_mut(step)?.as_object_mut()
    })
}

/// What a parameter holds, as far as that decides where a set of values belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// One plain value.
    One,
    /// A list, each of whose items the set is about.
    List,
    /// Not known.
    Any,
}

fn of_values(text: &Object, node: &Object) -> Values {
    let is_plain = |name: &Value| {
        matches!(name.as_str(), Some("string" | "number" | "integer" | "boolean" | "null"))
    };
    match binding::resolve(text, node).and_then(|node| node.get("type")) {
        Some(Value::String(name)) if name == "array" => Values::List,
        Some(name @ Value::String(_)) if is_plain(name) => Values::One,
        Some(Value::Array(names)) if names.iter().all(is_plain) => Values::One,
        Some(_) | None => Values::Any,
    }
}

/// Makes `node` refuse what `bounds` would change or refuse, as far as a schema says it plainly.
fn narrow(node: &mut Object, bounds: &Bounds, values: Values) {
    match bounds {
        Bounds::Max(bound) => tighten(node, "maximum", bound, std::cmp::Ordering::Less),
        Bounds::Min(bound) => tighten(node, "minimum", bound, std::cmp::Ordering::Greater),
        Bounds::Set(value) => besides(node, "const", value.clone()),
        Bounds::Allowed(set) | Bounds::Denied(set) if set.len() > MAX_SHOWN_VALUES => {}
        Bounds::Allowed(set) => match values {
            Values::One => among(node, set),
            Values::List => items(node, |items| among(items, set)),
            Values::Any => {}
        },
        Bounds::Denied(set) => {
            let none = |node: &mut Object| besides(node, "not", json!({ "enum": set }));
            match values {
                Values::One | Values::Any => none(node),
                Values::List => items(node, none),
            }
        }
    }
}

/// Sets a bound where there is none yet that is as tight.
fn tighten(node: &mut Object, key: &str, bound: &Number, side: std::cmp::Ordering) {
    let exact = |number: Option<&Number>| number.and_then(Exact::of);
    let now = exact(node.get(key).and_then(Value::as_number));
    let tighter = exact(Some(bound)).zip(now).is_none_or(|(new, now)| new.compare(now) == side);
    if tighter {
        node.insert(key.to_owned(), Value::Number(bound.clone()));
    }
}

/// Leaves the values of `set`, of those that the schema lists if it does.
fn among(node: &mut Object, set: &[Value]) {
    let is_allowed = |value: &&Value| set.iter().any(|member| same(member, value));
    let left: Vec<Value> = match node.get("enum") {
        Some(Value::Array(listed)) => listed.iter().filter(is_allowed).cloned().collect(),
        Some(_) => return,
        None => set.to_vec(),
    };
    // A schema lists one value at least; where none is left every call is denied, and told why.
    if !left.is_empty() {
        node.insert("enum".to_owned(), left.into());
    }
}

fn items(node: &mut Object, narrow: impl FnOnce(&mut Object)) {
    let items = node.entry("items").or_insert_with(|| Value::Object(Object::new()));
    if let Value::Object(items) = items {
        narrow(items);
    }
}

/// Adds a demand beside those that are there.
fn besides(node: &mut Object, key: &str, value: Value) {
    if !node.contains_key(key) {
        node.insert(key.to_owned(), value);
        return;
    }
    let all = node.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(all) = all {
        all.push(json!({ key: value }));
    }
}
