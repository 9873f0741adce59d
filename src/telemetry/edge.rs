//! What is counted at the network edge: connections, long-lived streams, what was refused or cut.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Everything that is counted at the network edge.
#[derive(Debug, Default)]
pub struct EdgeMetrics {
    connections: Family<ListenerLabels, Gauge>,
    refused: Family<ReasonLabels, Counter>,
    cut: Family<ReasonLabels, Counter>,
    streams: Gauge,
    calls: Gauge,
    tasks: Gauge,
    reloads: Family<ResultLabels, Counter>,
}

/// Why something is turned away, or a connection ended. Each is shown before its first time, so that this is
/// a change.
const REFUSED: [&str; 7] = [
    "connections",
    "connections_per_address",
    "local_connections",
    "not_the_proxy",
    "handshake",
    "headers",
    "streams_per_agent",
];
const CUT: [&str; 4] = ["slow_handshake", "slow_head", "idle", "not_read"];

impl EdgeMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("connections", "Connections that are open", self.connections.clone());
        to.register(
            "connections_refused",
            "Connections and requests that were turned away before anything read them",
            self.refused.clone(),
        );
        to.register(
            "connections_cut",
            "Connections that were ended because the client was too slow",
            self.cut.clone(),
        );
        to.register("streams", "Long-lived event streams that are open", self.streams.clone());
        to.register("calls_under_way", "Calls that have a place", self.calls.clone());
        to.register("tasks", "Tasks of the program's runtime", self.tasks.clone());
        to.register(
            "tls_reloads",
            "Certificates that were read again because they changed",
            self.reloads.clone(),
        );
        for reason in REFUSED {
            drop(self.refused.get_or_create(&ReasonLabels { reason }));
        }
        for reason in CUT {
            drop(self.cut.get_or_create(&ReasonLabels { reason }));
        }
        for result in ["taken", "refused"] {
            drop(self.reloads.get_or_create(&ResultLabels { result }));
        }
        for listener in ["tcp", "local"] {
            drop(self.connections.get_or_create(&ListenerLabels { listener }));
        }
    }

    /// One more connection of `listener`; it counts until the guard is dropped.
    #[must_use]
    pub fn connected(&self, listener: &'static str) -> Counted {
        Counted::one(self.connections.get_or_create_owned(&ListenerLabels { listener }))
    }

    /// One more long-lived stream; it counts until the guard is dropped.
    #[must_use]
    pub fn streaming(&self) -> Counted {
        Counted::one(self.streams.clone())
    }

    /// Counts what was turned away.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a connection that was ended.
    pub fn cut(&self, reason: &'static str) {
        self.cut.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a certificate that changed.
    pub fn certificate_read(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    /// Shows how many calls have a place, and how many tasks the runtime has.
    pub(super) fn look(&self, calls: usize) {
        self.calls.set(i64::try_from(calls).unwrap_or(i64::MAX));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let tasks = runtime.metrics().num_alive_tasks();
            self.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
        }
    }
}

/// One of a gauge's count, for as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn one(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
