//! An approved hold runs, once; or it is said why it cannot.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::opening;
use crate::backend::Contact;
use crate::call::refusal::{Kind, Refusal};
use crate::call::{Answer, Request, halting};
use crate::gateway::Gateway;
use crate::hold::{Approval, Ending, Hold};
use crate::ids::{CallId, HoldId};
use crate::storage::HoldError;

/// Runs an approved hold in a task of its own, unless it runs already. A gateway that goes away begins
/// nothing: the next one does, when it recovers.
pub fn start(gateway: &Arc<Gateway>, hold: &Hold) {
    if gateway.is_draining() {
        return;
    }
    let Some(approval) = Approval::of(hold, gateway.clock.now()) else { return };
    let Some(turn) = gateway.board.turn(hold.id) else { return };
    let gateway = Arc::clone(gateway);
    let hold = hold.clone();
    tokio::spawn(async move {
        let request = Request {
            cancel: turn.cancel.clone(),
            contact: gateway.board.contact(hold.id),
            ..request_of(&hold, Some(approval))
        };
        let answer = crate::call::run(Arc::clone(&gateway), request).await;
        if let Answer::Refused(refusal) = answer {
            not_run(&gateway, &hold, refusal).await;
        }
        super::announce(&gateway, hold.id).await;
        drop(turn);
    });
}

/// An approved call was refused before it was dispatched. If its approval is unspent and will not cover
/// it again, the hold says why; when the record could not be written, or its tool is not there yet, it
/// stays approved, and the sweep tries again until its window closes.
async fn not_run(gateway: &Gateway, hold: &Hold, refusal: Refusal) {
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
        // Its window closed while it waited for a worker, which the sweep notes, or it has ended already.
        Kind::Pending | Kind::Rejected | Kind::Expired | Kind::Withdrawn | Kind::Collected => {
            tracing::debug!(hold = %id, "an approved call came too late to run");
        }
        Kind::Halted => halted(gateway, hold, refusal).await,
        // Its agent took it back: people are not asked once more.
        Kind::Cancelled => supersede(gateway, hold, refusal.told, None).await,
        Kind::UnknownTool
        | Kind::InvalidArguments
        | Kind::Denied
        | Kind::DryRun
        | Kind::Superseded
        | Kind::Limited
        | Kind::BudgetSpent
        | Kind::TooManyHolds
        | Kind::UnknownOutcome
        | Kind::MissingCapability
        | Kind::Failed
        | Kind::TimedOut
        | Kind::ResultRefused => {
            // A call that a spent budget turned away is so again: people are not asked in vain.
            let (held, budgets) = (&gateway.held, Some(&*gateway.budgets));
            let now = gateway.clock.now();
            let again = opening::asked_again(&revision, held, hold, budgets, now).is_some();
            let anew = again.then(|| gateway.random().ok().map(HoldId::from_random)).flatten();
            supersede(gateway, hold, refusal.told, anew).await;
        }
    }
}

/// Ends an approved hold that a halt covers, unless it ran until then: its outcome says so.
async fn halted(gateway: &Gateway, hold: &Hold, refusal: Refusal) {
    let subject = halting::subject_of(&gateway.revision(), hold);
    let halt = gateway.store.halts().covering(&subject);
    let why = halt.map_or(refusal.told, |halt| halt.told());
    match gateway.store.end_hold(hold.id, Ending::Halt { why }).await {
        Ok(_) | Err(HoldError::Lost { .. }) => {}
        Err(error) => tracing::error!(hold = %hold.id, %error, "a hold could not be ended"),
    }
}

/// Ends a hold whose approval covers its call no more, and holds the call `anew` where policy still wants
/// people to see it. Ended first: a crash between the two leaves an agent that asks again.
async fn supersede(gateway: &Gateway, hold: &Hold, why: String, anew: Option<HoldId>) {
    match gateway.store.end_hold(hold.id, Ending::Supersede { why, anew }).await {
        Ok(_) => {
            if let Some(id) = anew {
                opening::open_anew(gateway, hold, id).await;
            }
        }
        // Spent and finished: the outcome says what happened.
        Err(HoldError::Lost { .. }) => {}
        Err(error) => tracing::error!(hold = %hold.id, %error, "a hold could not be ended"),
    }
}

/// The call that a hold stands for, as its agent asked it or as reviewers changed it.
pub(super) fn request_of(hold: &Hold, approval: Option<Approval>) -> Request {
    Request {
        call: CallId::new(),
        // The principal that asked, as it was verified then; its hold was stored by this gateway.
        principal: crate::authentication::of_hold(hold),
        tool: hold.tool.clone(),
        arguments: hold.arguments_to_run().clone(),
        client: hold.client.clone(),
        workflow: hold.workflow.clone(),
        compensates: hold.compensates,
        reason: hold.agent_reason.clone(),
        hold: None,
        approval,
        cancel: CancellationToken::new(),
        contact: Contact::default(),
    }
}
