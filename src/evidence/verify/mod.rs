//! Verification of the audit log: recomputes the chain and follows every call and hold through it.

mod halted;
mod people;
mod recent;
mod story;
#[cfg(test)]
mod story_tests;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::chain::{self, Unreadable};
use crate::digest::Digest;

use story::Story;
pub use story::Twist;

/// One entry as it is stored, not yet believed.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place, from 1.
    pub index: u64,
    /// Its bytes.
    pub body: Vec<u8>,
    /// The chain's value at it.
    pub chain: Vec<u8>,
}

/// The end of the log, as it is stored apart from the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Head {
    /// How many entries there are.
    pub count: u64,
    /// The chain's value at the last.
    pub chain: Digest,
}

impl Head {
    /// The head of an empty log.
    pub const EMPTY: Self = Self { count: 0, chain: chain::GENESIS };
}

/// What a log that verifies says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Its end, recomputed.
    pub head: Head,
    /// How many calls were dispatched.
    pub intents: u64,
    /// How many calls were turned away.
    pub refusals: u64,
    /// How many approvals were spent.
    pub approvals_spent: u64,
    /// How many calls have an intent, but neither an outcome nor the mark that it is unknown.
    pub open: u64,
}

/// The first thing that is wrong with a log, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index}: {what}")]
pub struct Fault {
    /// The first index at which the log is not as it was written.
    pub index: u64,
    /// What is wrong there.
    pub what: What,
}

/// What can be wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// The entry, or its chain value, is not what was written.
    #[error("edited: its bytes do not give its chain value")]
    Edited,
    /// The entry is not there, but later ones are.
    #[error("missing: the next entry is {next}")]
    Missing {
        /// The index that follows.
        next: u64,
    },
    /// An entry with this index came before.
    #[error("out of order, or twice: it follows entry {after}")]
    OutOfOrder {
        /// The entry before it.
        after: u64,
    },
    /// The log ends before its head.
    #[error("missing: the log ends here, its head says {count} entries")]
    Truncated {
        /// How many entries the head says.
        count: u64,
    },
    /// The log goes on after its head.
    #[error("added: the head says only {count} entries")]
    BeyondHead {
        /// How many entries the head says.
        count: u64,
    },
    /// The log's last chain value is not the head's.
    #[error("the head names another chain value")]
    OtherHead,
    /// The bytes are not an entry.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The entry is older than the one before it.
    #[error("earlier than the entry before it")]
    TimeRunsBack,
    /// The entry cannot follow what the log said before.
    #[error(transparent)]
    Twist(#[from] Twist),
}

/// Verifies a whole log.
///
/// # Errors
/// The first [`Fault`].
pub fn verify(rows: impl IntoIterator<Item = Row>, head: &Head) -> Result<Summary, Fault> {
    let mut verifier = Verifier::default();
    rows.into_iter().try_for_each(|row| verifier.push(&row))?;
    verifier.finish(head)
}

/// A verification under way. What it keeps grows with the calls and holds that are open at the
/// current entry, not with the log.
#[derive(Debug)]
pub struct Verifier {
    head: Head,
    time: Timestamp,
    story: Story,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { head: Head::EMPTY, time: Timestamp::MIN, story: Story::default() }
    }
}

impl Verifier {
    /// Checks the next row.
    ///
    /// # Errors
    /// The first [`Fault`]; nothing may be pushed after it.
    pub fn push(&mut self, row: &Row) -> Result<(), Fault> {
        let expected = self.head.count.saturating_add(1);
        if row.index > expected {
            return Err(Fault { index: expected, what: What::Missing { next: row.index } });
        }
        self.check(row, expected).map_err(|what| Fault { index: row.index, what })
    }

    fn check(&mut self, row: &Row, expected: u64) -> Result<(), What> {
        if row.index < expected {
            return Err(What::OutOfOrder { after: self.head.count });
        }
        let chain = chain::next(&self.head.chain, &chain::leaf(&row.body));
        if row.chain != chain.as_bytes() {
            return Err(What::Edited);
        }
        let entry = chain::read(&row.body)?;
        if entry.time < self.time {
            return Err(What::TimeRunsBack);
        }
        self.story.follow(&entry.event, entry.time)?;
        self.time = entry.time;
        self.head = Head { count: row.index, chain };
        Ok(())
    }

    /// Checks the end against the stored head.
    ///
    /// # Errors
    /// [`What::Truncated`], [`What::BeyondHead`] or [`What::OtherHead`].
    pub fn finish(self, head: &Head) -> Result<Summary, Fault> {
        let Head { count, chain } = self.head;
        if count < head.count {
            let what = What::Truncated { count: head.count };
            return Err(Fault { index: count.saturating_add(1), what });
        }
        if count > head.count {
            let what = What::BeyondHead { count: head.count };
            return Err(Fault { index: head.count.saturating_add(1), what });
        }
        if chain != head.chain {
            return Err(Fault { index: count, what: What::OtherHead });
        }
        Ok(self.story.end(self.head))
    }
}
