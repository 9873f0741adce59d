//! The halts that are engaged, for dashboards and alerts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::halts::Scope;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
}

/// How many halts are engaged, by the kind of their scope; names never become labels.
#[derive(Debug, Default)]
pub struct HaltMetrics(Family<ScopeLabels, Gauge>);

impl HaltMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Halts that are engaged, by the kind of their scope";
        to.register("kill_switch_engaged", help, self.0.clone());
        self.show(std::iter::empty());
    }

    /// Shows the halts that are engaged, by the kinds of their scopes.
    pub fn show(&self, engaged: impl Iterator<Item = &'static str>) {
        let engaged: Vec<_> = engaged.collect();
        for scope in Scope::KINDS {
            let count = engaged.iter().filter(|kind| **kind == scope).count();
            let gauge = self.0.get_or_create(&ScopeLabels { scope });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
