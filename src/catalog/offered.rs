//! A tool's definition as its MCP server gives it.

use serde_json::Value;

use crate::json::Object;

/// A tool's definition as its MCP server gives it: words of the server, until an operator lists the tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name there.
    pub name: String,
    /// Its title for people.
    pub title: Option<String>,
    /// What it says it does.
    pub description: Option<String>,
    /// The JSON Schema of its arguments.
    pub input_schema: Object,
    /// The JSON Schema of its structured result.
    pub output_schema: Option<Object>,
    /// What it says about its own effects; a claim, not a fact.
    pub annotations: Option<Value>,
}

impl Definition {
    /// Reads an entry of `tools/list` (MCP); none when it has no name or no input schema.
    #[must_use]
    pub fn read(entry: &Object) -> Option<Self> {
        let text = |key| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let object = |key| entry.get(key).and_then(Value::as_object).cloned();
        Some(Self {
            name: text("name").filter(|name| !name.is_empty())?,
            title: text("title"),
            description: text("description"),
            input_schema: object("inputSchema")?,
            output_schema: object("outputSchema"),
            annotations: entry.get("annotations").cloned(),
        })
    }
}
