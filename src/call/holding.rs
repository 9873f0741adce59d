//! What happens to a held call: it is opened or joined, decided, run, withdrawn, and its end is told.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::{Answer, Answered, Request};
use crate::catalog::{CheckedArguments, CheckedResult};
use crate::digest::{self, Digest};
use crate::evidence::{Asked, Event};
use crate::gateway::Gateway;
use crate::hold::{Approval, Ending, Hold, State, StateName, Verdict};
use crate::ids::{CallId, HoldId};
use crate::policy::Proposal;
use crate::storage::{HoldError, HoldQuery, StoreError};

/// How often a waiter looks at the store although nothing woke it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How many holds one sweep handles.
const SWEEP_BATCH: u32 = 256;

/// The hold that this call joins: the one it names, or one of the same call that nobody waits for.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn join(
    gateway: &Gateway,
    request: &Request,
    checked: &CheckedArguments,
) -> Result<Option<Hold>, Refusal> {
    let agent = request.principal.agent();
    if request.approval.is_some() {
        return Ok(None);
    }
    if let Some(id) = request.hold {
        let hold = gateway.store.hold(id).await?;
        // Another agent's hold looks like one that does not exist.
        let Some(hold) = hold.filter(|hold| hold.agent == *agent && hold.tool == request.tool)
        else {
            return Ok(None);
        };
        if hold.requested_arguments != *checked.arguments() {
            let told = format!("Hold {id} is for other arguments; nothing ran.");
            return Err(Refusal::new(super::refusal::Kind::InvalidArguments, told));
        }
        return Ok(Some(hold));
    }
    if !gateway.held_agents.may_have(agent, gateway.store.as_ref()).await? {
        return Ok(None);
    }
    let tool = checked.tool();
    let requested =
        digest::call_digest(agent, tool.name(), tool.fingerprint(), checked.arguments()).map_err(
            |error| Refusal::new(super::refusal::Kind::InvalidArguments, error.to_string()),
        )?;
    let remembered = gateway.config.holds.remember_rejection.0;
    let since = gateway.clock.now().checked_sub(remembered).unwrap_or(Timestamp::MIN);
    let found = gateway.store.joinable(agent, &requested, since).await?;
    let now = gateway.clock.monotonic();
    Ok(found.into_iter().find(|hold| !gateway.board.is_waited_for(hold.id, now)))
}

/// Opens a hold for a call that policy wants people to see, durably, before anything is answered.
pub(super) async fn open(
    gateway: &Gateway,
    request: &Request,
    proposal: Proposal,
    revision: Digest,
) -> Result<Hold, Refusal> {
    let now = gateway.clock.now();
    let hold = Hold {
        id: HoldId::from_random(gateway.random()?),
        state: State::Pending,
        agent: request.principal.agent().clone(),
        groups: request.principal.groups().to_vec(),
        owner: request.principal.owner().map(str::to_owned),
        client: request.client.clone(),
        tool: proposal.tool.name().to_owned(),
        definition_fingerprint: *proposal.tool.fingerprint(),
        requested_arguments: proposal.requested,
        requested_digest: proposal.requested_digest,
        arguments: proposal.arguments,
        edits: proposal.edits,
        digest: proposal.digest,
        rules: proposal.rules,
        reason: proposal.reason,
        agent_reason: request.reason.clone(),
        call: request.call,
        workflow: request.workflow.clone(),
        revision,
        created_at: now,
        decide_by: now.saturating_add(proposal.decide_within).unwrap_or(Timestamp::MAX),
        extended: None,
        execute_within: proposal.execute_within,
    };
    let event = Event::Hold {
        hold: hold.id,
        asked: Asked {
            call: hold.call,
            agent: hold.agent.clone(),
            owner: hold.owner.clone(),
            client: hold.client.clone(),
            workflow: hold.workflow.clone(),
            tool: hold.tool.clone(),
            backend: proposal.tool.backend().to_string(),
            definition_fingerprint: hold.definition_fingerprint,
            arguments: hold.arguments.clone(),
            digest: hold.digest,
            revision,
            decision: "REQUIRE_APPROVAL".to_owned(),
            rules: hold.rules.clone(),
            edits: hold.edits.clone(),
        },
        requested_arguments: hold.requested_arguments.clone(),
        decide_by: hold.decide_by,
    };
    let hold = gateway.store.open_hold(hold, event, gateway.config.holds.pending_max).await?;
    gateway.held_agents.has(&hold.agent);
    gateway.metrics.hold_opened(&hold);
    Ok(hold)
}

