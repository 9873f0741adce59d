//! What a decision noticed beside what it decided, for the record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::rules::Ruling;
use crate::catalog::Label;

/// How many rules of each kind are named.
const MAX_NAMED: usize = 20;
/// The longest text of an error, in characters.
const MAX_ERROR: usize = 300;

/// What a decision noticed beside what it decided; at most 20 rules of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Noticed {
    /// The rules with `mode: shadow` that match, and what each would decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<ShadowRule>,
    /// The rules whose `when` could not be evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ConditionError>,
    /// What the agent held when it was decided, all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Label>,
}

/// A rule that decides nothing, and what it would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowRule {
    /// The rule.
    pub rule: String,
    /// What it would decide: `ALLOW`, `ALLOW_WITH_CONSTRAINTS`, `REQUIRE_APPROVAL`, `DENY`.
    pub decision: Ruling,
}

/// A rule whose `when` could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionError {
    /// The rule.
    pub rule: String,
    /// Why not.
    pub error: String,
}

impl Noticed {
    /// Whether there was nothing to notice.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.shadow.is_empty() && self.errors.is_empty() && self.holds.is_empty()
    }

    pub(in crate::policy) fn shadow(&mut self, rule: &str, decision: Ruling) {
        if self.shadow.len() < MAX_NAMED {
            self.shadow.push(ShadowRule { rule: rule.to_owned(), decision });
        }
    }

    pub(in crate::policy) fn error(&mut self, rule: &str, error: &str) {
        if self.errors.len() < MAX_NAMED {
            let error = error.chars().take(MAX_ERROR).collect();
            self.errors.push(ConditionError { rule: rule.to_owned(), error });
        }
    }
}
