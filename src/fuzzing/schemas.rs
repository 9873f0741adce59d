//! Schemas of upstream servers, which write them as they like, and the values that are checked with them.

use serde_json::Value;

use super::parts;
use crate::catalog::Schema;
use crate::json;

/// How many faults one value may have at most: a fault more than that is one nobody reads.
const MAX_FAULTS: usize = 16;

/// The first text is a schema, all others are values. It is refused with a reason, or every value is checked
/// with the same result each time: it fits, or there are faults, not too many, each at a place of the value.
/// How long that takes is bounded by whoever runs this.
pub fn schemas(data: &[u8]) {
    if data.len() > super::MAX_INPUT_BYTES {
        return;
    }
    let mut texts = parts(data);
    let Some(text) = texts.next().and_then(super::object) else { return };
    let schema = match Schema::compile(text.clone()) {
        Ok(schema) => schema,
        Err(error) => {
            assert!(!error.why.is_empty(), "refused without a reason");
            assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{error:?}");
            return;
        }
    };
    assert_eq!(*schema.text(), text, "the schema is kept as it was written");
    for value in texts.filter_map(|text| json::parse(text.as_bytes()).ok()) {
        let checked = schema.check(&value);
        assert_eq!(checked, schema.check(&value), "checked twice");
        if let Value::Object(arguments) = &value {
            for repeated in schema.repeated() {
                let _ = repeated.expected(arguments);
            }
        }
        let Err(faults) = checked else { continue };
        assert!((1..=MAX_FAULTS).contains(&faults.len()), "{} faults", faults.len());
        for fault in faults {
            assert!(!fault.message.is_empty(), "a fault without words at {}", fault.pointer);
            let (above, _) = fault.pointer.rsplit_once('/').unwrap_or_default();
            assert!(value.pointer(above).is_some(), "no such place: {}", fault.pointer);
            let _ = schema.describes(&fault.pointer);
        }
    }
}
