//! Who waits for which answer on one connection, and what arrives for them.
//!
//! rmcp speaks the protocol but reads results into types that forget what they do not know. So the
//! answers to our own requests leave its path here, as the bytes that came, and rmcp gets a
//! placeholder. A request is entered before it is sent, so no answer and no progress is too early.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, GetExtensions as _, GetMeta as _, NumberOrString,
    RequestId, ServerJsonRpcMessage,
};
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::Asking;
use super::asked::{self, AskedBy};
use super::subscriptions::Subscriptions;
use super::ticket::{Answer, Ticket};
use super::wire::{self, Envelope};
use crate::backend::contact::News;
use crate::backend::{BackendError, Contact};
use crate::catalog::Ability;
use crate::clock::Clock;

/// How many requests of the upstream may wait for our answer, in requests; more are ignored.
const MAX_ASKED: usize = 64;
/// How many ignored messages of one connection are logged, in messages.
const MAX_IGNORED_LOGGED: u32 = 10;

/// What to do with a message from upstream.
pub(super) enum Incoming {
    /// Let rmcp read it.
    Pass,
    /// Give rmcp this in its place.
    Replace(Box<ServerJsonRpcMessage>),
    /// Nothing; it has been dealt with.
    Done,
}

/// When and why a connection was lost.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub(super) error: BackendError,
    pub(super) at: Timestamp,
    pub(super) monotonic: Duration,
}

#[derive(Default)]
struct Book {
    /// Our requests whose answers are kept raw, with their progress tokens.
    waiting: HashMap<i64, (Ticket, Option<i64>)>,
    tokens: HashMap<i64, Contact>,
    /// Requests of rmcp itself: handshake and subscription.
    typed: HashSet<i64>,
    /// What the upstream asked and rmcp has not yet handed to [`super::client`].
    questions: HashMap<u64, AskedBy>,
    last_question: u64,
    loss: Option<Loss>,
}

/// The book of one connection.
pub(super) struct Ledger {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    changes: watch::Sender<u64>,
    subscriptions: Arc<Subscriptions>,
    book: Mutex<Book>,
    asking: Asking,
    asked: AtomicUsize,
    ignored: AtomicU32,
}

impl Ledger {
    /// An empty book; `changes` counts what makes a list stale, `subscriptions` hear of updates.
    pub(super) fn new(
        name: Arc<str>,
        clock: Arc<dyn Clock>,
        (changes, subscriptions): (watch::Sender<u64>, Arc<Subscriptions>),
        asking: Asking,
    ) -> Arc<Self> {
        let (book, asked, ignored) = (Mutex::default(), AtomicUsize::new(0), AtomicU32::new(0));
        Arc::new(Self { name, clock, changes, subscriptions, book, asking, asked, ignored })
    }

    /// The name of the backend, for the log.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the upstream may ask.
    pub(super) const fn asking(&self) -> &Asking {
        &self.asking
    }

