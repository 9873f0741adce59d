//! Who waits for which answer on one connection, and what arrives for them.
//!
//! rmcp speaks the protocol but reads results into types that forget what they do not know. So the
//! answers to our own requests leave its path here, as the bytes that came, and rmcp gets a
//! placeholder. A request is entered before it is sent, so no answer and no progress is too early.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, GetExtensions as _, GetMeta as _, NumberOrString,
    RequestId, ServerJsonRpcMessage,
};
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};

use super::subscriptions::Subscriptions;
use super::wire::{self, Envelope};
use crate::backend::{BackendError, ProgressSink};
use crate::clock::Clock;

/// How many requests of the upstream may wait for our answer, in requests; more are ignored.
const MAX_ASKED: usize = 64;
/// How many ignored messages of one connection are logged, in messages.
const MAX_IGNORED_LOGGED: u32 = 10;

/// What a request came to: the text of its result, or why there is none.
pub(super) type Answer = Result<Box<RawValue>, BackendError>;

/// Rides on an outgoing request; says where its answer goes.
#[derive(Clone)]
pub(super) struct Ticket(Arc<TicketInner>);

struct TicketInner {
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    progress: Option<ProgressSink>,
    listing: bool,
    sent: AtomicBool,
}

impl Ticket {
    /// A ticket for a call, and where its answer will arrive.
    pub(super) fn new(progress: Option<ProgressSink>) -> (Self, oneshot::Receiver<Answer>) {
        Self::with(progress, false)
    }

    /// A ticket for a page of the list of tools.
    pub(super) fn for_listing() -> (Self, oneshot::Receiver<Answer>) {
        Self::with(None, true)
    }

    fn with(progress: Option<ProgressSink>, listing: bool) -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let answer = Mutex::new(Some(sender));
        let sent = AtomicBool::new(false);
        (Self(Arc::new(TicketInner { answer, progress, listing, sent })), receiver)
    }

    /// Whether the request may have left, so that it may have had an effect.
    pub(super) fn was_sent(&self) -> bool {
        self.0.sent.load(Ordering::Acquire)
    }

    /// Whether it is for a page of the list of tools.
    pub(super) fn is_listing(&self) -> bool {
        self.0.listing
    }

    fn is_abandoned(&self) -> bool {
        lock(&self.0.answer).as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn settle(&self, answer: Answer) {
        if let Some(sender) = lock(&self.0.answer).take() {
            // Who no longer waits has been told already.
            let _ = sender.send(answer);
        }
    }
}

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
    tokens: HashMap<i64, ProgressSink>,
    /// Requests of rmcp itself: handshake and subscription.
    typed: HashSet<i64>,
    loss: Option<Loss>,
}

/// The book of one connection.
pub(super) struct Ledger {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    changes: watch::Sender<u64>,
    subscriptions: Arc<Subscriptions>,
    book: Mutex<Book>,
    asked: AtomicUsize,
    ignored: AtomicU32,
}

impl Ledger {
    /// An empty book; `changes` counts what makes a list stale, `subscriptions` hear of updates.
    pub(super) fn new(
        name: Arc<str>,
        clock: Arc<dyn Clock>,
        (changes, subscriptions): (watch::Sender<u64>, Arc<Subscriptions>),
    ) -> Arc<Self> {
        let (book, asked, ignored) = (Mutex::default(), AtomicUsize::new(0), AtomicU32::new(0));
        Arc::new(Self { name, clock, changes, subscriptions, book, asked, ignored })
    }

    /// The name of the backend, for the log.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
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
        ticket.0.sent.store(true, Ordering::Release);
        if let (Some(token), Some(sink)) = (token, &ticket.0.progress) {
            book.tokens.insert(token, sink.clone());
        }
        book.waiting.insert(id, (ticket.clone(), token));
        true
    }

    /// Takes a message from upstream, whole.
    pub(super) fn incoming(&self, bytes: &[u8]) -> Incoming {
        let envelope = match Envelope::of(bytes) {
            Ok(envelope) => envelope,
            Err(why) => {
                let why = format!("a malformed message: {why}");
                return self.broken(bytes, BackendError::Nonsense(why));
            }
        };
        match (&envelope.method, envelope.id) {
            (Some(method), None) => self.notified(method, envelope.params),
            (Some(_), Some(_)) => self.was_asked(),
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

    fn notified(&self, method: &str, params: Option<&RawValue>) -> Incoming {
        match method {
            "notifications/progress" => {
                if let Some((token, progress)) = params.and_then(wire::progress)
                    && let Some(sink) = self.book().tokens.get(&token)
                {
                    // A caller who reads too slowly misses some.
                    let _ = sink.try_send(progress);
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

    fn was_asked(&self) -> Incoming {
        if self.asked.fetch_add(1, Ordering::AcqRel) < MAX_ASKED {
            return Incoming::Pass;
        }
        self.asked.fetch_sub(1, Ordering::AcqRel);
        self.ignore("a request beyond the limit")
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
