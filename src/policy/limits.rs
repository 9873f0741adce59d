//! How often calls may be made, as data: what counts, what is counted apart, and how fast.

use std::num::NonZeroU32;
use std::time::Duration;

use super::condition;
use super::matching::{Caller, Scope};
use super::reading::{At, Files};
use super::rule::check_name;
use super::rules::{Dimension, LimitSpec};
use crate::catalog::{CheckedArguments, Tool};
use crate::ids::AgentName;
use crate::principal::Principal;

/// One limit on how often calls may be made.
#[derive(Debug)]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// What is counted apart.
    pub per: Vec<Dimension>,
    /// How many calls.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
    /// How many of them may come at once.
    pub burst: NonZeroU32,
    /// Where it stands: `file:line:column`.
    pub location: String,
    scope: Scope,
}

impl Limit {
    pub(super) fn compile(spec: LimitSpec, at: &At, files: &mut Files) -> Self {
        check_name(&spec.name, at, files);
        let holds = spec.matches.workflow_holds.as_ref();
        condition::refuse_holds(holds, &at.below("match"), files);
        Self {
            scope: Scope::compile(&spec.matches, spec.except.as_ref(), at, files),
            location: files.location(&at.below("name")),
            name: spec.name,
            per: spec.per.0,
            count: spec.rate.count,
            period: spec.rate.period,
            burst: spec.burst.unwrap_or(spec.rate.count),
        }
    }

    /// Whether a call counts.
    #[must_use]
    pub fn matches(
        &self,
        principal: &Principal,
        client: Option<&str>,
        checked: &CheckedArguments,
    ) -> bool {
        self.scope.covers_call(Caller::of(principal, client), checked)
    }

    /// Whether some call of `tool` by this agent could count, by whatever client and with whatever arguments.
    #[must_use]
    pub fn concerns(&self, agent: &AgentName, groups: &[String], tool: &Tool) -> bool {
        self.scope.concerns(agent, groups, tool)
    }
}
