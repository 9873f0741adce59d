//! Where the answer to one request to an upstream goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::ledger::lock;
use crate::backend::{BackendError, Contact};

/// What a request came to: the text of its result, or why there is none.
pub(super) type Answer = Result<Box<RawValue>, BackendError>;

/// Rides on an outgoing request; says where its answer goes.
#[derive(Clone)]
pub(super) struct Ticket(Arc<TicketInner>);

struct TicketInner {
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    contact: Option<Contact>,
    listing: bool,
    sent: AtomicBool,
}

impl Ticket {
    /// A ticket for a call, and where its answer will arrive.
    pub(super) fn new(contact: Option<Contact>) -> (Self, oneshot::Receiver<Answer>) {
        Self::with(contact, false)
    }

    /// A ticket for a page of the list of tools.
    pub(super) fn for_listing() -> (Self, oneshot::Receiver<Answer>) {
        Self::with(None, true)
    }

    fn with(contact: Option<Contact>, listing: bool) -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let answer = Mutex::new(Some(sender));
        let sent = AtomicBool::new(false);
        (Self(Arc::new(TicketInner { answer, contact, listing, sent })), receiver)
    }

    /// Whether the request may have left, so that it may have had an effect.
    pub(super) fn was_sent(&self) -> bool {
        self.0.sent.load(Ordering::Acquire)
    }

    /// Notes that the request is about to leave.
    pub(super) fn leaves(&self) {
        self.0.sent.store(true, Ordering::Release);
    }

    /// Whether it is for a page of the list of tools.
    pub(super) fn is_listing(&self) -> bool {
        self.0.listing
    }

    /// The way back to the caller, if it is for a call.
    pub(super) fn contact(&self) -> Option<Contact> {
        self.0.contact.clone()
    }

    /// Whether nobody waits for the answer.
    pub(super) fn is_abandoned(&self) -> bool {
        lock(&self.0.answer).as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Gives the answer to who waits for it.
    pub(super) fn settle(&self, answer: Answer) {
        if let Some(sender) = lock(&self.0.answer).take() {
            // Who no longer waits has been told already.
            let _ = sender.send(answer);
        }
    }
}
