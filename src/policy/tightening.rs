//! What the gateway itself holds a call to, whatever its tool: how long it takes, how large its result may be and what
//! it does not say, and that nothing runs.

use super::constraints::Demand;
use super::decide::{Matched, with_reasons};
use super::denial::{Denial, DenialKind};
use super::redaction::Redaction;
use super::rule::Rule;
use super::words;
use crate::catalog::Tool;
use crate::json::Object;

/// How much of the arguments is shown of a call that is only tried, in characters.
const MAX_SHOWN_ARGUMENTS: usize = 2_000;

/// What the gateway itself holds a call and its result to.
pub(super) struct Tightened {
    pub(super) timeout: std::time::Duration,
    pub(super) max_result_bytes: usize,
    pub(super) redactions: Vec<Redaction>,
}

pub(super) fn tightened(matched: &[Matched<'_>], tool: &Tool) -> Tightened {
    let mut timeout = tool.timeout();
    let mut max_result_bytes = tool.max_result_bytes();
    let mut redactions = Vec::new();
    for rule in matched.iter().map(|matched| matched.rule) {
        for constraint in &rule.constraints {
            match &constraint.demand {
                Demand::Timeout(limit) => timeout = timeout.min(*limit),
                Demand::MaxResultBytes(limit) => max_result_bytes = max_result_bytes.min(*limit),
                Demand::Redact(patterns) => {
                    let (rule, patterns) = (rule.name.clone(), patterns.clone());
                    redactions.push(Redaction { rule, patterns });
                }
                Demand::DryRun | Demand::Parameter { .. } => {}
            }
        }
    }
    Tightened { timeout, max_result_bytes, redactions }
}

/// That rules let a call be tried only, and what would run with nothing else in its way.
pub(super) fn tried(matched: &[Matched<'_>], tool: &Tool, arguments: &Object) -> Option<Denial> {
    let tries = |rule: &&Rule| {
        rule.constraints.iter().any(|constraint| matches!(constraint.demand, Demand::DryRun))
    };
    let rules = || matched.iter().map(|matched| matched.rule).filter(tries);
    let names: Vec<String> = rules().map(|rule| rule.name.clone()).collect();
    if names.is_empty() {
        return None;
    }
    let shown = serde_json::to_string(arguments).unwrap_or_default();
    let shown = match shown.char_indices().nth(MAX_SHOWN_ARGUMENTS) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    };
    let tool = tool.name();
    let text = format!("by {} calls of `{tool}` are only tried", words::rules(&names));
    let reason = format!("{}; it would run with {shown}", with_reasons(text, rules()));
    Some(Denial { rules: names, reason, kind: DenialKind::DryRun })
}
