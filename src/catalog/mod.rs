//! The tools that agents may see: manifests, schemas, argument and result checks.

mod ability;
mod annotations;
mod arguments;
mod build;
mod definition;
mod fault;
mod keywords;
mod lookalike;
pub mod manifest;
mod offered;
mod result;
pub mod sandbox;
mod schema;
pub mod template;
mod tool;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use ability::Ability;
pub use annotations::Repeated;
pub use arguments::CheckedArguments;
pub use build::{Environment, Manifests};
pub use fault::Fault;
pub use manifest::{ActionType, BackendSpec, Durability, Risk};
pub use offered::Definition;
pub use result::{CheckedResult, ResultFault};
pub use sandbox::Sandbox;
pub use schema::{Schema, SchemaError};
pub use tool::{Attributes, Binding, Tool};

/// All tools, by name.
#[derive(Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<String, Arc<Tool>>,
}

impl Catalog {
    /// The tool that agents may call by `name` now.
    #[must_use]
    pub fn available(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name).filter(|tool| tool.unavailable().is_none())
    }

    /// The tool with this name, callable or not.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }

    /// Every tool, by name, callable or not.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.values()
    }

    /// Tools after `name` in the order of names.
    pub fn after<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Tool>> {
        use std::ops::Bound;
        self.tools.range::<str, _>((Bound::Excluded(name), Bound::Unbounded)).map(|(_, tool)| tool)
    }
}
