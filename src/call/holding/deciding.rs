//! What people do to a hold, and what follows: who waits is woken, and what is approved runs at once.

use std::sync::Arc;

use super::running;
use crate::call::halting;
use crate::digest::Digest;
use crate::evidence::Event;
use crate::gateway::Gateway;
use crate::hold::{Account, Edited, Ending, Hold, Lost, Resolution, StateName, Verdict};
use crate::ids::HoldId;
use crate::json::Object;
use crate::policy::{Decision, Facts};
use crate::storage::{HoldError, StoreError};

/// Why a reviewer's change of arguments was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotAmended {
    /// The arguments cannot be what runs; nothing changed.
    #[error("{0}")]
    Unfit(String),
    /// Somebody was first, the person may not, or the store failed.
    #[error(transparent)]
    Hold(#[from] HoldError),
}

/// Applies a person's verdict, wakes who waits, and runs the call at once when it is approved.
///
/// # Errors
/// When somebody was first, the digest is another, the person may not decide, or the store fails.
pub async fn decide(
    gateway: &Arc<Gateway>,
    id: HoldId,
    verdict: Verdict,
) -> Result<Hold, HoldError> {
    if gateway.store.halts().any() {
        let hold = gateway.store.hold(id).await?.ok_or(HoldError::NotFound)?;
        not_halted(gateway, &hold)?;
    }
    let decided = gateway.store.decide_hold(id, verdict.clone()).await;
    let hold = recorded(gateway, id, &verdict, decided).await?;
    Ok(follow(gateway, hold, &verdict).await)
}

/// Applies a reviewer's change of the arguments and the verdict on the changed call. The verdict carries the
/// digest that the reviewer saw; a signature covers the changed call.
///
/// # Errors
/// When policy or schema would not let the changed call run exactly so, and as [`decide`].
pub async fn amend(
    gateway: &Arc<Gateway>,
    hold: &Hold,
    arguments: Object,
    verdict: Verdict,
) -> Result<Hold, NotAmended> {
    not_halted(gateway, hold)?;
    let edited = edited(gateway, hold, arguments).map_err(NotAmended::Unfit)?;
    let amended = gateway.store.amend_hold(hold.id, edited, verdict.clone()).await;
    let hold = recorded(gateway, hold.id, &verdict, amended).await?;
    let verdict = Verdict { digest: hold.digest, ..verdict };
    Ok(follow(gateway, hold, &verdict).await)
}

/// The digest of the call that would run with `arguments` in place of those of `hold`.
///
/// # Errors
/// Why policy or schema would not let it run exactly so.
pub fn digest_of_edit(
    gateway: &Gateway,
    hold: &Hold,
    arguments: Object,
) -> Result<Digest, NotAmended> {
    edited(gateway, hold, arguments).map(|edited| edited.digest).map_err(NotAmended::Unfit)
}

/// Refuses a verdict because of its signature, and records it as every refusal of one.
///
/// # Errors
/// Always: with [`Lost::Signature`], or what hindered the record.
pub async fn refuse_signature(
    gateway: &Gateway,
    hold: Hold,
    verdict: &Verdict,
    why: String,
) -> Result<Hold, HoldError> {
    let (id, lost) = (hold.id, Lost::Signature(why));
    recorded(gateway, id, verdict, Err(HoldError::Lost { lost, hold: Box::new(hold) })).await
}

/// Applies what a person says of a hold of unknown outcome; one that may run again runs at once.
///
/// # Errors
/// As [`decide`].
pub async fn resolve(
    gateway: &Arc<Gateway>,
    hold: &Hold,
    resolution: Resolution,
    verdict: Verdict,
) -> Result<Hold, HoldError> {
    let reason = verdict.reason.as_deref().unwrap_or("no reason was given");
    let who = &verdict.person.name;
    let told = match resolution {
        Resolution::Done => Some(format!(
            "DONE, as a person says: the gateway stopped before the outcome of this call of `{}` was recorded; \
             {who} looked and says that it took effect: {reason}. Its own output is not known. Do not repeat it.",
            hold.tool
        )),
        Resolution::Failed => Some(format!(
            "FAILED, as a person says: the gateway stopped before the outcome of this call of `{}` was recorded; \
             {who} looked and says that it did not take effect: {reason}.",
            hold.tool
        )),
        Resolution::RunAgain => None,
    };
    if resolution == Resolution::RunAgain {
        not_halted(gateway, hold)?;
    }
    let result =
        told.and_then(|told| super::told_as_result(&told, resolution == Resolution::Failed));
    let account = Account { resolution, verdict: verdict.clone() };
    let resolved = gateway.store.resolve_hold(hold.id, account, result).await;
    let hold = recorded(gateway, hold.id, &verdict, resolved).await?;
    gateway.board.announce(hold.id);
    running::start(gateway, &hold);
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
    super::announce(gateway, id).await;
    withdrawn
}

