//! By how much tests have moved the clock of a running gateway; only test builds have it.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// What a test has added to the clocks of the operating system.
#[derive(Debug)]
pub struct Shift(watch::Sender<Added>);

#[derive(Clone, Copy, Debug)]
struct Added {
    wall: SignedDuration,
    passed: Duration,
    suspended: Duration,
}

impl Shift {
    /// Nothing has been added but `wall_ms` milliseconds to the wall clock.
    pub(super) fn new(wall_ms: i64) -> Self {
        let wall = SignedDuration::from_millis(wall_ms);
        Self(watch::Sender::new(Added { wall, passed: Duration::ZERO, suspended: Duration::ZERO }))
    }

    /// Lets `by` pass, on every clock, and wakes whoever waited for a moment that has now passed.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|added| {
            added.wall = added.wall.saturating_add(signed(by));
            added.passed = added.passed.saturating_add(by);
        });
    }

    /// Suspends the machine for `by`, and wakes it.
    pub fn suspend(&self, by: Duration) {
        self.0.send_modify(|added| {
            added.suspended = added.suspended.saturating_add(by);
            added.wall = added.wall.saturating_add(signed(by));
            added.passed = added.passed.saturating_add(by);
        });
    }

    /// Sets the wall clock, and nothing else, forward or back.
    pub fn jump(&self, by: SignedDuration) {
        self.0.send_modify(|added| added.wall = added.wall.saturating_add(by));
    }

    /// The wall clock, moved.
    pub(super) fn wall(&self, wall: Timestamp) -> Timestamp {
        wall.saturating_add(self.0.borrow().wall).unwrap_or(Timestamp::MAX)
    }

    /// How much time has been added.
    pub(super) fn passed(&self) -> Duration {
        self.0.borrow().passed
    }

    /// For how long the machine has been suspended.
    pub(super) fn suspended(&self) -> Duration {
        self.0.borrow().suspended
    }

    /// Resolves when `duration` has passed, really or because a test said so.
    pub(super) fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut added = self.0.subscribe();
        let (begun, before) = (tokio::time::Instant::now(), added.borrow().passed);
        Box::pin(async move {
            loop {
                let added_since = added.borrow_and_update().passed.saturating_sub(before);
                let left = duration.saturating_sub(begun.elapsed()).saturating_sub(added_since);
                if left.is_zero() {
                    return;
                }
                // Moved or not: what is left is reckoned anew.
                drop(tokio::time::timeout(left, added.changed()).await);
            }
        })
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
