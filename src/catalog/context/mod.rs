//! What a manifest offers beside tools: resources and prompts of MCP servers, and completions for them.
//!
//! Each is an item of the catalog as a tool is, so that one path serves all: rules, limits, holds and
//! entries know it by a name that no tool can have.

mod build;
mod found;
mod spec;
mod uri;

use serde_json::Value;

pub(super) use build::{Building, check_names};
pub use spec::{PromptSpec, ResourceSpec};
pub use uri::UriTemplate;

use crate::json::Object;

/// What an item of the catalog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tool.
    Tool,
    /// A resource, or all resources of a template.
    Resource,
    /// A prompt.
    Prompt,
    /// Suggestions for an argument of a prompt, or for a variable of a template.
    Completion,
}

impl Kind {
    const PREFIXED: [Self; 3] = [Self::Resource, Self::Prompt, Self::Completion];

    /// What a name stands for. Names of tools have neither `/` nor `:`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let fits = |kind: &Self| name.starts_with(kind.prefix());
        Self::PREFIXED.into_iter().find(fits).unwrap_or(Self::Tool)
    }

    /// What names of this kind begin with: the method of the protocol that asks for them.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Tool => "",
            Self::Resource => "resources/read:",
            Self::Prompt => "prompts/get:",
            Self::Completion => "completion/complete:",
        }
    }

    /// The name of the item that the protocol calls `bare`.
    #[must_use]
    pub fn named(self, bare: &str) -> String {
        format!("{}{bare}", self.prefix())
    }

    /// The name without what says its kind.
    #[must_use]
    pub fn bare(self, name: &str) -> &str {
        name.strip_prefix(self.prefix()).unwrap_or(name)
    }
}

/// How an item is offered.
#[derive(Clone, Debug)]
pub enum Offer {
    /// As a tool.
    Tool,
    /// As a resource, with its entry in `resources/list`.
    Resource(Object),
    /// As a template of resources, with its entry in `resources/templates/list`.
    Template(Object),
    /// As a prompt, with its entry in `prompts/list`.
    Prompt(Object),
    /// As completions, which no list shows.
    Completion,
}

impl Offer {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Tool => Kind::Tool,
            Self::Resource(_) | Self::Template(_) => Kind::Resource,
            Self::Prompt(_) => Kind::Prompt,
            Self::Completion => Kind::Completion,
        }
    }
}

/// What an MCP server is asked for.
#[derive(Clone, Debug)]
pub enum Remote {
    /// A tool.
    Tool {
        /// Its name there.
        from: String,
    },
    /// A resource; variables of its URI are arguments.
    Resource(UriTemplate),
    /// A prompt.
    Prompt {
        /// Its name there.
        from: String,
    },
    /// Completions for a prompt.
    PromptCompletion {
        /// Its name there.
        from: String,
    },
    /// Completions for a template of resources.
    TemplateCompletion(UriTemplate),
}

/// A resource, a template or a prompt as its MCP server lists it: words of the server, until an operator
/// lists it too.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its URI, template or name.
    pub key: String,
    /// What the server says of it, as far as it is passed on.
    pub entry: Object,
}

impl Described {
    /// What is passed on of an entry.
    const PASSED: [&'static str; 7] =
        ["name", "title", "description", "mimeType", "size", "annotations", "arguments"];

    /// Reads an entry of a list whose items are told apart by `key`; none without one.
    #[must_use]
    pub fn read(key: &str, mut entry: Object) -> Option<Self> {
        let found = entry.get(key).and_then(Value::as_str).filter(|it| !it.is_empty())?.to_owned();
        entry.retain(|member, _| Self::PASSED.contains(&member.as_str()));
        Some(Self { key: found, entry })
    }
}

#[cfg(test)]
mod tests;
