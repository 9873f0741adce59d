//! Tool definitions as the upstream wrote them.

use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{HEADER_ANNOTATION, bounded};
use crate::backend::BackendError;
use crate::catalog::Definition;
use crate::json;

/// How many pages a list of tools may have, in pages.
pub(super) const MAX_PAGES: usize = 64;
/// How long all pages together may be, in bytes.
const MAX_LISTING_BYTES: usize = 32 * 1024 * 1024;
/// How long the cursor of a next page may be, in bytes.
const MAX_CURSOR_BYTES: usize = 8 * 1024;

/// The pages of one list of tools.
pub(super) struct Listing {
    max_tools: usize,
    pages: usize,
    bytes: usize,
    names: HashSet<String>,
    pub(super) tools: Vec<Definition>,
    /// Whether a tool asks for arguments as HTTP headers.
    pub(super) is_annotated: bool,
}

impl Listing {
    /// An empty list for at most `max_tools`.
    pub(super) fn new(max_tools: usize) -> Self {
        let (names, tools) = (HashSet::new(), Vec::new());
        Self { max_tools, pages: 0, bytes: 0, names, tools, is_annotated: false }
    }

    /// Adds a page, and gives the cursor of the next one.
    ///
    /// # Errors
    /// If it is not a page of tools, or one too many.
    pub(super) fn add(&mut self, page: &RawValue) -> Result<Option<String>, BackendError> {
        self.pages = self.pages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(page.get().len());
        if self.bytes > MAX_LISTING_BYTES {
            return Err(BackendError::TooLarge { limit: MAX_LISTING_BYTES });
        }
        let parsed = json::parse(page.get().as_bytes())
            .map_err(|error| nonsense(&format!("a list of tools that is no JSON: {error}")))?;
        let Value::Object(mut parsed) = parsed else { return Err(nonsense("no list of tools")) };
        let Some(Value::Array(tools)) = parsed.remove("tools") else {
            return Err(nonsense("a list of tools without tools"));
        };
        self.is_annotated |= page.get().contains(HEADER_ANNOTATION);
        if tools.len().saturating_add(self.tools.len()) > self.max_tools {
            return Err(nonsense(&format!("more than {} tools", self.max_tools)));
        }
        for tool in tools {
            self.add_tool(tool);
        }
        let cursor = parsed.remove("nextCursor");
        match cursor {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(_)) if self.pages >= MAX_PAGES => {
                Err(nonsense(&format!("a list of tools of more than {MAX_PAGES} pages")))
            }
            Some(Value::String(cursor)) if cursor.len() <= MAX_CURSOR_BYTES => Ok(Some(cursor)),
            Some(_) => Err(nonsense("a malformed cursor")),
        }
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

fn nonsense(what: &str) -> BackendError {
    BackendError::Nonsense(what.to_owned())
}

#[cfg(test)]
mod tests {
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
