//! Rules, and what they say about a call: pure, no I/O, no clock.
//!
//! Loading goes `rules` (the form of a file) → `reading` (strict, every fault with its place) → `rule`,
//! `limits` (compiled: `matching` and `patterns`, `constraints`) → `index` (which rule can match which
//! tool, its constraints bound to it by `binding`) → [`Policy`]. Deciding goes `decide` → `applying` →
//! [`Permit`], [`Proposal`] or [`Denial`].

mod applying;
mod binding;
mod budgets;
pub mod cases;
mod completing;
mod condition;
mod constraints;
mod decide;
mod denial;
mod difference;
mod edit;
mod explain;
mod index;
mod limits;
mod load;
mod matched;
mod matching;
mod narrowing;
mod nearest;
mod patterns;
mod permit;
mod reading;
mod redaction;
mod report;
mod rule;
pub mod rules;
mod shadowed;
mod showing;
mod standing;
mod table;
mod tightening;
mod types;
mod words;
mod written;

pub use budgets::{Budget, Exhausted, in_words};
pub use condition::{ActiveSpec, ConditionError, Day, Mode, Noticed, ShadowRule};
pub use decide::{Decision, Facts};
pub use denial::{Denial, DenialKind};
pub use difference::{CellChange, Changes, Difference};
pub use edit::Edit;
pub use explain::{ExplainedCondition, ExplainedRule, Explanation, Question};
pub use limits::Limit;
pub use narrowing::Listed;
pub use nearest::{Change, Nearest, unedited};
pub use permit::{Permit, Proposal};
pub use redaction::{Patterns, Redaction};
pub use report::RuleSummary;
pub use rules::{Dimension, Ruling};
pub use standing::{check_bounds, within};
pub use table::Cell;
pub use written::{ApprovalTerms, Condition};

use crate::source::{Problem, SourceFile};

/// All rules and limits in force, bound to the tools of one catalog. It decides about calls of exactly
/// these tools; the two are loaded and swapped together.
#[derive(Debug)]
pub struct Policy {
    default: Ruling,
    /// Whether any call could be held.
    holds: bool,
    rules: Vec<rule::Rule>,
    limits: Vec<Limit>,
    budgets: Vec<Budget>,
    index: index::Index,
    /// Where each rule stands, in the order of `rules`.
    locations: Vec<String>,
    warnings: Vec<Problem>,
    sources: Vec<SourceFile>,
}

impl Default for Policy {
    /// No rules: every call is denied.
    fn default() -> Self {
        Self {
            default: Ruling::Deny,
            holds: false,
            rules: Vec::new(),
            limits: Vec::new(),
            budgets: Vec::new(),
            index: index::Index::default(),
            locations: Vec::new(),
            warnings: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl Policy {
    /// The limits on how often calls may be made.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// How much calls may spend.
    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// What is decided about a call that no rule matches.
    #[must_use]
    pub const fn default_ruling(&self) -> Ruling {
        self.default
    }

    /// Whether any call of these tools could be held for people.
    #[must_use]
    pub const fn may_hold(&self) -> bool {
        self.holds
    }

    /// How many rules there are.
    #[must_use]
    pub const fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// The files it was loaded from, for the revision's digest.
    pub fn sources(&self) -> impl Iterator<Item = &SourceFile> {
        self.sources.iter()
    }

    /// What is not wrong in itself, but hardly meant: for `policy check`. At most 100.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        self.warnings.clone()
    }
}

#[cfg(test)]
mod tests;
