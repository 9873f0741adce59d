//! What takes the path of a call beside `tools/call`: reads of resources, prompts, completions. Their
//! results are no results of tools, so a refusal is a JSON-RPC error.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answers;
use super::calls::{self, Caller, Carried, Era, Line, Params};
use super::wire::{INVALID_PARAMS, Members, PENDING, REFUSED, RESOURCE_NOT_FOUND, RpcError};
use crate::call::refusal::{self, Refusal};
use crate::call::{Answer, Answered};
use crate::catalog::Kind;
use crate::gateway::Gateway;
use crate::hold::Hold;
use crate::json::Object;

/// A request that takes the path of a call.
#[derive(Debug)]
pub(super) enum Asking {
    /// `tools/call`.
    Call(Params),
    /// Another, whose parameters are brought into the form of a call's; their name is that of the protocol.
    Read(Kind, Params),
}

impl Asking {
    /// Whether requests of `method` take the path of a call.
    pub(super) fn takes(method: &str) -> bool {
        kind_of(method).is_some()
    }

    /// Reads the parameters of a request of `method`.
    ///
    /// # Errors
    /// When a member is missing or has the wrong type.
    pub(super) fn read(method: &str, mut params: Object) -> Result<Self, RpcError> {
        let kind = match kind_of(method) {
            None | Some(Kind::Tool) => return Params::read(params).map(Self::Call),
            Some(kind) => kind,
        };
        let (name, arguments) = match kind {
            Kind::Resource => (text(&mut params, "uri")?, Object::new().into()),
            Kind::Completion => (completed(&mut params)?, argument(&mut params)?),
            Kind::Prompt | Kind::Tool => {
                let arguments = params.remove("arguments");
                (text(&mut params, "name")?, arguments.unwrap_or_else(|| Object::new().into()))
            }
        };
        params.insert("name".into(), name.into());
        params.insert("arguments".into(), arguments);
        Params::read(params).map(|params| Self::Read(kind, params))
    }

    /// The `_meta` that came with it.
    pub(super) const fn meta(&self) -> &Object {
        match self {
            Self::Call(params) | Self::Read(_, params) => params.meta(),
        }
    }

    /// Carries it and gives the result object for the wire.
    ///
    /// # Errors
    /// With a JSON-RPC error for what is no answer to a model, and for every refusal of what is no call of
    /// a tool.
    pub(super) async fn answer(
        self,
        gateway: &Arc<Gateway>,
        caller: &Caller,
        line: &Line,
    ) -> Result<Members, RpcError> {
        match self {
            Self::Call(params) => calls::answer(gateway, caller, params, line).await,
            Self::Read(kind, params) => read(gateway, caller, (kind, params), line).await,
        }
    }
}

fn kind_of(method: &str) -> Option<Kind> {
    match method {
        "tools/call" => Some(Kind::Tool),
        "resources/read" => Some(Kind::Resource),
        "prompts/get" => Some(Kind::Prompt),
        "completion/complete" => Some(Kind::Completion),
        _ => None,
    }
}

async fn read(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    (kind, params): (Kind, Params),
    line: &Line,
) -> Result<Members, RpcError> {
    let asked = params.name().to_owned();
    let Ok(_place) = gateway.places.try_acquire() else {
        return Err(refused(gateway, caller.era, (kind, &asked), &calls::busy()));
    };
    let item = match kind {
        Kind::Resource => gateway.revision().catalog.resource(&asked),
        Kind::Tool | Kind::Prompt | Kind::Completion => None,
    };
    // No URI has braces: the text of a template must not be taken for what it stands for.
    let unknown = || kind.named(&asked.replace('{', "%7B").replace('}', "%7D"));
    let item = item.unwrap_or_else(|| match kind {
        Kind::Resource => (unknown(), Object::new()),
        Kind::Tool | Kind::Prompt | Kind::Completion => {
            (kind.named(&asked), params.arguments().clone())
        }
    });
    // A task is a call of a tool; here a client of that era waits in legs.
    let caller = Caller { tasks: false, ..caller.clone() };
    match calls::carried(gateway, &caller, params.of_item(item), line).await? {
        Carried::Ended(Answer::Result(answered)) => Ok(result(caller.era, kind, *answered)),
        Carried::Ended(Answer::Refused(refusal)) => {
            Err(refused(gateway, caller.era, (kind, &asked), &refusal))
        }
        Carried::Ended(Answer::Held(waiting)) => Err(pending(gateway, &waiting.hold)),
        Carried::Said(members) => Ok(members),
        Carried::Waits(hold) => Err(pending(gateway, &hold)),
    }
}

