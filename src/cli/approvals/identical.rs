//! One verdict on all pending holds of the very same call, after the person said how many they are.

use super::deciding::{Chosen, told};
use crate::api::{IdenticalDecided, IdenticalGiven};
use crate::cli::Failed;
use crate::cli::output::{self, visible};
use crate::cli::way::Way;
use crate::hold::Decision;

/// Decides all. It is sent once: if the answer is lost, nobody knows how many were decided.
pub(super) async fn decide(
    way: &Way,
    chosen: &Chosen,
    decision: Decision,
    yes: bool,
) -> Result<(), Failed> {
    let hold = chosen.hold(way).await?;
    let count = hold.identical;
    let verb = match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    };
    let shown = told(way, &hold).await?;
    eprint!("{shown}");
    eprintln!("{count} held calls are identical to this one, itself included");
    if !yes {
        let typed = output::asked(&format!("type {count} to {verb} all of them: "))?;
        let Some(typed) = typed else {
            let told = format!("nothing was decided; say `--yes` to {verb} all {count}");
            return Err(Failed::new(2, told));
        };
        if typed.trim() != count.to_string() {
            return Err(Failed::new(1, "nothing was decided: that is another number"));
        }
    }
    let digest = chosen.digest.unwrap_or(hold.digest);
    let given = IdenticalGiven { count, verdict: chosen.verdict(decision, digest, &shown)? };
    let path = format!("/api/v1/approvals/{}/identical", hold.id);
    let done: IdenticalDecided = way.post(&path, &given).await?;
    let all = done.decided.len() + done.not_decided.len();
    output::print(&format!("{} of {all} held calls: {verb} counted", done.decided.len()))?;
    for left in &done.not_decided {
        eprintln!("{} not decided: {}", left.id, visible(&left.error));
    }
    if done.not_decided.is_empty() {
        return Ok(());
    }
    Err(Failed::new(1, format!("{} held calls were not decided", done.not_decided.len())))
}
