//! What expressions look at: one call, as values of the interpreter.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cel::extractors::This;
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use jiff::Timestamp;
use regex::Regex;

use super::super::matching::{Caller, Client};
use super::checking::{Found, MAX_NODES};
use crate::catalog::{CheckedArguments, Risk};

/// The most elements of one list or object of which an expression may look at each.
const MAX_ELEMENTS: usize = 1_000;
/// The most bytes of arguments that all functions of an expression may look at together, where it repeats them once
/// for each element.
const MAX_LOOKED_AT: usize = 64 << 20;
/// The most bytes of arguments that an expression may look at.
const MAX_BYTES: usize = 1 << 20;
/// How deep arguments may be nested.
const MAX_DEPTH: usize = 64;
/// The largest whole number that every number of 64 bits with a fraction can tell from its neighbours.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The patterns of the expression that is evaluated.
type Patterns = Arc<BTreeMap<String, Regex>>;

/// One call, as expressions see it.
pub(super) struct Scene {
    context: Context<'static, 'static>,
    patterns: Arc<Mutex<Patterns>>,
    /// By argument: how large it is, or why it cannot be looked at.
    arguments: HashMap<String, Result<Size, &'static str>>,
    /// How many groups the agent is in.
    groups: usize,
}

/// How large a value is.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    /// The elements of the longest list or object in it.
    longest: usize,
}

impl Scene {
    pub(super) fn of(
        caller: &Caller<'_>,
        owner: Option<&str>,
        workflow: Option<&str>,
        checked: &CheckedArguments,
        now: Timestamp,
    ) -> Self {
        let mut context = Context::with_env(Arc::new(Env::stdlib()));
        let patterns: Arc<Mutex<Patterns>> = Arc::default();
        let known = Arc::clone(&patterns);
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let found = known.get(pattern.as_str()).map(|it| it.is_match(&text));
            found.ok_or_else(|| ExecutionError::InternalError("an unknown pattern".to_owned()))
        };
        // It could fail only for a name that the environment has, and then every condition with it would fail.
        let _ = context.add_function("matches", matches);
        let (mut arguments, mut values) = (HashMap::new(), HashMap::new());
        for (name, value) in checked.arguments() {
            let mut size = Size::default();
            let read = value_of(value, &mut size, 0);
            arguments.insert(name.clone(), read.as_ref().map(|_| size).map_err(|why| *why));
            if let Ok(value) = read {
                values.insert(Key::from(name.as_str()), value);
            }
        }
        context.add_variable_from_value("arguments", map(values));
        context.add_variable_from_value("agent", agent(caller, owner));
        context.add_variable_from_value("client", client(caller));
        context.add_variable_from_value("tool", tool(checked));
        let workflow = members(vec![("name", workflow.map(text))]);
        context.add_variable_from_value("workflow", workflow);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        if let Some(now) = chrono::DateTime::from_timestamp(now.as_second(), nanos) {
            context.add_variable_from_value("time", Value::Timestamp(now.fixed_offset()));
        }
        Self { context, patterns, arguments, groups: caller.groups.len() }
    }

    /// What the expression gives.
    pub(super) fn evaluate(
        &self,
        expression: &IdedExpr,
        found: &Found,
        patterns: &Patterns,
    ) -> Result<bool, String> {
        self.bound(found)?;
        *self.patterns.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(patterns);
        match Value::resolve(expression, &self.context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it gave {}, neither true nor false", kind(&other))),
            Err(error) => Err(told(&error, found)),
        }
    }

    /// What a reference has, in words.
    pub(super) fn shown(&self, reference: &IdedExpr) -> String {
        match Value::resolve(reference, &self.context) {
            Ok(value) => shown(&value),
            Err(_) => "absent".to_owned(),
        }
    }

    /// What would take too long is not begun.
    fn bound(&self, found: &Found) -> Result<(), String> {
        if !found.on_arguments {
            return Ok(());
        }
        let mut all = Size::default();
        for (name, size) in &self.arguments {
            if found.any_argument || found.arguments.contains(name) {
                let size = size.map_err(|why| format!("`{name}` {why}"))?;
                all.bytes = all.bytes.saturating_add(size.bytes);
                all.longest = all.longest.max(size.longest);
            }
        }
        if found.any_argument {
            all.longest = all.longest.max(self.arguments.len());
        }
        if all.bytes > MAX_BYTES {
            return Err(format!("the arguments have more than {MAX_BYTES} bytes"));
        }
        if found.repeats && all.longest > MAX_ELEMENTS {
            return Err(format!("a list of {} elements is too long to go over", all.longest));
        }
        // What is gone over may also be written out in the rule, or be what the agent is.
        let rounds = if found.repeats { all.longest.max(self.groups).max(MAX_NODES) } else { 1 };
        let looked_at = rounds.saturating_mul(found.calls).saturating_mul(all.bytes);
        if looked_at > MAX_LOOKED_AT {
            return Err("the arguments are too large for this condition".to_owned());
        }
        Ok(())
    }
}

fn map(values: HashMap<Key, Value>) -> Value {
    Value::Map(Map { map: Arc::new(values) })
}

