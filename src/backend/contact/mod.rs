//! The way back to whoever waits for one call while it runs: what the tool tells it, and what the tool asks
//! of its client. Who waits may change: a client that comes back, or one that joins a held call.

mod news;
mod questions;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::news::{Level, Log, News, Progress};
pub use self::questions::{Abilities, Answers, NotAble, Question, Round, Silence};
use super::secrets::Redactor;
use crate::evidence::AskedClient;
use crate::json::Object;

/// How many rounds of questions may wait for a client at once.
const MAX_OPEN: usize = 8;
/// How many questions one call may ask in all.
const MAX_ASKED: usize = 64;
/// The longest question, in bytes of its `method` and `params`.
pub const MAX_QUESTION_BYTES: usize = 256 << 10;
/// How long a question waits for a client to come, where none waits for the call.
const NOBODY_FOR: Duration = Duration::from_secs(10);

/// What news of a call are told to. Must not block: what it cannot take is dropped.
pub trait Listener: Send + Sync {
    /// Takes `news`, or drops them.
    fn tell(&self, news: News);
}

/// The way back to the caller of one call.
#[derive(Clone, Default)]
pub struct Contact(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    arrived: Notify,
    /// How many wait for the call, or have been asked something and will come back.
    attending: watch::Sender<usize>,
    /// How many rounds are open.
    open: watch::Sender<usize>,
    /// Cancelled when the call has ended: nothing is asked any more.
    over: CancellationToken,
}

#[derive(Default)]
struct State {
    listener: Option<Arc<dyn Listener>>,
    client: Client,
    /// What the client answered before it was asked, as a client of a stateless server may.
    answered_before: Object,
    waiting: VecDeque<Round>,
    noted: Vec<AskedClient>,
    /// What takes the backend's secrets out of what goes to the client.
    redactor: Option<Arc<Redactor>>,
    last: u64,
}

/// The client of whoever waits for the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// What it can do.
    pub abilities: Abilities,
    /// The least severe log messages it wants; none if it asked for none.
    pub level: Option<Level>,
}

