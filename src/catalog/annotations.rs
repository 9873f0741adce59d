//! `x-mcp-header` in schemas: arguments that a client of protocol 2026-07-28 repeats as headers (SEP-2243).

use std::collections::HashSet;

use http::HeaderName;
use serde_json::Value;

use crate::json::Object;

const ANNOTATION: &str = "x-mcp-header";
const PREFIX: &str = "mcp-param-";
/// Keywords whose values are data and no schemas.
const DATA: [&str; 4] = ["default", "const", "enum", "examples"];

/// An argument that is repeated as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    path: Vec<String>,
    header: HeaderName,
}

impl Repeated {
    /// All of a schema: properties reached from its root through `properties` alone.
    pub(super) fn of(schema: &Object) -> Vec<Self> {
        let mut found = Vec::new();
        let mut open = vec![(Vec::new(), schema)];
        while let Some((path, node)) = open.pop() {
            let Some(Value::Object(properties)) = node.get("properties") else { continue };
            for (name, property) in properties {
                let Value::Object(property) = property else { continue };
                let path: Vec<String> = path.iter().chain([name]).cloned().collect();
                let header = property
                    .get(ANNOTATION)
                    .and_then(Value::as_str)
                    .map(|header| HeaderName::from_bytes(format!("{PREFIX}{header}").as_bytes()));
                // What can be no header is none that a client could send.
                if let Some(Ok(header)) = header {
                    found.push(Self { path: path.clone(), header });
                }
                open.push((path, property));
            }
        }
        found
    }

    /// What is wrong with a schema's annotations, if anything: a tool with such a schema must not be called (MCP
    /// 2026-07-28, `x-mcp-header`). They stand on texts, integers and booleans that are reached through
    /// `properties` alone, and name each header once.
    pub(super) fn fault(schema: &Object) -> Option<String> {
        let of_values = properties(schema);
        let every = count(&Value::Object(schema.clone()));
        if of_values.len() != every {
            return Some(format!("`{ANNOTATION}` stands where no argument is"));
        }
        let mut names = HashSet::new();
        for (name, property) in of_values {
            let kind = property.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("string" | "integer" | "boolean")) {
                return Some(format!(
                    "`{name}` has `{ANNOTATION}`, and is no text, integer or boolean"
                ));
            }
            let header = property.get(ANNOTATION).and_then(Value::as_str).unwrap_or_default();
            if header.is_empty() || HeaderName::from_bytes(header.as_bytes()).is_err() {
                return Some(format!("the `{ANNOTATION}` of `{name}` is no header's name"));
            }
            if !names.insert(header.to_ascii_lowercase()) {
                return Some(format!("two arguments have the `{ANNOTATION}` `{header}`"));
            }
        }
        None
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &HeaderName {
        &self.header
    }

    /// What the header has to say for these arguments; none where it must not stand.
    #[must_use]
    pub fn expected(&self, arguments: &Object) -> Option<String> {
        let (first, rest) = self.path.split_first()?;
        let value = rest.iter().try_fold(arguments.get(first)?, |value, key| value.get(key))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// The annotated properties that are reached through `properties` alone, by name.
fn properties(schema: &Object) -> Vec<(&str, &Object)> {
    let mut found = Vec::new();
    let mut open = vec![schema];
    while let Some(node) = open.pop() {
        let inner = node.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (name, property) in inner {
            let Value::Object(property) = property else { continue };
            if property.contains_key(ANNOTATION) {
                found.push((name.as_str(), property));
            }
            open.push(property);
        }
    }
    found
}

/// How many annotations stand anywhere in a schema, data in it left out.
fn count(node: &Value) -> usize {
    match node {
        Value::Object(members) => {
            let here = usize::from(members.contains_key(ANNOTATION));
            let inner = members.iter().filter(|(key, _)| !DATA.contains(&key.as_str()));
            inner.map(|(_, value)| count(value)).sum::<usize>() + here
        }
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotated_properties_are_found_wherever_they_are() {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "wrong": { "type": "string", "x-mcp-header": "not a token" },
            "plain": { "type": "string" },
            "deep": { "type": "object", "properties": {
                "count": { "type": "integer", "x-mcp-header": "Count" } } },
            "list": { "type": "array", "items": { "x-mcp-header": "Never" } },
        } });
        let mut found = Repeated::of(schema.as_object().unwrap());
        found.sort_by(|a, b| a.header.as_str().cmp(b.header.as_str()));
        let names: Vec<&str> = found.iter().map(|it| it.header().as_str()).collect();
        assert_eq!(names, ["mcp-param-count", "mcp-param-region"]);
        let arguments = json!({ "region": "eu", "deep": { "count": 42 } });
        let expected: Vec<_> =
            found.iter().map(|it| it.expected(arguments.as_object().unwrap())).collect();
        assert_eq!(expected, [Some("42".to_owned()), Some("eu".to_owned())]);
        assert_eq!(found[1].expected(&Object::new()), None);
    }

    #[test]
    fn annotations_against_the_rules_are_named() {
        let fault = |properties: Value| {
            Repeated::fault(
                json!({ "type": "object", "properties": properties }).as_object().unwrap(),
            )
        };
        let one = |kind: &str, header: Value| json!({ "type": kind, "x-mcp-header": header });
        let nested = json!({ "type": "object", "properties": { "b": one("integer", "B".into()) } });
        let data = json!({ "type": "object", "default": { "x-mcp-header": 1 } });
        let good = json!({ "a": one("string", "A".into()), "n": nested, "d": data });
        assert_eq!(fault(good), None);
        for wrong in ["", "My Region", "Region:Primary", "Région", "Region\t1"] {
            assert!(fault(json!({ "a": one("string", wrong.into()) })).is_some(), "{wrong}");
        }
        assert!(fault(json!({ "a": one("string", 7.into()) })).is_some());
        for kind in ["object", "array", "null", "number"] {
            assert!(fault(json!({ "a": one(kind, "A".into()) })).is_some(), "{kind}");
        }
        let twice = json!({ "a": one("string", "R".into()), "b": one("string", "r".into()) });
        assert!(fault(twice).is_some());
        let item = json!({ "type": "array", "items": one("string", "R".into()) });
        assert!(fault(json!({ "a": item })).is_some());
    }
}
