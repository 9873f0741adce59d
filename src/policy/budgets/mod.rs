//! Budgets as data: which calls spend, what is counted apart, how much there is, and what becomes of calls when
//! it is spent.

mod spec;

use std::time::Duration;

use jiff::Timestamp;

use super::condition;
use super::denial::{Denial, DenialKind};
use super::matching::{Caller, Client, Scope};
use super::reading::{At, Files};
use super::rule::check_name;
use super::rules::{Dimension, Ruling};
use crate::catalog::{CheckedArguments, Tool, Usd};
use crate::evidence::{Alerts, Amounts, Window};
use crate::ids::AgentName;

pub(super) use spec::{BudgetSpec, SpendSpec, Then};

/// How a budget is named among the rules that decided.
const AMONG_RULES: &str = "budget:";

/// How much calls may spend.
#[derive(Debug)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// What is counted apart.
    pub per: Vec<Dimension>,
    /// How much there is, and at what shares people are told; of what is nothing there is no limit.
    pub alerts: Alerts,
    /// After what time it renews.
    pub every: Option<Duration>,
    /// What becomes of calls when it is spent: `DENY` or `REQUIRE_APPROVAL`.
    pub then: Ruling,
    /// Where it stands: `file:line:column`.
    pub location: String,
    scope: Scope,
}

impl Budget {
    pub(super) fn compile(spec: BudgetSpec, at: &At, files: &mut Files) -> Self {
        check_name(&spec.name, at, files);
        let holds = spec.matches.workflow_holds.as_ref();
        condition::refuse_holds(holds, &at.below("match"), files);
        let of = spec.spend.amounts().unwrap_or_else(|why| {
            let hint = "say `calls`, `tokens`, `cost_usd` or `compute`";
            files.wrong(&at.below("spend"), why, hint);
            Amounts::default()
        });
        Self {
            scope: Scope::compile(&spec.matches, spec.except.as_ref(), at, files),
            location: files.location(&at.below("name")),
            name: spec.name,
            per: spec.per.0,
            alerts: Alerts { of, at: spec.alert_at.map(|shares| shares.0).unwrap_or_default() },
            every: spec.every.map(|every| every.0),
            then: spec.then.unwrap_or(Then::Deny).into(),
        }
    }

    /// How much there is; of what is nothing there is no limit.
    #[must_use]
    pub const fn of(&self) -> Amounts {
        self.alerts.of
    }

    /// Whether a call spends it.
    #[must_use]
    pub fn matches(
        &self,
        (agent, groups): (&AgentName, &[String]),
        client: Option<&str>,
        checked: &CheckedArguments,
    ) -> bool {
        self.scope.covers_call(Caller { agent, groups, client: Client::Said(client) }, checked)
    }

    /// Whether some call of `tool` by this agent could spend it, by whatever client and with whatever arguments.
    #[must_use]
    pub fn concerns(&self, agent: &AgentName, groups: &[String], tool: &Tool) -> bool {
        self.scope.concerns(agent, groups, tool)
    }

    /// The window that `now` is in.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Window {
        let Some(every) = self.every else { return Window::default() };
        let length = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
        let from = now.as_second().saturating_sub(now.as_second().rem_euclid(length));
        let at = |second: i64| Timestamp::from_second(second).ok();
        Window { from: at(from), until: at(from.saturating_add(length)) }
    }
}

/// A budget that does not suffice for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Its name.
    pub budget: String,
    /// What becomes of the call.
    pub then: Ruling,
    /// What is spent of what, in words.
    pub told: String,
    /// In how long it renews, if it does.
    pub renews_in: Option<Duration>,
}

impl Exhausted {
    /// The budget, where `spent` of it is taken already.
    #[must_use]
    pub fn of(budget: &Budget, spent: &Amounts, now: Timestamp) -> Self {
        let until = budget.window(now).until;
        let left = until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        // Rounded up to a second: whoever comes back then finds it renewed.
        let renews_in = left.map(|left| Duration::from_secs(left.as_secs().saturating_add(1)));
        let told = in_words(spent, &budget.of());
        Self { budget: budget.name.clone(), then: budget.then, told, renews_in }
    }

    /// How it is named among the rules that decided.
    #[must_use]
    pub fn among_rules(&self) -> String {
        format!("{AMONG_RULES}{}", self.budget)
    }

    /// When it renews, in words.
    fn renewal(&self) -> String {
        match self.renews_in {
            Some(wait) => format!("it renews in {} s", wait.as_secs()),
            None => "it does not renew by itself".to_owned(),
        }
    }
}

/// What is spent of what, in words.
#[must_use]
pub fn in_words(spent: &Amounts, of: &Amounts) -> String {
    let mut parts = Vec::new();
    if of.calls > 0 {
        parts.push(format!("{} of {} calls", spent.calls, of.calls));
    }
    if of.tokens > 0 {
        parts.push(format!("{} of {} tokens", spent.tokens, of.tokens));
    }
    if of.micro_usd > 0 {
        let (spent, of) = (Usd::of_micros(spent.micro_usd), Usd::of_micros(of.micro_usd));
        parts.push(format!("{spent} of {of} US dollars"));
    }
    if of.compute_ms > 0 {
        let [spent, of] = [spent.compute_ms, of.compute_ms].map(Duration::from_millis);
        parts.push(format!("{spent:?} of {of:?} of compute time"));
    }
    parts.join(", ")
}

/// The denial by those that are spent and say so; none where no such one is.
pub(super) fn denied(spent: &[Exhausted]) -> Option<Denial> {
    let denying = || spent.iter().filter(|it| it.then == Ruling::Deny);
    // Where several are, there is no use in coming back before the last renews.
    let each = || denying().map(|it| it.renews_in);
    let renews_in = if each().any(|it| it.is_none()) { None } else { each().flatten().max() };
    let told: Vec<String> = denying()
        .map(|it| format!("the budget `{}` is spent ({}); {}", it.budget, it.told, it.renewal()))
        .collect();
    if told.is_empty() {
        return None;
    }
    let reason = format!("Refused: {}. Nothing ran.", told.join("; "));
    let rules = denying().map(Exhausted::among_rules).collect();
    Some(Denial { rules, reason, kind: DenialKind::Spent { renews_in } })
}

/// Those that are spent and ask for people.
pub(super) fn asking(spent: &[Exhausted]) -> impl Iterator<Item = &Exhausted> {
    spent.iter().filter(|it| it.then == Ruling::RequireApproval)
}

/// Why those ask for people; nothing where none does.
pub(super) fn why(spent: &[Exhausted]) -> Option<String> {
    let each: Vec<String> = asking(spent)
        .map(|it| format!("the budget `{}` is spent ({}; {})", it.budget, it.told, it.renewal()))
        .collect();
    (!each.is_empty()).then(|| each.join("; "))
}
