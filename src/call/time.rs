//! What passing time asks for: noticing a clock that was set, and giving people time that they did not have.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::NEAR;
use crate::evidence::Event;
use crate::gateway::Gateway;
use crate::storage::{ABSENT, StoreError};

/// How many holds one transaction extends.
const EXTEND_BATCH: u32 = 256;
/// Why people could not decide while the machine was suspended.
const SUSPENDED: &str = "the machine was suspended when the time to decide ended";

/// What was seen of time at the last look.
#[derive(Debug)]
pub struct Watch {
    looked: Timestamp,
    suspended: Duration,
    /// How far ahead the wall clock was when that was last recorded.
    ahead: Option<SignedDuration>,
    /// Whether there may be holds for which time is owed.
    owed: bool,
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        let clock = &gateway.clock;
        Self { looked: clock.now(), suspended: clock.suspended(), ahead: None, owed: true }
    }

    /// Looks at the clocks, and extends the holds for which time is owed. Only after it has succeeded may
    /// holds expire.
    ///
    /// # Errors
    /// When the store fails; the next look tries again.
    pub async fn look(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        self.look_at_wall_clock(gateway).await?;
        self.look_for_suspension(gateway).await?;
        while self.owed {
            self.owed = give_time(gateway).await?;
        }
        Ok(())
    }

    async fn look_at_wall_clock(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        let Some(ahead) = gateway.clock.follow() else {
            if self.ahead.take().is_some() {
                tracing::warn!("the machine's clock agrees with the gateway's again");
            }
            return Ok(());
        };
        let known = |before: SignedDuration| ahead.saturating_sub(before).unsigned_abs() < NEAR;
        if self.ahead.is_some_and(known) {
            return Ok(());
        }
        let now = gateway.clock.now();
        let wall = now.saturating_add(ahead).unwrap_or(now);
        gateway.store.record(Event::ClockSkew { wall, gateway: now }).await?;
        gateway.metrics.clock_jumped();
        tracing::warn!(%wall, gateway = %now, "the machine's clock was set; the gateway's goes on");
        self.ahead = Some(ahead);
        Ok(())
    }

    async fn look_for_suspension(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        let (now, suspended) = (gateway.clock.now(), gateway.clock.suspended());
        if suspended.saturating_sub(self.suspended) > ABSENT {
            self.owed |= gateway.store.note_absence(self.looked, now, SUSPENDED).await?;
        }
        (self.looked, self.suspended) = (now, suspended);
        Ok(())
    }
}

/// Extends some of the holds for which time is owed; says whether there may be more.
///
/// # Errors
/// When the store fails.
pub async fn give_time(gateway: &Gateway) -> Result<bool, StoreError> {
    let grace = gateway.config.holds.expiry_grace.0;
    Ok(gateway.store.extend_holds(grace, EXTEND_BATCH).await? == EXTEND_BATCH)
}
