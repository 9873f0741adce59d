//! A check of the keywords in schemas that operators write.

use serde_json::Value;

use super::schema::SchemaError;
use crate::json::Object;
use crate::source;

/// JSON Schema ignores keywords it does not know, so a slip of the pen would loosen a schema in silence.
pub(super) fn lint_keywords(schema: &Object) -> Result<(), SchemaError> {
    lint_at(schema, "")
}

fn lint_at(schema: &Object, pointer: &str) -> Result<(), SchemaError> {
    for (key, value) in schema {
        let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        if !KEYWORDS.contains(&key.as_str()) && !key.starts_with("x-") {
            let near = source::nearest(key, KEYWORDS.iter().copied());
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let why = format!("`{key}` is not a keyword of JSON Schema{hint}");
            return Err(SchemaError { pointer: place, why });
        }
        match (key.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(members),
            ) => {
                for (name, member) in members {
                    if let Value::Object(inner) = member {
                        lint_at(
                            inner,
                            &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")),
                        )?;
                    }
                }
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(members)) => {
                for (index, member) in members.iter().enumerate() {
                    if let Value::Object(inner) = member {
                        lint_at(inner, &format!("{place}/{index}"))?;
                    }
                }
            }
            (
                "items"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "additionalProperties"
                | "propertyNames",
                Value::Object(inner),
            ) => {
                lint_at(inner, &place)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The keywords of JSON Schema 2020-12 and draft 7.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "$ref",
    "$defs",
    "$comment",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "definitions",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "dependentSchemas",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
];
