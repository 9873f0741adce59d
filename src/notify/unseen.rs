//! Whether rules hold calls that nobody is told of.

use crate::policy::{Policy, Ruling};

/// How many rules are named.
const NAMED: usize = 5;

/// Why held calls may wait unseen, if they may: rules can hold calls, and neither a channel is told nor is
/// a reviewer registered.
///
/// `channels` counts those that are told of held calls.
#[must_use]
pub fn unseen(policy: &Policy, channels: usize, reviewers: usize) -> Option<String> {
    if channels > 0 || reviewers > 0 {
        return None;
    }
    let rules: Vec<String> = policy
        .rules()
        .filter(|rule| rule.decision == Ruling::RequireApproval && !rule.tools.is_empty())
        .map(|rule| format!("`{}`", rule.name))
        .collect();
    let by_default = policy.default_ruling() == Ruling::RequireApproval;
    let who = match (rules.len(), by_default) {
        (0, false) => return None,
        (0, true) => "the default decision can".to_owned(),
        (1, _) => format!("rule {} can", rules.concat()),
        (count @ 2..=NAMED, _) => format!("{count} rules ({}) can", rules.join(", ")),
        (count, _) => {
            let named: Vec<String> = rules.into_iter().take(NAMED).collect();
            format!("{count} rules ({}, …) can", named.join(", "))
        }
    };
    Some(format!("{who} hold calls, and nobody is told: people see held calls only when they look"))
}

/// What to do about it.
pub const MEND: &str = "name a channel under `notifications` in countersign.yaml, or keep `countersign approvals watch` open";
