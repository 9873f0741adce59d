//! More time for people, when they could not decide while it was running.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Hold, Lost, State};

/// That people got more time, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extension {
    /// When they got it.
    pub at: Timestamp,
    /// Until when they could have decided before.
    pub before: Timestamp,
    /// Why they got it.
    pub why: String,
}

impl Hold {
    /// People may decide until `decide_by`. Only the time to decide can be extended, never the time in
    /// which an approved call may run.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not pending, or people have that much time anyway.
    pub fn extend(mut self, decide_by: Timestamp, at: Timestamp, why: &str) -> Result<Self, Lost> {
        if !matches!(self.state, State::Pending { .. }) {
            return Err(Lost::Already(self.state.name()));
        }
        if decide_by <= self.decide_by {
            return Err(Lost::TooLate(self.decide_by));
        }
        self.extended = Some(Extension { at, before: self.decide_by, why: why.to_owned() });
        self.decide_by = decide_by;
        Ok(self)
    }
}
