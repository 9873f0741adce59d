//! What the store says about all that is in it: how calls fared over a span of time, and whether the log
//! is as it was written.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CallStatus, StoreError, StoredEntry};
use crate::evidence::verify::{Fault, Summary};

/// How many steps a span is cut into, at most.
pub const MAX_STEPS: u32 = 120;
/// Of how many tools the numbers are told one by one, those with the most calls.
pub const MAX_TOOLS: usize = 50;

/// Reads that go over much, and change nothing.
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// How calls fared over a span of time. It goes over a bounded number of calls, the newest.
    async fn statistics(&self, span: Span) -> Result<Statistics, StoreError>;

    /// Entries that say certain words, newest first. One search goes over a bounded number of entries; where
    /// it ended before the log's beginning, it says how to go on.
    async fn search_entries(&self, query: EntrySearch) -> Result<EntryPage, StoreError>;

    /// A part of the first entries of calls, newest first: those below `below`, of calls that began at `since` or
    /// later. It reads at most `limit` entries, and a bounded number of bytes.
    async fn first_entries(
        &self,
        below: Option<u64>,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<EntryPage, StoreError>;

    /// Verifies the log, from its first entry to its head as it is now; what is wrong with it is the inner
    /// error. One verification runs at a time: nothing is given to whoever asks meanwhile.
    async fn verify_log(&self) -> Result<Option<Result<Summary, Fault>>, StoreError>;
}

/// Which entries to look for.
#[derive(Clone, Debug, Default)]
pub struct EntrySearch {
    /// All of these stand in the entry, in whatever case; ASCII letters alone are compared so.
    pub words: Vec<String>,
    /// Only entries whose place is less.
    pub below: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// A part of what a search finds.
#[derive(Clone, Debug)]
pub struct EntryPage {
    /// The entries, newest first.
    pub entries: Vec<StoredEntry>,
    /// What to ask for next as [`EntrySearch::below`]; none at the log's beginning.
    pub next: Option<u64>,
}

/// A span of time in steps of the same length.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its beginning.
    pub since: Timestamp,
    /// The length of a step, in seconds.
    pub step: u32,
    /// How many steps, at most [`MAX_STEPS`].
    pub steps: u32,
}

/// How calls fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Statistics {
    /// The length of a step, in seconds.
    pub step: u32,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The tools with the most calls, most first; at most 50.
    pub tools: Vec<ToolCalls>,
    /// How many held calls wait for people now.
    pub pending: u64,
    /// Whether all calls of the span were gone over; if not, what is told is of the newest.
    pub whole: bool,
}

/// How the calls of one step fared. A call that is held and runs later counts where it was held as held, and
/// where it ran by its outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// When it begins.
    pub at: Timestamp,
    /// Calls that rules let run.
    pub allowed: u64,
    /// Calls that rules held for people.
    pub held: u64,
    /// Calls that rules denied.
    pub denied: u64,
    /// Calls turned away for other reasons: arguments, limits, rejections, unknown tools.
    pub refused: u64,
    /// Calls that gave a result.
    pub succeeded: u64,
    /// Calls that ran and gave none: the tool failed, its backend, the time limit, or nobody knows.
    pub failed: u64,
    /// For how long held calls waited for their decision, by the step in which they were asked.
    pub waits: Waits,
}

/// For how long people took, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// How many calls were decided.
    pub count: u64,
    /// Half of them took at most so long.
    pub median: Option<f64>,
    /// 95 of 100 took at most so long.
    pub p95: Option<f64>,
}

/// How the calls of one tool fared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCalls {
    /// The tool, by the name that was asked for; unknown ones together as `_other`.
    pub tool: String,
    /// How many calls.
    pub calls: u64,
    /// How many were denied or turned away.
    pub refused: u64,
    /// How many gave a result.
    pub succeeded: u64,
    /// How many ran and gave none, by how they ended.
    pub failed: BTreeMap<String, u64>,
}

/// One call, as far as it is counted.
pub(super) struct Counted {
    pub(super) at: Timestamp,
    pub(super) tool: String,
    pub(super) status: CallStatus,
    pub(super) refusal: Option<String>,
    pub(super) has_hold: bool,
}

