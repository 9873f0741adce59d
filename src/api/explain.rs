//! Why a call is decided as it is, or would be: asked of the rules in force, without a call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::{MAX_GROUPS, MAX_NAME};
use super::{Body, Failure, Viewer};
use crate::catalog::{Kind, Label};
use crate::evidence::{Entry, Event};
use crate::gateway::{Gateway, Revision};
use crate::hold::Standing;
use crate::ids::{AgentName, CallId};
use crate::json::Object;
use crate::limits::{Budgets, Spender};
use crate::policy::{Explanation, Question, unedited};

/// What is told of every call of the record.
const NO_GROUPS: &str =
    "the record does not hold the agent's groups; these are the ones it has now";

/// A call to be explained: either one of the record, or one that nobody makes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainWanted {
    /// A call of the record; nothing else is given with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// The agent that would call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Its groups; those it is registered with when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub groups: Option<Vec<String>>,
    /// The client program, as it would name itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub client: Option<String>,
    /// The workflow, as the caller would name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub workflow: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Its arguments; none when absent.
    #[serde(default)]
    pub arguments: Object,
}

/// What would be decided about a call now, and why.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExplainView {
    /// The digest of catalog and policy together.
    pub revision: String,
    /// The agent.
    pub agent: AgentName,
    /// Its groups.
    pub groups: Vec<String>,
    /// The client program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The tool.
    pub tool: String,
    /// The arguments as they are asked.
    pub arguments: Object,
    /// Why the tool cannot be called now whatever the rules say; absent when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// What does not fit the tool's schema: such a call is refused before rules are asked.
    pub faults: Vec<FaultView>,
    /// What the rules say; absent where the arguments do not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// What the record says of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedView>,
    /// What is not known, and was taken to be otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One way in which arguments do not fit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FaultView {
    /// Where, as a JSON pointer; empty for all of them.
    pub pointer: String,
    /// What is wrong, in words.
    pub message: String,
}

/// What the record says of a call that was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecordedView {
    /// The call.
    pub call: CallId,
    /// What was decided; `none` where it was refused for something else than a rule.
    pub decision: String,
    /// What it was refused for, one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// The revision that decided.
    pub revision: String,
    /// Whether the rules in force now decide otherwise, or by other rules; absent where rules had not decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<bool>,
}

/// A call that is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks.
    pub agent: AgentName,
    /// The agent's groups.
    pub groups: Vec<String>,
    /// The person the agent acts for.
    pub owner: Option<String>,
    /// The client program.
    pub client: Option<String>,
    /// The workflow.
    pub workflow: Option<String>,
    /// The tool.
    pub tool: String,
    /// The arguments.
    pub arguments: Object,
    /// What the agent holds.
    pub holds: Vec<Label>,
    /// When.
    pub now: Timestamp,
}

pub(super) async fn explain(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Body(wanted): Body<ExplainWanted>,
) -> Result<Json<ExplainView>, Failure> {
    let bad = |told: String| Failure::new(StatusCode::BAD_REQUEST, told);
    let revision = gateway.revision();
    let (asked, recorded, notes) = match wanted {
        ExplainWanted {
            call: Some(call),
            agent: None,
            groups: None,
            client: None,
            workflow: None,
            tool: None,
            arguments,
        } if arguments.is_empty() => of_record(&gateway, call).await?,
        ExplainWanted {
            call: None,
            agent: Some(agent),
            groups,
            client,
            workflow,
            tool: Some(tool),
            arguments,
        } => {
            let too_long = |name: &String| name.is_empty() || name.chars().count() > MAX_NAME;
            let groups = groups.unwrap_or_else(|| gateway.agents.groups(&agent));
            if groups.len() > MAX_GROUPS || groups.iter().any(too_long) {
                return Err(bad(format!(
                    "groups have 1 to {MAX_NAME} characters and are at most {MAX_GROUPS}"
                )));
            }
            let too_long = |name: &String| name.chars().count() > MAX_NAME;
            if client.iter().chain(&workflow).any(too_long) {
                let told = format!("a client or workflow has at most {MAX_NAME} characters");
                return Err(bad(told));
            }
            let (owner, now) = (gateway.agents.owner(&agent), gateway.clock.now());
            let holds = gateway.held.by(&agent);
            let asked =
                Asked { agent, groups, owner, client, workflow, tool, arguments, holds, now };
            (asked, None, Vec::new())
        }
        _ => return Err(bad("give `agent` and `tool`, or `call` alone".to_owned())),
    };
    let standing = match revision.catalog.tool(&asked.tool) {
        Some(tool) => gateway.standing.of(&asked.agent, tool.name(), &*gateway.clock),
        None => Vec::new(),
    };
    // With very many rules it takes a while.
    let _place = super::place_to_ask(&gateway)?;
    let budgets = Arc::clone(&gateway.budgets);
    let explain = move || explained(&revision, asked, &standing, Some(&budgets));
    let told = tokio::task::spawn_blocking(explain).await;
    let failed = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "it was not explained");
    let mut view = told.map_err(failed)??;
    view.recorded = recorded.map(|recorded| compared(recorded, &view));
    view.notes = notes;
    Ok(Json(view))
}

