//! What agents may see: tools, resources and prompts; manifests, schemas, argument and result checks.

mod ability;
mod annotations;
mod arguments;
mod attributes;
mod build;
mod caching;
pub mod context;
mod cost;
mod definition;
mod effort;
mod fault;
#[cfg(test)]
mod hostile_tests;
mod keywords;
mod label;
mod lookalike;
pub mod manifest;
mod offered;
mod pins;
mod price;
mod result;
mod rollback;
pub mod sandbox;
mod schema;
pub mod template;
mod tool;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use ability::Ability;
pub use annotations::Repeated;
pub use arguments::CheckedArguments;
pub use build::{Environment, Manifests};
pub use caching::{Cache, CacheScope};
pub use context::{Described, Kind, Offer, Remote};
pub use fault::Fault;
pub use label::Label;
pub use manifest::{ActionType, BackendSpec, Durability, Risk};
pub use offered::{Definition, Offered};
pub use pins::{Changed, DefinitionKey, DefinitionKind, DefinitionNews, First, Pins, Said, Vetted};
pub use price::{Cost, Usd};
pub use result::{CheckedResult, ResultFault};
pub use rollback::Compensation;
pub use sandbox::Sandbox;
pub use schema::{Schema, SchemaError};
pub use tool::{Attributes, Binding, Tool};

use crate::json::Object;
use context::UriTemplate;

/// All tools, resources and prompts, by name.
#[derive(Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<String, Arc<Tool>>,
    /// Templates of resources, the most specific first.
    templates: Vec<(UriTemplate, String)>,
    compensations: rollback::Compensations,
}

impl Catalog {
    fn new(tools: BTreeMap<String, Arc<Tool>>, compensations: rollback::Compensations) -> Self {
        let mut templates: Vec<(UriTemplate, String)> = tools
            .values()
            .filter_map(|tool| match (tool.offer(), tool.binding()) {
                (Offer::Template(_), Binding::Mcp(Remote::Resource(template))) => {
                    Some((template.clone(), tool.name().to_owned()))
                }
                (
                    Offer::Template(_)
                    | Offer::Tool
                    | Offer::Resource(_)
                    | Offer::Prompt(_)
                    | Offer::Completion,
                    _,
                ) => None,
            })
            .collect();
        templates.sort_by_key(|(template, name)| (Reverse(template.weight()), name.clone()));
        Self { tools, templates, compensations }
    }

    /// The tool that agents may call by `name` now.
    #[must_use]
    pub fn available(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tool(name).filter(|tool| tool.unavailable().is_none())
    }

    /// What undoes calls of this tool, where its manifest says.
    #[must_use]
    pub fn compensation(&self, tool: &str) -> Option<&Compensation> {
        self.compensations.get(tool)
    }

    /// The tool with this name, callable or not.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        match Kind::of(name) {
            Kind::Completion => self.tools.get(Kind::Completion.bare(name))?.completion(),
            Kind::Tool | Kind::Resource | Kind::Prompt => self.tools.get(name),
        }
    }

    /// What a read of the resource `uri` asks for: the name of an item, available or not, and its
    /// arguments. A URI that is listed itself is never read by a template, and of several templates the
    /// most specific one stands for it, so that what is said of it cannot be got around.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<(String, Object)> {
        let name = Kind::Resource.named(uri);
        if self.tools.get(&name).is_some_and(|it| matches!(it.offer(), Offer::Resource(_))) {
            return Some((name, Object::new()));
        }
        self.templates
            .iter()
            .find_map(|(template, name)| Some((name.clone(), template.values(uri)?)))
    }

    /// Whether something of this kind is listed, available or not.
    #[must_use]
    pub fn lists(&self, kind: Kind) -> bool {
        self.after(kind.prefix()).next().is_some_and(|tool| tool.kind() == kind)
    }

    /// Everything, by name, callable or not; but for completions, which belong to what they complete.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.values()
    }

    /// What comes after `name` in the order of names.
    pub fn after<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Tool>> {
        use std::ops::Bound;
        self.tools.range::<str, _>((Bound::Excluded(name), Bound::Unbounded)).map(|(_, tool)| tool)
    }
}
