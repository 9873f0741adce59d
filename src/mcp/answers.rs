//! What a call gave, as the result object that a client of its era understands.

use rmcp::model::{CreateTaskResult, Task, TaskStatus};
use serde_json::{Value, json};

use super::calls::Era;
use super::sealed;
use super::wire::{INTERNAL_ERROR, INVALID_PARAMS, MISSING_CAPABILITY, Members, RpcError, members};
use crate::call::refusal::{Kind, Refusal};
use crate::call::{Answer, Answered};
use crate::evidence::OutcomeStatus;
use crate::gateway::Gateway;
use crate::hold::{Amendment, Hold, State, StateName};
use crate::ids::{AgentName, HoldId};
use crate::json::Object;

/// A task for a client that declared the extension; the hold is durable, so the task is.
pub(super) fn created_task(gateway: &Gateway, hold: &Hold) -> Result<Members, RpcError> {
    let result = CreateTaskResult::new(task_of(gateway, hold.id, hold));
    let value = serde_json::to_value(result)
        .map_err(|error| RpcError::new(INTERNAL_ERROR, error.to_string()))?;
    let mut members = members(&value);
    set(&mut members, "resultType", &json!("task"));
    set(&mut members, "_meta", &json!({ "countersign/hold": hold_in_meta(gateway, hold) }));
    Ok(members)
}

/// The task `id` that stands for a hold, or for the one in whose place the hold was opened.
#[must_use]
pub(super) fn task_of(gateway: &Gateway, id: HoldId, hold: &Hold) -> Task {
    let status = match hold.state.name() {
        StateName::Pending | StateName::Approved | StateName::Executing => TaskStatus::Working,
        StateName::Withdrawn => TaskStatus::Cancelled,
        StateName::Finished if broke(hold) => TaskStatus::Failed,
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
            "waiting for people to approve: {} (rules: {}), until {:.0}",
            hold.terms.told(),
            hold.rules.join(", "),
            hold.decide_by
        )
    } else {
        state.as_str().to_owned()
    };
    let poll = u64::try_from(gateway.config.holds.poll_interval.0.as_millis()).unwrap_or(2000);
    let created = hold.created_at.to_string();
    Task::new(id.to_string(), status, created, gateway.clock.now().to_string())
        .with_status_message(message)
        .with_poll_interval_ms(poll)
}

/// Whether the backend broke down over the call: a task that *failed*, while one whose tool said so itself is
/// *completed* (SEP-2663).
#[must_use]
pub(super) fn broke(hold: &Hold) -> bool {
    let State::Finished { outcome, .. } = &hold.state else { return false };
    outcome.status == OutcomeStatus::BackendError
}

/// The error of a task whose backend broke down, in the words that `result` tells.
#[must_use]
pub(super) fn breakdown(result: &Members) -> RpcError {
    let content = result.get("content").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let content: Value = content.unwrap_or_default();
    let told = content.pointer("/0/text").and_then(Value::as_str);
    let mut error = RpcError::new(INTERNAL_ERROR, told.unwrap_or("the tool's backend broke down"));
    error.data = result.get("_meta").map(|meta| json!({ "_meta": meta }));
    error
}

/// Asks a client of 2026-07-28 to come back with the sealed state; `page` asks it to open the hold's page for
/// its person besides. Whatever it answers to that decides nothing.
pub(super) fn input_required(
    gateway: &Gateway,
    agent: &AgentName,
    hold: &Hold,
    page: bool,
) -> Members {
    let state = sealed::seal(&gateway.seal, agent, &hold.id.to_string());
    let mut members = members(&json!({
        "resultType": "input_required",
        "requestState": state,
        "_meta": { "countersign/hold": hold_in_meta(gateway, hold) },
    }));
    if let Some(url) = gateway.notifier.link(hold.id).filter(|_| page) {
        let message = format!(
            "This call of `{}` waits for people to approve it: {}. Its page says how.",
            hold.tool,
            hold.terms.told()
        );
        let params = json!({ "mode": "url", "message": message, "url": url });
        let request = json!({ "method": "elicitation/create", "params": params });
        set(&mut members, "inputRequests", &json!({ "hold": request }));
    }
    members
}

/// What `_meta` says of a hold; the page's address where one is served.
pub(super) fn hold_in_meta(gateway: &Gateway, hold: &Hold) -> Value {
    let mut meta =
        json!({ "id": hold.id, "state": hold.state.name(), "decide_by": hold.decide_by });
    if let (Value::Object(meta), Some(url)) = (&mut meta, gateway.notifier.link(hold.id)) {
        meta.insert("url".to_owned(), url.into());
    }
    meta
}

