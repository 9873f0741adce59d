//! The clock of a gateway: the operating system's.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::Clock;
use super::source::Source;

/// The clock of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    source: Source,
    start: Duration,
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
        Self { source, start }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.source.wall()
    }

    fn monotonic(&self) -> Duration {
        self.source.boot().saturating_sub(self.start)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.source.sleep(duration)
    }

    #[cfg(feature = "testing")]
    fn shift(&self) -> Option<&super::Shift> {
        self.source.shift()
    }
}
