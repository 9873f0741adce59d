//! `countersign_done`: the gateway's own tool, by which an agent says that a workflow has ended.

use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::answers;
use super::calls::{Caller, Params};
use super::wire::{INVALID_PARAMS, Members, RpcError};
use super::workflow;
use crate::call::workflows;
use crate::gateway::Gateway;

/// The tool's name; no manifest may use it.
pub(super) const NAME: &str = "countersign_done";

/// What clients are shown of it.
pub(super) fn tool() -> Tool {
    let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let Value::Object(schema) = schema else { return Tool::default() };
    let about = "Says that the work which these calls belong to is done. Call it once, at the end. It runs nothing; \
                 calls after it count as new work.";
    let mut tool = Tool::new(NAME, about, Arc::new(schema));
    tool.title = Some("Say that the work is done".to_owned());
    tool.annotations = Some(ToolAnnotations::new().destructive(false).idempotent(true));
    tool
}

/// Ends the workflow that the call belongs to, as any call of the caller's would.
///
/// # Errors
/// With a JSON-RPC error when there are arguments, or the workflow is not named as it must be.
pub(super) async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    params: &Params,
) -> Result<Members, RpcError> {
    if !params.arguments().is_empty() {
        let told = format!("Invalid params: `{NAME}` takes no arguments");
        return Err(RpcError::new(INVALID_PARAMS, told));
    }
    let name = workflow::named(params.meta(), caller.session.as_deref())?;
    let ended = match name {
        Some(name) => workflows::end(gateway, caller.principal.agent(), &name).await,
        None => Ok(false),
    };
    Ok(match ended {
        Ok(true) => answers::said(caller.era, "The work is done.", false),
        Ok(false) => {
            answers::said(caller.era, "There is no work of yours that is not done already.", false)
        }
        Err(error) => {
            tracing::error!(%error, "a workflow could not be ended");
            answers::said(caller.era, "It could not be noted that the work is done.", true)
        }
    })
}
