//! Proof that policy allowed one call, and the proposal to people where it needs them.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::redaction::Redaction;
use super::{Edit, Noticed, Ruling};
use crate::catalog::Tool;
use crate::digest::Digest;
use crate::hold::{Approval, Terms};
use crate::ids::{AgentName, StandingId};
use crate::json::Object;

/// Proof that policy allowed one call with these final arguments. Only [`super::Policy::decide`] makes it.
///
/// ```compile_fail
/// fn forge(other: countersign::policy::Permit, arguments: countersign::json::Object)
///     -> countersign::policy::Permit
/// {
///     countersign::policy::Permit { arguments, ..other }
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    pub(super) tool: Arc<Tool>,
    pub(super) agent: AgentName,
    pub(super) arguments: Object,
    pub(super) edits: Vec<Edit>,
    pub(super) digest: Digest,
    pub(super) rules: Vec<String>,
    pub(super) decision: Ruling,
    pub(super) approval: Option<Approval>,
    pub(super) standing: Option<StandingId>,
    pub(super) timeout: Duration,
    pub(super) max_result_bytes: usize,
    pub(super) redactions: Vec<Redaction>,
}

impl Permit {
    /// The tool that may run.
    #[must_use]
    pub const fn tool(&self) -> &Arc<Tool> {
        &self.tool
    }

    /// The agent it may run for.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The final arguments.
    #[must_use]
    pub const fn arguments(&self) -> &Object {
        &self.arguments
    }

    /// What constraints changed.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The call digest over the final arguments.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The names of the rules that decided; empty when the default allowed it.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// What was decided. `REQUIRE_APPROVAL` here means that the approval was there.
    #[must_use]
    pub const fn decision(&self) -> Ruling {
        self.decision
    }

    /// The approval that the call came with; it covers these arguments and is spent with this permit.
    #[must_use]
    pub const fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref()
    }

    /// The standing approval that covers the call, where rules ask for people.
    #[must_use]
    pub const fn standing(&self) -> Option<StandingId> {
        self.standing
    }

    /// How long the call may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The largest result, in bytes.
    #[must_use]
    pub const fn max_result_bytes(&self) -> usize {
        self.max_result_bytes
    }

    /// What is taken out of the result.
    #[must_use]
    pub fn redactions(&self) -> &[Redaction] {
        &self.redactions
    }
}

/// A call that may run if people approve, with everything they need to decide.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The tool.
    pub tool: Arc<Tool>,
    /// The arguments as the agent asked.
    pub requested: Object,
    /// The arguments that would run.
    pub arguments: Object,
    /// What constraints changed between the two.
    pub edits: Vec<Edit>,
    /// The call digest over `arguments`.
    pub digest: Digest,
    /// The call digest over `requested`.
    pub requested_digest: Digest,
    /// The names of the rules that decided.
    pub rules: Vec<String>,
    /// The names of those among them that ask for people.
    pub asking: Vec<String>,
    /// Why it needs people, in the words of the rules.
    pub reason: String,
    /// How long people may decide.
    pub decide_within: SignedDuration,
    /// How long after approval it may begin to run.
    pub execute_within: SignedDuration,
    /// What the rules ask of the approval.
    pub terms: Terms,
    /// What else was noticed.
    pub noticed: Noticed,
}
