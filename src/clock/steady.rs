//! Time that no setting of the wall clock moves: it goes on by the clock that counts since boot.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A wall clock that is less than this away is followed; one that is further away was set.
pub const NEAR: Duration = Duration::from_secs(2);

/// Besides [`NEAR`], the two may drift apart by one part in so many; what a quartz does, and far less
/// than many small steps could add up to.
const DRIFT: u32 = 10_000;

/// A time that began at some moment of the wall clock and goes on by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    /// Where it began, and when since boot.
    began: (Timestamp, Duration),
    /// What it showed at a later moment since boot.
    shown: (Timestamp, Duration),
    /// How far it was ahead of the wall clock then; it loses that by going at half speed.
    lag: Duration,
}

impl Steady {
    /// Time that shows `time` when `boot` has passed since boot.
    pub(super) const fn beginning(time: Timestamp, boot: Duration) -> Self {
        Self { began: (time, boot), shown: (time, boot), lag: Duration::ZERO }
    }

    /// What it shows at `boot`.
    pub(super) fn now(&self, boot: Duration) -> Timestamp {
        let (time, at) = self.shown;
        let passed = boot.saturating_sub(at);
        later(time, passed.saturating_sub(self.lag.min(passed / 2)))
    }

    /// Shows at least `mark` from `boot` on.
    pub(super) fn not_before(&mut self, mark: Timestamp, boot: Duration) {
        if mark > self.now(boot) {
            *self = Self::beginning(mark, boot);
        }
    }

    /// Follows `wall` if it is near; otherwise stays as it is and says how far `wall` is ahead.
    pub(super) fn follow(&mut self, wall: Timestamp, boot: Duration) -> Option<SignedDuration> {
        let now = self.now(boot);
        let ahead = wall.duration_since(now);
        let (began, at) = self.began;
        let passed = boot.saturating_sub(at);
        // Reckoned from the beginning, so that a clock cannot be led away in small steps.
        let led = wall.duration_since(later(began, passed)).unsigned_abs();
        if ahead.unsigned_abs() >= NEAR || led >= NEAR + passed / DRIFT {
            return Some(ahead);
        }
        self.shown = (now.max(wall), boot);
        self.lag = if ahead.is_negative() { ahead.unsigned_abs() } else { Duration::ZERO };
        None
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: f64) -> Timestamp {
        let since = SignedDuration::from_secs_f64(seconds);
        later(Timestamp::UNIX_EPOCH, DAY * 20_000).saturating_add(since).unwrap()
    }

    fn boot(seconds: f64) -> Duration {
        Duration::from_secs(1000) + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_wall_clock_that_is_set_is_not_followed() {
        for set in [86_400.0, -86_400.0, 2.0, -2.0] {
            let mut steady = Steady::beginning(at(0.0), boot(0.0));
            assert_eq!(steady.follow(at(10.0), boot(10.0)), None);
            let ahead = steady.follow(at(20.0 + set), boot(20.0));
            assert_eq!(ahead, Some(SignedDuration::from_secs_f64(set)));
            assert_eq!(steady.now(boot(30.0)), at(30.0));
            assert_eq!(steady.follow(at(40.0), boot(40.0)), None, "it was set right");
        }
    }

    #[test]
    fn a_near_wall_clock_is_followed_and_time_never_goes_back() {
        let mut steady = Steady::beginning(at(0.0), boot(0.0));
        assert_eq!(steady.follow(at(11.5), boot(10.0)), None);
        assert_eq!(steady.now(boot(10.0)), at(11.5));
        // A leap second, and a half: time goes at half speed until the wall clock has caught up.
        assert_eq!(steady.follow(at(10.0), boot(10.0)), None);
        assert_eq!(steady.now(boot(10.0)), at(11.5));
        assert_eq!(steady.now(boot(11.0)), at(12.0));
        assert_eq!(steady.now(boot(13.0)), at(13.0));
        assert_eq!(steady.now(boot(20.0)), at(20.0));
    }

    #[test]
    fn small_steps_do_not_lead_it_away() {
        for step in [1.9, -1.9] {
            let mut steady = Steady::beginning(at(0.0), boot(0.0));
            for n in 1..=1000 {
                let n = f64::from(n);
                steady.follow(at(n + n * step), boot(n));
                let led = steady.now(boot(n)).duration_since(at(n)).unsigned_abs();
                assert!(led < NEAR + Duration::from_secs(1), "{led:?} after {n} steps");
            }
        }
    }

    #[test]
    fn it_goes_on_from_the_mark() {
        let mut steady = Steady::beginning(at(0.0), boot(0.0));
        steady.not_before(at(-5.0), boot(1.0));
        assert_eq!(steady.now(boot(1.0)), at(1.0));
        steady.not_before(at(500.0), boot(1.0));
        assert_eq!(steady.now(boot(2.0)), at(501.0));
        assert_eq!(steady.follow(at(2.0), boot(2.0)), Some(SignedDuration::from_secs(-499)));
    }
}
