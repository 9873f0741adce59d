//! Held calls in words: rows of a list, and one call with everything that a verdict on it rests on.

use jiff::Timestamp;

use crate::api::{HoldView, StandingView};
use crate::cli::output::{relative, second, visible, visible_lines};
use crate::hold::{Amendment, Change, Decision, StateName, Verdict};
use crate::json::Object;

/// How much of the arguments a row shows, in characters.
const SHORT: usize = 60;

pub(super) const HEADING: [&str; 7] =
    ["ID", "STATE", "COUNT", "AGENT", "TOOL", "ARGUMENTS", "DECIDE"];

pub(super) fn row(hold: &HoldView, now: Timestamp) -> Vec<String> {
    let arguments = serde_json::to_string(&hold.arguments).unwrap_or_default();
    let short: String = arguments.chars().take(SHORT).collect();
    let cut = if short.len() < arguments.len() { "…" } else { "" };
    let pending = hold.state == StateName::Pending;
    vec![
        hold.id.to_string(),
        hold.state.as_str().to_owned(),
        format!("×{}", hold.identical),
        hold.agent.to_string(),
        hold.tool.clone(),
        format!("{short}{cut}"),
        if pending { relative(hold.decide_by, now) } else { String::new() },
    ]
}

/// Everything of a hold, in lines that end with a line break; `before` is the one that it was opened in
/// place of.
pub(super) fn described(hold: &HoldView, before: Option<&HoldView>, now: Timestamp) -> String {
    let mut lines = Lines(String::new());
    lines.named("hold", &hold.id.to_string());
    lines.named("state", hold.state.as_str());
    if hold.identical > 1 {
        let count = hold.identical;
        lines.named("identical", &format!("{count} pending holds are for this very call"));
    }
    let owner = hold.owner.as_deref().unwrap_or("nobody known");
    let via = hold.via.as_ref().map_or_else(String::new, |via| format!(" via {}", via.agent));
    lines.named("agent", &format!("{}{via} (for {owner})", hold.agent));
    lines.named("client", hold.client.as_deref().unwrap_or("unknown"));
    lines.named("tool", &hold.tool);
    lines.named("rules", &hold.rules.join(", "));
    lines.named("why held", &hold.reason);
    asked_of_people(&mut lines, hold, now);
    if let Some(before) = before {
        let why = before.why.as_deref().unwrap_or("it is no longer the same call");
        lines.named("anew of", &format!("{}, which was approved: {why}", before.id));
    }
    lines.named("digest", &hold.digest.to_string());
    if let Some(reason) = &hold.agent_reason {
        lines.named("agent says", &format!("{reason} (unverified)"));
    }
    arguments(&mut lines, hold);
    hold.verdicts.iter().for_each(|it| verdict(&mut lines, it));
    ended(&mut lines, hold);
    lines.0
}

struct Lines(String);

impl Lines {
    fn named(&mut self, label: &str, text: &str) {
        self.0.push_str(&format!("{label:<12}{}\n", visible(text)));
    }

    fn block(&mut self, label: &str, arguments: &Object) {
        let json = serde_json::to_string_pretty(arguments).unwrap_or_default();
        self.0.push_str(&format!("{label}\n{}\n", visible_lines(&json)));
    }
}

fn asked_of_people(lines: &mut Lines, hold: &HoldView, now: Timestamp) {
    lines.named("needs", &hold.needs);
    if hold.allow_edit {
        lines.named("may edit", "reviewers may change the arguments");
    }
    let decide_by = format!("{} ({})", second(hold.decide_by), relative(hold.decide_by, now));
    lines.named("decide by", &decide_by);
    if let Some(extended) = &hold.extended {
        lines.named("extended", &format!("was {}: {}", second(extended.before), extended.why));
    }
    if let Some(until) = hold.execute_by {
        lines.named("run by", &format!("{} ({})", second(until), relative(until, now)));
    }
}

fn arguments(lines: &mut Lines, hold: &HoldView) {
    lines.block("arguments that will run", &hold.arguments);
    for edit in &hold.edits {
        let from = edit.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let edited = format!(
            "{}: asked for {from}, will be {} (rule `{}`, {})",
            edit.pointer, edit.to, edit.rule, edit.constraint
        );
        lines.named("edited", &edited);
    }
    for it in &hold.amendments {
        lines.named("changed", &amended(it));
    }
    if hold.arguments != hold.requested_arguments {
        lines.block("arguments as asked", &hold.requested_arguments);
    }
}

/// Who changed what.
pub(in crate::cli) fn amended(it: &Amendment) -> String {
    let changes: Vec<String> = it.changes.iter().map(change).collect();
    format!("by {} at {}: {}", it.person.name, second(it.at), changes.join("; "))
}

fn change(it: &Change) -> String {
    let shown = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or("nothing".to_owned(), ToString::to_string)
    };
    format!("{} from {} to {}", it.pointer, shown(&it.from), shown(&it.to))
}

/// What an edit changes, and what would run then, in lines that end with a line break.
pub(super) fn edited(before: &Object, after: &Object) -> String {
    let mut lines = Lines(String::new());
    for it in Change::between(before, after) {
        lines.named("your edit", &change(&it));
    }
    lines.block("arguments that would run", after);
    lines.0
}

fn verdict(lines: &mut Lines, it: &Verdict) {
    let what = match it.decision {
        Decision::Approve => "approved by",
        Decision::Reject => "rejected by",
    };
    let signed = it.signature.as_ref().map(|it| format!(", {}", it.told())).unwrap_or_default();
    let reason = it.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
    lines.named(what, &format!("{} at {}{signed}{reason}", it.person.name, second(it.at)));
}

fn ended(lines: &mut Lines, hold: &HoldView) {
    if let Some(why) = &hold.why {
        lines.named("why ended", why);
    }
    if let Some(anew) = hold.anew {
        lines.named("held anew", &format!("as {anew}"));
    }
    if let Some(outcome) = &hold.outcome {
        let error = outcome.error.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        lines.named("outcome", &format!("{}{error}", outcome.status.as_str()));
    }
    if let Some(result) = &hold.result {
        lines.named("result", result.get());
    }
}

/// A standing approval that other calls of this agent and tool run under.
pub(super) fn standing(view: &StandingView) -> String {
    let it = &view.standing;
    let bounds = serde_json::to_string(&it.bounds).unwrap_or_default();
    let mut lines = Lines(String::new());
    let told = format!(
        "{} covers calls of this agent and tool until {}, by {}, within {bounds}",
        it.id,
        second(it.until),
        it.granted_by.name
    );
    lines.named("standing", &told);
    lines.0
}

/// What became of a decided hold, in one line.
pub(super) fn became(hold: &HoldView) -> String {
    let mut told = format!("{} {}", hold.id, hold.state.as_str());
    if hold.state == StateName::Pending {
        let by: Vec<&str> = hold.verdicts.iter().map(|it| it.person.name.as_str()).collect();
        told.push_str(&format!(": needs {}; approved by {}", hold.needs, by.join(", ")));
    }
    if let Some(outcome) = &hold.outcome {
        told.push_str(&format!(": {}", outcome.status.as_str()));
    }
    if let Some(why) = &hold.why {
        told.push_str(&format!(": {why}"));
    }
    if let Some(anew) = hold.anew {
        told.push_str(&format!("; held anew as {anew}"));
    }
    visible(&told)
}
