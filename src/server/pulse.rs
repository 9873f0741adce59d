//! How connections are: each notes what last happened on it, and one task looks at all of them and ends
//! those that are too slow. No connection needs a timer of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::edge::Limits;

/// How often connections are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing was asked for long enough.
    Idle,
    /// The head of a request did not come in time.
    SlowHead,
    /// The client does not read what is sent to it.
    Stalled,
}

impl Cut {
    const fn as_number(self) -> u8 {
        match self {
            Self::Idle => 1,
            Self::SlowHead => 2,
            Self::Stalled => 3,
        }
    }

    const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Idle),
            2 => Some(Self::SlowHead),
            3 => Some(Self::Stalled),
            _ => None,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::SlowHead => "slow_head",
            Self::Stalled => "not_read",
        }
    }
}

/// What last happened on one connection. Times are milliseconds of the monotonic clock, never 0.
pub(super) struct Pulse {
    clock: Arc<dyn Clock>,
    /// How many requests are under way: from the end of their head to the end of their answer.
    requests: AtomicU32,
    /// Since when none is.
    free_since: AtomicU64,
    /// Whether there has been one.
    served: AtomicBool,
    /// Whether the connection speaks HTTP/2, where bytes between requests mean nothing.
    multiplexed: AtomicBool,
    /// Since when the head of a request is coming in; 0 while none is.
    head_since: AtomicU64,
    /// Since when nothing can be written; 0 while something can.
    stalled_since: AtomicU64,
    /// By answer: when a piece of it was handed out after which none was asked for yet.
    handed: Mutex<BTreeMap<u32, u64>>,
    next_answer: AtomicU32,
    cut: AtomicU8,
    notify: Notify,
}

impl Pulse {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let now = AtomicU64::new(millis(clock.as_ref()));
        Self {
            clock,
            requests: AtomicU32::new(0),
            free_since: now,
            served: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            head_since: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
            handed: Mutex::default(),
            next_answer: AtomicU32::new(0),
            cut: AtomicU8::new(0),
            notify: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        millis(self.clock.as_ref())
    }

    /// Something was read.
    pub(super) fn read(&self) {
        if self.requests.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Something was written, or could not be.
    pub(super) fn wrote(&self, ready: bool) {
        let since = self.stalled_since.load(Ordering::Relaxed);
        if ready && since != 0 {
            self.stalled_since.store(0, Ordering::Relaxed);
        } else if !ready && since == 0 {
            self.stalled_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A request's head is whole; the request lasts until the ticket is dropped.
    pub(super) fn begin(self: &Arc<Self>, multiplexed: bool) -> Ticket {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
        self.multiplexed.store(multiplexed, Ordering::Relaxed);
        let answer = self.next_answer.fetch_add(1, Ordering::Relaxed);
        Ticket { pulse: Arc::clone(self), answer, handed: false }
    }

    /// Resolves when the connection has to end.
    pub(super) async fn overdue(&self) -> Cut {
        loop {
            self.notify.notified().await;
            if let Some(cut) = self.cut() {
                return cut;
            }
        }
    }

    /// Why the connection has to end, if it has to.
    pub(super) fn cut(&self) -> Option<Cut> {
        Cut::of_number(self.cut.load(Ordering::Relaxed))
    }

    /// Whether part of a request's head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != 0
    }

    fn judge(&self, limits: &Limits, now: u64) -> Option<Cut> {
        let over = |since: u64, limit: Duration| {
            since != 0 && u128::from(now.saturating_sub(since)) >= limit.as_millis()
        };
        let stall = limits.write_stall.0;
        if over(self.stalled_since.load(Ordering::Relaxed), stall)
            || self.handed().values().any(|since| over(*since, stall))
        {
            return Some(Cut::Stalled);
        }
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let free = self.free_since.load(Ordering::Relaxed);
        let head = self.head_since.load(Ordering::Relaxed);
        if !self.served.load(Ordering::Relaxed) {
            return over(free, limits.header_time.0).then_some(Cut::SlowHead);
        }
        if !self.multiplexed.load(Ordering::Relaxed) && head != 0 {
            return over(head, limits.header_time.0).then_some(Cut::SlowHead);
        }
        over(free, limits.keep_alive.0).then_some(Cut::Idle)
    }

    fn handed(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way.
pub(super) struct Ticket {
    pulse: Arc<Pulse>,
    answer: u32,
    handed: bool,
}

impl Ticket {
    /// A piece of the answer was asked for: all before it is on its way.
    pub(super) fn asked(&mut self) {
        if std::mem::take(&mut self.handed) {
            self.pulse.handed().remove(&self.answer);
        }
    }

    /// A piece of the answer was handed out.
    pub(super) fn handed(&mut self) {
        self.handed = true;
        let now = self.pulse.now();
        self.pulse.handed().insert(self.answer, now);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.asked();
        self.pulse.free_since.store(self.pulse.now(), Ordering::Relaxed);
        self.pulse.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All connections of one listener.
pub(super) struct Pulses {
    clock: Arc<dyn Clock>,
    open: Mutex<(u64, HashMap<u64, Arc<Pulse>>)>,
}

impl Pulses {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, open: Mutex::default() })
    }

    /// A new connection; it is looked at until the guard is dropped.
    pub(super) fn open(self: &Arc<Self>) -> Watched {
        let pulse = Arc::new(Pulse::new(Arc::clone(&self.clock)));
        let mut open = self.lock();
        open.0 = open.0.wrapping_add(1);
        let id = open.0;
        open.1.insert(id, Arc::clone(&pulse));
        Watched { pulse, id, all: Arc::clone(self) }
    }

    /// Looks at all connections again and again; tells `count` why one was ended.
    pub(super) async fn watch(self: Arc<Self>, limits: Limits, count: impl Fn(&'static str)) {
        loop {
            self.clock.sleep(LOOK).await;
            let now = millis(self.clock.as_ref());
            for pulse in self.lock().1.values() {
                let Some(mut cut) = pulse.judge(&limits, now) else { continue };
                match pulse.cut() {
                    // It was asked to end and did not.
                    Some(_) => cut = Cut::Stalled,
                    None => count(cut.reason()),
                }
                pulse.cut.store(cut.as_number(), Ordering::Relaxed);
                pulse.notify.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Pulse>>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is looked at.
pub(super) struct Watched {
    pub(super) pulse: Arc<Pulse>,
    id: u64,
    all: Arc<Pulses>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.all.lock().1.remove(&self.id);
    }
}

fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX).max(1)
}
