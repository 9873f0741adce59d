//! The record: what an entry says, how entries are chained, and how the chain is verified.

mod access;
mod asked;
mod cause;
pub mod chain;
mod charge;
mod definitions;
mod entry;
mod mention;
mod outcome;
pub mod passkey;
pub mod signature;
mod signed;
pub mod verify;

pub use access::Access;
pub use asked::{Asked, Intent, Refused};
pub use cause::{Cause, Loading};
pub use charge::{Alerts, Amounts, BudgetAlert, Charge, Correction, Spent, Window};
pub use definitions::{DefinitionHeld, DefinitionSeen};
pub use entry::{Entry, Event, Listed};
pub use mention::{Began, How, Mention};
pub use outcome::{AskedClient, Outcome, OutcomeStatus};
pub use signed::Signature;
