//! A `tools/call` of any protocol version: its parameters become a call, and what the call gives becomes
//! a result that this client understands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::model::{CreateTaskResult, SealOptions, Task, TaskStatus};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::wire::{INVALID_PARAMS, Members, RpcError, members};
use crate::backend::{Progress, ProgressSink};
use crate::call::refusal::{Kind, Refusal};
use crate::call::{self, Answer, Answered, Request, holding};
use crate::gateway::Gateway;
use crate::hold::{Hold, StateName};
use crate::ids::{AgentName, CallId, HoldId};
use crate::json::Object;
use crate::principal::Principal;

/// How long a request of protocol 2026-07-28 waits for people at the most: clients give up at 60 s.
const MAX_LEG: Duration = Duration::from_secs(50);
/// How often a waiting client that asked for progress hears some.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How long a sealed `requestState` can be used.
const STATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The longest texts that callers may attach to a call, in characters.
const MAX_NOTE: usize = 2000;

/// The protocol eras, as far as answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: a handshake, sessions.
    Legacy,
    /// 2026-07-28 and after: every request stands for itself.
    Modern,
}

/// Who calls, and what their client can do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent.
    pub principal: Principal,
    /// The era its request speaks.
    pub era: Era,
    /// The name its client gives itself.
    pub client: Option<String>,
    /// Whether the request declares the tasks extension.
    pub tasks: bool,
    /// The session, where the era has one.
    pub session: Option<String>,
}

/// How a caller takes a call back, and how it hears of progress.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Cancelled when the caller took the call back or is gone; stops what runs.
    pub cancel: CancellationToken,
    /// Whether the caller took it back; a caller who is merely gone leaves its hold.
    pub withdrawn: Arc<AtomicBool>,
    /// Where progress goes.
    pub progress: Option<ProgressSink>,
}

impl Line {
    /// The caller takes the call back.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::SeqCst);
        self.cancel.cancel();
    }
}

/// The parameters of a `tools/call`.
#[derive(Debug, Default)]
pub struct Params {
    name: String,
    arguments: Object,
    meta: Object,
    request_state: Option<String>,
}

impl Params {
    /// Reads them; `inputResponses` are not among them, for nothing that an agent sends decides anything.
    ///
    /// # Errors
    /// When a member has the wrong type.
    pub fn read(mut params: Object) -> Result<Self, RpcError> {
        let wrong = |what: &str| RpcError::new(INVALID_PARAMS, format!("Invalid params: {what}"));
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(wrong("`name` must be a text"));
        };
        let mut object = |key: &str| match params.remove(key) {
            None => Ok(Object::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(wrong(&format!("`{key}` must be an object"))),
        };
        let (arguments, meta) = (object("arguments")?, object("_meta")?);
        let request_state = match params.remove("requestState") {
            None => None,
            Some(Value::String(state)) => Some(state),
            Some(_) => return Err(wrong("`requestState` must be a text")),
        };
        Ok(Self { name, arguments, meta, request_state })
    }

    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `_meta` that came with the call.
    #[must_use]
    pub const fn meta(&self) -> &Object {
        &self.meta
    }

    fn note(&self, key: &str) -> Option<String> {
        let text = self.meta.get(key)?.as_str()?;
        Some(text.chars().take(MAX_NOTE).collect())
    }
}

/// Runs the call and gives the result object for the wire.
///
/// # Errors
/// With a JSON-RPC error for what is no answer to a model: unknown tools, malformed requests.
pub async fn answer(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    params: Params,
    line: &Line,
) -> Result<Members, RpcError> {
    let hold = joined_hold(gateway, caller, &params)?;
    let request = Request {
        call: CallId::new(),
        principal: caller.principal.clone(),
        client: caller.client.clone(),
        workflow: workflow_of(&params, caller),
        reason: params.note("countersign/reason"),
        tool: params.name,
        arguments: params.arguments,
        hold,
        approval: None,
        cancel: line.cancel.clone(),
        progress: line.progress.clone(),
    };
    let answer = match call::run(Arc::clone(gateway), request).await {
        Answer::Held(hold) => match held(gateway, caller, *hold, line).await? {
            Held::Ended(hold) => holding::tell(gateway, *hold).await,
            Held::Said(members) => return Ok(members),
        },
        ended @ (Answer::Result(_) | Answer::Refused(_)) => ended,
    };
    finished(gateway, caller.era, answer)
}

