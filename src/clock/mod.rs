//! Time, the one place it comes from: steady time for people and records, monotonic time for waiting.

mod manual;
#[cfg(feature = "testing")]
mod shift;
mod source;
mod steady;
mod system;

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

pub use manual::ManualClock;
#[cfg(feature = "testing")]
pub use shift::Shift;
pub use steady::NEAR;
pub use system::SystemClock;

/// A source of time. Everything that asks what time it is, or waits, does so here.
pub trait Clock: Send + Sync + 'static {
    /// The time, in UTC; never goes back.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point, suspended or not; never goes back.
    fn monotonic(&self) -> Duration;
    /// Resolves when `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// How far the machine's wall clock is ahead of [`Clock::now`].
    fn ahead(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    /// Follows the machine's wall clock where that is near; otherwise says how far it is ahead.
    fn follow(&self) -> Option<SignedDuration> {
        None
    }

    /// From now on the clock shows at least `mark`, up to which a record says that time has come.
    fn not_before(&self, mark: Timestamp) {
        let _ = mark;
    }

    /// For how long, since some fixed point, the machine has been suspended.
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }

    /// What moves this clock, if tests may.
    #[cfg(feature = "testing")]
    fn shift(&self) -> Option<&Shift> {
        None
    }
}
