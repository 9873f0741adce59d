//! A call that a person tries from the page: a real one, through the one door, as an agent of that person's own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Body, Failure, Operator};
use crate::backend::Contact;
use crate::call::{self, Answer, Request};
use crate::catalog::Kind;
use crate::gateway::Gateway;
use crate::ids::{AgentName, CallId, HoldId};
use crate::json::Object;
use crate::policy::Edit;

/// The client program that such calls name.
const CLIENT: &str = "countersign-page";

/// A call to be tried.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TryWanted {
    /// The tool.
    pub tool: String,
    /// Its arguments; none when absent.
    #[serde(default)]
    pub arguments: Object,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TryView {
    /// The agent that the call was made as.
    pub agent: AgentName,
    /// The call.
    pub call: CallId,
    /// What came of it, in one word.
    pub outcome: TryOutcome,
    /// The result as the tool gave it, without its secrets; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What an agent is told of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// What it was refused for, one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The hold that people decide on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// What constraints changed.
    pub edits: Vec<Edit>,
}

/// What came of a call that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TryOutcome {
    /// The tool gave a result.
    Success,
    /// The tool said that it failed.
    ToolError,
    /// It was turned away.
    Refused,
    /// It waits for people, or did.
    Held,
}

pub(super) async fn call(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Body(wanted): Body<TryWanted>,
) -> Result<Json<TryView>, Failure> {
    let principal = gateway.agents.of_page(&person).ok_or_else(taken)?;
    let Ok(_place) = gateway.places.try_acquire() else {
        let told = "too many calls are under way; try again in a moment";
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, told));
    };
    let (agent, id) = (principal.agent().clone(), CallId::new());
    // What has a name of another kind is no tool, and is recorded as it was asked for.
    let tool = match Kind::of(&wanted.tool) {
        Kind::Tool => wanted.tool,
        Kind::Resource | Kind::Prompt | Kind::Completion => format!("tools/call:{}", wanted.tool),
    };
    let request = Request {
        call: id,
        principal,
        tool,
        arguments: wanted.arguments,
        client: Some(CLIENT.to_owned()),
        workflow: None,
        compensates: None,
        reason: None,
        hold: None,
        approval: None,
        cancel: CancellationToken::new(),
        // Nobody is there to be asked what the tool asks.
        contact: Contact::default(),
    };
    let answer = call::run(Arc::clone(&gateway), request).await;
    view(agent, id, answer).map(Json)
}

/// Nobody calls under the name of an agent that is somebody else's.
pub(super) fn taken() -> Failure {
    let told = "an agent is registered, or was, under the name by which the page calls for you; calls of yours cannot be told from its own";
    Failure::new(StatusCode::CONFLICT, told)
}

fn view(agent: AgentName, call: CallId, answer: Answer) -> Result<TryView, Failure> {
    let view = TryView {
        agent,
        call,
        outcome: TryOutcome::Refused,
        result: None,
        told: None,
        refusal: None,
        hold: None,
        rules: Vec::new(),
        edits: Vec::new(),
    };
    Ok(match answer {
        Answer::Result(answered) => {
            let result = serde_json::from_str(answered.result.text().get()).map_err(|error| {
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            })?;
            let failed = answered.result.is_error();
            let outcome = if failed { TryOutcome::ToolError } else { TryOutcome::Success };
            let (rules, edits) = (answered.rules, answered.edits);
            TryView { outcome, result: Some(result), rules, edits, ..view }
        }
        Answer::Refused(refusal) => TryView {
            told: Some(refusal.told),
            refusal: Some(refusal.kind.as_str().to_owned()),
            rules: refusal.rules,
            ..view
        },
        Answer::Held(waiting) => TryView {
            outcome: TryOutcome::Held,
            hold: Some(waiting.hold.id),
            rules: waiting.hold.rules,
            edits: waiting.hold.edits,
            ..view
        },
    })
}
