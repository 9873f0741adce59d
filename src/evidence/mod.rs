//! The record: what an entry says, how entries are chained, and how the chain is verified.

mod access;
pub mod chain;
mod entry;
mod mention;
mod outcome;
pub mod passkey;
pub mod signature;
mod signed;
pub mod verify;

pub use access::Access;
pub use entry::{Asked, Entry, Event, Intent, Listed, Refused};
pub use mention::{Began, How, Mention};
pub use outcome::{AskedClient, Outcome, OutcomeStatus};
pub use signed::Signature;
