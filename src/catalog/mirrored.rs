//! Arguments that clients repeat in HTTP headers, for who routes by headers (`x-mcp-header`, SEP-2243).

use std::collections::HashSet;

use serde_json::Value;

use crate::json::Object;

/// The keyword of a property whose value is repeated.
const KEYWORD: &str = "x-mcp-header";
/// Keywords whose values are data and no schemas.
const DATA: &[&str] = &["default", "const", "enum", "examples"];

/// One argument that is repeated in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    path: Vec<String>,
    header: String,
}

impl Mirrored {
    /// All that `schema` wants repeated.
    ///
    /// # Errors
    /// With what is wrong: clients must not call a tool with an annotation against the rules (MCP
    /// 2026-07-28, server/tools): a name that is no header's or stands there twice, a property that is
    /// neither text nor integer nor boolean, or not reached through `properties` alone.
    pub(super) fn all(schema: &Object) -> Result<Vec<Self>, String> {
        if schema.contains_key(KEYWORD) || strays(schema) {
            return Err(format!("`{KEYWORD}` stands where no argument is"));
        }
        let mut found = Vec::new();
        collect(schema, &mut Vec::new(), &mut found)?;
        let mut names = HashSet::new();
        match found.iter().find(|it| !names.insert(it.header.to_ascii_lowercase())) {
            Some(twice) => Err(format!("two arguments have the `{KEYWORD}` `{}`", twice.header)),
            None => Ok(found),
        }
    }

    /// The header, after `Mcp-Param-`.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The argument as a header says it; none when it is absent or null.
    #[must_use]
    pub fn value_in(&self, arguments: &Object) -> Option<String> {
        let (first, rest) = self.path.split_first()?;
        let value = rest.iter().try_fold(arguments.get(first)?, |value, step| value.get(step))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Collects what the properties of `schema` want, and theirs.
fn collect(
    schema: &Object,
    path: &mut Vec<String>,
    found: &mut Vec<Mirrored>,
) -> Result<(), String> {
    let Some(Value::Object(properties)) = schema.get("properties") else { return Ok(()) };
    for (name, property) in properties {
        let Value::Object(property) = property else { continue };
        path.push(name.clone());
        if let Some(header) = property.get(KEYWORD) {
            let kind = property.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("string" | "integer" | "boolean")) {
                return Err(format!("`{name}` has `{KEYWORD}` and is no text, integer or boolean"));
            }
            let header = header.as_str().filter(|header| is_token(header));
            let header = header.ok_or_else(|| format!("the `{KEYWORD}` of `{name}` is no name"))?;
            found.push(Mirrored { path: path.clone(), header: header.to_owned() });
        }
        collect(property, path, found)?;
        path.pop();
    }
    Ok(())
}

/// Whether an annotation stands off the way through `properties`.
fn strays(schema: &Object) -> bool {
    schema.iter().any(|(key, value)| match (key.as_str(), value) {
        ("properties", Value::Object(properties)) => {
            properties.values().filter_map(Value::as_object).any(strays)
        }
        (key, _) if DATA.contains(&key) => false,
        (_, value) => annotates(value),
    })
}

/// Whether an annotation stands anywhere in `value`, which no argument is reached through.
fn annotates(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.contains_key(KEYWORD)
                || members
                    .iter()
                    .any(|(key, value)| !DATA.contains(&key.as_str()) && annotates(value))
        }
        Value::Array(items) => items.iter().any(annotates),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The characters of a header's name (RFC 9110, section 5.6.2).
fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(properties: Value) -> Result<Vec<Mirrored>, String> {
        Mirrored::all(json!({ "type": "object", "properties": properties }).as_object().unwrap())
    }

    #[test]
    fn values_are_found_where_the_annotation_is() {
        let found = all(json!({
            "region": { "type": "string", "x-mcp-header": "Region" },
            "where": { "type": "object", "properties": {
                "floor": { "type": "integer", "x-mcp-header": "Floor" },
            } },
            "plain": { "type": "string", "default": { "x-mcp-header": "No" } },
        }))
        .unwrap();
        let headers: Vec<_> = found.iter().map(Mirrored::header).collect();
        assert_eq!(headers, ["Region", "Floor"]);
        let arguments = json!({ "region": "eu", "where": { "floor": -2 } });
        let values = found.iter().map(|it| it.value_in(arguments.as_object().unwrap()));
        assert_eq!(values.collect::<Vec<_>>(), [Some("eu".to_owned()), Some("-2".to_owned())]);
        for none in [json!({}), json!({ "region": null, "where": 1 })] {
            assert!(found.iter().all(|it| it.value_in(none.as_object().unwrap()).is_none()));
        }
    }

    #[test]
    fn annotations_against_the_rules_are_refused() {
        let text = |header: Value| json!({ "a": { "type": "string", "x-mcp-header": header } });
        for wrong in ["", "My Region", "Region:Primary", "Région", "Region\t1"] {
            assert!(all(text(wrong.into())).is_err(), "{wrong}");
        }
        assert!(all(text(7.into())).is_err());
        for kind in ["object", "array", "null", "number"] {
            assert!(all(json!({ "a": { "type": kind, "x-mcp-header": "A" } })).is_err(), "{kind}");
        }
        let (one, two) = (text("R".into())["a"].clone(), text("r".into())["a"].clone());
        assert!(all(json!({ "a": one, "b": two })).is_err());
        let item = json!({ "type": "array", "items": text("R".into())["a"] });
        assert!(all(json!({ "a": item })).is_err());
        let root = json!({ "type": "object", "x-mcp-header": "R" });
        assert!(Mirrored::all(root.as_object().unwrap()).is_err());
    }
}
