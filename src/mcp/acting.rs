//! For whom a request is made: an orchestrator names a child, where an operator lets it act for that one.

use serde_json::Value;

use super::wire::{INVALID_PARAMS, RpcError};
use crate::evidence::Refused;
use crate::gateway::Gateway;
use crate::ids::CallId;
use crate::json::Object;
use crate::policy::Noticed;
use crate::principal::Principal;

/// The member of `_meta` that names the child.
pub(super) const KEY: &str = "countersign/agent";
/// The requests that can be made for a child. Others are about the session or a stream that lasts, which
/// belong to the credential that opened them: the leave to act is looked up for each request.
const METHODS: [&str; 12] = [
    "tools/call",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "server/discover",
];
/// How much of what was asked for the entry of a refusal repeats, in characters.
const MAX_ASKED: usize = 128;
/// What every refusal says, whatever its cause: who guesses names learns nothing of which there are.
const TOLD: &str = "Invalid params: this credential may not act for the agent in `_meta[\"countersign/agent\"]` \
                    with this request";

/// The child, inserted into a request of a stream.
#[derive(Clone, Debug)]
pub(super) struct Acting(pub(super) Principal);

/// Whom a request is made for: `sender`, or the child that its parameters name.
///
/// # Errors
/// When the sender may not act for that one; recorded with the sender's name.
pub(super) async fn whose(
    gateway: &Gateway,
    sender: Principal,
    method: &str,
    params: Option<&Value>,
) -> Result<Principal, RpcError> {
    let said = params.and_then(|params| params.get("_meta")?.get(KEY));
    let Some(said) = said else { return Ok(sender) };
    let name = params.and_then(|params| params.get("name")).and_then(Value::as_str);
    child(gateway, sender, said, (method, name)).await
}

/// The child that `said` names, for a request of `sender` with this method and name.
///
/// # Errors
/// When the sender may not act for it; recorded with the sender's name.
pub(super) async fn child(
    gateway: &Gateway,
    sender: Principal,
    said: &Value,
    (method, name): (&str, Option<&str>),
) -> Result<Principal, RpcError> {
    let named = said.as_str().and_then(|name| name.parse().ok());
    let child = named.filter(|_| METHODS.contains(&method));
    if let Some(child) = child.and_then(|child| gateway.agents.acting(&sender, &child)) {
        return Ok(child);
    }
    let tool = name.filter(|_| method == "tools/call").unwrap_or(method);
    let said: String = said.to_string().chars().take(MAX_ASKED).collect();
    let entry = Refused {
        call: CallId::new(),
        agent: sender.agent().clone(),
        via: None,
        groups: sender.groups().to_vec(),
        client: None,
        workflow: None,
        compensates: None,
        tool: tool.chars().take(MAX_ASKED).collect(),
        arguments: None::<Object>,
        arguments_digest: None,
        revision: gateway.revision().digest,
        refusal: "not_acting".to_owned(),
        rules: Vec::new(),
        told: TOLD.to_owned(),
        cause: Some(format!("it asked by `{method}` to act for {said}")),
        noticed: Noticed::default(),
    };
    if let Err(error) = gateway.store.refuse_call(entry).await {
        tracing::error!(%error, "a refusal could not be recorded");
        gateway.metrics.append_failed();
    }
    Err(RpcError::new(INVALID_PARAMS, TOLD))
}