/// The result object of a call that ended.
///
/// # Errors
/// With a JSON-RPC error for an unknown tool, and for one that needs what the client did not declare.
pub(super) fn finished(gateway: &Gateway, era: Era, answer: Answer) -> Result<Members, RpcError> {
    match answer {
        Answer::Result(answered) => Ok(result(era, *answered)),
        Answer::Refused(Refusal { kind: Kind::UnknownTool, told, .. }) => {
            Err(RpcError::new(INVALID_PARAMS, told))
        }
        Answer::Refused(refusal) => match missing_capability(era, &refusal) {
            Some(error) => Err(error),
            None => Ok(refused(era, &refusal, meta_of_refusal(gateway, &refusal))),
        },
        // `run` gives a hold only to `answer`, which has waited for it.
        Answer::Held(waiting) => Ok(refused(era, &Refusal::of_hold(&waiting.hold), Object::new())),
    }
}

/// The error for a client that did not declare what the tool needs (MCP 2026-07-28, basic, capability
/// negotiation); earlier protocols have none.
pub(super) fn missing_capability(era: Era, refusal: &Refusal) -> Option<RpcError> {
    let needed = refusal.needed.as_ref().filter(|_| era == Era::Modern)?;
    let mut error = RpcError::new(MISSING_CAPABILITY, refusal.told.clone());
    error.data = Some(json!({ "requiredCapabilities": needed }));
    Some(error)
}

/// Tells a client of an earlier protocol that its call waits, and for what.
pub(super) fn pending(gateway: &Gateway, era: Era, hold: &Hold) -> Members {
    let mut meta = Object::new();
    meta.insert("countersign/hold".into(), hold_in_meta(gateway, hold));
    refused(era, &Refusal::of_hold(hold), meta)
}

/// What `_meta` says of a refusal.
pub(super) fn meta_of_refusal(gateway: &Gateway, refusal: &Refusal) -> Object {
    let decision = match refusal.kind {
        Kind::Denied | Kind::DryRun | Kind::BudgetSpent => "DENY",
        Kind::Rejected | Kind::Expired | Kind::Withdrawn | Kind::Superseded => "REQUIRE_APPROVAL",
        Kind::UnknownTool
        | Kind::InvalidArguments
        | Kind::Limited
        | Kind::TooManyHolds
        | Kind::Halted
        | Kind::Pending
        | Kind::Collected
        | Kind::UnknownOutcome
        | Kind::NotRecorded
        | Kind::Unavailable
        | Kind::MissingCapability
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
    let call = refusal.call.map(|call| ("countersign/call".to_owned(), json!(call)));
    call.into_iter().chain([("countersign/decision".to_owned(), decision)]).collect()
}

/// What `_meta` says of a call that ran.
pub(super) fn meta_of_result(answered: &Answered) -> Object {
    let mut meta = Object::new();
    meta.insert("countersign/call".into(), json!(answered.call));
    let decision = json!({
        "decision": answered.decision,
        "rules": answered.rules,
        "revision": answered.revision,
        "edits": answered.edits,
        "amendments": answered.amendments,
    });
    meta.insert("countersign/decision".into(), decision);
    if let Some(hold) = answered.hold {
        meta.insert("countersign/hold".into(), json!({ "id": hold, "state": "finished" }));
    }
    meta
}

fn result(era: Era, answered: Answered) -> Members {
    let meta = meta_of_result(&answered);
    let told = [told_of_edits(&answered.edits), told_of_amendments(&answered.amendments)];
    let mut members = answered.result.into_members(meta);
    for told in told.into_iter().flatten() {
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

/// The same of what reviewers changed.
fn told_of_amendments(amendments: &[Amendment]) -> Option<String> {
    let value = |value: &Option<Value>| value.as_ref().map_or("nothing".into(), Value::to_string);
    let changes: Vec<String> = amendments
        .iter()
        .flat_map(|amendment| amendment.changes.iter().map(move |change| (amendment, change)))
        .map(|(amendment, change)| {
            let (from, to) = (value(&change.from), value(&change.to));
            format!("{} changed `{}` from {from} to {to}", amendment.person.name, change.pointer)
        })
        .collect();
    (!changes.is_empty()).then(|| {
        format!(
            "Note: reviewers changed this call's arguments before it ran: {}.",
            changes.join("; ")
        )
    })
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

/// What the gateway itself says in place of a tool.
pub(super) fn said(era: Era, told: &str, is_error: bool) -> Members {
    let content = json!([{ "type": "text", "text": told }]);
    for_era(era, members(&json!({ "content": content, "isError": is_error })))
}

pub(super) fn refused(era: Era, refusal: &Refusal, mut meta: Object) -> Members {
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
pub(super) fn for_era(era: Era, mut members: Members) -> Members {
    match era {
        Era::Modern => {
            if !members.contains_key("resultType") {
                set(&mut members, "resultType", &json!("complete"));
            }
        }
        Era::Legacy => {
            members.shift_remove("resultType");
            // Only since 2026-07-28 may it be any JSON value; its text stands in `content` too.
            if members.get("structuredContent").is_some_and(|raw| !raw.get().starts_with('{')) {
                members.shift_remove("structuredContent");
            }
        }
    }
    members
}

pub(super) fn set<T: serde::Serialize>(members: &mut Members, key: &str, value: &T) {
    if let Ok(raw) = serde_json::value::to_raw_value(value) {
        members.insert(key.to_owned(), raw);
    }
}
