//! What a rule asks beside `match` and `except`: `active`, a window of time, and `when`, an expression. They are
//! looked at last, and only of rules that match otherwise.

mod active;
mod noticed;
mod spec;

use jiff::Timestamp;

pub use noticed::{ConditionError, Noticed, ShadowRule};
pub use spec::{ActiveSpec, Day, Mode};

use super::explain::ExplainedCondition;
use super::reading::{At, Files};
use super::rules::RuleSpec;
use super::written::Condition;
use active::Active;

/// What a rule asks beside `match` and `except`.
#[derive(Debug, Default)]
pub(super) struct Further {
    active: Option<Active>,
}

/// What such conditions look at.
pub(super) struct Circumstances {
    now: Timestamp,
}

impl Circumstances {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { now }
    }
}

impl Further {
    /// Compiles; what is wrong is noted in `files`, with the rule at `at`.
    pub(super) fn compile(spec: &RuleSpec, at: &At, files: &mut Files) -> Self {
        let active =
            spec.active.as_ref().map(|spec| Active::compile(spec, &at.below("active"), files));
        Self { active }
    }

    /// Whether nothing is asked.
    pub(super) const fn is_empty(&self) -> bool {
        self.active.is_none()
    }

    /// Whether all of it holds.
    ///
    /// # Errors
    /// In words, where that cannot be told.
    pub(super) fn holds(&self, of: &Circumstances) -> Result<bool, String> {
        Ok(self.active.as_ref().is_none_or(|active| active.covers(of.now)))
    }

    /// As the rule writes it.
    pub(super) fn shown(&self) -> Vec<Condition> {
        let active = self.active.as_ref().map(|active| ("active", active.text()));
        let one = |(key, text): (&str, &str)| Condition {
            key: key.to_owned(),
            any_of: vec![text.to_owned()],
        };
        active.into_iter().map(one).collect()
    }

    /// Each condition with what it looks at.
    pub(super) fn explained(&self, of: &Circumstances) -> Vec<ExplainedCondition> {
        let active = self.active.as_ref().map(|active| ExplainedCondition {
            key: "active".to_owned(),
            any_of: vec![active.text().to_owned()],
            values: vec![active.reading(of.now)],
            holds: active.covers(of.now),
        });
        active.into_iter().collect()
    }
}