/// A workflow is named by the caller, else by its trace, else by its session (design §11).
fn workflow_of(params: &Params, caller: &Caller) -> Option<String> {
    params
        .note("countersign/workflow")
        .or_else(|| {
            let parent = params.meta.get("traceparent")?.as_str()?;
            parent.split('-').nth(1).map(|trace| trace.chars().take(64).collect())
        })
        .or_else(|| caller.session.clone())
}

/// The hold that the caller says the call belongs to: by the sealed state of an earlier answer, or by name.
fn joined_hold(
    gateway: &Gateway,
    caller: &Caller,
    params: &Params,
) -> Result<Option<HoldId>, RpcError> {
    if let Some(sealed) = &params.request_state {
        let agent = caller.principal.agent().as_str();
        let invalid =
            || RpcError::new(INVALID_PARAMS, "Invalid params: `requestState` is not valid");
        let opened = gateway.seal.open_with(sealed, agent.as_bytes()).map_err(|_| invalid())?;
        let text = std::str::from_utf8(&opened).map_err(|_| invalid())?;
        return text.parse().map(Some).map_err(|_| invalid());
    }
    Ok(params.note("countersign/hold").and_then(|text| text.parse().ok()))
}

enum Held {
    Ended(Box<Hold>),
    Said(Members),
}

/// How a held call answers (design §7), by what the client can do.
async fn held(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    hold: Hold,
    line: &Line,
) -> Result<Held, RpcError> {
    if hold.state.name().is_terminal() {
        return Ok(Held::Ended(Box::new(hold)));
    }
    if caller.tasks && caller.era == Era::Modern {
        gateway.board.attend(hold.id, gateway.clock.monotonic());
        return created_task(gateway, &hold).map(Held::Said);
    }
    let window = gateway.config.holds.window_for(caller.client.as_deref());
    let window = if caller.era == Era::Modern { window.min(MAX_LEG) } else { window };
    let hold = wait(gateway, hold, window, line).await?;
    if hold.state.name().is_terminal() {
        return Ok(Held::Ended(Box::new(hold)));
    }
    match caller.era {
        Era::Modern => Ok(Held::Said(input_required(gateway, caller.principal.agent(), &hold))),
        Era::Legacy => {
            let mut meta = Object::new();
            meta.insert("countersign/hold".into(), hold_in_meta(&hold));
            let refusal = Refusal::of_hold(&hold);
            Ok(Held::Said(refused(caller.era, &refusal, meta)))
        }
    }
}

/// Waits for people, telling the client now and then that it still does.
async fn wait(
    gateway: &Arc<Gateway>,
    hold: Hold,
    window: Duration,
    line: &Line,
) -> Result<Hold, RpcError> {
    let failed = |error: crate::storage::HoldError| {
        RpcError::new(super::wire::INTERNAL_ERROR, format!("the hold cannot be read: {error}"))
    };
    let until = gateway.clock.monotonic() + window;
    let mut count = 0_u32;
    let mut hold = hold;
    loop {
        say_waiting(line, &hold, count);
        count += 1;
        let left = until.saturating_sub(gateway.clock.monotonic());
        let patience = if line.progress.is_some() { left.min(PROGRESS_EVERY) } else { left };
        hold = holding::wait(gateway, hold.id, patience, &line.cancel).await.map_err(failed)?;
        if line.cancel.is_cancelled() {
            if !line.withdrawn.load(Ordering::SeqCst) {
                return Ok(hold);
            }
            // Too late is fine: then the hold says what became of it.
            let withdrawn = holding::withdraw(gateway, hold.id).await;
            return Ok(withdrawn.unwrap_or(hold));
        }
        if hold.state.name().is_terminal() || gateway.clock.monotonic() >= until {
            return Ok(hold);
        }
    }
}

