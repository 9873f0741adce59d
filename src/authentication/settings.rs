//! How long people stay signed in, as written in `countersign.yaml` under `authentication.sessions`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::manifest::Span;

/// How long people stay signed in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// After how long without a request a session ends.
    pub idle: Span,
    /// After how long it ends however much it is used.
    pub lifetime: Span,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            idle: Span(Duration::from_secs(12 * 3600)),
            lifetime: Span(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}
