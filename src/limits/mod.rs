//! Rate limits: how often who may call what, counted by verified identity (GCRA, design §6).

pub mod budgets;
mod counts;
pub mod held;
mod places;
mod reading;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use crate::catalog::CheckedArguments;
use crate::clock::Clock;
use crate::policy::{Dimension, Limit, Policy};
use crate::principal::Principal;

use counts::{Counts, Key};

pub use budgets::{Budgets, Reservation, Spender};
pub use places::{Place, Places};
pub use reading::{Left, Reading};

/// How many keys one limit keeps before idle ones are swept out.
const SWEEP_ABOVE: usize = 100_000;

type Limiter = RateLimiter<Key, Counts, MonotonicClock, NoOpMiddleware<Moment>>;

/// The counters of all limits of the revision in force.
pub struct Limits {
    clock: Arc<dyn Clock>,
    counters: Mutex<HashMap<String, Counter>>,
}

/// One limit's counter, with the numbers it was made for.
struct Counter {
    shape: (u32, Duration, u32),
    limiter: Arc<Limiter>,
    /// What the limiter has counted, to be read.
    counts: Counts,
    /// When it was made: what it keeps is counted from there.
    since: Duration,
}

/// Whom a call is counted for.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The verified agent.
    pub principal: &'a Principal,
    /// The client program, as it names itself.
    pub client: Option<&'a str>,
    /// The workflow, as the caller names it.
    pub workflow: Option<&'a str>,
}

/// A limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub limit: String,
    /// How many calls it lets through per `period`.
    pub count: u32,
    /// The period.
    pub period: Duration,
    /// When the next call fits, rounded up to seconds.
    pub wait: Duration,
}

impl Limits {
    /// Counters that have counted nothing.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counters: Mutex::default() }
    }

    /// Counts the call against every limit that matches it.
    ///
    /// # Errors
    /// With the first limit that is reached, and when to come back.
    pub fn reserve(
        &self,
        policy: &Policy,
        caller: Caller<'_>,
        checked: &CheckedArguments,
    ) -> Result<(), Reached> {
        for limit in policy.limits() {
            if !limit.matches(caller.principal, caller.client, checked) {
                continue;
            }
            let limiter = self.limiter(limit);
            if let Err(wait) = limiter.check_key(&key(limit, caller, checked)) {
                let wait = wait.wait_time_from(limiter.clock().now());
                let wait = Duration::from_secs(wait.as_secs() + 1);
                let (count, period) = (limit.count.get(), limit.period);
                return Err(Reached { limit: limit.name.clone(), count, period, wait });
            }
        }
        Ok(())
    }

    fn limiter(&self, limit: &Limit) -> Arc<Limiter> {
        let shape = (limit.count.get(), limit.period, limit.burst.get());
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(&limit.name).filter(|counter| counter.shape == shape) {
            if counter.limiter.len() > SWEEP_ABOVE {
                counter.limiter.retain_recent();
            }
            return Arc::clone(&counter.limiter);
        }
        let each = limit.period / limit.count.get();
        let quota = Quota::with_period(each)
            .unwrap_or_else(|| Quota::per_hour(limit.count))
            .allow_burst(limit.burst);
        let clock = MonotonicClock(Arc::clone(&self.clock));
        let (counts, since) = (Counts::default(), self.clock.monotonic());
        let limiter = Arc::new(RateLimiter::new(quota, counts.clone(), clock));
        let counter = Counter { shape, limiter: Arc::clone(&limiter), counts, since };
        counters.insert(limit.name.clone(), counter);
        limiter
    }
}

/// What a call is counted under: only what was verified, or is the gateway's own.
fn key(limit: &Limit, caller: Caller<'_>, checked: &CheckedArguments) -> Key {
    let agent = caller.principal.agent().as_str();
    let part = |dimension: &Dimension| match dimension {
        Dimension::Agent => (None, agent),
        Dimension::Tool => (None, checked.tool().known_as()),
        Dimension::Backend => (None, &**checked.tool().backend()),
        // Names that a caller chooses are counted within its verified agent only: nobody uses up another's.
        Dimension::Client => (Some(agent), caller.client.unwrap_or_default()),
        Dimension::Workflow => (Some(agent), caller.workflow.unwrap_or_default()),
        Dimension::Gateway => (None, ""),
    };
    Key::of(limit.per.iter().map(part))
}

/// Our monotonic clock as governor wants it.
#[derive(Clone)]
struct MonotonicClock(Arc<dyn Clock>);

/// A moment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Duration);

impl governor::clock::Clock for MonotonicClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(self.0.monotonic())
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, other: Nanos) -> Self {
        Self(self.0 + Duration::from(other))
    }
}

#[cfg(test)]
mod tests;
