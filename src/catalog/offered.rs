//! What an MCP server offers, as it says itself.

use serde_json::Value;

use super::context::Described;
use super::pins::Changed;
use crate::json::Object;

/// What an MCP server offers. A list that it announces and does not give takes nothing from the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// Its tools.
    pub tools: Vec<Definition>,
    /// Its resources, or why it did not say.
    pub resources: Result<Vec<Described>, String>,
    /// Its templates of resources.
    pub templates: Result<Vec<Described>, String>,
    /// Its prompts.
    pub prompts: Result<Vec<Described>, String>,
    /// What waits for an operator; it stands in the lists as it was accepted, or not at all.
    pub quarantined: Vec<Changed>,
}

impl Offered {
    /// Why one of the lists is missing, if one is.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        let lists = [&self.resources, &self.templates, &self.prompts];
        lists.into_iter().find_map(|list| list.as_ref().err()).map(String::as_str)
    }
}

impl From<Vec<Definition>> for Offered {
    fn from(tools: Vec<Definition>) -> Self {
        let nothing = || Ok(Vec::new());
        Self {
            tools,
            resources: nothing(),
            templates: nothing(),
            prompts: nothing(),
            quarantined: Vec::new(),
        }
    }
}

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
