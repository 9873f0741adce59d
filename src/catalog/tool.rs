//! One item of the catalog: what agents see of it, what policy matches on, and how it is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::arguments::CheckedArguments;
use super::caching::Cache;
use super::context::{Kind, Offer, Remote};
use super::fault::Fault;
use super::label::Label;
use super::manifest::{ActionType, AttributeSpecs, AttributeValue, Durability, Risk};
use super::price::Usd;
use super::sandbox::Sandbox;
use super::schema::Schema;
use super::template::{Output, Template};
use crate::digest::Digest;
use crate::json::Object;

/// One tool, or what is treated as one: a resource, a prompt, completions for them.
#[derive(Debug)]
pub struct Tool {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: String,
    pub(super) backend: Arc<str>,
    pub(super) attributes: AttributeSpecs,
    pub(super) input: Schema,
    pub(super) output: Option<Schema>,
    pub(super) annotations: Option<Value>,
    pub(super) binding: Binding,
    pub(super) constraint_pointers: std::collections::BTreeMap<String, String>,
    pub(super) timeout: Duration,
    pub(super) max_result_bytes: usize,
    pub(super) idempotent: bool,
    pub(super) durability: Durability,
    pub(super) cost: Usd,
    pub(super) cache: Option<Cache>,
    pub(super) brings: Vec<Label>,
    pub(super) fingerprint: Digest,
    pub(super) unavailable: Option<String>,
    pub(super) offer: Offer,
    pub(super) completion: Option<Arc<Tool>>,
}

/// How the backend runs the tool.
#[derive(Debug)]
pub enum Binding {
    /// A program with an argument vector.
    Command {
        /// The program; absent while it is missing.
        program: Option<PathBuf>,
        /// The argument vector and standard input.
        template: Template,
        /// How its output is understood.
        output: Output,
        /// How the program is confined.
        sandbox: Arc<Sandbox>,
    },
    /// Something that an MCP server offers.
    Mcp(Remote),
}

/// What policy matches on, for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What kind of thing is acted on.
    pub capability: Option<String>,
    /// What is done.
    pub action: Option<String>,
    /// What the tool does to the world.
    pub action_type: ActionType,
    /// Where it takes effect.
    pub environment: Option<String>,
    /// How bad it can get.
    pub risk: Option<Risk>,
    /// Free words.
    pub tags: Vec<String>,
}

impl Tool {
    /// The name agents call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The title for people.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// The description for models.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The name of its backend.
    #[must_use]
    pub const fn backend(&self) -> &Arc<str> {
        &self.backend
    }

    /// The schema of its arguments.
    #[must_use]
    pub const fn input(&self) -> &Schema {
        &self.input
    }

    /// The schema of its `structuredContent`, if it declares one.
    #[must_use]
    pub const fn output(&self) -> Option<&Schema> {
        self.output.as_ref()
    }

    /// MCP annotations, as the definition gives them.
    #[must_use]
    pub const fn annotations(&self) -> Option<&Value> {
        self.annotations.as_ref()
    }

    /// How its backend runs it.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// SHA-256 of the canonical definition: name, description, schemas and binding.
    #[must_use]
    pub const fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// How long a call may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The largest result, in bytes.
    #[must_use]
    pub const fn max_result_bytes(&self) -> usize {
        self.max_result_bytes
    }

    /// Whether running it twice does what running it once does.
    #[must_use]
    pub const fn idempotent(&self) -> bool {
        self.idempotent
    }

    /// What recording an intent waits for.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// What one call costs, as the manifest declares it.
    #[must_use]
    pub const fn cost(&self) -> Usd {
        self.cost
    }

    /// For how long its results are kept, and for whom.
    #[must_use]
    pub const fn cache(&self) -> Option<Cache> {
        self.cache
    }

    /// What its results bring to the agent, as its manifest declares it; each once, in order.
    #[must_use]
    pub fn brings(&self) -> &[Label] {
        &self.brings
    }

