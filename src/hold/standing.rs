//! A standing approval: what a person grants once for many calls of one agent, within bounds and until a
//! moment, written as the rule that it is.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{AgentName, StandingId};
use crate::json::Object;
use crate::principal::Person;

/// One standing approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Its identifier.
    pub id: StandingId,
    /// The agent whose calls it is about.
    pub agent: AgentName,
    /// The tool they call.
    pub tool: String,
    /// The tool's definition as the person saw it; another one is not covered.
    pub definition_fingerprint: Digest,
    /// The rules that need not be asked again; a call that another rule holds is held.
    pub waives: Vec<String>,
    /// What the final arguments must keep to as they are, in the words of constraints: a call beyond them
    /// is held, not edited.
    pub bounds: Object,
    /// Until when.
    pub until: Timestamp,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who granted it.
    pub granted_by: Person,
    /// When.
    pub granted_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Standing {
    /// Whether it is in force at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now <= self.until
    }

    /// The rule that it is, as YAML: what a person is shown before granting it, and in lists.
    #[must_use]
    pub fn rule(&self) -> String {
        let bounds = serde_json::to_string(&self.bounds).unwrap_or_default();
        let waives = serde_json::to_string(&self.waives).unwrap_or_default();
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        format!(
            "- name: standing-{}\n  match: {{ agent: {}, tool: {} }}\n  decision: ALLOW\n  waives: {waives}\n  \
             bounds: {bounds}\n  active: {{ until: {} }}\n",
            self.id,
            quoted(self.agent.as_str()),
            quoted(&self.tool),
            self.until,
        )
    }
}