impl Contact {
    /// A way back to a client that can do this, and has answered that before it was asked.
    #[must_use]
    pub fn new(client: Client, answered_before: Object) -> Self {
        let state = State { client, answered_before, ..State::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), ..Inner::default() }))
    }

    /// Takes `client` for the one that waits for the call, until the attendance is dropped.
    #[must_use]
    pub fn attend(&self, client: Client, listener: Option<Arc<dyn Listener>>) -> Attendance {
        let number = {
            let mut state = self.state();
            state.last += 1;
            state.client = client;
            state.listener = listener;
            state.last
        };
        self.0.attending.send_modify(|count| *count += 1);
        Attendance { contact: self.clone(), number }
    }

    /// Takes these secrets out of all that goes to the client from now on.
    pub fn redact(&self, redactor: Option<Arc<Redactor>>) {
        self.state().redactor = redactor;
    }

    /// Tells whoever waits.
    pub fn tell(&self, mut news: News) {
        let (listener, redactor) = {
            let state = self.state();
            (state.listener.clone(), state.redactor.clone())
        };
        let Some(listener) = listener else { return };
        if let Some(redactor) = redactor {
            news.redact(&redactor);
        }
        listener.tell(news);
    }

    /// The client of whoever waits, or waited last.
    #[must_use]
    pub fn client(&self) -> Client {
        self.state().client.clone()
    }

    /// What the client answered before it was asked; handed out once.
    #[must_use]
    pub fn answered_before(&self) -> Object {
        std::mem::take(&mut self.state().answered_before)
    }

    /// What was asked so far, for the record.
    #[must_use]
    pub fn noted(&self) -> Vec<AskedClient> {
        self.state().noted.clone()
    }

    /// Says, when dropped, that the call has ended.
    #[must_use]
    pub fn until_over(&self) -> DropGuard {
        self.0.over.clone().drop_guard()
    }

    /// Resolves when a call that may take `left` has taken it; what its client takes to answer does not
    /// count.
    pub async fn run_out(&self, mut left: Duration) {
        let mut open = self.0.open.subscribe();
        loop {
            // The sender lives as long as this contact does.
            let _ = open.wait_for(|open| *open == 0).await;
            let begun = tokio::time::Instant::now();
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                _ = open.wait_for(|open| *open > 0) => left = left.saturating_sub(begun.elapsed()),
            }
        }
    }

    /// Asks the client, and waits at most `within` for all its answers.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn ask(
        &self,
        mut questions: Vec<Question>,
        within: Duration,
    ) -> Result<Answers, Silence> {
        if let Some(redactor) = self.state().redactor.clone() {
            for question in &mut questions {
                redactor.redact_json(&mut question.request);
            }
        }
        let places = self.note(&questions)?;
        let (round, answers) = Round::new(questions);
        {
            let mut state = self.state();
            if state.waiting.len() >= MAX_OPEN {
                return Err(Silence::TooMany(MAX_OPEN));
            }
            state.waiting.push_back(round);
        }
        let _open = Open::begin(&self.0.open);
        self.0.arrived.notify_one();
        let answers = tokio::select! {
            biased;
            () = self.0.over.cancelled() => Err(Silence::Over),
            answers = answers.arrive() => answers,
            () = tokio::time::sleep(within) => Err(Silence::Late(within)),
            () = self.deserted() => Err(Silence::Nobody),
        };
        let answers = answers?;
        let mut state = self.state();
        for (place, answer) in places.zip(answers.of_each()) {
            if let Some(noted) = state.noted.get_mut(place) {
                noted.answered = answer;
            }
        }
        Ok(answers)
    }

    /// Notes what is asked, and gives its places in the record.
    fn note(&self, questions: &[Question]) -> Result<std::ops::Range<usize>, Silence> {
        let mut state = self.state();
        let first = state.noted.len();
        if first.saturating_add(questions.len()) > MAX_ASKED {
            return Err(Silence::TooMany(MAX_ASKED));
        }
        for question in questions {
            if question.bytes() > MAX_QUESTION_BYTES {
                return Err(Silence::TooLarge(MAX_QUESTION_BYTES));
            }
        }
        state.noted.extend(questions.iter().map(Question::noted));
        Ok(first..state.noted.len())
    }

    /// Resolves when nobody has waited for the call for a while.
    async fn deserted(&self) {
        let mut attending = self.0.attending.subscribe();
        loop {
            // The sender lives as long as this contact does.
            let _ = attending.wait_for(|count| *count == 0).await;
            tokio::select! {
                () = tokio::time::sleep(NOBODY_FOR) => return,
                _ = attending.wait_for(|count| *count > 0) => {}
            }
        }
    }

    /// Our sections under this lock cannot panic, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").finish_non_exhaustive()
    }
}

/// A contact that does not keep its call's way back alive.
#[derive(Clone, Debug, Default)]
pub struct WeakContact(std::sync::Weak<Inner>);

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Contact {
    /// The same, without keeping it alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakContact {
        WeakContact(Arc::downgrade(&self.0))
    }
}

impl WeakContact {
    /// The contact, if anybody still has it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Contact> {
        self.0.upgrade().map(Contact)
    }
}

/// The place of one who waits for a call; given back when dropped.
#[derive(Debug)]
pub struct Attendance {
    contact: Contact,
    number: u64,
}

impl Attendance {
    /// The next round of questions. Dropping the future loses nothing.
    pub async fn asked(&self) -> Round {
        loop {
            if let Some(round) = self.more() {
                return round;
            }
            self.contact.0.arrived.notified().await;
        }
    }

    /// A round of questions that waits already.
    #[must_use]
    pub fn more(&self) -> Option<Round> {
        let mut state = self.contact.state();
        while let Some(round) = state.waiting.pop_front() {
            if round.is_awaited() {
                return Some(round);
            }
        }
        None
    }

    /// Goes on with another client, or another request of the same.
    pub fn goes_on(&self, client: Client, listener: Option<Arc<dyn Listener>>) {
        let mut state = self.contact.state();
        state.client = client;
        state.listener = listener;
    }

    /// Stops listening, and stays.
    pub fn falls_silent(&self) {
        let mut state = self.contact.state();
        if state.last == self.number {
            state.listener = None;
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.falls_silent();
        self.contact.0.attending.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Counts one open round while it lives.
struct Open<'a>(&'a watch::Sender<usize>);

impl<'a> Open<'a> {
    fn begin(open: &'a watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
