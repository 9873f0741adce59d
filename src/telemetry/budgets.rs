//! What is counted of budgets, tokens and cost.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::OTHER;
use crate::catalog::Tool;
use crate::policy::Ruling;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ThenLabels {
    then: &'static str,
}

/// What is counted of budgets, tokens and cost.
#[derive(Debug, Default)]
pub struct BudgetMetrics {
    exhausted: Family<ThenLabels, Counter>,
    alerts: Counter,
    cost: Family<ToolLabels, Counter<f64, AtomicU64>>,
    tokens: Family<ToolLabels, Counter>,
    estimated: Counter,
}

impl BudgetMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Calls that a spent budget refused or held";
        to.register("budget_exhausted", help, self.exhausted.clone());
        let help = "Shares of budgets that people are told of, reached";
        to.register("budget_alerts", help, self.alerts.clone());
        let help = "What manifests say that calls cost, in US dollars";
        to.register("cost_usd", help, self.cost.clone());
        let help = "Tokens of calls whose budgets count them";
        to.register("tokens", help, self.tokens.clone());
        let help = "Calls whose tokens were estimated and not counted";
        to.register("tokens_uncounted", help, self.estimated.clone());
        // Shown before the first, so that the first is a change.
        for then in [Ruling::Deny, Ruling::RequireApproval] {
            drop(self.exhausted.get_or_create(&ThenLabels { then: then.as_str() }));
        }
        drop(self.cost.get_or_create(&of(OTHER)));
        drop(self.tokens.get_or_create(&of(OTHER)));
    }

    /// Counts a call for which a budget did not suffice, by what becomes of it.
    pub fn exhausted(&self, then: Ruling) {
        self.exhausted.get_or_create(&ThenLabels { then: then.as_str() }).inc();
    }

    /// Counts shares that were reached.
    pub fn alerted(&self, shares: usize) {
        self.alerts.inc_by(u64::try_from(shares).unwrap_or(u64::MAX));
    }

    /// Counts what a call of `tool` costs.
    pub fn cost(&self, tool: &Tool) {
        let micros = tool.cost().micros();
        if micros > 0 {
            let micros = u32::try_from(micros % 1_000_000).unwrap_or(0);
            let whole = u32::try_from(tool.cost().micros() / 1_000_000).unwrap_or(u32::MAX);
            let dollars = f64::from(whole) + f64::from(micros) / 1e6;
            self.cost.get_or_create(&of(tool.name())).inc_by(dollars);
        }
    }

    /// Counts the tokens of a call of `tool`, which is of the catalog.
    pub fn counted(&self, tool: &str, tokens: u64) {
        self.tokens.get_or_create(&of(tool)).inc_by(tokens);
    }

    /// The same for one whose tokens stay an estimate.
    pub fn left_estimated(&self, tool: &str, tokens: u64) {
        self.counted(tool, tokens);
        self.estimated.inc();
    }
}

fn of(tool: &str) -> ToolLabels {
    ToolLabels { tool: tool.to_owned() }
}