/// What `revision` would decide about a call, and why.
///
/// # Errors
/// When there is no such tool, or it is asked of with another.
pub fn explained(
    revision: &Revision,
    asked: Asked,
    standing: &[Standing],
    budgets: Option<&Budgets>,
) -> Result<ExplainView, Failure> {
    let Asked { agent, groups, owner, client, workflow, tool: name, arguments, holds, now } = asked;
    let tool = revision.catalog.tool(&name);
    let tool = tool.filter(|tool| tool.kind() != Kind::Completion).ok_or_else(|| {
        let shown: String = name.chars().take(MAX_NAME).collect();
        Failure::new(StatusCode::NOT_FOUND, format!("no tool `{shown}`"))
    })?;
    let (explanation, faults) = match tool.check(arguments.clone()) {
        Ok(checked) => {
            let client = client.as_deref();
            let owner = owner.as_deref();
            let workflow = workflow.as_deref();
            let spender = Spender { agent: &agent, groups: &groups, client, workflow };
            let spent = budgets.map(|it| it.look(&revision.policy, spender, &checked));
            let spent = spent.unwrap_or_default();
            let question = Question {
                agent: &agent,
                groups: &groups,
                owner,
                client,
                workflow,
                checked,
                standing,
                spent: &spent,
                holds: &holds,
                now,
            };
            (Some(revision.policy.explain(&question)), Vec::new())
        }
        Err(faults) => {
            let view =
                |it: crate::catalog::Fault| FaultView { pointer: it.pointer, message: it.message };
            (None, faults.into_iter().map(view).collect())
        }
    };
    Ok(ExplainView {
        revision: revision.digest.to_string(),
        agent,
        groups,
        client,
        tool: tool.name().to_owned(),
        arguments,
        unavailable: tool.unavailable().map(str::to_owned),
        faults,
        explanation,
        recorded: None,
        notes: Vec::new(),
    })
}

/// A call of the record as it was asked, what was decided then, and what of it is not in the record.
type Found = (Asked, Option<RecordedView>, Vec<String>);

async fn of_record(gateway: &Gateway, call: CallId) -> Result<Found, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no call `{call}`"));
    let found = gateway.store.timeline(call).await?.ok_or_else(unknown)?;
    for stored in &found.entries {
        let event = &stored.entry.event;
        let (asked, arguments) = if let Event::Hold { asked, requested_arguments, .. } = event {
            (asked, requested_arguments.clone())
        } else if let Event::Intent(intent) = event {
            (&intent.asked, unedited(&intent.asked.arguments, &intent.asked.edits))
        } else if let Some(refused) = refused(gateway, call, &stored.entry) {
            return refused;
        } else {
            continue;
        };
        if asked.call == call {
            let recorded = RecordedView {
                call,
                decision: asked.decision.clone(),
                refusal: None,
                rules: asked.rules.clone(),
                revision: asked.revision.to_string(),
                differs: None,
            };
            let asked = Asked {
                agent: asked.agent.clone(),
                groups: gateway.agents.groups(&asked.agent),
                owner: asked.owner.clone(),
                client: asked.client.clone(),
                workflow: asked.workflow.clone(),
                tool: asked.tool.clone(),
                arguments,
                holds: asked.noticed.holds.clone(),
                now: stored.entry.time,
            };
            return Ok((asked, Some(recorded), vec![NO_GROUPS.to_owned()]));
        }
    }
    Err(unknown())
}

/// The same of a refusal of this call, if `entry` is one.
fn refused(gateway: &Gateway, call: CallId, entry: &Entry) -> Option<Result<Found, Failure>> {
    let Event::Refusal(refused) = &entry.event else { return None };
    if refused.call != call {
        return None;
    }
    let Some(arguments) = refused.arguments.clone() else {
        let told = "the record has only the digest of this call's arguments, which were too long or no JSON that \
                    has one form";
        return Some(Err(Failure::new(StatusCode::CONFLICT, told)));
    };
    let is_denied = crate::call::refusal::Kind::is_by_rules(&refused.refusal);
    let recorded = RecordedView {
        call,
        decision: if is_denied { "DENY" } else { "none" }.to_owned(),
        refusal: Some(refused.refusal.clone()),
        rules: refused.rules.clone(),
        revision: refused.revision.to_string(),
        differs: None,
    };
    let asked = Asked {
        agent: refused.agent.clone(),
        groups: gateway.agents.groups(&refused.agent),
        owner: gateway.agents.owner(&refused.agent),
        client: None,
        workflow: refused.workflow.clone(),
        tool: refused.tool.clone(),
        arguments,
        holds: refused.noticed.holds.clone(),
        now: entry.time,
    };
    let notes = [
        NO_GROUPS,
        "the record does not hold the client of a refused call; conditions on `client` are taken not to hold",
    ];
    Some(Ok((asked, Some(recorded), notes.map(str::to_owned).to_vec())))
}

/// Says whether what was decided then differs from what is decided now.
fn compared(recorded: RecordedView, view: &ExplainView) -> RecordedView {
    let differs =
        view.explanation.as_ref().filter(|_| recorded.decision != "none").map(|now| {
            now.decision.as_str() != recorded.decision || now.decided_by != recorded.rules
        });
    RecordedView { differs, ..recorded }
}
