//! The clock of a gateway: begins with the operating system's wall clock and then goes on steadily.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::Clock;
use super::source::Source;
use super::steady::Steady;

/// The clock of the operating system, which shows steady time whatever the wall clock is set to.
#[derive(Debug)]
pub struct SystemClock {
    source: Source,
    start: Duration,
    steady: Mutex<Steady>,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Source::default())
    }

    /// A clock that tests may move; its wall clock is `wall_ms` milliseconds off from the beginning.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn movable(wall_ms: i64) -> Self {
        Self::on(Source::movable(wall_ms))
    }

    fn on(source: Source) -> Self {
        let start = source.boot();
        let steady = Mutex::new(Steady::beginning(source.wall(), start));
        Self { source, start, steady }
    }

    fn steady(&self) -> MutexGuard<'_, Steady> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Read under the lock: whoever is second shows no earlier time.
        let steady = self.steady();
        steady.now(self.source.boot())
    }

    fn monotonic(&self) -> Duration {
        self.source.boot().saturating_sub(self.start)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.source.sleep(duration)
    }

    fn ahead(&self) -> SignedDuration {
        let now = self.now();
        self.source.wall().duration_since(now)
    }

    fn follow(&self) -> Option<SignedDuration> {
        let mut steady = self.steady();
        let boot = self.source.boot();
        steady.follow(self.source.wall(), boot)
    }

    fn not_before(&self, mark: Timestamp) {
        let mut steady = self.steady();
        let boot = self.source.boot();
        steady.not_before(mark, boot);
    }

    fn suspended(&self) -> Duration {
        self.source.suspended()
    }

    #[cfg(feature = "testing")]
    fn shift(&self) -> Option<&super::Shift> {
        self.source.shift()
    }
}
