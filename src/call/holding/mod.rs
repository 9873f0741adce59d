//! What happens to a held call: it is opened or joined, decided, run, withdrawn, and its end is told.

mod deciding;
mod opening;
mod running;
mod sweeping;

use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::refusal::{self, Refusal};
use super::{Answer, Answered};
use crate::catalog::{self, CheckedResult};
use crate::gateway::Gateway;
use crate::hold::{Hold, State, StateName};
use crate::ids::HoldId;
use crate::storage::{HoldError, StoreError};

pub use deciding::{
    NotAmended, amend, decide, digest_of_edit, refuse_signature, resolve, withdraw,
};
pub(super) use opening::{asked_again, join, open};
pub use running::start;
pub use sweeping::{forget_results, sweep};

/// How often a waiter looks at the store although nothing woke it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How many times a call that is held anew is followed to the hold in place of the one before.
const MAX_ANEW: usize = 16;

/// The hold that stands in place of `hold` now: itself, or the one that its call was held anew in.
///
/// # Errors
/// When the store cannot be read.
pub async fn current(gateway: &Gateway, mut hold: Hold) -> Result<Hold, StoreError> {
    for _ in 0..MAX_ANEW {
        let State::Superseded { anew: Some(anew), .. } = &hold.state else { break };
        match gateway.store.hold(*anew).await? {
            Some(next) => hold = next,
            None => break,
        }
    }
    Ok(hold)
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
    let waiter = gateway.board.wait(id, stop);
    let deadline = gateway.clock.monotonic() + patience;
    loop {
        let changed = waiter.changed();
        let hold = gateway.store.hold(id).await?.ok_or(HoldError::NotFound)?;
        let left = deadline.saturating_sub(gateway.clock.monotonic());
        let name = hold.state.name();
        if name.is_terminal() || left.is_zero() || stop.is_cancelled() || is_left(gateway, &hold) {
            return Ok(hold);
        }
        tokio::select! {
            () = changed => {}
            () = gateway.clock.sleep(left.min(LOOK_AGAIN)) => {}
            () = gateway.leaving(), if !gateway.is_draining() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Wakes who waits for the hold, and lets it go where it has ended and was followed.
pub(in crate::call) async fn announce(gateway: &Gateway, id: HoldId) {
    gateway.board.announce(id);
    if gateway.followed.has(id)
        && let Ok(hold) = gateway.store.hold(id).await
        && hold.is_none_or(|hold| hold.state.name().is_terminal())
    {
        gateway.followed.end(id);
    }
}

/// Whether `hold` is left to the next gateway, because this one goes away and does not run it.
#[must_use]
pub fn is_left(gateway: &Gateway, hold: &Hold) -> bool {
    gateway.is_draining() && hold.state.name() != StateName::Executing
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
    let kind = catalog::Kind::of(&hold.tool);
    // What a call of another kind leaves when it has no result is a text, as if a tool had said it.
    let said = if kind == catalog::Kind::Tool { None } else { text_of(&text) };
    match CheckedResult::stored(text, kind) {
        Ok(result) => Answer::Result(Box::new(Answered {
            call: *call,
            result,
            decision: "REQUIRE_APPROVAL",
            rules: hold.rules.clone(),
            edits: hold.edits.clone(),
            revision: hold.revision,
            hold: Some(hold.id),
            amendments: hold.amendments.clone(),
        })),
        Err(fault) => Answer::Refused(match said {
            Some(told) => Refusal::new(refusal::Kind::Failed, told),
            None => fault.into(),
        }),
    }
}

/// The text of a result that [`told_as_result`] made.
fn text_of(text: &RawValue) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text.get()).ok()?;
    value.pointer("/content/0/text")?.as_str().map(str::to_owned)
}

/// A text in the form of a tool's result, to be kept for the agent.
pub(in crate::call) fn told_as_result(told: &str, is_error: bool) -> Option<Box<RawValue>> {
    let result = json!({ "content": [{ "type": "text", "text": told }], "isError": is_error });
    serde_json::value::to_raw_value(&result).ok()
}
