//! What is counted, and how it is shown: Prometheus text at `/metrics`, names in `docs/metrics.md`.

mod budgets;
mod edge;
mod halts;
mod policy;
mod revisions;
mod workflows;

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use budgets::BudgetMetrics;
pub use edge::{Counted, EdgeMetrics};
pub use halts::HaltMetrics;
pub use policy::PolicyMetrics;
pub use revisions::RevisionMetrics;
pub use workflows::WorkflowMetrics;

use crate::hold::Hold;
use crate::principal::Authentication;

/// The label value for a tool that is not in the catalog: names that callers choose never become labels.
const OTHER: &str = "_other";

/// One call, as metrics see it.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The tool, if the catalog has it.
    pub tool: Option<&'a str>,
    /// Its backend.
    pub backend: Option<&'a str>,
    /// The decision.
    pub decision: &'static str,
    /// The outcome, or the kind of refusal.
    pub outcome: &'static str,
    /// How long it took to decide.
    pub deciding: Option<Duration>,
    /// How long the backend took, if the call was dispatched.
    pub backend_time: Option<Duration>,
    /// All other time.
    pub overhead: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    tool: String,
    server: String,
    decision: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabels {
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    channel: String,
    result: &'static str,
}

/// Counts what became of notices, for those who send them.
#[derive(Clone, Debug, Default)]
pub struct NotificationCounts(Family<NotificationLabels, Counter>);

impl NotificationCounts {
    /// Counts one notice, or one attempt that `failed`.
    pub fn count(&self, channel: &str, result: &'static str) {
        self.0.get_or_create(&NotificationLabels { channel: channel.to_owned(), result }).inc();
    }

