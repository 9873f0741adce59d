//! Results that are kept for a while, where a tool's manifest says so: such a call is decided and recorded like any
//! other, and only its backend is not asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::backend::{BackendError, Journey, Prepared, RawResult};
use crate::catalog::{CacheScope, CheckedResult};
use crate::digest::{self, Digest};
use crate::gateway::{Gateway, InForce, Revision};
use crate::halts::Pass;
use crate::ids::AgentName;
use crate::policy::Permit;
use crate::storage::Receipt;

/// How many results are kept at the most; the oldest makes room.
const MAX_RESULTS: usize = 10_000;
/// How many bytes of results are kept at the most.
const MAX_BYTES: usize = 64 << 20;
/// The largest result that is kept, in bytes.
const MAX_RESULT_BYTES: usize = 1 << 20;
/// What stands in a result in place of a secret.
const REDACTED: &str = "[redacted:";

/// Which calls a kept result answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    revision: Digest,
    /// None where all agents share it.
    agent: Option<AgentName>,
    tool: String,
    definition: Digest,
    arguments: Digest,
}

struct Entry {
    text: Box<RawValue>,
    /// By the steady clock.
    until: Duration,
    /// Which of those that were kept under its key.
    number: u64,
}

/// Results that are kept.
#[derive(Default)]
pub struct Results(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// In the order in which they were kept, those that were replaced too.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    numbers: u64,
}

/// How a permitted call gets its result.
pub(super) enum Way {
    /// It is kept.
    Kept(Box<RawValue>),
    /// Its backend is asked.
    Backend(Box<Prepared>),
}

impl Way {
    pub(super) const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// Finds a kept result, or prepares to ask the backend.
pub(super) async fn prepare(
    gateway: &Gateway,
    revision: &InForce,
    permit: &Permit,
    pass: &Pass,
) -> Result<Way, Refusal> {
    let kept =
        key(revision, permit).and_then(|key| gateway.results.find(&key, gateway.clock.monotonic()));
    match kept {
        Some(text) => Ok(Way::Kept(text)),
        None => Ok(Way::Backend(Box::new(revision.backends.prepare(permit, pass).await?))),
    }
}

/// Gets the result the way that was prepared.
pub(super) async fn fetch(
    revision: &InForce,
    permit: &Permit,
    receipt: &Receipt,
    way: Way,
    journey: Journey,
) -> Result<RawResult, BackendError> {
    match way {
        Way::Kept(text) => match journey.pass.halt() {
            Some(halt) => Err(BackendError::Halted { halt: Arc::clone(halt), ran: false }),
            None => Ok(RawResult(text)),
        },
        Way::Backend(prepared) => {
            revision.backends.dispatch(permit, receipt, *prepared, journey).await
        }
    }
}

/// Keeps the result of a call whose backend was asked, if its tool's manifest says so and nothing is wrong with it.
pub(super) fn keep(
    gateway: &Gateway,
    revision: &Revision,
    permit: &Permit,
    result: &CheckedResult,
) {
    let (Some(key), Some(cache)) = (key(revision, permit), permit.tool().cache()) else { return };
    let text = result.text().get();
    if result.is_error() || text.len() > MAX_RESULT_BYTES || text.contains(REDACTED) {
        return;
    }
    let until = gateway.clock.monotonic().saturating_add(cache.ttl.0);
    gateway.results.keep(key, result.text().to_owned(), until, gateway.clock.monotonic());
}

/// Which kept result answers a call; none where its tool keeps none, people approved that it runs, or rules take
/// something out of it.
fn key(revision: &Revision, permit: &Permit) -> Option<Key> {
    let tool = permit.tool();
    let plain = permit.approval().is_none() && permit.redactions().is_empty();
    let cache = tool.cache().filter(|_| plain)?;
    let arguments = digest::canonical(permit.arguments()).ok()?;
    Some(Key {
        revision: revision.digest,
        agent: (cache.scope == CacheScope::Agent).then(|| permit.agent().clone()),
        tool: tool.name().to_owned(),
        definition: *tool.fingerprint(),
        arguments: Digest::of(&arguments),
    })
}

impl Results {
    fn find(&self, key: &Key, now: Duration) -> Option<Box<RawValue>> {
        let mut kept = self.lock();
        let entry = kept.entries.get(key)?;
        if now < entry.until {
            return Some(entry.text.clone());
        }
        kept.remove(key);
        None
    }

    /// Keeps a result, unless one is kept already: what is answered again and again gets no younger by it.
    fn keep(&self, key: Key, text: Box<RawValue>, until: Duration, now: Duration) {
        let mut kept = self.lock();
        if kept.entries.get(&key).is_some_and(|entry| now < entry.until) {
            return;
        }
        kept.remove(&key);
        kept.numbers = kept.numbers.saturating_add(1);
        let number = kept.numbers;
        kept.bytes = kept.bytes.saturating_add(text.get().len());
        kept.order.push_back((key.clone(), number));
        kept.entries.insert(key, Entry { text, until, number });
        while kept.bytes > MAX_BYTES || kept.order.len() > MAX_RESULTS {
            let Some((oldest, number)) = kept.order.pop_front() else { break };
            if kept.entries.get(&oldest).is_some_and(|entry| entry.number == number) {
                kept.remove(&oldest);
            }
        }
    }

    /// Forgets everything: another revision is in force.
    pub fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.text.get().len());
        }
    }
}
