//! JSON Schemas: compiled once, without network or files, on a linear-time pattern engine, and bounded
//! in what checking a value can cost.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::annotations::Repeated;
use super::cost::Cost;
use super::effort::Effort;
use super::fault::Fault;
use crate::json::Object;

/// The largest schema, in bytes of its JSON text.
const MAX_BYTES: usize = 256 << 10;
/// The largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// How many faults of one value are reported at once.
const MAX_FAULTS: usize = 16;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    text: Object,
    validator: Validator,
    repeated: Vec<Repeated>,
    cost: Cost,
}

/// Why a schema is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub why: String,
}

impl Schema {
    /// Compiles `text`: JSON Schema 2020-12, or draft 7 where `$schema` says so.
    ///
    /// # Errors
    /// When it is not a schema of these drafts, refers to anything outside itself, has a pattern that a
    /// linear-time engine cannot run, or may cost more than the bounds of this module.
    pub fn compile(text: Object) -> Result<Self, SchemaError> {
        let at_root = |why: String| SchemaError { pointer: String::new(), why };
        let value = Value::Object(text.clone());
        if value.to_string().len() > MAX_BYTES {
            return Err(at_root(format!("the schema is larger than {MAX_BYTES} bytes")));
        }
        let cost = Cost::of(&text)?;
        let draft = match text.get("$schema").and_then(Value::as_str) {
            None | Some("https://json-schema.org/draft/2020-12/schema") => Draft::Draft202012,
            Some(
                "http://json-schema.org/draft-07/schema#"
                | "http://json-schema.org/draft-07/schema",
            ) => Draft::Draft7,
            Some(other) => {
                return Err(SchemaError {
                    pointer: "/$schema".into(),
                    why: format!("`{other}` is not accepted; use 2020-12 or draft 7"),
                });
            }
        };
        let validator = jsonschema::options()
            .with_draft(draft)
            .offline()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(MAX_PATTERN_BYTES)
                    .dfa_size_limit(MAX_PATTERN_BYTES),
            )
            .build(&value)
            .map_err(|error| SchemaError {
                pointer: error.instance_path().to_string(),
                why: format!("not a usable JSON Schema: {error}"),
            })?;
        let repeated = Repeated::of(&text);
        Ok(Self { text, validator, repeated, cost })
    }

    /// The schema as it was written.
    #[must_use]
    pub const fn text(&self) -> &Object {
        &self.text
    }

    /// The arguments that a client repeats as headers.
    #[must_use]
    pub fn repeated(&self) -> &[Repeated] {
        &self.repeated
    }

    /// Checks `value`, reporting every fault up to a bound.
    ///
    /// # Errors
    /// With the faults, at least one; also when the check would take too many steps, in which case nothing is
    /// checked.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Fault>> {
        Effort::afford(&self.text, self.cost, value).map_err(|fault| vec![fault])?;
        if self.validator.is_valid(value) {
            return Ok(());
        }
        Err(self
            .validator
            .iter_errors(value)
            .flat_map(|error| Fault::of(&error))
            .take(MAX_FAULTS)
            .collect())
    }

    /// The subschema that describes the value at `pointer` of an instance, through `properties` and
    /// `items` only.
    #[must_use]
    pub fn describes(&self, pointer: &str) -> Option<&Object> {
        let mut node = &self.text;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = if step.parse::<usize>().is_ok() && node.contains_key("items") {
                node.get("items")
            } else {
                node.get("properties").and_then(|properties| properties.get(&step))
            };
            node = next?.as_object()?;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(value: Value) -> Result<Schema, SchemaError> {
        let Value::Object(text) = value else { panic!() };
        Schema::compile(text)
    }

    #[test]
    fn reports_every_fault_with_its_pointer() {
        let schema = compile(json!({
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": { "name": {"type": "string"}, "n": {"type": "integer", "minimum": 0} }
        }))
        .unwrap();
        assert!(schema.check(&json!({"name": "x", "n": 1})).is_ok());
        let faults = schema.check(&json!({"n": -1, "secret": "hunter2"})).unwrap_err();
        let told: Vec<String> =
            faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.message)).collect();
        for expected in ["/name is required", "/n must be at least 0", "/secret is not known here"]
        {
            assert!(told.iter().any(|told| told == expected), "{told:?}");
        }
        assert_eq!(told.len(), 3);
        assert!(!format!("{faults:?}").contains("hunter2"));
    }

    #[test]
    fn refuses_what_could_cost_too_much_or_reach_out() {
        let mut definitions = serde_json::Map::new();
        definitions.insert("a0".into(), json!({"type": "string"}));
        for level in 1..30 {
            let below = format!("#/$defs/a{}", level - 1);
            definitions
                .insert(format!("a{level}"), json!({"allOf": [{"$ref": below}, {"$ref": below}]}));
        }
        let bomb = compile(json!({"$ref": "#/$defs/a29", "$defs": definitions})).unwrap_err();
        assert!(bomb.why.contains("subschemas"), "{bomb}");
        for reference in ["http://127.0.0.1:1/x", "file:///etc/passwd", "other.json"] {
            assert!(compile(json!({"$ref": reference})).is_err());
        }
        for pattern in ["^(?=a)b", r"(a)\1", "((a{1,100}){1,100}){1,100}"] {
            assert!(compile(json!({"type": "string", "pattern": pattern})).is_err(), "{pattern}");
        }
        assert!(
            compile(json!({"$schema": "https://json-schema.org/draft/2019-09/schema"})).is_err()
        );
        let tree = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
        assert!(compile(tree).is_ok());
    }
}
