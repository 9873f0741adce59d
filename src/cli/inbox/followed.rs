//! What became of the calls that were decided here, in a line each.

use crate::api::HoldView;
use crate::cli::output::visible;
use crate::hold::StateName;
use crate::ids::HoldId;

/// A call that was decided here, and what became of it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) id: HoldId,
    pub(super) text: String,
}

/// One line about a decided call.
pub(super) fn became(hold: &HoldView) -> String {
    let id = hold.id.to_string();
    let short: String = id.chars().take(8).collect();
    let mut text = format!("{short} {} {}: {}", hold.agent, hold.tool, hold.state.as_str());
    if hold.state == StateName::Pending {
        text = format!("{text}, {} approved; it needs {}", hold.verdicts.len(), hold.needs);
    }
    if let Some(outcome) = &hold.outcome {
        text = format!("{text}, {}", outcome.status.as_str());
        if let Some(error) = &outcome.error {
            text = format!("{text} ({error})");
        }
    }
    if let Some(why) = &hold.why {
        text = format!("{text} ({why})");
    }
    visible(&text)
}
