//! What is spent of budgets, in the store. What calls take is added in the transaction of their intents and
//! outcomes, which say so ([`crate::evidence::Charge`]); here is the rest.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use crate::evidence::{Correction, Spent};

/// Whom a budget is counted for: the budget's name, and who by what is counted apart.
pub type Account = (String, BTreeMap<String, String>);

/// What is kept of budgets.
#[async_trait]
pub trait BudgetStore: Send + Sync {
    /// Everything that is spent and was not forgotten.
    async fn spent(&self) -> Result<Vec<(Account, Spent)>, StoreError>;

    /// Puts counted tokens in the place of estimated ones, and forgets accounts; durably. Shares of budgets that
    /// are reached by it make entries.
    async fn settle_spent(
        &self,
        corrections: Vec<Correction>,
        forgotten: Vec<Account>,
    ) -> Result<(), StoreError>;
}