    /// Why it cannot be called now, for operators; agents do not see it then.
    #[must_use]
    pub fn unavailable(&self) -> Option<&str> {
        self.unavailable.as_deref()
    }

    /// How it is offered.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.offer.kind()
    }

    /// The name by which rules and limits know it: completions count as what they complete.
    #[must_use]
    pub fn known_as(&self) -> &str {
        Kind::Completion.bare(&self.name)
    }

    /// What completes values of its arguments, where something does.
    #[must_use]
    pub const fn completion(&self) -> Option<&Arc<Self>> {
        self.completion.as_ref()
    }

    /// Where the manifest binds the constraint `name`, as a JSON pointer into the arguments.
    #[must_use]
    pub fn constraint_pointer(&self, name: &str) -> Option<&str> {
        self.constraint_pointers.get(name).map(String::as_str)
    }

    /// Every constraint that the manifest binds, by name, with where.
    pub(crate) const fn constraint_pointers(&self) -> &std::collections::BTreeMap<String, String> {
        &self.constraint_pointers
    }

    /// The attributes as the manifest gives them: fixed, or chosen by an argument.
    #[must_use]
    pub const fn attribute_specs(&self) -> &AttributeSpecs {
        &self.attributes
    }

    /// Checks `arguments` against the schema.
    ///
    /// # Errors
    /// With every fault.
    pub fn check(self: &Arc<Self>, arguments: Object) -> Result<CheckedArguments, Vec<Fault>> {
        CheckedArguments::check(Arc::clone(self), arguments)
    }

    /// The attributes of a call with `arguments`.
    ///
    /// # Errors
    /// When an argument that chooses an attribute is absent or has a value that the manifest does not list.
    pub fn attributes(&self, arguments: &Object) -> Result<Attributes, Fault> {
        let specs = &self.attributes;
        Ok(Attributes {
            capability: choose(specs.capability.as_ref(), arguments)?.cloned(),
            action: choose(specs.action.as_ref(), arguments)?.cloned(),
            // A tool without an action type does not load; were it to, it would count as a write.
            action_type: choose(specs.action_type.as_ref(), arguments)?
                .copied()
                .unwrap_or(ActionType::Write),
            environment: choose(specs.environment.as_ref(), arguments)?.cloned(),
            risk: choose(specs.risk.as_ref(), arguments)?.copied(),
            tags: specs.tags.clone(),
        })
    }

    /// Every combination of attributes that a call can have; `None` where there are more than `limit`.
    #[must_use]
    pub fn attribute_combinations(&self, limit: usize) -> Option<Vec<Attributes>> {
        let mut all = vec![Object::new()];
        for (argument, values) in self.attributes.choices() {
            if all.len().saturating_mul(values.len()) > limit {
                return None;
            }
            let with = |chosen: &Object, value: &str| {
                let mut chosen = chosen.clone();
                chosen.insert(argument.to_owned(), value.into());
                chosen
            };
            all = all
                .iter()
                .flat_map(|chosen| values.iter().map(move |value| with(chosen, value)))
                .collect();
        }
        all.iter().map(|arguments| self.attributes(arguments).ok()).collect()
    }
}

fn choose<'a, T>(
    spec: Option<&'a AttributeValue<T>>,
    arguments: &Object,
) -> Result<Option<&'a T>, Fault> {
    match spec {
        None => Ok(None),
        Some(AttributeValue::Fixed(value)) => Ok(Some(value)),
        Some(AttributeValue::Chosen(chosen)) => arguments
            .get(&chosen.argument)
            .and_then(Value::as_str)
            .and_then(|value| chosen.values.get(value))
            .map(Some)
            .ok_or_else(|| Fault {
                pointer: format!("/{}", chosen.argument),
                message: format!(
                    "must be one of {}",
                    chosen.values.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
            }),
    }
}