    /// Enters a message that is about to be sent; `false` if nobody wants it sent any more.
    pub(super) fn outgoing(&self, message: &ClientJsonRpcMessage) -> bool {
        match message {
            ClientJsonRpcMessage::Request(request) => {
                let RequestId::Number(id) = request.id else { return true };
                match request.request.extensions().get::<Ticket>() {
                    Some(ticket) => {
                        let token = request.request.get_meta().get_progress_token();
                        let token = token.and_then(|token| match token.0 {
                            NumberOrString::Number(token) => Some(token),
                            NumberOrString::String(_) => None,
                        });
                        return self.enter(id, ticket, token);
                    }
                    None => self.book().typed.insert(id),
                };
            }
            ClientJsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(RequestId::Number(id)) = cancelled.params.request_id
                {
                    self.forget(id);
                }
            }
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {
                let one_less = |asked: usize| asked.checked_sub(1);
                let _ = self.asked.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
            }
        }
        true
    }

    fn enter(&self, id: i64, ticket: &Ticket, token: Option<i64>) -> bool {
        let mut book = self.book();
        if book.loss.is_some() {
            drop(book);
            ticket.settle(Err(BackendError::Unavailable("the connection is lost".to_owned())));
            return false;
        }
        if ticket.is_abandoned() {
            return false;
        }
        ticket.leaves();
        if let (Some(token), Some(contact)) = (token, ticket.contact()) {
            book.tokens.insert(token, contact);
        }
        book.waiting.insert(id, (ticket.clone(), token));
        true
    }

    /// Takes a message from upstream, whole; `posted` is the request whose own stream it came on, where the
    /// transport says so.
    pub(super) fn incoming(&self, bytes: &[u8], posted: Option<i64>) -> Incoming {
        let envelope = match Envelope::of(bytes) {
            Ok(envelope) => envelope,
            Err(why) => {
                let why = format!("a malformed message: {why}");
                return self.broken(bytes, BackendError::Nonsense(why));
            }
        };
        match (&envelope.method, envelope.id) {
            (Some(method), None) => self.notified(method, envelope.params, posted),
            (Some(method), Some(id)) => self.was_asked(method, (id, envelope.params), posted),
            (None, _) => self.answered(&envelope),
        }
    }

    /// Takes a message from upstream that is cut or malformed, and fails the request it belongs to.
    pub(super) fn broken(&self, bytes: &[u8], error: BackendError) -> Incoming {
        match wire::id_of(bytes) {
            Some(id) if self.is_waiting(id) => self.settle(id, Err(error)),
            Some(_) | None => self.ignore("a malformed message"),
        }
    }

    /// Gives `answer` to who waits for `id`.
    pub(super) fn settle(&self, id: i64, answer: Answer) -> Incoming {
        let Some(ticket) = self.forget(id) else { return self.ignore("an answer to nobody") };
        let stand_in = match &answer {
            Ok(page) if ticket.is_listing() => wire::listing_placeholder(id, page),
            Ok(_) | Err(_) => wire::placeholder(id),
        };
        ticket.settle(answer);
        Incoming::Replace(Box::new(stand_in))
    }

    /// Strikes a request out.
    pub(super) fn forget(&self, id: i64) -> Option<Ticket> {
        let mut book = self.book();
        book.typed.remove(&id);
        let (ticket, token) = book.waiting.remove(&id)?;
        if let Some(token) = token {
            book.tokens.remove(&token);
        }
        Some(ticket)
    }

    /// Whether somebody waits for the raw answer to `id`.
    pub(super) fn is_waiting(&self, id: i64) -> bool {
        self.book().waiting.contains_key(&id)
    }

    /// Whether the answer to `id` will be a page of the list of tools.
    pub(super) fn is_listing(&self, id: i64) -> bool {
        self.book().waiting.get(&id).is_some_and(|(ticket, _)| ticket.is_listing())
    }

    /// Ends the connection for new requests; those under way may still get their answers. The first
    /// reason stays.
    pub(super) fn retire(&self, error: BackendError) {
        let (at, monotonic) = (self.clock.now(), self.clock.monotonic());
        self.book().loss.get_or_insert(Loss { error, at, monotonic });
    }

    /// Ends the connection: all who wait are told, and nothing can be entered any more.
    pub(super) fn lose(&self, error: BackendError) {
        self.retire(error.clone());
        let waiting = {
            let mut book = self.book();
            book.tokens.clear();
            std::mem::take(&mut book.waiting)
        };
        for (ticket, _) in waiting.into_values() {
            ticket.settle(Err(error.clone()));
        }
    }

    /// Why the connection is lost, if it is.
    pub(super) fn loss(&self) -> Option<Loss> {
        self.book().loss.clone()
    }

    /// Says that the list of tools may be another now.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What the upstream asked under `number`; handed out once.
    pub(super) fn question(&self, number: u64) -> Option<AskedBy> {
        self.book().questions.remove(&number)
    }

    /// The call that a message belongs to: that of the stream it came on, or the only one there can be.
    fn meant(&self, posted: Option<i64>) -> Option<Contact> {
        let book = self.book();
        let own = posted.and_then(|id| book.waiting.get(&id)).and_then(|(it, _)| it.contact());
        if own.is_some() || !self.asking.is_alone {
            return own;
        }
        let mut all = book.waiting.values().filter_map(|(ticket, _)| ticket.contact());
        let only = all.next()?;
        all.next().is_none().then_some(only)
    }

    fn notified(&self, method: &str, params: Option<&RawValue>, posted: Option<i64>) -> Incoming {
        match method {
            "notifications/progress" => {
                if let Some((token, progress)) = params.and_then(wire::progress)
                    && let Some(contact) = self.book().tokens.get(&token).cloned()
                {
                    contact.tell(News::Progress(progress));
                }
                Incoming::Done
            }
            "notifications/message" => {
                if let Some(log) = params.and_then(wire::log)
                    && let Some(contact) = self.meant(posted)
                {
                    contact.tell(News::Log(log));
                }
                Incoming::Done
            }
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => {
                self.changed();
                Incoming::Done
            }
            "notifications/resources/updated" => {
                if let Some(uri) = params.and_then(wire::updated) {
                    self.subscriptions.updated(&uri);
                }
                Incoming::Done
            }
            // What rmcp needs for its own requests and subscriptions.
            "notifications/cancelled" | "notifications/subscriptions/acknowledged" => {
                Incoming::Pass
            }
            _ => Incoming::Done,
        }
    }

    fn was_asked(
        &self,
        method: &str,
        (id, params): (&RawValue, Option<&RawValue>),
        posted: Option<i64>,
    ) -> Incoming {
        if method == asked::METHOD {
            return self.ignore("a request under a name of ours");
        }
        let count = self.asked.fetch_add(1, Ordering::AcqRel);
        if count >= MAX_ASKED {
            self.asked.fetch_sub(1, Ordering::AcqRel);
            return self.ignore("a request beyond the limit");
        }
        let ability = Ability::of_method(method).filter(|it| self.asking.allow.contains(it));
        // What is not carried, rmcp refuses.
        let Some((ability, contact)) = ability.zip(self.meant(posted)) else {
            return Incoming::Pass;
        };
        let Some(asked) = AskedBy::read(ability, params, contact) else { return Incoming::Pass };
        let mut book = self.book();
        book.last_question = book.last_question.wrapping_add(1);
        let number = book.last_question;
        let Some(stand_in) = asked::stand_in(id, number) else { return Incoming::Pass };
        book.questions.insert(number, asked);
        Incoming::Replace(Box::new(stand_in))
    }

    fn answered(&self, envelope: &Envelope<'_>) -> Incoming {
        let Some(id) = envelope.number() else {
            // An error for nobody in particular: in a handshake it is for rmcp.
            return if envelope.error.is_some() { Incoming::Pass } else { Incoming::Done };
        };
        if self.book().typed.remove(&id) {
            return Incoming::Pass;
        }
        let answer = match (envelope.result, envelope.error) {
            (Some(result), None) => Ok(result.to_owned()),
            (None, Some(error)) => Err(wire::refusal(error)),
            (None, None) | (Some(_), Some(_)) => {
                Err(BackendError::Nonsense("neither a result nor an error".to_owned()))
            }
        };
        self.settle(id, answer)
    }

    fn ignore(&self, what: &str) -> Incoming {
        if self.ignored.fetch_add(1, Ordering::Relaxed) < MAX_IGNORED_LOGGED {
            tracing::debug!(backend = %self.name, what, "ignored a message from upstream");
        }
        Incoming::Done
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

/// Our sections under these locks cannot panic, so a poisoned one is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
