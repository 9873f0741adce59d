//! Every way a call is turned away, with a public text for the agent and a private cause for operators.

use std::time::Duration;

use crate::backend::BackendError;
use crate::catalog::{self, Fault, ResultFault};
use crate::halts::Halt;
use crate::ids::CallId;
use crate::json::Object;
use crate::limits::Reached;
use crate::policy::{Denial, DenialKind};
use crate::storage::{HoldError, StoreError};

/// How much of an unknown name is repeated, in characters.
const MAX_SHOWN: usize = 128;

/// A call that was turned away.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Which way.
    pub kind: Kind,
    /// What the agent is told: what was refused, by which rule, why, and what would be accepted.
    pub told: String,
    /// What operators are told besides; never sent to an agent.
    pub cause: Option<String>,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// When the same call may be tried again.
    pub retry_after: Option<Duration>,
    /// The call, by which people find it in the record and ask why.
    pub call: Option<CallId>,
    /// What the caller's client would have to declare, as `ClientCapabilities`, where that is why.
    pub needed: Option<Box<Object>>,
}

/// The ways a call is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No such tool for this agent: unknown, hidden and unavailable look the same.
    UnknownTool,
    /// The arguments do not fit the tool's schema.
    InvalidArguments,
    /// Policy says no.
    Denied,
    /// Policy lets it be tried only.
    DryRun,
    /// A rate limit is reached.
    Limited,
    /// A budget is spent.
    BudgetSpent,
    /// The agent has too many calls waiting for people.
    TooManyHolds,
    /// A person said no.
    Rejected,
    /// Nobody decided in time, or the approval was not used in time.
    Expired,
    /// The agent took the held call back.
    Withdrawn,
    /// A halt stopped it.
    Halted,
    /// Approved, but what was approved is no longer what would run.
    Superseded,
    /// Held; people have not decided.
    Pending,
    /// It ran, and its result was handed out before.
    Collected,
    /// It may have run; nobody can know.
    UnknownOutcome,
    /// The record cannot be written, so nothing runs.
    NotRecorded,
    /// The backend cannot be reached or is busy; nothing ran.
    Unavailable,
    /// The tool needs what the caller's client did not say it can do; nothing ran.
    MissingCapability,
    /// The backend failed; it may have had an effect.
    Failed,
    /// The time limit passed; it may have had an effect.
    TimedOut,
    /// The caller took it back.
    Cancelled,
    /// The result was kept back.
    ResultRefused,
}

impl Kind {
    /// Whether rules alone turn calls away by the kind of this word.
    #[must_use]
    pub fn is_by_rules(word: &str) -> bool {
        [Self::Denied, Self::DryRun].iter().any(|kind| kind.as_str() == word)
    }

    /// The kind as one word: in entries and in `_meta`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTool => "unknown_tool",
            Self::InvalidArguments => "invalid_arguments",
            Self::Denied => "denied",
            Self::DryRun => "dry_run",
            Self::Limited => "limited",
            Self::BudgetSpent => "budget_spent",
            Self::TooManyHolds => "too_many_holds",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Halted => "halted",
            Self::Superseded => "superseded",
            Self::Pending => "pending",
            Self::Collected => "collected",
            Self::UnknownOutcome => "unknown_outcome",
            Self::NotRecorded => "not_recorded",
            Self::Unavailable => "unavailable",
            Self::MissingCapability => "missing_capability",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::ResultRefused => "result_refused",
        }
    }
}

impl Refusal {
    /// A refusal of `kind` that says `told`.
    #[must_use]
    pub fn new(kind: Kind, told: impl Into<String>) -> Self {
        let told = told.into();
        Self {
            kind,
            told,
            cause: None,
            rules: Vec::new(),
            retry_after: None,
            call: None,
            needed: None,
        }
    }