/// Statistics as they are made, call by call.
pub(super) struct Tally {
    span: Span,
    steps: Vec<(Step, Vec<f64>)>,
    tools: BTreeMap<String, ToolCalls>,
}

/// By what name calls are counted whose tool there is not.
const OTHER: &str = "_other";

impl Tally {
    pub(super) fn new(span: Span) -> Self {
        let length = i64::from(span.step);
        let at = |number: u32| {
            let seconds = length.saturating_mul(i64::from(number));
            span.since
                .saturating_add(jiff::SignedDuration::from_secs(seconds))
                .unwrap_or(Timestamp::MAX)
        };
        let steps = (0..span.steps.min(MAX_STEPS))
            .map(|number| (Step { at: at(number), ..Step::default() }, Vec::new()));
        Self { span, steps: steps.collect(), tools: BTreeMap::new() }
    }

    fn step(&mut self, at: Timestamp) -> Option<&mut (Step, Vec<f64>)> {
        let into = at.as_second().checked_sub(self.span.since.as_second())?;
        let number = into.checked_div(i64::from(self.span.step))?;
        self.steps.get_mut(usize::try_from(number).ok()?)
    }

    pub(super) fn count(&mut self, call: &Counted) {
        let fared = Fared::of(call);
        let Some((step, _)) = self.step(call.at) else { return };
        match fared {
            Fared::Held => step.held += 1,
            Fared::Denied => step.denied += 1,
            Fared::Refused => step.refused += 1,
            Fared::Running | Fared::Succeeded | Fared::Failed => {
                // The decision about a call that people approved was made where it was held.
                step.allowed += u64::from(!call.has_hold);
                step.succeeded += u64::from(fared == Fared::Succeeded);
                step.failed += u64::from(fared == Fared::Failed);
            }
        }
        let name = if call.refusal.as_deref() == Some("unknown_tool") { OTHER } else { &call.tool };
        let tool = self.tools.entry(name.to_owned()).or_default();
        tool.calls += u64::from(fared != Fared::Held);
        tool.refused += u64::from(matches!(fared, Fared::Denied | Fared::Refused));
        tool.succeeded += u64::from(fared == Fared::Succeeded);
        if fared == Fared::Failed {
            *tool.failed.entry(call.status.as_str().to_owned()).or_default() += 1;
        }
    }

    /// Counts that a call which was held at `held` was decided so many seconds later.
    pub(super) fn waited(&mut self, held: Timestamp, seconds: f64) {
        if let Some((_, waits)) = self.step(held) {
            waits.push(seconds);
        }
    }

    pub(super) fn done(self, pending: u64, whole: bool) -> Statistics {
        let steps = self.steps.into_iter().map(|(mut step, waits)| {
            step.waits = Waits::of(waits);
            step
        });
        let mut tools: Vec<_> =
            self.tools.into_iter().map(|(tool, calls)| ToolCalls { tool, ..calls }).collect();
        tools.sort_by_key(|tool| std::cmp::Reverse(tool.calls));
        tools.truncate(MAX_TOOLS);
        Statistics { step: self.span.step, steps: steps.collect(), tools, pending, whole }
    }
}

impl Waits {
    fn of(mut waits: Vec<f64>) -> Self {
        waits.sort_by(f64::total_cmp);
        let share = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100);
            waits.get(rank.saturating_sub(1)).copied()
        };
        Self {
            count: waits.len().try_into().unwrap_or(u64::MAX),
            median: share(50),
            p95: share(95),
        }
    }
}

/// How a call fared, as far as it is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fared {
    Held,
    Denied,
    Refused,
    Running,
    Succeeded,
    Failed,
}

impl Fared {
    fn of(call: &Counted) -> Self {
        match call.status {
            CallStatus::Held => Self::Held,
            CallStatus::Refused if call.refusal.as_deref() == Some("denied") => Self::Denied,
            CallStatus::Refused => Self::Refused,
            // Taken back or halted while it ran: neither it nor the tool failed.
            CallStatus::Running | CallStatus::Cancelled | CallStatus::Halted => Self::Running,
            CallStatus::Success => Self::Succeeded,
            CallStatus::ToolError
            | CallStatus::BackendError
            | CallStatus::Timeout
            | CallStatus::ResultRefused
            | CallStatus::Unknown => Self::Failed,
        }
    }
}
