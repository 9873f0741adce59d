//! How often somebody may try to sign in: counted for the name that is tried and for the address it comes from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// How many names and addresses are remembered; beyond that the one that was longest not heard of is forgotten.
const MAX_KEYS: usize = 20_000;

/// A bucket of tries: how many at once, and after how long there is one more.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// Ten wrong passwords for one name, then one a minute: half a million guesses take a year.
const OF_NAME: Rate = Rate { burst: 10, every: Duration::from_secs(60) };
/// An office behind one address signs in at once; who guesses many names gets on no faster than this.
const OF_ADDRESS: Rate = Rate { burst: 60, every: Duration::from_secs(5) };

/// Whom a try is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    /// An IPv4 address or the /64 that an IPv6 address is one of: who has one has them all.
    Address(u64),
    /// Where no address is known, all share one count.
    Unknown,
}

/// The time when all tries are there again, for each key that has used some.
pub struct Attempts {
    clock: Arc<dyn Clock>,
    full_at: Mutex<HashMap<Key, Duration>>,
}

/// Too many tries; one more after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How long.
    pub wait: Duration,
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}

impl Attempts {
    /// Nobody has tried yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, full_at: Mutex::default() }
    }

    /// Counts a try from an address.
    ///
    /// # Errors
    /// When there were too many; this one is not counted then.
    pub fn from_address(&self, address: Option<IpAddr>) -> Result<(), TooMany> {
        let key = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Key::Address(u64::from(u32::from(address))),
            Some(IpAddr::V6(address)) => Key::Address((u128::from(address) >> 64) as u64 | 1 << 63),
            None => Key::Unknown,
        };
        self.count(key, OF_ADDRESS)
    }

    /// Counts a try for a name, whether anybody has it or not.
    ///
    /// # Errors
    /// When there were too many; this one is not counted then.
    pub fn for_name(&self, name: &str) -> Result<(), TooMany> {
        self.count(Key::Name(name.to_ascii_lowercase()), OF_NAME)
    }

    /// Forgets the tries for a name whose person has signed in.
    pub fn succeeded(&self, name: &str) {
        let key = Key::Name(name.to_ascii_lowercase());
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    fn count(&self, key: Key, rate: Rate) -> Result<(), TooMany> {
        let now = self.clock.monotonic();
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = all.get(&key).copied().unwrap_or(now).max(now) + rate.every;
        let most = now + rate.every * rate.burst;
        if full_at > most {
            return Err(TooMany { wait: full_at - most });
        }
        if all.len() >= MAX_KEYS && !all.contains_key(&key) {
            all.retain(|_, full_at| *full_at > now);
            if all.len() >= MAX_KEYS
                && let Some(oldest) =
                    all.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
            {
                all.remove(&oldest);
            }
        }
        all.insert(key, full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn attempts() -> (Arc<ManualClock>, Attempts) {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        (Arc::clone(&clock), Attempts::new(clock))
    }

    #[test]
    fn a_name_has_ten_tries_and_then_one_a_minute() {
        let (clock, attempts) = attempts();
        for _ in 0..10 {
            attempts.for_name("ada").unwrap();
        }
        let TooMany { wait } = attempts.for_name("ADA").unwrap_err();
        assert_eq!(wait, Duration::from_secs(60));
        attempts.for_name("bob").unwrap();
        clock.advance(Duration::from_secs(60));
        attempts.for_name("ada").unwrap();
        attempts.for_name("ada").unwrap_err();
        attempts.succeeded("ada");
        attempts.for_name("ada").unwrap();
    }

    #[test]
    fn who_has_one_address_of_a_network_has_them_all() {
        let (_, attempts) = attempts();
        for last in 0..60 {
            let address = format!("2001:db8::{last:x}").parse().unwrap();
            attempts.from_address(Some(address)).unwrap();
        }
        attempts.from_address(Some("2001:db8::ffff".parse().unwrap())).unwrap_err();
        attempts.from_address(Some("2001:db8:0:1::1".parse().unwrap())).unwrap();
        attempts.from_address(Some("::ffff:192.0.2.1".parse().unwrap())).unwrap();
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory() {
        let (_, attempts) = attempts();
        for number in 0..MAX_KEYS + 100 {
            attempts.for_name(&format!("name-{number}")).unwrap();
        }
        assert_eq!(attempts.full_at.lock().unwrap().len(), MAX_KEYS);
    }
}