/// Applies a person's verdict, wakes who waits, and runs the call at once when it is approved.
///
/// # Errors
/// When somebody was first, the digest is another, or the store fails.
pub async fn decide(
    gateway: &Arc<Gateway>,
    id: HoldId,
    verdict: Verdict,
) -> Result<Hold, HoldError> {
    let hold = gateway.store.decide_hold(id, verdict).await?;
    gateway.metrics.hold_decided(&hold, gateway.clock.now());
    gateway.board.announce(id);
    if hold.state.name() == StateName::Approved {
        start(gateway, &hold);
    }
    Ok(hold)
}

/// The agent takes a held call back: a pending hold is withdrawn, a running one is stopped.
///
/// # Errors
/// When the hold is already decided or ended, or the store fails.
pub async fn withdraw(gateway: &Gateway, id: HoldId) -> Result<Hold, HoldError> {
    let withdrawn = gateway.store.end_hold(id, Ending::Withdraw).await;
    if let Ok(hold) = &withdrawn {
        gateway.metrics.hold_decided(hold, gateway.clock.now());
    }
    gateway.board.cancel(id);
    gateway.board.announce(id);
    withdrawn
}

/// Runs an approved hold in a task of its own, unless it runs already.
pub fn start(gateway: &Arc<Gateway>, hold: &Hold) {
    let Some(approval) = Approval::of(hold, gateway.clock.now()) else { return };
    let Some(turn) = gateway.board.turn(hold.id) else { return };
    let gateway = Arc::clone(gateway);
    let hold = hold.clone();
    tokio::spawn(async move {
        let request = Request {
            call: CallId::new(),
            // The principal that asked, as it was verified then; its hold was stored by this gateway.
            principal: crate::authentication::of_hold(&hold),
            tool: hold.tool.clone(),
            arguments: hold.requested_arguments.clone(),
            client: hold.client.clone(),
            workflow: hold.workflow.clone(),
            reason: hold.agent_reason.clone(),
            hold: None,
            approval: Some(approval),
            cancel: turn.cancel.clone(),
            progress: None,
        };
        let answer = super::run(Arc::clone(&gateway), request).await;
        if let Answer::Refused(refusal) = answer {
            not_run(&gateway, &hold, refusal).await;
        }
        gateway.board.announce(hold.id);
        drop(turn);
    });
}

/// An approved call was refused before it was dispatched. If its approval is unspent and will not cover
/// it again, the hold says why; when the record could not be written, or its tool is not there yet, it
/// stays approved, and the sweep tries again until its window closes.
async fn not_run(gateway: &Gateway, hold: &Hold, refusal: Refusal) {
    use super::refusal::Kind;
    let id = hold.id;
    let revision = gateway.revision();
    // Its server may not have been asked yet after a start: the definition decides when it is known.
    let missing = revision.catalog.tool(&hold.tool).is_some_and(|it| it.unavailable().is_some());
    match refusal.kind {
        Kind::UnknownTool if missing => {
            tracing::debug!(hold = %id, "an approved call waits for its tool");
        }
        Kind::NotRecorded | Kind::Unavailable => {
            tracing::debug!(hold = %id, cause = ?refusal.cause, "an approved call could not run yet");
        }
        Kind::UnknownTool
        | Kind::InvalidArguments
        | Kind::Denied
        | Kind::Superseded
        | Kind::Limited
        | Kind::TooManyHolds
        | Kind::Rejected
        | Kind::Expired
        | Kind::Withdrawn
        | Kind::Halted
        | Kind::Pending
        | Kind::Collected
        | Kind::UnknownOutcome
        | Kind::Failed
        | Kind::TimedOut
        | Kind::Cancelled
        | Kind::ResultRefused => {
            let ending = Ending::Supersede { why: refusal.told };
            match gateway.store.end_hold(id, ending).await {
                // Spent and finished: the outcome says what happened.
                Ok(_) | Err(HoldError::Lost { .. }) => {}
                Err(error) => tracing::error!(hold = %id, %error, "a hold could not be ended"),
            }
        }
    }
}

