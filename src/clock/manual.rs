//! A clock that stands still until it is moved; for tests.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::Clock;

/// A clock that stands still until it is moved; for tests.
#[derive(Debug)]
pub struct ManualClock {
    elapsed: tokio::sync::watch::Sender<Duration>,
    start: Timestamp,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { elapsed: tokio::sync::watch::Sender::new(Duration::ZERO), start }
    }

    /// Moves the clock forward and wakes whoever waited for a moment that has now passed.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start.saturating_add(*self.elapsed.borrow()).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut elapsed = self.elapsed.subscribe();
        let due = *elapsed.borrow() + duration;
        Box::pin(async move {
            if elapsed.wait_for(|now| *now >= due).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
