//! What decisions notice beside what they decide, for dashboards and alerts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::policy::{Mode, Noticed, Ruling};

/// What rules in shadow may decide.
const DECISIONS: [Ruling; 4] =
    [Ruling::Allow, Ruling::AllowWithConstraints, Ruling::RequireApproval, Ruling::Deny];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    mode: &'static str,
    decision: &'static str,
}

/// Rules that matched and decided nothing, and conditions that failed; names of rules never become labels.
#[derive(Debug, Default)]
pub struct PolicyMetrics {
    matched: Family<RuleLabels, Counter>,
    errors: Counter,
}

impl PolicyMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Rules that matched calls without deciding about them";
        to.register("policy_rules_matched", help, self.matched.clone());
        for decision in DECISIONS {
            let labels = RuleLabels { mode: Mode::Shadow.as_str(), decision: decision.as_str() };
            drop(self.matched.get_or_create(&labels));
        }
        let help = "Conditions of rules that could not be evaluated for a call";
        to.register("policy_condition_errors", help, self.errors.clone());
    }

    /// Counts what one decision noticed.
    pub fn noticed(&self, noticed: &Noticed) {
        for rule in &noticed.shadow {
            let labels =
                RuleLabels { mode: Mode::Shadow.as_str(), decision: rule.decision.as_str() };
            self.matched.get_or_create(&labels).inc();
        }
        self.errors.inc_by(u64::try_from(noticed.errors.len()).unwrap_or(u64::MAX));
    }
}