/// Waits until the hold has ended, `patience` has passed or `stop` is cancelled, and gives it as it is then.
///
/// # Errors
/// When the store cannot be read or no longer has the hold.
pub async fn wait(
    gateway: &Gateway,
    id: HoldId,
    patience: Duration,
    stop: &CancellationToken,
) -> Result<Hold, HoldError> {
    let waiter = gateway.board.wait(id);
    let deadline = gateway.clock.monotonic() + patience;
    loop {
        let changed = waiter.changed();
        let hold = gateway.store.hold(id).await?.ok_or(HoldError::NotFound)?;
        let left = deadline.saturating_sub(gateway.clock.monotonic());
        if hold.state.name().is_terminal() || left.is_zero() || stop.is_cancelled() {
            return Ok(hold);
        }
        tokio::select! {
            () = changed => {}
            () = gateway.clock.sleep(left.min(LOOK_AGAIN)) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What the agent is told of a hold: its result, handed out once; or why there is none (yet).
pub async fn tell(gateway: &Gateway, hold: Hold) -> Answer {
    if hold.state.name() != StateName::Finished {
        return Answer::Refused(Refusal::of_hold(&hold));
    }
    match gateway.store.collect_hold(hold.id).await {
        Ok(text) => told(&hold, text),
        Err(error) => Answer::Refused(error.into()),
    }
}

/// The answer that a finished hold's kept result makes.
#[must_use]
pub fn told(hold: &Hold, text: Box<RawValue>) -> Answer {
    let State::Finished { call, .. } = &hold.state else {
        return Answer::Refused(Refusal::of_hold(hold));
    };
    match CheckedResult::stored(text) {
        Ok(result) => Answer::Result(Box::new(Answered {
            call: *call,
            result,
            decision: "REQUIRE_APPROVAL",
            rules: hold.rules.clone(),
            edits: hold.edits.clone(),
            revision: hold.revision,
            hold: Some(hold.id),
        })),
        Err(fault) => Answer::Refused(fault.into()),
    }
}

/// A refusal in the form of a tool's result, to be kept for the agent.
pub(super) fn refusal_as_result(told: &str) -> Option<Box<RawValue>> {
    let result = json!({ "content": [{ "type": "text", "text": told }], "isError": true });
    serde_json::value::to_raw_value(&result).ok()
}

/// One sweep: holds whose clock ran out end, and approved holds that do not run are started.
///
/// # Errors
/// When the store fails; the next sweep tries again.
pub async fn sweep(gateway: &Arc<Gateway>) -> Result<(), StoreError> {
    for hold in gateway.store.due(gateway.clock.now(), SWEEP_BATCH).await? {
        let ending = match hold.state.name() {
            StateName::Pending => Ending::Expire,
            StateName::Approved => Ending::Lapse,
            StateName::Executing
            | StateName::Finished
            | StateName::Unknown
            | StateName::Rejected
            | StateName::Expired
            | StateName::Withdrawn
            | StateName::Lapsed
            | StateName::Superseded
            | StateName::Halted => continue,
        };
        match gateway.store.end_hold(hold.id, ending).await {
            // A hold that lapsed was decided, and counted, when it was approved.
            Ok(ended) if ended.state.name() == StateName::Expired => {
                gateway.metrics.hold_decided(&ended, gateway.clock.now());
            }
            Ok(_) => {}
            Err(HoldError::Lost { .. } | HoldError::NotFound | HoldError::TooMany { .. }) => {}
            Err(HoldError::Store(error)) => return Err(error),
        }
        gateway.board.announce(hold.id);
    }
    let approved = HoldQuery { states: vec![StateName::Approved], agent: None, limit: SWEEP_BATCH };
    for hold in gateway.store.holds(approved).await? {
        start(gateway, &hold);
    }
    Ok(())
}
