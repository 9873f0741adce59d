//! Where calls and halts meet: of a halt and a call that it covers, whichever comes second sees the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Halt, MAX_HALTS, Subject};
use crate::ids::HaltId;

/// The halts that are engaged and the calls that are under way. One lock guards both, so that no call slips
/// between a look at the halts and what follows it.
#[derive(Debug)]
pub struct Register {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    engaged: Vec<Entry>,
    under_way: HashMap<u64, UnderWay>,
    last: u64,
}

/// A halt that is engaged.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The halt.
    pub halt: Arc<Halt>,
    /// Whether the holds that it covers have been looked through since it was engaged, or this process began.
    pub swept: bool,
}

#[derive(Debug)]
struct UnderWay {
    subject: Arc<Subject>,
    stopped: Arc<OnceLock<Arc<Halt>>>,
    cancel: CancellationToken,
}

/// A call that no halt covered when it came, and what ends it when one does; given back when dropped.
#[derive(Debug)]
pub struct Pass {
    register: Arc<Register>,
    number: u64,
    stopped: Arc<OnceLock<Arc<Halt>>>,
    cancel: CancellationToken,
}

/// There are as many halts as there may be ([`MAX_HALTS`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_HALTS} halts are engaged already; resume some, or halt everything with one")]
pub struct Full;

impl Register {
    /// A register in which `halts` are engaged.
    #[must_use]
    pub fn new(halts: Vec<Halt>) -> Self {
        let engaged = halts.into_iter().map(|halt| Entry { halt: Arc::new(halt), swept: false });
        let state = State { engaged: engaged.collect(), ..State::default() };
        Self { state: Mutex::new(state), changes: watch::Sender::new(0) }
    }

    /// Lets a call in that no halt covers. Once `parent` is cancelled, or a halt comes that covers the call,
    /// what [`Pass::cancel`] gives is cancelled.
    ///
    /// # Errors
    /// With the halt that covers it.
    pub fn enter(
        self: &Arc<Self>,
        subject: Subject,
        parent: &CancellationToken,
    ) -> Result<Pass, Arc<Halt>> {
        let mut state = self.lock();
        if let Some(halt) = state.covering(&subject) {
            return Err(halt);
        }
        state.last += 1;
        let (number, cancel) = (state.last, parent.child_token());
        let stopped = Arc::<OnceLock<Arc<Halt>>>::default();
        let under_way = UnderWay {
            subject: Arc::new(subject),
            stopped: Arc::clone(&stopped),
            cancel: cancel.clone(),
        };
        state.under_way.insert(number, under_way);
        drop(state);
        Ok(Pass { register: Arc::clone(self), number, stopped, cancel })
    }

    /// Does `work`, which must not wait, unless a halt covers the subject: no halt comes meanwhile.
    ///
    /// # Errors
    /// With the halt that covers it; then nothing was done.
    pub fn unless_halted<T>(
        &self,
        subject: impl FnOnce() -> Subject,
        work: impl FnOnce() -> T,
    ) -> Result<T, Arc<Halt>> {
        let state = self.lock();
        if !state.engaged.is_empty()
            && let Some(halt) = state.covering(&subject())
        {
            return Err(halt);
        }
        Ok(work())
    }

    /// Engages a halt: from now on no call that it covers is let in, and those under way are ended. What is done
    /// after this comes after all that [`Self::unless_halted`] did for such calls.
    ///
    /// # Errors
    /// When there are too many; then nothing was done.
    pub fn engage(&self, halt: Halt) -> Result<(), Full> {
        let mut state = self.lock();
        // What stops everything is never refused, but where it is engaged already.
        let is_all = |halt: &Halt| halt.scope == super::Scope::All;
        let room_for_all = is_all(&halt) && !state.engaged.iter().any(|it| is_all(&it.halt));
        if state.engaged.len() >= MAX_HALTS && !room_for_all {
            return Err(Full);
        }
        let halt = Arc::new(halt);
        state.engaged.push(Entry { halt: Arc::clone(&halt), swept: false });
        for call in state.under_way.values().filter(|it| halt.scope.covers(&it.subject)) {
            // Said before it is done: who sees the call end finds the reason.
            let _ = call.stopped.set(Arc::clone(&halt));
            call.cancel.cancel();
        }
        drop(state);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Takes a halt away, once its end is recorded.
    pub fn disengage(&self, id: HaltId) {
        self.lock().engaged.retain(|entry| entry.halt.id != id);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Notes that the holds which a halt covers have ended.
    pub fn swept(&self, id: HaltId) {
        for entry in self.lock().engaged.iter_mut().filter(|entry| entry.halt.id == id) {
            entry.swept = true;
        }
    }

    /// The halts that are engaged, oldest first.
    #[must_use]
    pub fn engaged(&self) -> Vec<Entry> {
        self.lock().engaged.clone()
    }

    /// The halts whose holds have not been looked through.
    #[must_use]
    pub fn unswept(&self) -> Vec<Arc<Halt>> {
        let state = self.lock();
        let unswept = state.engaged.iter().filter(|entry| !entry.swept);
        unswept.map(|entry| Arc::clone(&entry.halt)).collect()
    }

    /// Whether any halt is engaged.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.lock().engaged.is_empty()
    }

    /// The halt that covers a call with these facts, if any does.
    #[must_use]
    pub fn covering(&self, subject: &Subject) -> Option<Arc<Halt>> {
        self.lock().covering(subject)
    }

    /// How many calls that `covers` are under way.
    #[must_use]
    pub fn under_way(&self, covers: impl Fn(&Subject) -> bool) -> usize {
        self.lock().under_way.values().filter(|call| covers(&call.subject)).count()
    }

    /// The halts whose time is over at `now`.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> Vec<Arc<Halt>> {
        let state = self.lock();
        let over = state.engaged.iter().filter(|entry| entry.halt.is_over(now));
        over.map(|entry| Arc::clone(&entry.halt)).collect()
    }

    /// Changes whenever a halt is engaged or ends.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between statements, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn covering(&self, subject: &Subject) -> Option<Arc<Halt>> {
        let covering = self.engaged.iter().find(|entry| entry.halt.scope.covers(subject));
        covering.map(|entry| Arc::clone(&entry.halt))
    }
}

impl Pass {
    /// Cancelled when the caller takes the call back, or a halt covers it.
    #[must_use]
    pub const fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The halt that ended the call, if one did.
    #[must_use]
    pub fn halt(&self) -> Option<&Arc<Halt>> {
        self.stopped.get()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.register.lock().under_way.remove(&self.number);
    }
}