fn members(all: Vec<(&str, Option<Value>)>) -> Value {
    map(all.into_iter().filter_map(|(name, value)| Some((Key::from(name), value?))).collect())
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn texts(all: &[String]) -> Value {
    Value::List(Arc::new(all.iter().map(|it| text(it)).collect()))
}

fn agent(caller: &Caller<'_>, owner: Option<&str>) -> Value {
    members(vec![
        ("name", Some(text(caller.agent.as_str()))),
        ("groups", Some(texts(caller.groups))),
        ("owner", owner.map(text)),
    ])
}

fn client(caller: &Caller<'_>) -> Value {
    let name = match caller.client {
        Client::Said(name) => name,
        Client::Any => None,
    };
    members(vec![("name", name.map(text))])
}

fn tool(checked: &CheckedArguments) -> Value {
    let (tool, attributes) = (checked.tool(), checked.attributes());
    members(vec![
        ("name", Some(text(tool.known_as()))),
        ("backend", Some(text(tool.backend()))),
        ("capability", attributes.capability.as_deref().map(text)),
        ("action", attributes.action.as_deref().map(text)),
        ("action_type", Some(text(attributes.action_type.as_str()))),
        ("environment", attributes.environment.as_deref().map(text)),
        ("risk", attributes.risk.map(Risk::as_str).map(text)),
        ("tags", Some(texts(&tool.attribute_specs().tags))),
    ])
}

/// A JSON value as a value of the interpreter, exactly or not at all.
fn value_of(
    value: &serde_json::Value,
    size: &mut Size,
    depth: usize,
) -> Result<Value, &'static str> {
    use serde_json::Value as Json;
    if depth > MAX_DEPTH {
        return Err("is nested too deep");
    }
    size.bytes = size.bytes.saturating_add(8);
    match value {
        Json::Null => Ok(Value::Null),
        Json::Bool(it) => Ok(Value::Bool(*it)),
        Json::Number(number) => number_of(number.as_str()),
        Json::String(it) => {
            size.bytes = size.bytes.saturating_add(it.len());
            Ok(text(it))
        }
        Json::Array(items) => {
            size.longest = size.longest.max(items.len());
            let items: Result<_, _> =
                items.iter().map(|it| value_of(it, size, depth + 1)).collect();
            Ok(Value::List(Arc::new(items?)))
        }
        Json::Object(all) => {
            size.longest = size.longest.max(all.len());
            let mut values = HashMap::with_capacity(all.len());
            for (name, value) in all {
                size.bytes = size.bytes.saturating_add(name.len());
                values.insert(Key::from(name.as_str()), value_of(value, size, depth + 1)?);
            }
            Ok(map(values))
        }
    }
}

fn number_of(number: &str) -> Result<Value, &'static str> {
    const INEXACT: &str = "is or has a number that is too large to compare exactly";
    if !number.contains(['.', 'e', 'E']) {
        return number.parse().map(Value::Int).map_err(|_| INEXACT);
    }
    let number: f64 = number.parse().map_err(|_| INEXACT)?;
    // Comparisons with NaN or of what was rounded could go either way.
    if number.abs() <= MAX_EXACT { Ok(Value::Float(number)) } else { Err(INEXACT) }
}

fn kind(value: &Value) -> String {
    format!("a value of type {}", value.type_of())
}

/// An error without the values in it, which may be secrets.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of an error that is not known the values must not be told either"
)]
fn told(error: &ExecutionError, found: &Found) -> String {
    match error {
        // A key that the rule does not write may be a value of the call.
        ExecutionError::NoSuchKey(key) if found.arguments.contains(key.as_str()) => {
            format!("there is no `{key}`")
        }
        ExecutionError::NoSuchKey(_) => "there is no such member".to_owned(),
        ExecutionError::NoSuchOverload(overload) => {
            format!("`{}` does not go with these types", overload.function())
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::ValuesNotComparable(one, other) => {
            format!("{} is not comparable with {}", kind(one), kind(other))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, one, other) => {
            format!("`{operator}` does not go with {} and {}", kind(one), kind(other))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "a division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number became too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "an index beyond the end of a list".to_owned(),
        ExecutionError::UnexpectedType { got, want } => {
            format!("a value of type {got} where {want} is needed")
        }
        _ => "it does not go with these values".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    /// The longest text that is shown, in characters.
    const MAX_SHOWN: usize = 100;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(it) => it.to_string(),
        Value::Int(it) => it.to_string(),
        Value::UInt(it) => it.to_string(),
        Value::Float(it) => it.to_string(),
        Value::Timestamp(it) => it.to_rfc3339(),
        Value::String(it) => {
            let begins: String = it.chars().take(MAX_SHOWN).collect();
            let more = if begins.len() < it.len() { "…" } else { "" };
            format!("{begins:?}{more}")
        }
        Value::List(all) if all.len() <= 10 => {
            let all: Vec<String> = all.iter().map(shown).collect();
            format!("[{}]", all.join(", "))
        }
        Value::List(all) => format!("a list of {}", all.len()),
        Value::Map(_)
        | Value::Function(..)
        | Value::Bytes(_)
        | Value::Duration(_)
        | Value::Opaque(_)
        | Value::Struct(_) => kind(value),
    }
}
