//! The clocks of the operating system, read here and nowhere else.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

#[cfg(feature = "testing")]
use super::Shift;

/// The clock that goes on while the machine is suspended.
#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::CLOCK_MONOTONIC;

/// What the operating system says, moved by tests where they may.
#[derive(Debug, Default)]
pub(super) struct Source {
    #[cfg(feature = "testing")]
    shift: Option<Shift>,
}

impl Source {
    /// A source that tests may move.
    #[cfg(feature = "testing")]
    pub(super) fn movable(wall_ms: i64) -> Self {
        Self { shift: Some(Shift::new(wall_ms)) }
    }

    /// The wall clock: whoever administers the machine may set it to anything.
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    pub(super) fn wall(&self) -> Timestamp {
        let wall = Timestamp::now();
        #[cfg(feature = "testing")]
        let wall = self.shift.as_ref().map_or(wall, |shift| shift.wall(wall));
        wall
    }

    /// Time since the machine started, suspended or not. Nobody can set it.
    pub(super) fn boot(&self) -> Duration {
        let boot = read(BOOT);
        #[cfg(feature = "testing")]
        let boot = boot + self.shift.as_ref().map_or(Duration::ZERO, Shift::passed);
        boot
    }

    /// For how long the machine has been suspended since it started.
    pub(super) fn suspended(&self) -> Duration {
        let awake = read(ClockId::CLOCK_MONOTONIC);
        let suspended = read(BOOT).saturating_sub(awake);
        #[cfg(feature = "testing")]
        let suspended = suspended + self.shift.as_ref().map_or(Duration::ZERO, Shift::suspended);
        suspended
    }

    /// Resolves when `duration` has passed.
    pub(super) fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        #[cfg(feature = "testing")]
        if let Some(shift) = &self.shift {
            return shift.sleep(duration);
        }
        Box::pin(tokio::time::sleep(duration))
    }

    /// What moves it.
    #[cfg(feature = "testing")]
    pub(super) const fn shift(&self) -> Option<&Shift> {
        self.shift.as_ref()
    }
}

/// Reads one clock. It fails only for a clock that the kernel does not have; then time stands still.
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}
