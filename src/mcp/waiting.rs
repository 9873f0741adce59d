//! `countersign_wait`: the gateway's own tool, by which an agent waits for a held call and collects its result.

use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::answers;
use super::asking::{self, Leg};
use super::calls::{self, Back, Caller, Held, Line, Params};
use super::wire::{INVALID_PARAMS, Members, RpcError};
use crate::call::Answer;
use crate::call::holding;
use crate::call::refusal::{Kind, Refusal};
use crate::catalog;
use crate::hold::Hold;

/// The tool's name; no manifest may use it.
pub(super) const NAME: &str = "countersign_wait";

/// What clients are shown of it.
pub(super) fn tool() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {
            "hold": {
                "type": "string",
                "pattern": "^[0-9a-f]{32}$",
                "description": "The hold's identifier, as the pending answer named it."
            }
        },
        "required": ["hold"],
        "additionalProperties": false
    });
    let Value::Object(schema) = schema else { return Tool::default() };
    let about = "Waits for people to decide on a held call of yours and gives the call's own result, or says that \
                 it is still pending. It asks for nothing new and runs nothing twice.";
    let mut tool = Tool::new(NAME, about, Arc::new(schema));
    tool.title = Some("Wait for a held call".to_owned());
    tool.annotations = Some(ToolAnnotations::new().read_only(true).idempotent(true));
    tool
}

/// Waits for the hold that the call names, and answers as the held call itself would be answered.
///
/// # Errors
/// With a JSON-RPC error when the hold is not named as it must be.
pub(super) async fn answer(leg: &Leg<'_>, mut params: Params) -> Result<Members, RpcError> {
    let Leg { gateway, caller, .. } = leg;
    if let Back::Asked(asked) = calls::back(leg, &mut params)? {
        let carried = asking::go_on(leg, *asked).await?;
        return calls::said(gateway, caller, carried);
    }
    let named = params.arguments();
    let id = match (named.get("hold"), named.len()) {
        (Some(Value::String(id)), 1) => id.parse().ok(),
        (Some(_) | None, _) => None,
    };
    let Some(id) = id else {
        let told = format!("Invalid params: `{NAME}` takes `hold`, an identifier of 32 digits");
        return Err(RpcError::new(INVALID_PARAMS, told));
    };
    let failed = |error: crate::storage::StoreError| Answer::Refused(error.into());
    let answer = match gateway.store.hold(id).await {
        Ok(hold) => match hold.filter(|hold| is_for(caller, hold)) {
            Some(hold) => match wait(leg, hold).await? {
                Held::Ended(hold) => holding::tell(gateway, *hold).await,
                Held::Said(members) => return Ok(members),
                Held::Waits(hold) => return Ok(answers::pending(gateway, caller.era, &hold)),
            },
            // Another agent's hold looks like one that does not exist.
            None => {
                let told = format!("There is no hold {id} of yours.");
                Answer::Refused(Refusal::new(Kind::Expired, told))
            }
        },
        Err(error) => failed(error),
    };
    answers::finished(gateway, caller.era, answer)
}

/// Whether this tool may tell of the hold: it is the caller's, and its result is that of a tool.
fn is_for(caller: &Caller, hold: &Hold) -> bool {
    hold.agent == *caller.principal.agent() && catalog::Kind::of(&hold.tool) == catalog::Kind::Tool
}

async fn wait(leg: &Leg<'_>, hold: Hold) -> Result<Held, RpcError> {
    // To stop waiting takes nothing back: only the call itself, or its task, can be cancelled.
    let line = Line { withdrawn: Arc::default(), ..leg.line.clone() };
    calls::held(&Leg { line: &line, ..*leg }, hold, false).await
}
