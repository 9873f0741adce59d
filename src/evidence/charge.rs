//! What a call takes from a budget, as its intent and its outcome say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// So much of what budgets count; what is nothing is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Amounts {
    /// Calls.
    #[serde(skip_serializing_if = "is_nothing")]
    pub calls: u64,
    /// Tokens of arguments and results.
    #[serde(skip_serializing_if = "is_nothing")]
    pub tokens: u64,
    /// What the tools' manifests say that calls cost, in millionths of a US dollar.
    #[serde(skip_serializing_if = "is_nothing")]
    pub micro_usd: u64,
    /// What backends took, in milliseconds.
    #[serde(skip_serializing_if = "is_nothing")]
    pub compute_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_nothing(amount: &u64) -> bool {
    *amount == 0
}

impl Amounts {
    /// Whether it is nothing of anything.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// All four, in one order.
    #[must_use]
    pub const fn each(&self) -> [u64; 4] {
        [self.calls, self.tokens, self.micro_usd, self.compute_ms]
    }

    /// The largest share that one of them is of how much there is, in hundredths, rounded down; of what is nothing
    /// there is no limit.
    #[must_use]
    pub fn largest_share(&self, of: &Self) -> u64 {
        let share = |(spent, of): (u64, u64)| {
            let spent = u128::from(spent).saturating_mul(100);
            spent.checked_div(u128::from(of)).unwrap_or(0)
        };
        let most = self.each().into_iter().zip(of.each()).map(share).max().unwrap_or(0);
        u64::try_from(most).unwrap_or(u64::MAX)
    }

    /// What `f` makes of each of the four of both.
    #[must_use]
    pub fn with(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            calls: f(self.calls, other.calls),
            tokens: f(self.tokens, other.tokens),
            micro_usd: f(self.micro_usd, other.micro_usd),
            compute_ms: f(self.compute_ms, other.compute_ms),
        }
    }
}

/// The time in which a budget is spent; without an end where it never renews.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Window {
    /// Its first moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The first moment after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Window {
    /// Whether it was over before `other` began. One that never renews is over before nothing, so that what
    /// was spent stays when a budget's window is changed.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        matches!((self.until, other.from), (Some(until), Some(from)) if until <= from)
    }
}

/// What one call takes from one budget, for one of those that are counted apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Charge {
    /// The budget, by name.
    pub budget: String,
    /// Whom it is counted for, by what the budget counts apart: `agent`, `tool`, `backend`, `client`, `workflow`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub who: BTreeMap<String, String>,
    /// The window it is counted in, where the budget renews.
    #[serde(default, skip_serializing_if = "is_endless")]
    pub window: Window,
    /// How much. Tokens are those of the gateway's first estimate.
    pub amounts: Amounts,
    /// By what shares of the budget people are told.
    #[serde(skip)]
    pub alerts: Alerts,
}

fn is_endless(window: &Window) -> bool {
    *window == Window::default()
}

/// By what shares of how much people are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    /// How much there is; what is nothing is not limited.
    pub of: Amounts,
    /// In hundredths, rising.
    pub at: Vec<u8>,
}

/// A share of a budget that is spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetAlert {
    /// The budget, by name.
    pub budget: String,
    /// Whom it is counted for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub who: BTreeMap<String, String>,
    /// The window, where the budget renews.
    #[serde(default, skip_serializing_if = "is_endless")]
    pub window: Window,
    /// The share that was reached, in hundredths.
    pub share: u8,
    /// What is spent.
    pub spent: Amounts,
    /// How much there is.
    pub of: Amounts,
}

/// What is spent of one budget, for one of those that are counted apart, in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The window.
    #[serde(default, skip_serializing_if = "is_endless")]
    pub window: Window,
    /// How much.
    pub amounts: Amounts,
    /// The highest share that people were told of, in hundredths.
    #[serde(default)]
    pub alerted: u8,
    /// When something was last spent.
    pub used: Timestamp,
}

impl Spent {
    /// What counts in `window`: nothing of what was spent in one before it.
    #[must_use]
    pub fn counted_in(&self, window: &Window) -> Amounts {
        if self.window.is_before(window) { Amounts::default() } else { self.amounts }
    }

    /// Adds what a call takes. What it took in a window that is over counts no more.
    pub fn add(&mut self, charge: &Charge, now: Timestamp) {
        if charge.window.is_before(&self.window) {
            return;
        }
        if self.window.is_before(&charge.window) {
            (self.amounts, self.alerted) = (Amounts::default(), 0);
        }
        // The one that began later: of a call that began before the budget's window was changed, it stays.
        if charge.window.from > self.window.from {
            self.window = charge.window;
        }
        self.amounts = self.amounts.with(charge.amounts, u64::saturating_add);
        self.used = self.used.max(now);
    }

    /// Takes back what was added and did not come to pass.
    pub fn give_back(&mut self, charge: &Charge) {
        if !charge.window.is_before(&self.window) {
            self.amounts = self.amounts.with(charge.amounts, u64::saturating_sub);
        }
    }

    /// Puts what was counted in the place of what was estimated, in tokens.
    pub fn correct(&mut self, fix: &Correction) {
        if !fix.window.is_before(&self.window) {
            let without = self.amounts.tokens.saturating_sub(fix.estimated);
            self.amounts.tokens = without.saturating_add(fix.counted);
        }
    }

    /// Takes note of the shares that are reached now and people were not told of, and gives them.
    pub fn alert(&mut self, alerts: &Alerts) -> Vec<u8> {
        let most = self.amounts.largest_share(&alerts.of);
        let told = self.alerted;
        let reached = |at: &&u8| **at > told && u64::from(**at) <= most;
        let reached: Vec<u8> = alerts.at.iter().filter(reached).copied().collect();
        self.alerted = reached.iter().copied().fold(told, u8::max);
        reached
    }
}

/// That the tokens of a call were counted, after they were estimated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The budget, by name.
    pub budget: String,
    /// Whom it is counted for.
    pub who: BTreeMap<String, String>,
    /// The window the call was counted in.
    pub window: Window,
    /// How many tokens were estimated.
    pub estimated: u64,
    /// How many there are.
    pub counted: u64,
    /// By what shares of the budget people are told.
    pub alerts: Alerts,
}
