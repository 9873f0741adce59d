//! When workflows end.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::manifest::Span;

/// When workflows end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workflows {
    /// A workflow in which nothing happened for so long has ended; the same name then begins another.
    pub idle: Span,
    /// Whether agents are offered the tool `countersign_done`, by which they end a workflow themselves.
    pub done: bool,
}

impl Default for Workflows {
    fn default() -> Self {
        Self { idle: Span(Duration::from_secs(1800)), done: false }
    }
}