    /// The same with a cause for operators.
    #[must_use]
    pub fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same as that of a call.
    #[must_use]
    pub fn of_call(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    /// The same with a time after which to try again.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Nothing of this name for this agent.
    #[must_use]
    pub fn unknown_tool(name: &str) -> Self {
        let kind = catalog::Kind::of(name);
        let shown: String = kind.bare(name).chars().take(MAX_SHOWN).collect();
        let told = match kind {
            catalog::Kind::Tool => format!("Unknown tool: {shown}"),
            catalog::Kind::Resource => format!("Resource not found: {shown}"),
            catalog::Kind::Prompt => format!("Unknown prompt: {shown}"),
            catalog::Kind::Completion => format!("Nothing is completed for {shown}"),
        };
        Self::new(Kind::UnknownTool, told)
    }

    /// A halt covers the call; or ended it while it `ran`.
    #[must_use]
    pub fn halted(halt: &Halt, ran: bool) -> Self {
        let why = halt.told();
        let told = if ran {
            format!(
                "HALTED: this call was stopped while it ran, because {why}. It may have had an effect; look \
                 before you repeat it, and do not repeat it until people resume it."
            )
        } else {
            format!(
                "HALTED: this call did not run, because {why}. This is neither consent nor a failure of the \
                 tool, and no other way around it is wanted. Wait until people resume it."
            )
        };
        Self::new(Kind::Halted, told).because(format!("halt {}", halt.id))
    }

    /// The tool ran, but its outcome could not be recorded.
    #[must_use]
    pub fn not_recorded_after(cause: &str) -> Self {
        let told = "The tool ran, but its outcome could not be recorded, so it is not told either. It may \
                    have had an effect; look before you repeat it.";
        Self::new(Kind::UnknownOutcome, told).because(cause)
    }

    /// Arguments that do not fit, every fault named.
    #[must_use]
    pub fn invalid_arguments(tool: &str, faults: &[Fault]) -> Self {
        let faults: Vec<String> = faults
            .iter()
            .map(|fault| match fault.pointer.as_str() {
                "" => fault.message.clone(),
                pointer => format!("`{pointer}`: {}", fault.message),
            })
            .collect();
        let told = format!(
            "The arguments of `{tool}` do not fit its schema; nothing ran. {}. Mend them and call again.",
            faults.join("; ")
        );
        Self::new(Kind::InvalidArguments, told)
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let kind = match denial.kind {
            DenialKind::Schema => Kind::InvalidArguments,
            DenialKind::NoRule
            | DenialKind::Rule
            | DenialKind::Constraint
            | DenialKind::Unbound => Kind::Denied,
            DenialKind::DryRun => Kind::DryRun,
            DenialKind::Spent { .. } => Kind::BudgetSpent,
        };
        let retry_after =
            if let DenialKind::Spent { renews_in } = denial.kind { renews_in } else { None };
        let told = if kind == Kind::DryRun {
            format!("DRY RUN, not a failure; nothing ran: {}", denial.reason)
        } else {
            denial.reason
        };
        Self { rules: denial.rules, retry_after, ..Self::new(kind, told) }
    }
}

impl From<Reached> for Refusal {
    fn from(reached: Reached) -> Self {
        let Reached { limit, count, period, wait } = reached;
        let told = format!(
            "Refused: the rate limit `{limit}` ({count} calls per {period:?}) is reached. Nothing ran. \
             Call again in {} s.",
            wait.as_secs()
        );
        Self { rules: vec![limit], ..Self::new(Kind::Limited, told).after(wait) }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if let StoreError::Halted(halt) = &error {
            return Self::halted(halt, false);
        }
        let told =
            "The gateway cannot record calls now, so it runs none. Nothing ran; try again later.";
        Self::new(Kind::NotRecorded, told).because(error).after(Duration::from_secs(5))
    }
}

impl From<HoldError> for Refusal {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Store(error) => error.into(),
            HoldError::Lost { hold, .. } => Self::of_hold(&hold),
            HoldError::NotFound => Self::new(Kind::Expired, "There is no such hold (any more)."),
            HoldError::TooMany { cap } => Self::new(
                Kind::TooManyHolds,
                format!(
                    "Refused: {cap} of your calls already wait for people, and no more may. Nothing ran. \
                     Wait until some are decided, or withdraw them."
                ),
            ),
        }
    }
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        let effect = "It may have had an effect; look before you repeat it.";
        let refusal = match &error {
            BackendError::Unavailable(_) => Self::new(
                Kind::Unavailable,
                "The tool's backend cannot be reached now. Nothing ran.",
            ),
            BackendError::Busy { waiting } => Self::new(
                Kind::Unavailable,
                format!(
                    "The tool's backend is busy and {waiting} calls wait already. Nothing ran."
                ),
            )
            .after(Duration::from_secs(1)),
            BackendError::Resting { after } => Self::new(
                Kind::Unavailable,
                format!(
                    "The tool's backend fails again and again and is left alone for a while. Nothing ran. \
                     Call again in {} s.",
                    after.as_secs().max(1)
                ),
            )
            .after((*after).max(Duration::from_secs(1))),
            BackendError::Unfit(why) => {
                Self::new(Kind::InvalidArguments, format!("Refused: {why}. Nothing ran."))
            }
            BackendError::Refused { code, .. } => Self::new(
                Kind::Failed,
                format!(
                    "The tool's backend refused the call (code {code}). As a rule nothing ran."
                ),
            ),
            BackendError::Needs { needed } => Self {
                needed: Some(Box::new(needed.clone())),
                ..Self::new(
                    Kind::MissingCapability,
                    format!("The tool was not run: {error}. A client that says it can is served."),
                )
            },
            BackendError::Timeout(limit) => Self::new(
                Kind::TimedOut,
                format!("The tool gave no answer within {limit:?} and was stopped. {effect}"),
            ),
            BackendError::Cancelled => {
                Self::new(Kind::Cancelled, format!("The call was cancelled. {effect}"))
            }
            BackendError::Halted { halt, ran } => return Self::halted(halt, *ran),
            BackendError::Died(_) => Self::new(
                Kind::Failed,
                format!("The tool's backend ended before it answered. {effect}"),
            ),
            BackendError::Nonsense(_) => Self::new(
                Kind::Failed,
                format!("The tool's backend answered what is not a result. {effect}"),
            ),
            BackendError::Unanswered(why) => Self::new(
                Kind::Failed,
                format!(
                    "The tool asked for something while it ran, and got no answer: {why}. {effect}"
                ),
            ),
            BackendError::TooLarge { limit } => Self::new(
                Kind::ResultRefused,
                format!(
                    "The tool's result is larger than {limit} bytes and was not kept. {effect}"
                ),
            ),
        };
        refusal.because(error)
    }
}

impl From<ResultFault> for Refusal {
    fn from(fault: ResultFault) -> Self {
        let told = format!(
            "The tool ran, but its result was kept back: {fault}. It may have had an effect; look before \
             you repeat it."
        );
        Self::new(Kind::ResultRefused, told)
    }
}
