//! For how long a tool's results are kept, and for whom, as its manifest says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::manifest::{ActionType, AttributeSpecs, AttributeValue, Span};

/// The longest time that results may be kept, in seconds: a day.
const MAX_TTL: u64 = 86_400;

/// That results are kept, and the same call is answered with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// For how long; at most `24h`.
    pub ttl: Span,
    /// For whom: `agent` for each agent apart, which is the default, or `shared` for all.
    #[serde(default)]
    pub scope: CacheScope,
}

/// For whom results are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    /// For each agent apart.
    #[default]
    Agent,
    /// For all agents.
    Shared,
}

impl Cache {
    /// What is wrong with it for a tool with these attributes: the key that says it, and in words.
    pub(super) fn problem(&self, attributes: &AttributeSpecs) -> Option<(&'static str, String)> {
        let reads = matches!(attributes.action_type, Some(AttributeValue::Fixed(ActionType::Read)));
        if !reads {
            let message = "only results of tools with `action_type: read` may be kept";
            return Some(("", message.to_owned()));
        }
        let long = self.ttl.0 > std::time::Duration::from_secs(MAX_TTL);
        long.then(|| ("/ttl", "results are kept for `24h` at the most".to_owned()))
    }
}
