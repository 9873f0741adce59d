//! What waits for people: a hold, the states it passes through and the transitions between them.
//!
//! Pure: a transition takes the hold and what happened and gives the hold as it is then, or says who
//! was first. The store applies it inside one transaction with the entry that records it.

mod deciding;
mod extension;
mod standing;
mod state;
mod terms;
mod transitions;
mod verdict;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{AgentName, CallId, HoldId};
use crate::json::Object;
use crate::principal::{Person, Via};

pub use deciding::{Account, Edited};
pub use extension::Extension;
pub use standing::Standing;
pub use state::{State, StateName};
pub use terms::{Demand, People, Terms, Who};
pub use transitions::{Ending, Lost};
pub use verdict::{Amendment, Change, Decision, Rendered, Resolution, Verdict};

/// A call that waits for people, with everything a reviewer needs and everything that will run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// The hold's identifier.
    pub id: HoldId,
    /// Where it stands.
    #[serde(deserialize_with = "state::by_value")]
    pub state: State,
    /// The agent whose call it is.
    pub agent: AgentName,
    /// The orchestrator that acted for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The agent's groups when it called.
    pub groups: Vec<String>,
    /// The person the agent acts for.
    pub owner: Option<String>,
    /// The client program, as it named itself; never a reason for a decision.
    pub client: Option<String>,
    /// The tool.
    pub tool: String,
    /// The fingerprint of the tool's definition that the reviewer sees.
    pub definition_fingerprint: Digest,
    /// The arguments as the agent asked.
    pub requested_arguments: Object,
    /// What a repeated call is recognised by: the call digest over the requested arguments.
    pub requested_digest: Digest,
    /// The arguments that will run.
    pub arguments: Object,
    /// What constraints changed between the two.
    pub edits: Vec<crate::policy::Edit>,
    /// The call digest over `arguments`; an approval is bound to it.
    pub digest: Digest,
    /// The names of the rules that decided.
    pub rules: Vec<String>,
    /// Why it is held, in the words of the rules.
    pub reason: String,
    /// The agent's own reason, unverified.
    pub agent_reason: Option<String>,
    /// The call that opened the hold.
    pub call: CallId,
    /// The workflow the call belongs to.
    pub workflow: Option<String>,
    /// The call that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensates: Option<CallId>,
    /// The revision under which it was held.
    pub revision: Digest,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Until when people may decide.
    pub decide_by: Timestamp,
    /// That people got more time than they had at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Extension>,
    /// How long after approval it may begin to run.
    pub execute_within: SignedDuration,
    /// What rules ask of its approval.
    #[serde(default)]
    pub terms: Terms,
    /// What reviewers changed in its arguments, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amendments: Vec<Amendment>,
    /// The hold in whose place it was opened, because what was approved there is not what would run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew_of: Option<HoldId>,
}

impl Hold {
    /// The arguments that are walked when it runs: as asked, or as reviewers changed them.
    #[must_use]
    pub const fn arguments_to_run(&self) -> &Object {
        if self.amendments.is_empty() { &self.requested_arguments } else { &self.arguments }
    }
}

/// Proof that people approved one hold's exact call. Made only from a hold that is `Approved`.
///
/// ```compile_fail
/// let forged = countersign::hold::Approval { hold: todo!(), digest: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct Approval {
    hold: HoldId,
    digest: Digest,
    approved_by: Vec<Person>,
}

impl Approval {
    /// The approval that `hold` carries at `now`, if it is approved and may still run.
    #[must_use]
    pub fn of(hold: &Hold, now: Timestamp) -> Option<Self> {
        let State::Approved { verdicts, execute_by, .. } = &hold.state else { return None };
        (now <= *execute_by).then(|| Self {
            hold: hold.id,
            digest: hold.digest,
            approved_by: verdicts.iter().map(|verdict| verdict.person.clone()).collect(),
        })
    }

    /// The hold it comes from.
    #[must_use]
    pub const fn hold(&self) -> HoldId {
        self.hold
    }

    /// The digest of the one call it covers.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Who approved.
    #[must_use]
    pub fn approved_by(&self) -> &[Person] {
        &self.approved_by
    }
}

#[cfg(test)]
mod deciding_tests;
#[cfg(test)]
mod tests;