    /// Shows a channel that has sent nothing yet, so that the first failure is a change.
    pub fn begin(&self, channel: &str) {
        for result in ["delivered", "failed", "given_up", "skipped"] {
            let labels = NotificationLabels { channel: channel.to_owned(), result };
            drop(self.0.get_or_create(&labels));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignInLabels {
    with: &'static str,
    result: &'static str,
}

/// Counts tries to sign in, for those who let people in.
#[derive(Clone, Debug, Default)]
pub struct SignInCounts(Family<SignInLabels, Counter>);

impl SignInCounts {
    /// Counts one try.
    pub fn count(&self, with: Authentication, opened: bool) {
        let result = if opened { "opened" } else { "refused" };
        self.0.get_or_create(&SignInLabels { with: with.as_str(), result }).inc();
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    /// What is counted at the network edge.
    pub edge: EdgeMetrics,
    /// What is counted of revisions.
    pub revisions: RevisionMetrics,
    /// What decisions notice beside.
    pub policy: PolicyMetrics,
    /// How long workflows took.
    pub workflows: WorkflowMetrics,
    /// What is counted of budgets, tokens and cost.
    pub budgets: BudgetMetrics,
    /// The halts that are engaged.
    pub halts: HaltMetrics,
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    deciding: Histogram,
    upstream: Family<ServerLabels, Histogram, fn() -> Histogram>,
    overhead: Histogram,
    holds_pending: Family<RuleLabels, Gauge>,
    hold_decisions: Family<ResultLabels, Counter>,
    hold_decision: Histogram,
    rate_limited: Family<LimitLabels, Counter>,
    append_failures: Counter,
    notifications: NotificationCounts,
    sign_ins: SignInCounts,
    clock_jumps: Counter,
    turned_away: Family<ReasonLabels, Counter>,
    agent_tokens: Family<StateLabels, Gauge>,
    sessions: Gauge,
    upstream_healthy: Family<ServerLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("countersign"),
            edge: EdgeMetrics::default(),
            revisions: RevisionMetrics::default(),
            policy: PolicyMetrics::default(),
            workflows: WorkflowMetrics::default(),
            budgets: BudgetMetrics::default(),
            halts: HaltMetrics::default(),
            calls: Family::default(),
            deciding: Histogram::new(SHORT),
            upstream: Family::new_with_constructor(|| Histogram::new(LONG)),
            overhead: Histogram::new(SHORT),
            holds_pending: Family::default(),
            hold_decisions: Family::default(),
            hold_decision: Histogram::new(HUMAN),
            rate_limited: Family::default(),
            append_failures: Counter::default(),
            notifications: NotificationCounts::default(),
            sign_ins: SignInCounts::default(),
            clock_jumps: Counter::default(),
            turned_away: Family::default(),
            agent_tokens: Family::default(),
            sessions: Gauge::default(),
            upstream_healthy: Family::default(),
        };
        metrics.register();
        // Shown before the first, so that the first is a change.
        drop(metrics.turned_away.get_or_create(&ReasonLabels { reason: "missing" }));
        let link = SignInLabels { with: Authentication::Link.as_str(), result: "opened" };
        drop(metrics.sign_ins.0.get_or_create(&link));
        metrics
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("tool_calls", "Calls by tool, decision and outcome", self.calls.clone());
        to.register(
            "decision_duration_seconds",
            "Time from arrival to the policy decision",
            self.deciding.clone(),
        );
        to.register("upstream_duration_seconds", "Time that backends took", self.upstream.clone());
        to.register(
            "overhead_seconds",
            "Time of a call that was not its backend's",
            self.overhead.clone(),
        );
        to.register("holds_pending", "Holds that wait for people", self.holds_pending.clone());
        to.register("hold_decisions", "Holds by how they ended", self.hold_decisions.clone());
        to.register(
            "hold_decision_seconds",
            "Time from opening a hold to its decision",
            self.hold_decision.clone(),
        );
        to.register("rate_limited", "Calls refused by a rate limit", self.rate_limited.clone());
        to.register(
            "audit_append_failures",
            "Entries that could not be recorded",
            self.append_failures.clone(),
        );
        to.register(
            "notifications",
            "Notices by what became of them",
            self.notifications.0.clone(),
        );
        to.register("sign_ins", "Tries of people to sign in", self.sign_ins.0.clone());
        to.register(
            "clock_jumps",
            "How often the wall clock was found set",
            self.clock_jumps.clone(),
        );
        to.register(
            "agents_turned_away",
            "Requests of agents whose credential was refused",
            self.turned_away.clone(),
        );
        to.register(
            "agent_tokens",
            "Gateway tokens by how it stands with them",
            self.agent_tokens.clone(),
        );
        to.register("sessions", "Sessions that are open", self.sessions.clone());
        to.register(
            "upstream_healthy",
            "Whether calls reach an MCP server",
            self.upstream_healthy.clone(),
        );
        self.revisions.register(to);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The program", build);
        self.edge.register(to);
        self.halts.register(to);
        self.policy.register(to);
        self.workflows.register(to);
        self.budgets.register(to);
    }

    /// Counts one call.
    pub fn call(&self, observed: &Observed<'_>) {
        let server = observed.backend.unwrap_or(OTHER).to_owned();
        let labels = CallLabels {
            tool: observed.tool.unwrap_or(OTHER).to_owned(),
            server: server.clone(),
            decision: observed.decision,
            outcome: observed.outcome,
        };
        self.calls.get_or_create(&labels).inc();
        self.overhead.observe(observed.overhead.as_secs_f64());
        if let Some(deciding) = observed.deciding {
            self.deciding.observe(deciding.as_secs_f64());
        }
        if let Some(time) = observed.backend_time {
            self.upstream.get_or_create(&ServerLabels { server }).observe(time.as_secs_f64());
        }
    }

    /// Sets whether calls reach the MCP server of a backend.
    pub fn upstream_healthy(&self, server: &str, healthy: bool) {
        let labels = ServerLabels { server: server.to_owned() };
        self.upstream_healthy.get_or_create(&labels).set(healthy.into());
    }

    /// Counts a new hold.
    pub fn hold_opened(&self, hold: &Hold) {
        for rule in &hold.rules {
            self.holds_pending.get_or_create(&RuleLabels { rule: rule.clone() }).inc();
        }
    }

    /// Counts the end of a pending hold, however it came.
    pub fn hold_decided(&self, hold: &Hold, now: Timestamp) {
        for rule in &hold.rules {
            self.holds_pending.get_or_create(&RuleLabels { rule: rule.clone() }).dec();
        }
        let result = ResultLabels { result: hold.state.name().as_str() };
        self.hold_decisions.get_or_create(&result).inc();
        let waited = now.duration_since(hold.created_at);
        self.hold_decision.observe(waited.as_secs_f64());
    }

    /// Sets how many holds each rule has pending, after a start.
    pub fn holds_pending(&self, by_rule: &[(String, u64)]) {
        for (rule, count) in by_rule {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.holds_pending.get_or_create(&RuleLabels { rule: rule.clone() }).set(count);
        }
    }

    /// Counts a call that a rate limit refused.
    pub fn limited(&self, limit: &str) {
        self.rate_limited.get_or_create(&LimitLabels { limit: limit.to_owned() }).inc();
    }

    /// What counts tries to sign in.
    #[must_use]
    pub fn sign_ins(&self) -> SignInCounts {
        self.sign_ins.clone()
    }

    /// What counts notices.
    #[must_use]
    pub fn notifications(&self) -> NotificationCounts {
        self.notifications.clone()
    }

    /// Counts an entry that could not be recorded.
    pub fn append_failed(&self) {
        self.append_failures.inc();
    }

    /// Counts that the wall clock was found set.
    pub fn clock_jumped(&self) {
        self.clock_jumps.inc();
    }

    /// Counts a request of an agent that was not let in, for `reason`.
    pub fn turned_away(&self, reason: &'static str) {
        self.turned_away.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Shows how many sessions of protocols before 2026-07-28 are open.
    pub fn sessions(&self, count: usize) {
        self.sessions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Shows how many gateway tokens are in `state`.
    pub fn agent_tokens(&self, state: &'static str, count: u32) {
        self.agent_tokens.get_or_create(&StateLabels { state }).set(count.into());
    }

    /// The exposition in OpenMetrics text form, while `calls` have a place.
    #[must_use]
    pub fn exposition(&self, calls: usize) -> String {
        self.edge.look(calls);
        let mut text = String::new();
        // Writing to a string fails only when an encoder of ours does; half a page is shown then.
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }
}

/// Buckets for what the gateway itself does, in seconds.
const SHORT: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0,
];
/// Buckets for what backends do, in seconds.
const LONG: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Buckets for what people do, from seconds to days.
const HUMAN: [f64; 14] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
    259_200.0, 604_800.0,
];
