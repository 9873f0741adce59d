//! What an entry says of a call: who asked for what, its intent, its refusal.

use serde::{Deserialize, Serialize};

use super::Charge;
use crate::catalog::Label;
use crate::digest::Digest;
use crate::halts::Subject;
use crate::ids::{AgentName, CallId, HoldId, StandingId};
use crate::json::Object;
use crate::policy::{Edit, Noticed};
use crate::principal::Via;

/// Who asked for what, and what was decided about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The call.
    pub call: CallId,
    /// The agent.
    pub agent: AgentName,
    /// The orchestrator that acted for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The person it acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The agent's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The client program, as it named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The call that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensates: Option<CallId>,
    /// The tool.
    pub tool: String,
    /// The backend that would run it.
    pub backend: String,
    /// The tool's capability, as the final arguments choose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The fingerprint of its definition.
    pub definition_fingerprint: Digest,
    /// The final arguments.
    pub arguments: Object,
    /// The call digest over them.
    pub digest: Digest,
    /// The revision that decided.
    pub revision: Digest,
    /// The decision: `ALLOW`, `ALLOW_WITH_CONSTRAINTS`, `REQUIRE_APPROVAL`, `DENY`.
    pub decision: String,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// What constraints changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// What the decision noticed beside: rules in shadow, conditions that could not be evaluated, and
    /// what the agent held.
    #[serde(default, skip_serializing_if = "Noticed::is_empty")]
    pub noticed: Noticed,
}

impl Asked {
    /// The facts that a halt may be about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            agent: self.agent.clone(),
            groups: self.groups.clone(),
            via: self.via.clone(),
            tool: self.tool.clone(),
            backend: Some(self.backend.clone()),
            capability: self.capability.clone(),
            workflow: self.workflow.clone(),
        }
    }
}

/// The intent to dispatch one call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Who asked for what.
    #[serde(flatten)]
    pub asked: Asked,
    /// The hold whose approval it spends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
    /// Who approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// The standing approval that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingId>,
    /// What it takes from budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
    /// What its tool brings to the agent, whatever comes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<Label>,
}

/// A call that was turned away before it was dispatched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// The call.
    pub call: CallId,
    /// The agent.
    pub agent: AgentName,
    /// The orchestrator that acted for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The agent's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The client program, as it named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The call that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensates: Option<CallId>,
    /// The tool, by the name the agent gave.
    pub tool: String,
    /// The requested arguments, unless they are too large or have no canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Object>,
    /// SHA-256 of the requested arguments' canonical form, when they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_digest: Option<Digest>,
    /// The revision that decided.
    pub revision: Digest,
    /// The kind of refusal, one word.
    pub refusal: String,
    /// The rules that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// What the agent was told.
    pub told: String,
    /// The private cause, for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What the decision noticed beside.
    #[serde(default, skip_serializing_if = "Noticed::is_empty")]
    pub noticed: Noticed,
}
