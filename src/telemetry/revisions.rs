//! What is counted of revisions: which is in force, and how often files were taken up or not.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::digest::Digest;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevisionLabels {
    revision: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// What is counted of revisions.
#[derive(Debug, Default)]
pub struct RevisionMetrics {
    info: Family<RevisionLabels, Gauge>,
    shown: Mutex<Option<RevisionLabels>>,
    reloads: Family<ResultLabels, Counter>,
    quarantined: Gauge,
}

impl RevisionMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("policy_version_info", "The revision in force", self.info.clone());
        to.register("policy_reload", "Files that were read again", self.reloads.clone());
        let help = "Definitions that changed at their servers and wait for an operator";
        to.register("definition_quarantined", help, self.quarantined.clone());
        for result in ["taken", "refused"] {
            drop(self.reloads.get_or_create(&ResultLabels { result }));
        }
    }

    /// Shows the revision in force.
    pub fn in_force(&self, revision: &Digest) {
        let labels = RevisionLabels { revision: revision.to_string() };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = shown.replace(labels.clone()) {
            self.info.remove(&old);
        }
        self.info.get_or_create(&labels).set(1);
    }

    /// Shows how many definitions wait for an operator.
    pub fn quarantined(&self, count: usize) {
        self.quarantined.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts files that were read again: taken up, or not.
    pub fn reloaded(&self, taken: bool) {
        let result = if taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&ResultLabels { result }).inc();
    }
}
