//! One rule as it is enforced.

use jiff::SignedDuration;

use super::condition::{Further, Mode};
use super::constraints::Constraint;
use super::matching::Scope;
use super::reading::{At, Files};
use super::rules::{ApprovalSpec, RuleSpec, Ruling};
use super::written::Written;
use crate::catalog::manifest::Span;
use crate::hold::{Demand, Terms, Who};

/// How long people may decide, when the rule does not say.
pub(super) const DECIDE_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// How long after approval a call may begin to run, when the rule does not say.
pub(super) const EXECUTE_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// The longest that a rule may give people, or a call after approval.
const MAX_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The longest name of a rule or limit, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// How many reviewers and groups one rule names at the most.
const MAX_REVIEWERS: usize = 100;
/// How many people one rule may ask for.
const MAX_QUORUM: u32 = 20;
/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

/// One rule as it is enforced.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) decision: Ruling,
    pub(super) reason: Option<String>,
    pub(super) scope: Scope,
    pub(super) written: Written,
    pub(super) constraints: Vec<Constraint>,
    pub(super) decide_within: SignedDuration,
    pub(super) execute_within: SignedDuration,
    pub(super) terms: Terms,
    /// What it asks beside `match` and `except`.
    pub(super) further: Further,
    pub(super) mode: Mode,
}

impl Rule {
    /// Compiles what a file says; what is wrong is noted in `files`.
    pub(super) fn compile(spec: RuleSpec, at: &At, files: &mut Files) -> Self {
        check_name(&spec.name, at, files);
        check_parts(&spec, at, files);
        let further = Further::compile(&spec, at, files);
        let scope = Scope::compile(&spec.matches, spec.except.as_ref(), at, files)
            .open_beyond(!further.is_empty());
        let written = Written::of(&spec.matches, spec.except.as_ref());
        let mut constraints = Vec::new();
        for (name, value) in spec.constraints.iter().flatten() {
            match Constraint::parse(name, value) {
                Ok(constraint) => constraints.push(constraint),
                Err((message, hint)) => {
                    files.wrong_key(&at.below("constraints").below(name), message, hint);
                }
            }
        }
        let approval = spec.approval.unwrap_or_default();
        let at = at.below("approval");
        let mut within = |key: &str, span: Option<Span>, default| match span {
            None => default,
            Some(Span(span)) => match SignedDuration::try_from(span) {
                Ok(span) if span <= MAX_WITHIN => span,
                Ok(_) | Err(_) => {
                    files.wrong(&at.below(key), "longer than 30 days", "use at most `720h`");
                    default
                }
            },
        };
        let decide_within = within("decide_within", approval.decide_within, DECIDE_WITHIN);
        let execute_within = within("execute_within", approval.execute_within, EXECUTE_WITHIN);
        let terms = terms(&spec.name, &approval, &at, files);
        Self {
            name: spec.name,
            decision: spec.decision,
            reason: spec.reason,
            scope,
            written,
            constraints,
            decide_within,
            execute_within,
            terms,
            further,
            mode: spec.mode.unwrap_or_default(),
        }
    }
}

/// What one rule asks of an approval.
fn terms(rule: &str, spec: &ApprovalSpec, at: &At, files: &mut Files) -> Terms {
    let quorum = spec.quorum.map_or(1, std::num::NonZeroU32::get);
    let reviewers = spec.reviewers.clone().unwrap_or_default();
    if spec.reviewers.as_ref().is_some_and(Vec::is_empty) {
        let hint = "leave it out if any reviewer may decide";
        files.wrong(&at.below("reviewers"), "an empty list: nobody could approve", hint);
    }
    if reviewers.len() > MAX_REVIEWERS {
        let message = format!("more than {MAX_REVIEWERS} reviewers");
        files.wrong(&at.below("reviewers"), message, "name a group instead");
    }
    if quorum > MAX_QUORUM {
        let message = format!("a quorum of more than {MAX_QUORUM}");
        files.wrong(&at.below("quorum"), message, "so many people decide nothing");
    }
    let people = reviewers.iter().filter(|who| matches!(who, Who::Person(_))).count();
    if people == reviewers.len() && !reviewers.is_empty() && (people as u64) < u64::from(quorum) {
        let message = format!("{quorum} must approve, but only {people} may");
        files.wrong(&at.below("quorum"), message, "name more reviewers, or ask for fewer");
    }
    let asks = spec.reviewers.is_some() || spec.quorum.is_some();
    let demand = Demand { rule: rule.to_owned(), reviewers, quorum };
    Terms {
        demands: asks.then_some(demand).into_iter().collect(),
        four_eyes: spec.four_eyes.unwrap_or_default(),
        allow_edit: spec.allow_edit.unwrap_or_default(),
        signature: spec.signature.is_some(),
        keep: spec.keep.unwrap_or_default(),
    }
}

/// Notes a name that could not be shown as it is.
pub(super) fn check_name(name: &str, at: &At, files: &mut Files) {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c == '`');
    if !fits {
        let hint = format!("use 1 to {MAX_NAME_BYTES} bytes, no line breaks and no backticks");
        files.wrong(&at.below("name"), "not a usable name", hint);
    }
}

fn check_parts(spec: &RuleSpec, at: &At, files: &mut Files) {
    let name = &spec.name;
    let decision = spec.decision.as_str();
    if spec.reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
        let message = format!("a reason of more than {MAX_REASON_BYTES} bytes");
        files.wrong(&at.below("reason"), message, "agents and reviewers read it in full");
    }
    match (spec.decision, &spec.constraints) {
        (Ruling::Allow | Ruling::Deny, Some(_)) => {
            let message = format!("rule `{name}` has constraints, but its decision is {decision}");
            let hint = "use ALLOW_WITH_CONSTRAINTS or REQUIRE_APPROVAL, or leave them out";
            files.wrong_key(&at.below("constraints"), message, hint);
        }
        (Ruling::AllowWithConstraints, constraints) => {
            if constraints.as_ref().is_none_or(|constraints| constraints.is_empty()) {
                let message = format!("rule `{name}` is {decision} without constraints");
                let hint = "add `constraints`, or use ALLOW if none are meant";
                files.wrong(&at.below("decision"), message, hint);
            }
        }
        (Ruling::RequireApproval, _) | (Ruling::Allow | Ruling::Deny, None) => {}
    }
    if spec.approval.is_some() && spec.decision != Ruling::RequireApproval {
        let message = format!("rule `{name}` has `approval`, but its decision is {decision}");
        files.wrong_key(&at.below("approval"), message, "`approval` goes with REQUIRE_APPROVAL");
    }
}