fn say_waiting(line: &Line, hold: &Hold, count: u32) {
    if let Some(sink) = &line.progress {
        let message = if hold.state.name() == StateName::Pending {
            format!("waiting for a person to approve (hold {})", hold.id)
        } else {
            format!("approved; running (hold {})", hold.id)
        };
        let progress = Progress { progress: f64::from(count), total: None, message: Some(message) };
        // A client that does not read loses progress, never the call.
        drop(sink.try_send(progress));
    }
}

/// A task for a client that declared the extension; the hold is durable, so the task is.
fn created_task(gateway: &Gateway, hold: &Hold) -> Result<Members, RpcError> {
    let result = CreateTaskResult::new(task_of(gateway, hold));
    let value = serde_json::to_value(result)
        .map_err(|error| RpcError::new(super::wire::INTERNAL_ERROR, error.to_string()))?;
    let mut members = members(&value);
    set(&mut members, "resultType", &json!("task"));
    set(&mut members, "_meta", &json!({ "countersign/hold": hold_in_meta(hold) }));
    Ok(members)
}

/// The task that stands for a hold.
#[must_use]
pub fn task_of(gateway: &Gateway, hold: &Hold) -> Task {
    let status = match hold.state.name() {
        StateName::Pending | StateName::Approved | StateName::Executing => TaskStatus::Working,
        StateName::Withdrawn => TaskStatus::Cancelled,
        StateName::Finished
        | StateName::Unknown
        | StateName::Rejected
        | StateName::Expired
        | StateName::Lapsed
        | StateName::Superseded
        | StateName::Halted => TaskStatus::Completed,
    };
    let state = hold.state.name();
    let message = if state == StateName::Pending {
        format!(
            "waiting for a person to approve (rules: {}), until {:.0}",
            hold.rules.join(", "),
            hold.decide_by
        )
    } else {
        state.as_str().to_owned()
    };
    let poll = u64::try_from(gateway.config.holds.poll_interval.0.as_millis()).unwrap_or(2000);
    let created = hold.created_at.to_string();
    Task::new(hold.id.to_string(), status, created, gateway.clock.now().to_string())
        .with_status_message(message)
        .with_poll_interval_ms(poll)
}

/// Asks a client of 2026-07-28 to come back with the sealed state.
fn input_required(gateway: &Gateway, agent: &AgentName, hold: &Hold) -> Members {
    let options = SealOptions::new().associated_data(agent.as_str().as_bytes()).ttl(STATE_LIFE);
    let state = gateway.seal.seal_with(hold.id.to_string().as_bytes(), &options);
    members(&json!({
        "resultType": "input_required",
        "requestState": state,
        "_meta": { "countersign/hold": hold_in_meta(hold) },
    }))
}

fn hold_in_meta(hold: &Hold) -> Value {
    json!({ "id": hold.id, "state": hold.state.name(), "decide_by": hold.decide_by })
}

