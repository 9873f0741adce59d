//! What a manifest says of resources and prompts (design §4).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::label::Label;
use crate::catalog::manifest::{AttributeSpecs, Span};
use crate::json::Object;

/// A resource of an MCP server, or a template of resources; exactly one of `uri` and `uri_template`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceSpec {
    /// Its URI, as agents ask for it and its server knows it.
    #[serde(default)]
    pub uri: Option<String>,
    /// The template of its URIs, word for word as its server lists it (RFC 6570, level 1).
    #[serde(default)]
    pub uri_template: Option<String>,
    /// Its name in lists; its server's when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// For people; its server's when absent.
    #[serde(default)]
    pub title: Option<String>,
    /// For the model; its server's when absent.
    #[serde(default)]
    pub description: Option<String>,
    /// Its media type in lists; its server's when absent.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// What policy matches on; `action_type` is `read` unless something else is said.
    #[serde(default)]
    pub attributes: AttributeSpecs,
    /// JSON Schemas of variables of the template, which are texts.
    #[serde(default)]
    pub variables: BTreeMap<String, Object>,
    /// Where constraints of rules bind when the variable has another name, as JSON pointers.
    #[serde(default)]
    pub constraints: BTreeMap<String, String>,
    /// How long a read may take; the backend's when absent.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The largest result, in bytes; the backend's when absent.
    #[serde(default)]
    pub max_output_bytes: Option<usize>,
    /// What it brings to the agent; at most 16 words.
    #[serde(default)]
    pub brings: BTreeSet<Label>,
}

/// A prompt of an MCP server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec {
    /// Its name: 1 to 128 characters of `A-Z a-z 0-9 _ . -`, unique over all manifests.
    pub name: String,
    /// Its name at its server, when it is another.
    #[serde(default)]
    pub from: Option<String>,
    /// For people; its server's when absent.
    #[serde(default)]
    pub title: Option<String>,
    /// For the model; its server's when absent.
    #[serde(default)]
    pub description: Option<String>,
    /// What policy matches on; `action_type` is `read` unless something else is said.
    #[serde(default)]
    pub attributes: AttributeSpecs,
    /// Where constraints of rules bind when the argument has another name, as JSON pointers.
    #[serde(default)]
    pub constraints: BTreeMap<String, String>,
    /// How long it may take; the backend's when absent.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The largest result, in bytes; the backend's when absent.
    #[serde(default)]
    pub max_output_bytes: Option<usize>,
    /// What it brings to the agent; at most 16 words.
    #[serde(default)]
    pub brings: BTreeSet<Label>,
}
