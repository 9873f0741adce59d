//! A hold as people see it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::evidence::Outcome;
use crate::hold::{Amendment, Demand, Extension, Hold, State, StateName, Verdict, Who};
use crate::ids::{AgentName, CallId, HoldId};
use crate::json::Object;
use crate::policy::Edit;
use crate::principal::Via;

/// A hold as people see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of the hold, described there")]
pub struct HoldView {
    pub id: HoldId,
    pub state: StateName,
    pub agent: AgentName,
    pub owner: Option<String>,
    /// The orchestrator that acted for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    pub client: Option<String>,
    pub tool: String,
    pub definition_fingerprint: Digest,
    pub arguments: Object,
    pub requested_arguments: Object,
    pub edits: Vec<Edit>,
    pub digest: Digest,
    pub rules: Vec<String>,
    pub reason: String,
    pub agent_reason: Option<String>,
    pub workflow: Option<String>,
    /// Whose approval could count; empty for any reviewer's.
    pub reviewers: Vec<Who>,
    pub quorum: u32,
    /// What each rule asks that asks for more than one approval of any reviewer.
    #[serde(default)]
    pub demands: Vec<Demand>,
    /// Who must approve, in words.
    #[serde(default)]
    pub needs: String,
    #[serde(default)]
    pub four_eyes: bool,
    #[serde(default)]
    pub allow_edit: bool,
    /// Whether an approval must be signed.
    #[serde(default)]
    pub signature: bool,
    #[serde(default)]
    pub keep: bool,
    pub verdicts: Vec<Verdict>,
    #[serde(default)]
    pub amendments: Vec<Amendment>,
    pub created_at: Timestamp,
    pub decide_by: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Extension>,
    pub execute_by: Option<Timestamp>,
    /// How long after approval it may begin to run, in seconds.
    #[serde(default)]
    pub execute_within: i64,
    pub call: CallId,
    pub outcome: Option<Outcome>,
    pub why: Option<String>,
    /// The hold in whose place it was opened.
    #[serde(default)]
    pub anew_of: Option<HoldId>,
    /// The hold that was opened in its place.
    #[serde(default)]
    pub anew: Option<HoldId>,
    /// How many pending holds are for this very call (same agent, tool and digest), this one included.
    #[serde(default = "one")]
    pub identical: u32,
    /// What came out, where the hold is finished and one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub result: Option<Box<RawValue>>,
}

const fn one() -> u32 {
    1
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let execution = hold.execution();
        let mut view = Self {
            id: hold.id,
            state: hold.state.name(),
            agent: hold.agent,
            owner: hold.owner,
            via: hold.via,
            client: hold.client,
            tool: hold.tool,
            definition_fingerprint: hold.definition_fingerprint,
            arguments: hold.arguments,
            requested_arguments: hold.requested_arguments,
            edits: hold.edits,
            digest: hold.digest,
            rules: hold.rules,
            reason: hold.reason,
            agent_reason: hold.agent_reason,
            workflow: hold.workflow,
            reviewers: hold.terms.reviewers(),
            quorum: hold.terms.quorum(),
            needs: hold.terms.told(),
            demands: hold.terms.demands,
            four_eyes: hold.terms.four_eyes,
            allow_edit: hold.terms.allow_edit,
            signature: hold.terms.signature,
            keep: hold.terms.keep,
            verdicts: hold.state.verdicts().to_vec(),
            amendments: hold.amendments,
            created_at: hold.created_at,
            decide_by: hold.decide_by,
            extended: hold.extended,
            execute_by: None,
            execute_within: hold.execute_within.as_secs(),
            call: execution.unwrap_or(hold.call),
            outcome: None,
            why: None,
            anew_of: hold.anew_of,
            anew: None,
            identical: one(),
            result: None,
        };
        match hold.state {
            State::Approved { execute_by, .. } => view.execute_by = Some(execute_by),
            State::Finished { outcome, .. } => view.outcome = Some(outcome),
            State::Superseded { why, anew, .. } => {
                view.why = Some(why);
                view.anew = anew;
            }
            State::Halted { why, .. } => view.why = Some(why),
            State::Pending { .. }
            | State::Executing { .. }
            | State::Unknown { .. }
            | State::Rejected { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. } => {}
        }
        view
    }
}