/// The result object of a call that ended.
///
/// # Errors
/// With a JSON-RPC error for an unknown tool.
pub fn finished(gateway: &Gateway, era: Era, answer: Answer) -> Result<Members, RpcError> {
    match answer {
        Answer::Result(answered) => Ok(result(era, *answered)),
        Answer::Refused(Refusal { kind: Kind::UnknownTool, told, .. }) => {
            Err(RpcError::new(INVALID_PARAMS, told))
        }
        Answer::Refused(refusal) => {
            let mut meta = Object::new();
            let decision = match refusal.kind {
                Kind::Denied => "DENY",
                Kind::Rejected | Kind::Expired | Kind::Withdrawn | Kind::Superseded => {
                    "REQUIRE_APPROVAL"
                }
                Kind::UnknownTool
                | Kind::InvalidArguments
                | Kind::Limited
                | Kind::TooManyHolds
                | Kind::Halted
                | Kind::Pending
                | Kind::UnknownOutcome
                | Kind::NotRecorded
                | Kind::Unavailable
                | Kind::Failed
                | Kind::TimedOut
                | Kind::Cancelled
                | Kind::ResultRefused => "none",
            };
            let decision = json!({
                "decision": decision,
                "refusal": refusal.kind.as_str(),
                "rules": refusal.rules,
                "revision": gateway.revision().digest,
                "edits": [],
            });
            meta.insert("countersign/decision".into(), decision);
            Ok(refused(era, &refusal, meta))
        }
        // `run` gives a hold only to `answer`, which has waited for it.
        Answer::Held(hold) => Ok(refused(era, &Refusal::of_hold(&hold), Object::new())),
    }
}

fn result(era: Era, answered: Answered) -> Members {
    let mut meta = Object::new();
    meta.insert("countersign/call".into(), json!(answered.call));
    let decision = json!({
        "decision": answered.decision,
        "rules": answered.rules,
        "revision": answered.revision,
        "edits": answered.edits,
    });
    meta.insert("countersign/decision".into(), decision);
    if let Some(hold) = answered.hold {
        meta.insert("countersign/hold".into(), json!({ "id": hold, "state": "finished" }));
    }
    let told = told_of_edits(&answered.edits);
    let mut members = answered.result.into_members(meta);
    if let Some(told) = told {
        append_text(&mut members, &told);
    }
    for_era(era, members)
}

/// A model reads content, not `_meta`: so it is told there that other arguments ran than it asked for.
fn told_of_edits(edits: &[crate::policy::Edit]) -> Option<String> {
    if edits.is_empty() {
        return None;
    }
    let edits: Vec<String> = edits
        .iter()
        .map(|edit| {
            let asked = match &edit.from {
                Some(from) => format!("you asked for {from}"),
                None => "you gave none".to_owned(),
            };
            format!("`{}` was {} ({asked}; rule `{}`)", edit.pointer, edit.to, edit.rule)
        })
        .collect();
    Some(format!("Note: policy changed this call's arguments: {}.", edits.join("; ")))
}

fn append_text(members: &mut Members, text: &str) {
    use serde_json::value::RawValue;
    let content = members.get("content").map(|raw| raw.get());
    let mut blocks: Vec<Box<RawValue>> =
        content.and_then(|content| serde_json::from_str(content).ok()).unwrap_or_default();
    let block = serde_json::value::to_raw_value(&json!({ "type": "text", "text": text }));
    blocks.extend(block.ok());
    set(members, "content", &blocks);
}

fn refused(era: Era, refusal: &Refusal, mut meta: Object) -> Members {
    if let Some(wait) = refusal.retry_after {
        meta.insert("countersign/retry_after".into(), json!(wait.as_secs()));
    }
    let members = members(&json!({
        "content": [{ "type": "text", "text": refusal.told }],
        "isError": true,
        "_meta": meta,
    }));
    for_era(era, members)
}

/// Since 2026-07-28 every result says what type it is; before, the member did not exist.
fn for_era(era: Era, mut members: Members) -> Members {
    match era {
        Era::Modern => {
            if !members.contains_key("resultType") {
                set(&mut members, "resultType", &json!("complete"));
            }
        }
        Era::Legacy => {
            members.shift_remove("resultType");
        }
    }
    members
}

fn set<T: serde::Serialize>(members: &mut Members, key: &str, value: &T) {
    if let Ok(raw) = serde_json::value::to_raw_value(value) {
        members.insert(key.to_owned(), raw);
    }
}
