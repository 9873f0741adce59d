//! Time, the one place it comes from: wall time for people and records, monotonic time for waiting.

mod manual;
#[cfg(feature = "testing")]
mod shift;
mod source;
mod system;

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

pub use manual::ManualClock;
#[cfg(feature = "testing")]
pub use shift::Shift;
pub use system::SystemClock;

/// A source of time. Everything that asks what time it is, or waits, does so here.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, in UTC.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point; never goes back.
    fn monotonic(&self) -> Duration;
    /// Resolves when `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// What moves this clock, if tests may.
    #[cfg(feature = "testing")]
    fn shift(&self) -> Option<&Shift> {
        None
    }
}
