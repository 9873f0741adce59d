//! How long workflows took.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::HUMAN;

/// How long workflows took, from their first call to their end.
#[derive(Debug)]
pub struct WorkflowMetrics(Histogram);

impl Default for WorkflowMetrics {
    fn default() -> Self {
        Self(Histogram::new(HUMAN))
    }
}

impl WorkflowMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Time from the first call of a workflow to its end";
        to.register("workflow_duration_seconds", help, self.0.clone());
    }

    /// Counts a workflow that ended.
    pub fn ended(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}
