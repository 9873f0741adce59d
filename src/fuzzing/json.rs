//! The strict reader of JSON against serde_json, which reads the same bytes on its own.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::digest;
use crate::json::{self, Fault, MAX_DEPTH, Malformed};

/// What the reader takes, serde_json takes for the same value; nothing in it is said twice, and nesting is
/// bounded. What it refuses as no JSON, serde_json refuses too. [`json::check`] says the same of the bytes, but
/// for NUL in keys. Arguments that pass I-JSON have a digest, whose text says of every number what was written.
pub fn strict_json(data: &[u8]) {
    if data.len() > super::MAX_INPUT_BYTES {
        return;
    }
    let parsed = json::parse(data);
    let other = serde_json::from_slice::<Value>(data);
    agree(data, &parsed);
    match parsed {
        Ok(value) => {
            assert_eq!(Some(&value), other.as_ref().ok(), "serde_json reads it otherwise");
            plain(std::str::from_utf8(data).expect("what is taken is UTF-8"), 0);
            let written = value.to_string();
            assert_eq!(json::parse(written.as_bytes()), Ok(value.clone()), "as we write it");
            bound(&value);
        }
        Err(Malformed { fault, line, column }) => {
            assert!(line >= 1 && column >= 1 && line <= data.len() + 1, "{line}:{column}");
            if !is_our_own(&fault) {
                assert!(other.is_err(), "serde_json takes what is refused as: {fault}");
            }
        }
    }
}

/// Whether JSON itself allows what is refused.
const fn is_our_own(fault: &Fault) -> bool {
    match fault {
        Fault::Duplicate | Fault::Nul | Fault::Reserved | Fault::Depth | Fault::Surrogate => true,
        Fault::Syntax | Fault::Unfinished | Fault::Trailing | Fault::Encoding | Fault::Control => {
            false
        }
    }
}

fn agree(data: &[u8], parsed: &Result<Value, Malformed>) {
    let is_nul = matches!(parsed, Err(Malformed { fault: Fault::Nul, .. }));
    match json::check(data) {
        Ok(text) => {
            assert_eq!(text.as_bytes(), data, "what is passed on is what came");
            assert!(parsed.is_ok() || is_nul, "passed on, but refused: {parsed:?}");
        }
        Err(refused) => {
            assert_ne!(refused.fault, Fault::Nul, "what is passed on may have NUL in keys");
            assert!(is_nul || parsed.as_ref() == Err(&refused), "{refused:?} and {parsed:?}");
        }
    }
}

/// The members of an object with all that stand twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(All).map(Self)
    }
}

/// Asserts of a text that was taken what no reader may have to guess.
fn plain(text: &str, depth: usize) {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            assert!(depth < MAX_DEPTH, "nested deeper than {MAX_DEPTH}");
            let Members(members) = serde_json::from_str(text).expect("an object");
            let mut names = HashSet::new();
            for (name, value) in members {
                assert!(!name.contains('\0'), "a key with NUL was taken");
                plain(value.get(), depth + 1);
                assert!(names.insert(name), "a key that stands twice was taken");
            }
        }
        Some(b'[') => {
            assert!(depth < MAX_DEPTH, "nested deeper than {MAX_DEPTH}");
            let items: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
            items.into_iter().for_each(|item| plain(item.get(), depth + 1));
        }
        _ => {}
    }
}

/// Asserts that what I-JSON can hold has a canonical form that says the same.
fn bound(value: &Value) {
    let Value::Object(object) = value else { return };
    if json::check_i_json(object).is_err() {
        return;
    }
    let canonical = digest::canonical(value).expect("I-JSON has a canonical form");
    let again = json::parse(&canonical).expect("the canonical form is JSON that we take");
    assert_eq!(digest::canonical(&again).expect("a form"), canonical, "canonical is canonical");
    same(value, &again);
}

/// Asserts that two values are the same to a reader whose numbers are doubles.
fn same(one: &Value, two: &Value) {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => {
            let double = |text: String| text.parse::<f64>().expect("a number");
            let (one, two) = (double(one.to_string()), double(two.to_string()));
            assert!(one.is_finite() && one == two, "the number {one} became {two}");
        }
        (Value::Array(one), Value::Array(two)) => {
            assert_eq!(one.len(), two.len());
            one.iter().zip(two).for_each(|(one, two)| same(one, two));
        }
        (Value::Object(one), Value::Object(two)) => {
            assert_eq!(one.len(), two.len());
            for (name, one) in one {
                same(one, two.get(name).expect("a member that is kept"));
            }
        }
        (one, two) => assert_eq!(one, two),
    }
}
