//! Holds, and the verdicts of people on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Body, Failure, Operator, Query};
use crate::call::holding;
use crate::digest::Digest;
use crate::evidence::Outcome;
use crate::gateway::Gateway;
use crate::hold::{Decision, Hold, State as HoldState, StateName, Verdict};
use crate::ids::{AgentName, CallId, HoldId};
use crate::json::Object;
use crate::policy::Edit;
use crate::storage::HoldQuery;

/// How many holds a list shows when nobody says.
const LISTED: u32 = 100;
/// The longest reason, in characters.
const MAX_REASON: usize = 2000;

/// A hold as people see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the hold, described there")]
pub struct HoldView {
    pub id: HoldId,
    pub state: StateName,
    pub agent: AgentName,
    pub owner: Option<String>,
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
    pub reviewers: Vec<String>,
    pub quorum: u32,
    pub verdicts: Vec<Verdict>,
    pub created_at: Timestamp,
    pub decide_by: Timestamp,
    pub execute_by: Option<Timestamp>,
    pub call: CallId,
    pub outcome: Option<Outcome>,
    pub why: Option<String>,
    /// How many pending holds have the same agent, tool and digest, this one among them.
    #[serde(default = "one")]
    pub identical: u32,
    /// What came out, where the hold is finished and one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
}

const fn one() -> u32 {
    1
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let mut view = Self {
            id: hold.id,
            state: hold.state.name(),
            agent: hold.agent,
            owner: hold.owner,
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
            // Until roles exist, every operator may decide and one verdict is enough.
            reviewers: vec!["operator".to_owned()],
            quorum: 1,
            verdicts: hold.state.verdicts().to_vec(),
            created_at: hold.created_at,
            decide_by: hold.decide_by,
            execute_by: None,
            call: hold.call,
            outcome: None,
            why: None,
            identical: one(),
            result: None,
        };
        match hold.state {
            HoldState::Approved { execute_by, .. } => view.execute_by = Some(execute_by),
            HoldState::Finished { outcome, call, .. } => {
                view.outcome = Some(outcome);
                view.call = call;
            }
            HoldState::Executing { call, .. } | HoldState::Unknown { call, .. } => view.call = call,
            HoldState::Superseded { why, .. } | HoldState::Halted { why, .. } => {
                view.why = Some(why)
            }
            HoldState::Pending
            | HoldState::Rejected { .. }
            | HoldState::Expired { .. }
            | HoldState::Withdrawn { .. }
            | HoldState::Lapsed { .. } => {}
        }
        view
    }
}

/// Which holds to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    state: Option<StateName>,
    agent: Option<AgentName>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<HoldView>>, Failure> {
    let query = HoldQuery {
        states: wanted.state.into_iter().collect(),
        agent: wanted.agent,
        limit: wanted.limit.unwrap_or(LISTED),
    };
    let holds = gateway.store.holds(query).await?;
    Ok(Json(holds.into_iter().map(HoldView::from).collect()))
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Json<HoldView>, Failure> {
    let hold = find(&gateway, &id).await?;
    let result = match hold.state.name() {
        StateName::Finished => gateway.store.hold_result(hold.id).await?,
        StateName::Pending
        | StateName::Approved
        | StateName::Executing
        | StateName::Unknown
        | StateName::Rejected
        | StateName::Expired
        | StateName::Withdrawn
        | StateName::Lapsed
        | StateName::Superseded
        | StateName::Halted => None,
    };
    Ok(Json(HoldView { result, ..HoldView::from(hold) }))
}

/// A person's verdict, bound to the digest that person saw.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictGiven {
    /// Approve or reject.
    pub decision: Decision,
    /// The call digest that was shown.
    pub digest: Digest,
    /// Why; shown to the agent.
    #[serde(default)]
    pub reason: Option<String>,
    /// With an approval: the arguments to run instead of those that are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Object>,
}

pub(super) async fn decide(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(id): Path<String>,
    Body(given): Body<VerdictGiven>,
) -> Result<Json<HoldView>, Failure> {
    if given.edit.is_some() {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "editing is not possible yet"));
    }
    let hold = find(&gateway, &id).await?;
    if given.reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        let told = format!("a reason has at most {MAX_REASON} characters");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let verdict = Verdict {
        person,
        decision: given.decision,
        digest: given.digest,
        reason: given.reason,
        at: gateway.clock.now(),
    };
    let decided = holding::decide(&gateway, hold.id, verdict).await?;
    Ok(Json(decided.into()))
}

/// The hold with this identifier, or with the only identifier that begins so.
async fn find(gateway: &Gateway, id: &str) -> Result<Hold, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no hold `{id}`"));
    if let Ok(id) = id.parse() {
        return gateway.store.hold(id).await?.ok_or_else(unknown);
    }
    if id.len() < 4 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let recent = gateway.store.holds(HoldQuery { limit: 1000, ..HoldQuery::default() }).await?;
    let mut found = recent.into_iter().filter(|hold| hold.id.to_string().starts_with(id));
    match (found.next(), found.next()) {
        (Some(hold), None) => Ok(hold),
        (Some(_), Some(_)) => {
            let told = format!("more than one hold begins with `{id}`; give more digits");
            Err(Failure::new(StatusCode::BAD_REQUEST, told))
        }
        (None, _) => Err(unknown()),
    }
}
