//! Which rules cases hold to what they say: those without which a case that passes would come out otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::hold::Terms;
use crate::json::Object;
use crate::policy::condition::Noticed;
use crate::policy::decide::{self, Asking, Decision, Matched};
use crate::policy::explain::Hypothetical;
use crate::policy::tightening::{self, Tightened};
use crate::policy::{Policy, Ruling};

/// How many rules are left out of one case, one after the other, to see what they do.
const MAX_LEFT_OUT: usize = 1_000;

/// Which rules cases cover.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// How many rules there are.
    pub rules: usize,
    /// How many of them are covered.
    pub covered: usize,
    /// The same of 100; 100 where there is no rule.
    pub percent: f64,
    /// Every rule, in the order of the files.
    pub each: Vec<CoveredRule>,
}

/// How a rule is covered.
#[derive(Clone, Debug, Serialize)]
pub struct CoveredRule {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// How many cases that passed it matches.
    pub matched: usize,
    /// Whether one of them would come out otherwise without it.
    pub covered: bool,
}

/// Coverage as it is made, case by case.
pub(super) struct Tally<'p> {
    policy: &'p Policy,
    /// In the order of the rules.
    each: Vec<(usize, bool)>,
}

impl<'p> Tally<'p> {
    pub(super) fn new(policy: &'p Policy) -> Self {
        Self { policy, each: vec![(0, false); policy.rules.len()] }
    }

    /// Notes what the rules do that match a call.
    pub(super) fn note(&mut self, call: &Hypothetical<'_>) {
        let tool = call.checked.tool();
        let Some(entry) = self.policy.index.entry(tool) else { return };
        let asking = || Asking {
            caller: call.caller,
            checked: call.checked.clone(),
            owner: call.owner,
            workflow: call.workflow,
            approval: None,
            standing: call.standing,
            spent: call.spent,
            holds: call.holds,
            now: call.now,
        };
        let (matched, _) = self.policy.matched(entry, &asking(), &mut Noticed::default());
        let comes_to = |matched: &[Matched<'_>]| {
            let tightened = tightening::tightened(matched, tool);
            let strictest = matched.iter().map(|it| it.rule.decision).max();
            let ruling = strictest.unwrap_or(self.policy.default);
            let decision = decide::judge_by(matched, ruling, Arc::clone(tool), asking());
            Outcome::of(decision, &tightened)
        };
        let now = comes_to(&matched);
        for (place, this) in matched.iter().enumerate() {
            let Some((times, covered)) = self.each.get_mut(this.candidate.rule) else { continue };
            *times += 1;
            if !*covered && place < MAX_LEFT_OUT {
                let mut others = matched.clone();
                others.remove(place);
                *covered = comes_to(&others) != now;
            }
        }
    }

    pub(super) fn done(self) -> Coverage {
        let covered = self.each.iter().filter(|(_, covered)| *covered).count();
        let rules = self.each.len();
        #[expect(clippy::cast_precision_loss, reason = "there are never so many rules")]
        let percent = if rules == 0 { 100.0 } else { covered as f64 * 100.0 / rules as f64 };
        let each = self.policy.rules.iter().zip(&self.policy.locations).zip(self.each);
        let each = each.map(|((rule, location), (matched, covered))| CoveredRule {
            name: rule.name.clone(),
            location: location.clone(),
            matched,
            covered,
        });
        Coverage { rules, covered, percent, each: each.collect() }
    }
}

/// What a decision comes to for the call and for people, whichever rules made it.
#[derive(PartialEq)]
struct Outcome {
    decision: Ruling,
    arguments: Option<Object>,
    asked: Option<(Terms, jiff::SignedDuration, jiff::SignedDuration)>,
    timeout: Duration,
    max_result_bytes: usize,
    redacted: BTreeSet<String>,
}

impl Outcome {
    fn of(decision: Decision, tightened: &Tightened) -> Self {
        let (decision, arguments, asked) = match decision {
            Decision::Permit(it) => (Ruling::Allow, Some(it.arguments), None),
            Decision::Hold(it) => {
                let mut terms = it.terms;
                // Two rules that ask the same are one as good as the other; two demands are one more than one.
                for demand in &mut terms.demands {
                    demand.rule.clear();
                }
                let asked = (terms, it.decide_within, it.execute_within);
                (Ruling::RequireApproval, Some(it.arguments), Some(asked))
            }
            Decision::Deny(_) | Decision::NotCovered { .. } => {
                return Self {
                    decision: Ruling::Deny,
                    arguments: None,
                    asked: None,
                    timeout: Duration::ZERO,
                    max_result_bytes: 0,
                    redacted: BTreeSet::new(),
                };
            }
        };
        let Tightened { timeout, max_result_bytes, redactions } = tightened;
        let patterns = redactions.iter().flat_map(|it| it.patterns.each());
        let redacted = patterns.map(|pattern| pattern.as_str().to_owned()).collect();
        let (timeout, max_result_bytes) = (*timeout, *max_result_bytes);
        Self { decision, arguments, asked, timeout, max_result_bytes, redacted }
    }
}
