//! Constraints as rules write them, and the exact comparison of numbers they rest on.

use std::cmp::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::redaction::Patterns;
use crate::catalog::manifest::Span;
use crate::json::{self, Object};
use crate::source;

/// The most values that a set names.
const MAX_SET_VALUES: usize = 10_000;
/// The forms a constraint's name can have.
const FORMS: &str = "constraints are max_P, min_P, allowed_P, denied_P, set_P, timeout, max_result_bytes, redact and dry_run";
/// Those among them that are the gateway's own.
const OWN: [&str; 4] = ["timeout", "max_result_bytes", "redact", "dry_run"];

/// One constraint of a rule.
#[derive(Debug)]
pub(super) struct Constraint {
    /// Its name, as the rule writes it.
    pub(super) name: String,
    pub(super) demand: Demand,
}

/// What a constraint asks for.
#[derive(Debug)]
pub(super) enum Demand {
    /// A shorter time limit.
    Timeout(Duration),
    /// A smaller result, in bytes.
    MaxResultBytes(usize),
    /// What results do not say.
    Redact(Patterns),
    /// Nothing runs.
    DryRun,
    /// Something about a parameter.
    Parameter { word: String, bounds: Bounds },
}

/// What a parameter must keep to.
#[derive(Debug)]
pub(super) enum Bounds {
    Max(Number),
    Min(Number),
    Allowed(Vec<Value>),
    Denied(Vec<Value>),
    Set(Value),
}

impl Constraint {
    /// Reads one constraint; an error is what is wrong, and a hint.
    pub(super) fn parse(name: &str, value: &Value) -> Result<Self, (String, String)> {
        let demand = match name {
            "timeout" => Demand::Timeout(timeout(value)?),
            "max_result_bytes" => Demand::MaxResultBytes(bytes(value)?),
            "redact" => Demand::Redact(Patterns::parse(value)?),
            "dry_run" if *value == Value::Bool(true) => Demand::DryRun,
            "dry_run" => {
                let hint = "write `dry_run: true`, or leave it out";
                return Err(wrong(format!("`dry_run` cannot be `{value}`"), hint));
            }
            _ => parameter(name, value)?,
        };
        Ok(Self { name: name.to_owned(), demand })
    }
}

fn timeout(value: &Value) -> Result<Duration, (String, String)> {
    Span::deserialize(value)
        .map(|Span(duration)| duration)
        .map_err(|_| wrong(format!("`timeout` cannot be `{value}`"), "write it like `30s` or `5m`"))
}

fn bytes(value: &Value) -> Result<usize, (String, String)> {
    value
        .as_u64()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| {
            wrong(
                format!("`max_result_bytes` cannot be `{value}`"),
                "write a number of bytes, like 65536",
            )
        })
}

fn parameter(name: &str, value: &Value) -> Result<Demand, (String, String)> {
    let split = name.split_once('_').filter(|(_, word)| !word.is_empty());
    let Some((kind, word)) = split else { return Err(unknown(name)) };
    let bounds = match kind {
        "max" => Bounds::Max(number(name, value)?),
        "min" => Bounds::Min(number(name, value)?),
        "allowed" => Bounds::Allowed(set(name, value)?),
        "denied" => Bounds::Denied(set(name, value)?),
        "set" => Bounds::Set(value.clone()),
        _ => return Err(unknown(name)),
    };
    let held = Object::from_iter([(name.to_owned(), value.clone())]);
    json::check_i_json(&held).map_err(|error| {
        wrong(format!("`{}` {}", error.pointer, error.why), "no call could carry such a number")
    })?;
    Ok(Demand::Parameter { word: word.to_owned(), bounds })
}

fn number(name: &str, value: &Value) -> Result<Number, (String, String)> {
    match value {
        Value::Number(number) if Exact::of(number).is_some() => Ok(number.clone()),
        Value::Number(_)
        | Value::Null
        | Value::Bool(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            Err(wrong(format!("`{name}` needs a number, not `{value}`"), "like `max_replicas: 10`"))
        }
    }
}

/// A list of plain values, or one of them.
fn set(name: &str, value: &Value) -> Result<Vec<Value>, (String, String)> {
    let values = match value {
        Value::Array(values) => values.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![value.clone()]
        }
    };
    let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    if !values.iter().all(plain) {
        let hint = format!("like `{name}: [a, b]`");
        return Err(wrong(format!("`{name}` lists texts, numbers or booleans"), &hint));
    }
    if !(1..=MAX_SET_VALUES).contains(&values.len()) {
        let hint = "to refuse all values, use a rule with DENY";
        return Err(wrong(format!("`{name}` lists 1 to {MAX_SET_VALUES} values"), hint));
    }
    Ok(values)
}

fn unknown(name: &str) -> (String, String) {
    let hint = match source::nearest(name, OWN.into_iter()) {
        Some(near) => format!("did you mean `{near}`? {FORMS}"),
        None => format!("{FORMS}, where P is a parameter"),
    };
    wrong(format!("`{name}` is not a constraint"), &hint)
}

fn wrong(message: String, hint: &str) -> (String, String) {
    (message, hint.to_owned())
}

/// A number for comparing: integers exactly, everything else as the nearest double.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exact {
    Integer(i64),
    Double(f64),
}

impl Exact {
    /// The largest integer that every double below holds exactly.
    const LIMIT: u64 = 1 << 53;

    /// The number, if it is finite.
    pub(super) fn of(number: &Number) -> Option<Self> {
        match number.as_i64() {
            Some(integer) if integer.unsigned_abs() <= Self::LIMIT => Some(Self::Integer(integer)),
            Some(_) | None => number.as_f64().filter(|double| double.is_finite()).map(Self::Double),
        }
    }

    /// Whether it has no fraction, as JSON Schema's `integer` asks.
    pub(super) fn is_integer(self) -> bool {
        match self {
            Self::Integer(_) => true,
            Self::Double(double) => double.fract() == 0.0,
        }
    }

    /// The order of two numbers.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(&b),
            (Self::Integer(_) | Self::Double(_), Self::Integer(_) | Self::Double(_)) => {
                self.double().partial_cmp(&other.double()).unwrap_or(Ordering::Equal)
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "integers here are at most 2^53")]
    const fn double(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Double(double) => double,
        }
    }
}

/// Whether two values are the same to whoever reads JSON: `10` and `10.0` are.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (Exact::of(a), Exact::of(b)) {
            (Some(a), Some(b)) => a.compare(b) == Ordering::Equal,
            (None, _) | (_, None) => a == b,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => a == b,
    }
}
