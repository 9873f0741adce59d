//! What one call takes of budgets: reserved before it runs, spent when its intent is recorded.

use std::sync::Arc;

use super::Budgets;
use crate::evidence::{Amounts, Charge};
use crate::policy::Exhausted;

/// What a call is about to take from budgets; given back when dropped, unless it was recorded.
#[derive(Debug)]
pub struct Reservation {
    pub(super) all: Arc<Budgets>,
    pub(super) charges: Vec<Charge>,
    pub(super) exhausted: Vec<Exhausted>,
    pub(super) kept: bool,
}

impl Reservation {
    /// The budgets that do not suffice.
    #[must_use]
    pub fn exhausted(&self) -> &[Exhausted] {
        &self.exhausted
    }

    /// What its intent says that the call takes.
    #[must_use]
    pub fn charges(&self) -> Vec<Charge> {
        self.charges.iter().filter(|charge| !charge.amounts.is_nothing()).cloned().collect()
    }

    /// Gives back the cost.
    pub fn costs_nothing(&mut self) {
        let mut accounts = self.all.lock();
        for charge in &mut self.charges {
            let cost = Amounts { micro_usd: charge.amounts.micro_usd, ..Amounts::default() };
            charge.amounts.micro_usd = 0;
            let account = (charge.budget.clone(), charge.who.clone());
            if let Some(spent) = accounts.spent.get_mut(&account) {
                spent.give_back(&Charge { amounts: cost, ..charge.clone() });
            }
        }
    }

    /// The intent is recorded: what was reserved is spent. Gives the budgets that reached a share people are told of.
    pub fn keep(&mut self) -> Vec<String> {
        self.kept = true;
        let none = |charge: &Charge| Charge { amounts: Amounts::default(), ..charge.clone() };
        self.all.spend(&self.charges.iter().map(none).collect::<Vec<_>>())
    }

    /// Whether one of its budgets counts tokens.
    #[must_use]
    pub fn counts_tokens(&self) -> bool {
        self.charges.iter().any(|charge| charge.alerts.of.tokens > 0)
    }

    /// What its outcome says that the call took: tokens and time, where its budgets count them.
    #[must_use]
    pub fn took(&self, tokens: u64, compute_ms: u64) -> Vec<Charge> {
        let took = |charge: &Charge| {
            let of = charge.alerts.of;
            let amounts = Amounts {
                tokens: if of.tokens > 0 { tokens } else { 0 },
                compute_ms: if of.compute_ms > 0 { compute_ms } else { 0 },
                ..Amounts::default()
            };
            Charge { amounts, ..charge.clone() }
        };
        self.charges.iter().map(took).filter(|charge| !charge.amounts.is_nothing()).collect()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.kept || self.charges.is_empty() {
            return;
        }
        let mut accounts = self.all.lock();
        for charge in &self.charges {
            let account = (charge.budget.clone(), charge.who.clone());
            let Some(spent) = accounts.spent.get_mut(&account) else { continue };
            spent.give_back(charge);
            // Of whoever spent nothing there is nothing to keep.
            if spent.amounts.is_nothing() && spent.alerted == 0 {
                accounts.close(&account);
            }
        }
    }
}
