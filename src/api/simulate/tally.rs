//! What is counted of the calls that are judged again.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::recorded::{Not, Recorded};
use super::{FlipView, ReplayedCell, SimulationView, UnjudgedView};
use crate::catalog::Kind;
use crate::digest::Digest;
use crate::evidence::Entry;
use crate::gateway::Revision;
use crate::policy::{Question, Ruling};

/// How many calls are shown of one kind of flip of one tool, and in all.
const SAMPLES_OF_KIND: u64 = 5;
const MAX_SAMPLES: usize = 50;
/// How many reasons for which calls could not be judged are told apart.
const MAX_REASONS: usize = 20;
/// The shortest time that is taken for a part of a day, in hours.
const MIN_HOURS: f64 = 1.0;

/// What was counted so far.
#[derive(Default)]
pub(super) struct Tally {
    judged: u64,
    oldest: Option<Timestamp>,
    matrix: BTreeMap<(Ruling, Ruling), u64>,
    kinds: BTreeMap<(Ruling, Ruling, String), u64>,
    samples: Vec<FlipView>,
    held: (u64, u64),
    not_judged: BTreeMap<String, u64>,
}

impl Tally {
    /// Judges the call of an entry by `candidate`; entries come newest first.
    pub(super) fn judge(&mut self, candidate: &Revision, entry: Entry) {
        let at = entry.time;
        let recorded = match Recorded::of(entry.event) {
            Ok(recorded) => recorded,
            Err(Not::Another) => return,
            Err(Not::Unjudged(why)) => return self.leave_out(why),
        };
        let tool = candidate.catalog.tool(&recorded.tool);
        let Some(tool) = tool.filter(|tool| tool.kind() != Kind::Completion) else {
            return self.leave_out("there is no such tool".to_owned());
        };
        let Ok(checked) = tool.check(recorded.arguments.clone()) else {
            return self.leave_out("the arguments do not fit the tool".to_owned());
        };
        let told = candidate.policy.verdict(&Question {
            agent: &recorded.agent,
            groups: &recorded.groups,
            owner: recorded.owner.as_deref(),
            client: recorded.client.as_deref(),
            workflow: recorded.workflow.as_deref(),
            checked,
            standing: &[],
            spent: &[],
            holds: &recorded.holds,
            now: at,
        });
        self.judged += 1;
        self.oldest = Some(at);
        let (before, after) = (recorded.decision, told.decision);
        *self.matrix.entry((before, after)).or_default() += 1;
        if !recorded.is_standing {
            self.held.0 += u64::from(before == Ruling::RequireApproval);
            self.held.1 += u64::from(after == Ruling::RequireApproval);
        }
        if before == after {
            return;
        }
        let kind = self.kinds.entry((before, after, recorded.tool.clone())).or_default();
        *kind += 1;
        if *kind <= SAMPLES_OF_KIND && self.samples.len() < MAX_SAMPLES {
            self.samples.push(FlipView {
                call: recorded.call,
                at,
                agent: recorded.agent,
                tool: recorded.tool,
                before,
                rules_before: recorded.rules,
                after,
                rules_after: told.decided_by,
                reason: told.reason,
            });
        }
    }

    fn leave_out(&mut self, why: String) {
        let known = self.not_judged.len() < MAX_REASONS || self.not_judged.contains_key(&why);
        let why = if known { why } else { "another reason".to_owned() };
        *self.not_judged.entry(why).or_default() += 1;
    }

    pub(super) fn done(self, candidate: Digest, now: Timestamp, whole: bool) -> SimulationView {
        let flips = self.matrix.iter().filter(|((before, after), _)| before != after);
        let hours = self.oldest.map(|oldest| now.duration_since(oldest).as_secs_f64() / 3_600.0);
        #[expect(clippy::cast_precision_loss, reason = "there are never so many calls")]
        let per_day = |held: u64, hours: f64| held as f64 * 24.0 / hours;
        let (before, after) = self.held;
        SimulationView {
            candidate,
            judged: self.judged,
            since: self.oldest,
            whole,
            flips: flips.map(|(_, calls)| calls).sum(),
            matrix: self
                .matrix
                .into_iter()
                .map(|((before, after), calls)| ReplayedCell { before, after, calls })
                .collect(),
            samples: self.samples,
            held_before: before,
            held_after: after,
            held_per_day: hours
                .filter(|hours| *hours >= MIN_HOURS)
                .map(|hours| (per_day(before, hours), per_day(after, hours))),
            not_judged: self
                .not_judged
                .into_iter()
                .map(|(why, calls)| UnjudgedView { why, calls })
                .collect(),
        }
    }
}
