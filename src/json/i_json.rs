//! What I-JSON (RFC 7493) can hold: values that every reader takes for the same, so that a digest binds them.

use serde_json::{Number, Value};

use super::Object;

/// A value that I-JSON (RFC 7493, section 2) cannot hold, so that two different calls could share a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}` {why}")]
pub struct NotIJson {
    /// Where the value stands, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong with it, in words.
    pub why: &'static str,
}

/// Checks that every number in `arguments` is one that a double holds exactly or as the nearest
/// decimal, and no integer is beyond 2^53 - 1 (RFC 7493, section 2.2).
///
/// # Errors
/// With the pointer of the first value that does not fit.
pub fn check_i_json(arguments: &Object) -> Result<(), NotIJson> {
    let mut path = Vec::new();
    arguments.iter().try_for_each(|(key, value)| check_at(&mut path, key, value))
}

/// The same for one value, which stands at `key` of an object.
///
/// # Errors
/// As [`check_i_json`].
pub fn check_i_json_at(key: &str, value: &Value) -> Result<(), NotIJson> {
    check_at(&mut Vec::new(), key, value)
}

fn check_at(path: &mut Vec<String>, key: &str, value: &Value) -> Result<(), NotIJson> {
    path.push(key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Number(number) => {
            if let Some(why) = number_beyond_i_json(number) {
                return Err(NotIJson { pointer: format!("/{}", path.join("/")), why });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_at(path, &index.to_string(), item)?;
            }
        }
        Value::Object(object) => {
            for (key, item) in object {
                check_at(path, key, item)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    path.pop();
    Ok(())
}

fn number_beyond_i_json(number: &Number) -> Option<&'static str> {
    const LIMIT: u64 = (1 << 53) - 1;
    if let Some(integer) = number.as_i64() {
        return (integer.unsigned_abs() > LIMIT)
            .then_some("is an integer beyond 2^53 - 1; send it as a string");
    }
    let digits = number.to_string();
    if !digits.contains(['.', 'e', 'E']) {
        return Some("is an integer beyond 2^53 - 1; send it as a string");
    }
    let Ok(double) = digits.parse::<f64>() else { return Some("is not a number") };
    let significant = digits
        .split(['e', 'E'])
        .next()
        .map(|mantissa| mantissa.replace(['.', '-'], ""))
        .map_or(0, |mantissa| mantissa.trim_matches('0').len());
    if !double.is_finite() {
        Some("is a number too large for a double")
    } else if significant > 17 {
        Some("has more digits than a double holds; send it as a string")
    } else {
        None
    }
}
