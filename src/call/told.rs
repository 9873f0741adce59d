//! What an agent is told of its hold when there is no result: in words that a model takes neither for
//! consent nor for failure.

use super::refusal::{Kind, Refusal};
use crate::catalog;
use crate::hold::{Hold, State};

impl Refusal {
    /// What became of a hold that gives no result (any more, or yet).
    #[must_use]
    pub fn of_hold(hold: &Hold) -> Self {
        let (kind, told) = match &hold.state {
            State::Pending { .. } | State::Approved { .. } | State::Executing { .. } => {
                (Kind::Pending, pending(hold))
            }
            State::Rejected { .. }
            | State::Expired { .. }
            | State::Lapsed { .. }
            | State::Withdrawn { .. }
            | State::Halted { .. }
            | State::Superseded { .. }
            | State::Unknown { .. }
            | State::Finished { .. } => ended(hold),
        };
        Self { rules: hold.rules.clone(), ..Self::new(kind, told) }
    }
}

fn pending(hold: &Hold) -> String {
    let tool = &hold.tool;
    let is_tool = catalog::Kind::of(tool) == catalog::Kind::Tool;
    let wait = if is_tool { ", or call `countersign_wait` with this hold" } else { "" };
    let collect = "Call again with exactly the same arguments to collect the result";
    if matches!(hold.state, State::Pending { .. }) {
        return format!(
            "PENDING, not failed: this call of `{tool}` waits for people to approve it: {} (rules: {}). It \
             has not run. Hold {}; decided by {:.0} at the latest. {collect}{wait}; do not change the \
             arguments and do not treat this as a refusal.",
            hold.terms.told(),
            hold.rules.join(", "),
            hold.id,
            hold.decide_by
        );
    }
    format!(
        "PENDING, not failed: this call of `{tool}` was approved and is running. Hold {}. {collect}.",
        hold.id
    )
}

fn ended(hold: &Hold) -> (Kind, String) {
    let tool = &hold.tool;
    match &hold.state {
        State::Rejected { verdict } => {
            let reason = verdict.reason.as_deref().unwrap_or("no reason was given");
            let told = format!(
                "REJECTED: {} rejected this call of `{tool}`; it did not run. Reason: {reason}. Do not \
                 repeat it unchanged.",
                verdict.person.name
            );
            (Kind::Rejected, told)
        }
        State::Lapsed { .. } => {
            let told = format!(
                "EXPIRED: this call of `{tool}` was approved but did not begin within its execution \
                 window; it did not run. Call again to ask again."
            );
            (Kind::Expired, told)
        }
        State::Withdrawn { .. } => (
            Kind::Withdrawn,
            format!("WITHDRAWN: this call of `{tool}` was taken back; it did not run."),
        ),
        State::Halted { why, .. } => {
            let told = format!("HALTED: this call of `{tool}` was stopped and did not run: {why}.");
            (Kind::Halted, told)
        }
        State::Superseded { why, anew, .. } => {
            let next = match anew {
                Some(anew) => format!("It is held anew as {anew}; call again to wait for that"),
                None => "Call again to ask again".to_owned(),
            };
            let told = format!(
                "SUPERSEDED: this call of `{tool}` was approved, but the approval no longer covers it; it \
                 did not run: {why}. {next}."
            );
            (Kind::Superseded, told)
        }
        State::Unknown { .. } => {
            let told = format!(
                "UNKNOWN: this call of `{tool}` was approved and begun, and the gateway stopped before \
                 its outcome was recorded. It may have run. A person has to say what happened; do not \
                 repeat it."
            );
            (Kind::UnknownOutcome, told)
        }
        State::Finished { .. } => {
            let told = format!(
                "COLLECTED: this call of `{tool}` ran, and its result has been handed out already or is kept no \
                 longer. Do not repeat it to see the result again."
            );
            (Kind::Collected, told)
        }
        State::Expired { .. }
        | State::Pending { .. }
        | State::Approved { .. }
        | State::Executing { .. } => {
            let told = format!(
                "EXPIRED: nobody decided on this call of `{tool}` by {:.0}; it did not run. This is neither \
                 consent nor a failure of the tool. Call again to ask again.",
                hold.decide_by
            );
            (Kind::Expired, told)
        }
    }
}