/// The result as it came, with what the gateway says of it.
fn result(era: Era, kind: Kind, answered: Answered) -> Members {
    let meta = answers::meta_of_result(&answered);
    let mut members = answered.result.into_members(meta);
    if kind == Kind::Resource {
        // What one agent may read is nobody else's: never shared, never kept.
        for key in ["ttlMs", "cacheScope"] {
            members.shift_remove(key);
        }
        if era == Era::Modern {
            answers::set(&mut members, "ttlMs", &0);
            answers::set(&mut members, "cacheScope", &"private");
        }
    }
    answers::for_era(era, members)
}

fn refused(
    gateway: &Gateway,
    era: Era,
    (kind, asked): (Kind, &str),
    refusal: &Refusal,
) -> RpcError {
    if let Some(error) = answers::missing_capability(era, refusal) {
        return error;
    }
    let code = match (refusal.kind, kind, era) {
        (refusal::Kind::UnknownTool, Kind::Resource, Era::Legacy) => RESOURCE_NOT_FOUND,
        (refusal::Kind::UnknownTool | refusal::Kind::InvalidArguments, _, _) => INVALID_PARAMS,
        (refusal::Kind::Pending, _, _) => PENDING,
        (_, _, _) => REFUSED,
    };
    let mut data = if refusal.kind == refusal::Kind::UnknownTool {
        Object::new()
    } else {
        answers::meta_of_refusal(gateway, refusal)
    };
    if kind == Kind::Resource {
        data.insert("uri".into(), asked.into());
    }
    if let Some(wait) = refusal.retry_after {
        data.insert("countersign/retry_after".into(), wait.as_secs().into());
    }
    let mut error = RpcError::new(code, refusal.told.clone());
    error.data = (!data.is_empty()).then(|| data.into());
    error
}

fn pending(gateway: &Gateway, hold: &Hold) -> RpcError {
    let mut error = RpcError::new(PENDING, Refusal::of_hold(hold).told);
    error.data = Some(json!({ "countersign/hold": answers::hold_in_meta(gateway, hold) }));
    error
}

fn wrong(what: &str) -> RpcError {
    RpcError::new(INVALID_PARAMS, format!("Invalid params: {what}"))
}

fn text(params: &mut Object, key: &str) -> Result<String, RpcError> {
    match params.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) | None => Err(wrong(&format!("`{key}` must be a text"))),
    }
}

/// The name of the item for which a completion is asked.
fn completed(params: &mut Object) -> Result<String, RpcError> {
    let Some(Value::Object(mut reference)) = params.remove("ref") else {
        return Err(wrong("`ref` must be an object"));
    };
    match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => Ok(Kind::Prompt.named(&text(&mut reference, "name")?)),
        Some("ref/resource") => Ok(Kind::Resource.named(&text(&mut reference, "uri")?)),
        Some(_) | None => Err(wrong("`ref` must be a `ref/prompt` or a `ref/resource`")),
    }
}

/// What is being typed, and what is known already, as arguments.
fn argument(params: &mut Object) -> Result<Value, RpcError> {
    let mut arguments = Object::new();
    match params.remove("argument") {
        Some(argument @ Value::Object(_)) => arguments.insert("argument".into(), argument),
        Some(_) | None => return Err(wrong("`argument` must be an object")),
    };
    if let Some(context) = params.remove("context") {
        arguments.insert("context".into(), context);
    }
    Ok(arguments.into())
}
