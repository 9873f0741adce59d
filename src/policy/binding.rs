//! Binds constraints to the parameters of tools, when a policy is loaded: never silently ignored.

use serde::Serialize;
use serde_json::Value;

use super::constraints::{Bounds, Constraint, Demand, Exact};
use super::types;
use crate::catalog::manifest::AttributeValue;
use crate::catalog::{Binding as ToolBinding, Tool};
use crate::json::Object;
use crate::source;

/// How many references to other parts of a schema are followed.
const MAX_HOPS: usize = 16;
/// How many parameters a hint lists.
const MAX_LISTED: usize = 10;

/// The constraints of one rule, bound to one tool.
#[derive(Debug)]
pub(super) enum Binding {
    /// All that concern parameters, in the order of the rule.
    Bound(Vec<Bound>),
    /// The tool's parameters are not known, so neither is what this constraint would bind to.
    Unknown { constraint: String },
}

/// One constraint, bound to one parameter.
#[derive(Debug)]
pub(super) struct Bound {
    /// Which of the rule's constraints.
    pub(super) constraint: usize,
    pub(super) target: Target,
}

/// Where a parameter stands in the arguments.
#[derive(Debug)]
pub(super) struct Target {
    /// As a JSON pointer.
    pub(super) pointer: String,
    /// Its steps, unescaped; never empty.
    pub(super) steps: Vec<String>,
    /// The schema's default; `null` is none, for it states nothing.
    pub(super) default: Option<Value>,
}

/// A constraint that cannot be bound to a tool.
#[derive(Debug)]
pub(super) struct Unbindable {
    /// The constraint's name.
    pub(super) constraint: String,
    pub(super) message: String,
    pub(super) hint: String,
}

/// Binds `constraints`, which stand in the rule `name`, to `tool`, or says of each that cannot be bound why.
pub(super) fn bind(
    name: &str,
    constraints: &[Constraint],
    tool: &Tool,
) -> Result<Binding, Vec<Unbindable>> {
    let mut bound = Vec::new();
    let mut unbindable = Vec::new();
    for (index, constraint) in constraints.iter().enumerate() {
        let Demand::Parameter { word, bounds } = &constraint.demand else { continue };
        if definition_is_unknown(tool) {
            return Ok(Binding::Unknown { constraint: constraint.name.clone() });
        }
        let found = target(tool, constraint, word, bounds)
            .and_then(|target| check(tool, constraint, bounds, &target).map(|()| target));
        match found {
            Ok(target) => bound.push(Bound { constraint: index, target }),
            Err((message, hint)) => unbindable.push(Unbindable {
                constraint: constraint.name.clone(),
                message: format!("rule `{name}`: {message}"),
                hint,
            }),
        }
    }
    if unbindable.is_empty() { Ok(Binding::Bound(bound)) } else { Err(unbindable) }
}

/// Everything about a tool, its name apart, that what is bound to it depends on.
pub(super) fn depends_on(tool: &Tool) -> impl Serialize {
    let choosing: Vec<&str> = choosing(tool).into_iter().flatten().collect();
    let pointers = tool.constraint_pointers();
    (tool.input().text(), pointers, choosing, definition_is_unknown(tool))
}

/// An MCP tool that its server has not described, and neither has its manifest.
fn definition_is_unknown(tool: &Tool) -> bool {
    let described = tool.input().text().contains_key("properties");
    match tool.binding() {
        ToolBinding::Mcp(_) => tool.unavailable().is_some() && !described,
        ToolBinding::Command { .. } => false,
    }
}

fn target(
    tool: &Tool,
    constraint: &Constraint,
    word: &str,
    bounds: &Bounds,
) -> Result<Target, (String, String)> {
    let name = &constraint.name;
    let pointer = match tool.constraint_pointer(name) {
        Some(pointer) if pointer.starts_with('/') && tool.input().describes(pointer).is_some() => {
            pointer.to_owned()
        }
        Some(pointer) => {
            let message = format!(
                "the manifest binds `{name}` of tool `{}` to `{pointer}`, which its schema does not \
                 describe",
                tool.name()
            );
            return Err((message, "correct `constraints` of the tool in its manifest".to_owned()));
        }
        None => format!(
            "/{}",
            escape(parameter(tool, word, bounds).ok_or_else(|| {
                let message = format!("`{name}` binds to no parameter of tool `{}`", tool.name());
                (message, nearest(tool, word))
            })?)
        ),
    };
    let steps =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let default = tool.input().describes(&pointer).and_then(|node| {
        let default =
            node.get("default").or_else(|| resolve(tool.input().text(), node)?.get("default"));
        default.filter(|default| !default.is_null()).cloned()
    });
    Ok(Target { pointer, steps, default })
}

/// The top-level parameter that `word` names: exactly, or a set of it in the plural.
fn parameter<'w>(tool: &Tool, word: &'w str, bounds: &Bounds) -> Option<&'w str> {
    let properties = properties(tool)?;
    let singular = match bounds {
        Bounds::Allowed(_) | Bounds::Denied(_) => word.strip_suffix('s'),
        Bounds::Max(_) | Bounds::Min(_) | Bounds::Set(_) => None,
    };
    [Some(word), singular].into_iter().flatten().find(|name| properties.contains_key(*name))
}

