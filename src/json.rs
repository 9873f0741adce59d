//! JSON from outside: read strictly, kept exactly, and checked for what a digest can bind.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON object that keeps the order of its keys and the digits of its numbers.
pub type Object = serde_json::Map<String, Value>;

/// How deep a JSON text from outside may nest, in levels.
pub const MAX_DEPTH: usize = 64;

/// The key under which serde_json hands over a number whose digits it keeps.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Reads one JSON text; a duplicate key, nesting beyond [`MAX_DEPTH`] or trailing text is an error.
///
/// # Errors
/// With what is wrong and where, in words without the text itself.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| serde_json::Error::custom(format!("not UTF-8: {error}")))?;
    if text.contains("$serde_json::private::") {
        return Err(serde_json::Error::custom("a key that no client may send"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Object::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key == NUMBER_KEY {
                let digits: String = entries.next_value()?;
                let number: Number = digits.parse().map_err(A::Error::custom)?;
                return Ok(Value::Number(number));
            }
            if object.contains_key(&key) {
                return Err(A::Error::custom("a key that stands twice in one object"));
            }
            let value = entries.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_order_as_written() {
        let text = r#"{"z":123456789012345678901234567890,"a":[1.0,-0,0.10],"m":{"k":null}}"#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }

    #[test]
    fn refuses_duplicates_depth_and_trailing_text() {
        for text in
            [r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"\u0062":2}}"#, "{} {}", "[1,]", "\u{feff}{}"]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert!(parse(deep.as_bytes()).is_err());
        let fits = format!("{}{}", "[".repeat(64), "]".repeat(64));
        assert!(parse(fits.as_bytes()).is_ok());
    }

    #[test]
    fn names_the_number_that_no_digest_can_bind() {
        let check = |text: &str| {
            let Value::Object(object) = parse(text.as_bytes()).unwrap() else { panic!() };
            check_i_json(&object).map_err(|error| error.pointer)
        };
        assert_eq!(check(r#"{"a":9007199254740991,"b":0.1,"c":1e300}"#), Ok(()));
        assert_eq!(check(r#"{"a":[0,9007199254740993]}"#), Err("/a/1".to_owned()));
        assert_eq!(check(r#"{"a/b":{"~":1e400}}"#), Err("/a~1b/~0".to_owned()));
        assert_eq!(check(r#"{"x":1.000000000000000000001}"#), Err("/x".to_owned()));
        assert_eq!(check(r#"{"x":123456789012345678901234567890}"#), Err("/x".to_owned()));
    }
}
