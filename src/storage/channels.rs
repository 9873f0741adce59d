//! What is kept of a channel of notices: how far it has come, and how its last message went.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoredEntry;
use crate::digest::Digest;
use crate::ids::HoldId;

/// How far one channel has come in the log, and how its last message went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// The last entry that is dealt with.
    pub cursor: u64,
    /// The last entry of a summary that was tried and not delivered yet, so that it keeps its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summing: Option<u64>,
    /// Holds that were told, newest last, so that identical ones are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
    /// The last attempt whose result differs from the one before, or the last that went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Delivery>,
    /// How many messages were given up since somebody last tested the channel.
    #[serde(default)]
    pub given_up: u64,
}

impl ChannelState {
    /// Adds holds that were told, and forgets the oldest beyond `most`.
    pub fn remember(&mut self, told: Vec<Told>, most: usize) {
        self.told.extend(told);
        let beyond = self.told.len().saturating_sub(most);
        self.told.drain(..beyond);
    }
}

/// A hold that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The digest of its call.
    pub digest: Digest,
    /// The hold.
    pub hold: HoldId,
}

/// How a message went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When.
    pub at: Timestamp,
    /// Why it was not delivered, if it was not; without URL and secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A part of the log, without the entries that name no hold.
#[derive(Clone, Debug)]
pub struct ToldEntries {
    /// The entries, in order.
    pub entries: Vec<StoredEntry>,
    /// The last entry that was looked at.
    pub reached: u64,
}