/// What follows a verdict that counted: who waits is woken, what is approved runs.
async fn follow(gateway: &Arc<Gateway>, hold: Hold, verdict: &Verdict) -> Hold {
    // A verdict that was sent twice was followed when it came first.
    let is_new = hold.state.verdicts().last().is_some_and(|last| last.at == verdict.at);
    if is_new && hold.state.name() != StateName::Pending {
        gateway.metrics.hold_decided(&hold, gateway.clock.now());
    }
    super::announce(gateway, hold.id).await;
    running::start(gateway, &hold);
    hold
}

/// Refuses what would let a held call run that a halt covers. The hold ends as soon as it is looked through.
fn not_halted(gateway: &Gateway, hold: &Hold) -> Result<(), HoldError> {
    let open = matches!(hold.state.name(), StateName::Pending | StateName::Unknown);
    let subject = halting::subject_of(&gateway.revision(), hold);
    match gateway.store.halts().covering(&subject).filter(|_| open) {
        None => Ok(()),
        Some(halt) => {
            let lost = Lost::Halted(halt.told());
            Err(HoldError::Lost { lost, hold: Box::new(hold.clone()) })
        }
    }
}

/// Records who tried to decide what that person may not; everything else passes as it is.
async fn recorded(
    gateway: &Gateway,
    id: HoldId,
    verdict: &Verdict,
    decided: Result<Hold, HoldError>,
) -> Result<Hold, HoldError> {
    if let Err(HoldError::Lost { lost, .. }) = &decided
        && lost.is_forbidden()
    {
        let event = Event::VerdictRefused {
            hold: id,
            person: verdict.person.clone(),
            decision: verdict.decision,
            why: lost.to_string(),
        };
        let entry: Result<(), StoreError> = gateway.store.record(event).await;
        entry?;
    }
    decided
}

/// What policy says of the arguments that a reviewer wants: they must come through unchanged.
fn edited(gateway: &Gateway, hold: &Hold, arguments: Object) -> Result<Edited, String> {
    let revision = gateway.revision();
    let tool = revision.catalog.available(&hold.tool);
    let tool = tool.ok_or_else(|| format!("`{}` is not available now", hold.tool))?;
    if *tool.fingerprint() != hold.definition_fingerprint {
        return Err("the tool's definition changed since the call was held; reject it".to_owned());
    }
    let request = running::request_of(hold, None);
    let checked = tool.check(arguments).map_err(|faults| {
        crate::call::refusal::Refusal::invalid_arguments(tool.name(), &faults).told
    })?;
    let spent =
        gateway.budgets.look(&revision.policy, crate::call::spending::spender(&request), &checked);
    let holds = gateway.held.of(&request.principal);
    let facts = Facts {
        principal: &request.principal,
        client: request.client.as_deref(),
        workflow: request.workflow.as_deref(),
        checked,
        approval: None,
        standing: &[],
        spent: &spent,
        holds: &holds,
        now: gateway.clock.now(),
    };
    let (arguments, digest, edits, rules, reason, terms) = match revision.policy.decide(facts) {
        Decision::Hold(it) => (it.arguments, it.digest, it.edits, it.rules, it.reason, it.terms),
        // It needs nobody's approval as it is now; it has somebody's all the same.
        Decision::Permit(it) => (
            it.arguments().clone(),
            *it.digest(),
            it.edits().to_vec(),
            hold.rules.clone(),
            hold.reason.clone(),
            hold.terms.clone(),
        ),
        Decision::Deny(denial) => return Err(denial.reason),
        Decision::NotCovered { why, .. } => return Err(why),
    };
    if let Some(edit) = edits.first() {
        return Err(format!(
            "`{}` would be changed to {} by rule `{}`; edit it to that",
            edit.pointer, edit.to, edit.rule
        ));
    }
    Ok(Edited { arguments, digest, rules, reason, terms })
}
