//! One change that a constraint made to a call's arguments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One change that a constraint made to a call's arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edit {
    /// Where, as a JSON pointer (RFC 6901) into the arguments.
    pub pointer: String,
    /// The value the agent asked for; absent when it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// The value that will be used.
    pub to: Value,
    /// The rule whose constraint asked for it.
    pub rule: String,
    /// The constraint, as the rule names it.
    pub constraint: String,
}
