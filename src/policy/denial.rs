//! Why policy turns a call away.

use std::time::Duration;

/// Why policy turns a call away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rules that decided; empty when none matched.
    pub rules: Vec<String>,
    /// For the agent: one short text that names the rules and what would be accepted.
    pub reason: String,
    /// What kind of denial it is.
    pub kind: DenialKind,
}

/// What kind of denial it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialKind {
    /// No rule matches the call, and the default is DENY.
    NoRule,
    /// A rule with DENY matches.
    Rule,
    /// The arguments do not keep to a constraint that cannot be met by an edit.
    Constraint,
    /// The arguments as constraints edited them do not fit the tool's schema.
    Schema,
    /// A matching rule has a constraint that could not be bound to the tool.
    Unbound,
    /// A rule lets the call be tried only, and nothing else is in its way.
    DryRun,
    /// A budget is spent.
    Spent {
        /// In how long it renews, if it does.
        renews_in: Option<Duration>,
    },
}

impl DenialKind {
    /// The kind as one word, for records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::Rule => "rule",
            Self::Constraint => "constraint",
            Self::Schema => "schema",
            Self::Unbound => "unbound",
            Self::DryRun => "dry_run",
            Self::Spent { .. } => "budget",
        }
    }
}
