//! Tool definitions as the upstream wrote them.

use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::pages::{Page, Pages};
use super::wire::{HEADER_ANNOTATION, bounded};
use crate::backend::BackendError;
use crate::catalog::Definition;

/// The pages of one list of tools.
pub(super) struct Listing {
    pages: Pages,
    names: HashSet<String>,
    pub(super) tools: Vec<Definition>,
    /// Whether a tool asks for arguments as HTTP headers.
    pub(super) is_annotated: bool,
}

impl Listing {
    /// An empty list for at most `max_tools`.
    pub(super) fn new(max_tools: usize) -> Self {
        let (names, tools) = (HashSet::new(), Vec::new());
        Self { pages: Pages::new("tools", max_tools), names, tools, is_annotated: false }
    }

    /// Adds a page, and gives the cursor of the next one.
    ///
    /// # Errors
    /// If it is not a page of tools, or one too many.
    pub(super) fn add(&mut self, page: &RawValue) -> Result<Option<String>, BackendError> {
        let Page { entries, next } = self.pages.add(page)?;
        self.is_annotated |= page.get().contains(HEADER_ANNOTATION);
        for tool in entries {
            self.add_tool(tool);
        }
        Ok(next)
    }

    /// One bad definition does not take the others away; it is not offered.
    fn add_tool(&mut self, tool: Value) {
        let Value::Object(raw) = tool else { return };
        let Some(definition) = Definition::read(&raw) else {
            tracing::warn!("ignored a tool without a name or an input schema");
            return;
        };
        if !self.names.insert(definition.name.clone()) {
            let name = bounded(&definition.name);
            tracing::warn!(tool = ?name, "ignored a second tool of the same name");
            return;
        }
        self.tools.push(definition);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::MAX_PAGES;
    use super::*;

    fn page(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn keeps_a_definition_as_it_was_written() {
        let text = r#"{"name":"a","x-vendor":{"z":1,"a":123456789012345678901234567890},
            "inputSchema":{"type":"object","z":1,"b":123456789012345678901234567890},"annotations":{"odd":[1.0]},"title":"A"}"#;
        let mut listing = Listing::new(10);
        assert_eq!(listing.add(&page(&format!(r#"{{"tools":[{text}]}}"#))).unwrap(), None);
        let tool = &listing.tools[0];
        assert_eq!((tool.name.as_str(), tool.title.as_deref()), ("a", Some("A")));
        let schema = r#"{"type":"object","z":1,"b":123456789012345678901234567890}"#;
        assert_eq!(serde_json::to_string(&tool.input_schema).unwrap(), schema);
        assert_eq!(serde_json::to_string(&tool.annotations).unwrap(), r#"{"odd":[1.0]}"#);
    }

    #[test]
    fn leaves_out_what_cannot_be_offered() {
        let mut listing = Listing::new(10);
        let tools = r#"{"tools":[1,{"name":"a"},{"inputSchema":{}},{"name":"b","inputSchema":{}},
            {"name":"b","inputSchema":{"other":1}}],"nextCursor":"n"}"#;
        assert_eq!(listing.add(&page(tools)).unwrap().as_deref(), Some("n"));
        assert_eq!(listing.tools.len(), 1);
        assert!(listing.tools[0].input_schema.is_empty());
    }

    #[test]
    fn is_bounded() {
        let one = |name| page(&format!(r#"{{"tools":[{{"name":"{name}","inputSchema":{{}}}}]}}"#));
        let mut listing = Listing::new(1);
        listing.add(&one("a")).unwrap();
        assert!(listing.add(&one("b")).unwrap_err().to_string().contains("more than 1 tools"));

        let mut listing = Listing::new(1);
        let endless = page(r#"{"tools":[],"nextCursor":"again"}"#);
        let pages = (0..100).take_while(|_| listing.add(&endless).is_ok()).count();
        assert_eq!(pages, MAX_PAGES - 1);
        for broken in ["[]", "{}", r#"{"tools":[],"tools":[]}"#, r#"{"tools":[],"nextCursor":1}"#] {
            assert!(Listing::new(1).add(&page(broken)).is_err(), "{broken}");
        }
    }
}