fn check(
    tool: &Tool,
    constraint: &Constraint,
    bounds: &Bounds,
    target: &Target,
) -> Result<(), (String, String)> {
    let name = &constraint.name;
    let shown = target.pointer.trim_start_matches('/');
    let parameter = format!("parameter `{shown}` of tool `{}`", tool.name());
    match bounds {
        Bounds::Max(number) | Bounds::Min(number) => match numeric(tool, &target.pointer) {
            None => Err((
                format!("`{name}` needs a number, but {parameter} is not one"),
                "`max_…` and `min_…` are for parameters of type integer or number".to_owned(),
            )),
            Some(Numeric::Integer) if !Exact::of(number).is_some_and(Exact::is_integer) => Err((
                format!("`{name}` is {number}, but {parameter} is an integer"),
                "use a number without a fraction".to_owned(),
            )),
            Some(Numeric::Integer | Numeric::Number) => Ok(()),
        },
        Bounds::Set(_) if chooses_an_attribute(tool, target) => Err((
            format!("`{name}` would change {parameter}, which chooses an attribute of the call"),
            "use `allowed_…`, or match on the attribute".to_owned(),
        )),
        Bounds::Set(_) | Bounds::Allowed(_) | Bounds::Denied(_) => {
            let node = tool.input().describes(&target.pointer);
            match node.and_then(|node| types::misfit(tool.input().text(), node, bounds)) {
                None => Ok(()),
                Some((value, types)) => {
                    let message = format!(
                        "`{name}` names {value}, but {parameter} is of type {}",
                        if types.is_empty() { "object" } else { &types }
                    );
                    Err((message, of_its_type(value, &types)))
                }
            }
        }
    }
}

/// What to write where the type is wrong: YAML takes `5`, `1.0` and `true` for no texts.
fn of_its_type(value: &Value, types: &str) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) if types.contains("string") => {
            format!("for a text, write it in quotes: `'{value}'`")
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            "no call could ever have that value; write one that the parameter can have".to_owned()
        }
    }
}

/// Rules were matched on what such an argument says, so nothing may change it afterwards.
fn chooses_an_attribute(tool: &Tool, target: &Target) -> bool {
    let changed = target.steps.first().map(String::as_str);
    choosing(tool).into_iter().flatten().any(|argument| Some(argument) == changed)
}

/// The arguments that choose attributes of the call.
fn choosing(tool: &Tool) -> [Option<&str>; 5] {
    fn argument<T>(value: Option<&AttributeValue<T>>) -> Option<&str> {
        match value {
            Some(AttributeValue::Chosen(chosen)) => Some(&chosen.argument),
            Some(AttributeValue::Fixed(_)) | None => None,
        }
    }
    let specs = tool.attribute_specs();
    [
        argument(specs.capability.as_ref()),
        argument(specs.action.as_ref()),
        argument(specs.action_type.as_ref()),
        argument(specs.environment.as_ref()),
        argument(specs.risk.as_ref()),
    ]
}

enum Numeric {
    Integer,
    Number,
}

/// Whether the schema says that the value at `pointer` is a number; it may also be `null`.
fn numeric(tool: &Tool, pointer: &str) -> Option<Numeric> {
    let text = tool.input().text();
    let node = resolve(text, tool.input().describes(pointer)?)?;
    let branches = node.get("anyOf").or_else(|| node.get("oneOf")).and_then(Value::as_array);
    let types: Vec<&str> = match (node.get("type"), branches) {
        (Some(Value::Array(types)), _) => types.iter().map(Value::as_str).collect::<Option<_>>()?,
        (Some(one), _) => vec![one.as_str()?],
        (None, Some(branches)) => branches
            .iter()
            .map(|branch| resolve(text, branch.as_object()?)?.get("type")?.as_str())
            .collect::<Option<_>>()?,
        (None, None) => return None,
    };
    let of = |name: &str| types.contains(&name);
    if !types.iter().all(|name| ["integer", "number", "null"].contains(name)) {
        None
    } else if of("number") {
        Some(Numeric::Number)
    } else {
        of("integer").then_some(Numeric::Integer)
    }
}

/// The part of `schema` that `node` stands for: what it refers to, or itself.
pub(super) fn resolve<'s>(schema: &'s Object, node: &'s Object) -> Option<&'s Object> {
    let mut node = node;
    for _ in 0..MAX_HOPS {
        let Some(reference) = node.get("$ref") else { return Some(node) };
        let mut steps = reference.as_str()?.strip_prefix("#/")?.split('/');
        let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let first = schema.get(&unescape(steps.next()?))?;
        node = steps.try_fold(first, |value, step| value.get(unescape(step)))?.as_object()?;
    }
    None
}

fn properties(tool: &Tool) -> Option<&Object> {
    tool.input().text().get("properties")?.as_object()
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn nearest(tool: &Tool, word: &str) -> String {
    let Some(properties) = properties(tool).filter(|properties| !properties.is_empty()) else {
        return "it has no parameters; narrow the rule's `match`".to_owned();
    };
    let names = || properties.keys().map(String::as_str);
    match source::nearest(word, names()) {
        Some(near) => format!(
            "the nearest parameter is `{near}`; rename the constraint, narrow the rule's `match`, or \
             bind it in the manifest (`constraints`)"
        ),
        None => format!(
            "its parameters are {}; narrow the rule's `match`, or bind the constraint in the manifest \
             (`constraints`)",
            names().take(MAX_LISTED).collect::<Vec<_>>().join(", ")
        ),
    }
}
