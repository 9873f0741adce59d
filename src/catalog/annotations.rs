//! `x-mcp-header` in schemas: arguments that a client of protocol 2026-07-28 repeats as headers (SEP-2243).

use http::HeaderName;
use serde_json::Value;

use crate::json::Object;

const ANNOTATION: &str = "x-mcp-header";
const PREFIX: &str = "mcp-param-";

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
}
