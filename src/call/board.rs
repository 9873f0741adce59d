//! Who in this process waits for which hold, so that a change wakes them and a repeated call joins only
//! what nobody waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::backend::Contact;
use crate::backend::contact::WeakContact;
use crate::ids::{AgentName, HoldId};
use crate::storage::{HoldQuery, Store, StoreError};

/// The holds that somebody in this process waits for, and those that run.
#[derive(Debug)]
pub struct Board {
    /// How long after an agent last asked for a task its hold counts as waited for.
    attended_for: Duration,
    seats: Mutex<Seats>,
    running: Mutex<HashMap<HoldId, CancellationToken>>,
    /// The ways back from holds that run, or are waited for, to who waits for them.
    contacts: Mutex<HashMap<HoldId, WeakContact>>,
}

type Seats = HashMap<HoldId, Seat>;

#[derive(Debug, Default)]
struct Seat {
    /// What ends the waiting of each who waits, by a number of its own.
    waiting: HashMap<u64, CancellationToken>,
    /// The number of the last who came.
    last: u64,
    attended: Option<Duration>,
    changed: Arc<Notify>,
}

/// One who waits for a hold; stops waiting when dropped.
#[derive(Debug)]
pub struct Waiter {
    board: Arc<Board>,
    hold: HoldId,
    number: u64,
    changed: Arc<Notify>,
}

/// The right to run one hold in this process; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    board: Arc<Board>,
    hold: HoldId,
    /// Cancelled when the agent takes the call back while it runs.
    pub cancel: CancellationToken,
}

impl Board {
    /// An empty board for agents that ask for their tasks every `poll_interval`: one that has not asked
    /// three times over has gone away.
    #[must_use]
    pub fn new(poll_interval: Duration) -> Self {
        Self {
            attended_for: poll_interval.saturating_mul(3),
            seats: Mutex::default(),
            running: Mutex::default(),
            contacts: Mutex::default(),
        }
    }

    /// Begins to wait for `hold`, until `stop` is cancelled.
    #[must_use]
    pub fn wait(self: &Arc<Self>, hold: HoldId, stop: &CancellationToken) -> Waiter {
        self.sit(&mut lock(&self.seats), hold, stop)
    }

    /// Begins to wait for `hold`, as [`Self::wait`], unless it is waited for at `now`
    /// ([`Self::is_waited_for`]): of several requests that come at once, one takes it.
    #[must_use]
    pub fn claim(
        self: &Arc<Self>,
        hold: HoldId,
        kept: bool,
        now: Duration,
        stop: &CancellationToken,
    ) -> Option<Waiter> {
        let mut seats = lock(&self.seats);
        if self.is_taken(&seats, hold, kept, now) {
            return None;
        }
        Some(self.sit(&mut seats, hold, stop))
    }

    /// Whether a request still waits for `hold`, or an agent recently asked for its task, at `now`. Who has
    /// been told to stop waits no more if the hold is kept; if not, it is about to be withdrawn, and a call
    /// that came next must not join what ends.
    #[must_use]
    pub fn is_waited_for(&self, hold: HoldId, kept: bool, now: Duration) -> bool {
        self.is_taken(&lock(&self.seats), hold, kept, now)
    }

    /// Notes that an agent was given, or asked for, the task of `hold` at `now`.
    pub fn attend(&self, hold: HoldId, now: Duration) {
        let mut seats = lock(&self.seats);
        // Tasks whose agents stopped asking are forgotten, so the map stays as small as what is open.
        seats.retain(|_, seat| {
            !seat.waiting.is_empty()
                || seat.attended.is_some_and(|at| now.saturating_sub(at) < self.attended_for)
        });
        seats.entry(hold).or_default().attended = Some(now);
    }

    /// Wakes everybody who waits for `hold`.
    pub fn announce(&self, hold: HoldId) {
        if let Some(seat) = lock(&self.seats).get(&hold) {
            seat.changed.notify_waiters();
        }
    }

    /// The right to run `hold`, unless it runs already in this process.
    #[must_use]
    pub fn turn(self: &Arc<Self>, hold: HoldId) -> Option<Turn> {
        let mut running = lock(&self.running);
        if running.contains_key(&hold) {
            return None;
        }
        let cancel = CancellationToken::new();
        running.insert(hold, cancel.clone());
        Some(Turn { board: Arc::clone(self), hold, cancel })
    }

