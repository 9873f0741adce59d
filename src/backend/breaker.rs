//! A circuit breaker: a server that fails again and again is left alone for a while, and then tried once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::BackendError;
use crate::clock::Clock;

/// How many of the latest calls are looked at.
const WINDOW: usize = 10;
/// How many of them have to have failed.
const FAILURES: usize = 5;
/// After how long an old call says nothing about now.
const FRESH: Duration = Duration::from_secs(60);
/// How long the server is left alone, at first and at the most; it doubles with each try that fails.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The breaker of one backend.
pub(super) struct Breaker {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Calls pass; the latest, when they ended and whether they failed.
    Closed(VecDeque<(Duration, bool)>),
    /// None pass until then; then one does.
    Open { until: Duration, rest: Duration },
    /// One is under way, and says how it goes on.
    Trying { rest: Duration },
}

/// The right to make one call; says how it went, or that it never came to it.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_try: bool,
    told: bool,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::new(State::Closed(VecDeque::new())) })
    }

    /// Whether calls pass.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed(_))
    }

    /// The right to make a call.
    ///
    /// # Errors
    /// [`BackendError::Resting`] while the server is left alone. Nothing ran.
    pub(super) fn pass(self: &Arc<Self>) -> Result<Pass, BackendError> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let is_try = match &*state {
            State::Closed(_) => false,
            State::Open { until, rest } if now >= *until => {
                let rest = *rest;
                *state = State::Trying { rest };
                true
            }
            State::Open { until, .. } => {
                return Err(BackendError::Resting { after: until.saturating_sub(now) });
            }
            State::Trying { .. } => return Err(BackendError::Resting { after: REST.0 }),
        };
        Ok(Pass { breaker: Arc::clone(self), is_try, told: false })
    }

    fn ended(&self, is_try: bool, failed: bool) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        match &mut *state {
            State::Trying { rest } if is_try && failed => {
                let rest = rest.saturating_mul(2).min(REST.1);
                *state = State::Open { until: now.saturating_add(rest), rest };
            }
            State::Trying { .. } if is_try => *state = State::Closed(VecDeque::new()),
            State::Closed(latest) => {
                latest.push_back((now, failed));
                while latest.len() > WINDOW
                    || latest.front().is_some_and(|(at, _)| now.saturating_sub(*at) > FRESH)
                {
                    latest.pop_front();
                }
                if latest.iter().filter(|(_, failed)| *failed).count() >= FAILURES {
                    *state = State::Open { until: now.saturating_add(REST.0), rest: REST.0 };
                }
            }
            // Calls from before it opened say nothing new.
            State::Open { .. } | State::Trying { .. } => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// What the call says of its server. An answer of any kind is one, and what the caller did says nothing.
    pub(super) fn tell<T>(mut self, result: &Result<T, BackendError>) {
        let failed = match result {
            Ok(_) => false,
            Err(error) => match error {
                BackendError::Unavailable(_) | BackendError::Died(_) => true,
                BackendError::Refused { .. }
                | BackendError::Needs { .. }
                | BackendError::Nonsense(_)
                | BackendError::Unanswered(_)
                | BackendError::TooLarge { .. } => false,
                BackendError::Busy { .. }
                | BackendError::Resting { .. }
                | BackendError::Unfit(_)
                | BackendError::Timeout(_)
                | BackendError::Halted { .. }
                | BackendError::Cancelled => return,
            },
        };
        self.told = true;
        self.breaker.ended(self.is_try, failed);
    }
}

impl Drop for Pass {
    /// A try that told nothing leaves the place to the next.
    fn drop(&mut self) {
        if !self.told && self.is_try {
            let now = self.breaker.clock.monotonic();
            let mut state = self.breaker.state();
            if let State::Trying { rest } = &*state {
                let rest = *rest;
                *state = State::Open { until: now, rest };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn died() -> Result<(), BackendError> {
        Err(BackendError::Died("reset".to_owned()))
    }

    #[test]
    fn n5_it_opens_on_failures_tries_once_and_closes_on_an_answer() {
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let breaker = Breaker::new(Arc::clone(&clock) as Arc<dyn Clock>);
        // Every other call fails, and what the caller did does not count.
        for _ in 0..4 {
            breaker.pass().unwrap().tell(&died());
            breaker.pass().unwrap().tell(&Ok(()));
            breaker.pass().unwrap().tell::<()>(&Err(BackendError::Cancelled));
        }
        assert!(breaker.is_closed());
        breaker.pass().unwrap().tell(&died());
        assert!(!breaker.is_closed());
        let refused = breaker.pass().err().unwrap();
        assert!(matches!(refused, BackendError::Resting { after } if after == REST.0), "{refused}");
        clock.advance(REST.0);
        let one = breaker.pass().unwrap();
        assert!(breaker.pass().is_err(), "only one tries");
        // Taken back before it told anything: the next tries.
        drop(one);
        breaker.pass().unwrap().tell(&died());
        clock.advance(REST.0);
        assert!(breaker.pass().is_err(), "the rest has doubled");
        clock.advance(REST.0);
        breaker.pass().unwrap().tell(&Ok(()));
        assert!(breaker.is_closed());
        // What failed long ago says nothing.
        for _ in 0..20 {
            breaker.pass().unwrap().tell(&died());
            clock.advance(FRESH / 3);
            if breaker.is_closed() {
                breaker.pass().unwrap().tell(&Ok(()));
            }
        }
        assert!(breaker.is_closed());
    }
}