    /// The way back from `hold` to who waits for it: one, for as long as anybody has it.
    #[must_use]
    pub fn contact(&self, hold: HoldId) -> Contact {
        let mut contacts = lock(&self.contacts);
        if let Some(contact) = contacts.get(&hold).and_then(WeakContact::upgrade) {
            return contact;
        }
        contacts.retain(|_, contact| contact.upgrade().is_some());
        let contact = Contact::default();
        contacts.insert(hold, contact.downgrade());
        contact
    }

    /// Whether any hold runs in this process.
    #[must_use]
    pub fn runs_any(&self) -> bool {
        !lock(&self.running).is_empty()
    }

    /// Stops `hold` if it runs in this process.
    pub fn cancel(&self, hold: HoldId) {
        if let Some(cancel) = lock(&self.running).get(&hold) {
            cancel.cancel();
        }
    }

    fn is_taken(&self, seats: &Seats, hold: HoldId, kept: bool, now: Duration) -> bool {
        seats.get(&hold).is_some_and(|seat| {
            seat.waiting.values().any(|stop| !(kept && stop.is_cancelled()))
                || seat.attended.is_some_and(|at| now.saturating_sub(at) < self.attended_for)
        })
    }

    fn sit(self: &Arc<Self>, seats: &mut Seats, hold: HoldId, stop: &CancellationToken) -> Waiter {
        let seat = seats.entry(hold).or_default();
        seat.last += 1;
        seat.waiting.insert(seat.last, stop.clone());
        let changed = Arc::clone(&seat.changed);
        Waiter { board: Arc::clone(self), hold, number: seat.last, changed }
    }
}

impl Waiter {
    /// A future that resolves at the next change after this moment. Make it before reading the hold.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let changed = Arc::clone(&self.changed);
        let mut notified = Box::pin(changed.notified_owned());
        notified.as_mut().enable();
        notified
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut seats = lock(&self.board.seats);
        if let Some(seat) = seats.get_mut(&self.hold) {
            seat.waiting.remove(&self.number);
            if seat.waiting.is_empty() && seat.attended.is_none() {
                seats.remove(&self.hold);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.board.running).remove(&self.hold);
    }
}

/// Which agents may have holds that a repeated call could join, so that the call of an agent that never
/// had one does not look into the store. Keyed by verified agents, so no caller can make it grow.
#[derive(Debug, Default)]
pub struct HeldAgents(Mutex<HashMap<AgentName, bool>>);

impl HeldAgents {
    /// Notes that `agent` has a hold.
    pub fn has(&self, agent: &AgentName) {
        lock(&self.0).insert(agent.clone(), true);
    }

    /// Whether `agent` may have holds; asks the store the first time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn may_have(&self, agent: &AgentName, store: &dyn Store) -> Result<bool, StoreError> {
        if let Some(known) = lock(&self.0).get(agent) {
            return Ok(*known);
        }
        let query = HoldQuery { agent: Some(agent.clone()), limit: 1, ..HoldQuery::default() };
        let any = !store.holds(query).await?.is_empty();
        // A hold opened meanwhile has already been noted, and stays noted.
        Ok(*lock(&self.0).entry(agent.clone()).or_insert(any))
    }
}

/// A lock whose holder panicked guards plain data that is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_who_waits_and_forgets_who_left() {
        let board = Arc::new(Board::new(Duration::from_secs(20)));
        let hold = HoldId::from_random([1; 16]);
        let now = Duration::from_secs(100);
        let stop = CancellationToken::new();
        let waiter = board.wait(hold, &stop);
        assert!(board.is_waited_for(hold, false, now));
        let changed = waiter.changed();
        board.announce(hold);
        changed.await;
        stop.cancel();
        assert!(board.is_waited_for(hold, false, now));
        assert!(!board.is_waited_for(hold, true, now));
        let other = board.wait(hold, &CancellationToken::new());
        assert!(board.is_waited_for(hold, true, now));
        drop((waiter, other));
        assert!(!board.is_waited_for(hold, false, now));
        board.attend(hold, now);
        assert!(board.is_waited_for(hold, true, now + Duration::from_secs(59)));
        assert!(!board.is_waited_for(hold, true, now + Duration::from_secs(61)));
        let later = now + Duration::from_secs(61);
        let claimed = board.claim(hold, false, later, &CancellationToken::new()).unwrap();
        assert!(board.claim(hold, false, later, &CancellationToken::new()).is_none());
        drop(claimed);
        assert!(board.claim(hold, false, later, &CancellationToken::new()).is_some());
        let turn = board.turn(hold).unwrap();
        assert!(board.turn(hold).is_none());
        board.cancel(hold);
        assert!(turn.cancel.is_cancelled());
        drop(turn);
        assert!(board.turn(hold).is_some());
    }
}
