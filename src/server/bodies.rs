//! The bodies of requests and answers: what comes in is bounded in size and pace, what goes out has a pulse.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::pulse::Ticket;
use crate::clock::Clock;
use crate::edge::{BodyRefused, Limits};

/// What became of a request's body, for whoever answers the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// Why the body was not read to its end, if that was the edge's doing.
    pub(super) fn refused(&self) -> Option<BodyRefused> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(BodyRefused::TooSlow),
            2 => Some(BodyRefused::TooLarge),
            _ => None,
        }
    }

    fn is(&self, refused: BodyRefused) {
        let number = match refused {
            BodyRefused::TooSlow => 1,
            BodyRefused::TooLarge => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }
}

/// A request's body on its way in. It costs a timer only while it is waited for.
pub(super) struct Upload {
    inner: Incoming,
    clock: Arc<dyn Clock>,
    pause: Duration,
    rate: u64,
    largest: u64,
    came: u64,
    /// When it was first waited for.
    begun: Option<Duration>,
    waiting: Option<BoxFuture<'static, ()>>,
    fate: Fate,
}

impl Upload {
    /// At most `largest` bytes; pauses and pace as `limits` say.
    pub(super) fn new(
        inner: Incoming,
        clock: Arc<dyn Clock>,
        limits: &Limits,
        largest: usize,
    ) -> (Self, Fate) {
        let fate = Fate::default();
        let upload = Self {
            inner,
            clock,
            pause: limits.body_pause.0,
            rate: limits.body_rate.max(1),
            largest: u64::try_from(largest).unwrap_or(u64::MAX),
            came: 0,
            begun: None,
            waiting: None,
            fate: fate.clone(),
        };
        (upload, fate)
    }

    /// How long the next piece may take: a pause, and no longer than the pace allows in all.
    fn patience(&mut self) -> Duration {
        let now = self.clock.monotonic();
        let begun = *self.begun.get_or_insert(now);
        let in_all = self.pause.saturating_add(Duration::from_secs(self.came / self.rate));
        begun.saturating_add(in_all).saturating_sub(now).min(self.pause)
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = self.get_mut();
        if let Some(refused) = this.fate.refused() {
            return Poll::Ready(Some(Err(refused.into())));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            if this.waiting.is_none() {
                let patience = this.patience();
                this.waiting = Some(this.clock.sleep(patience));
            }
            let Some(waiting) = &mut this.waiting else { return Poll::Pending };
            ready!(waiting.as_mut().poll(context));
            this.fate.is(BodyRefused::TooSlow);
            return Poll::Ready(Some(Err(BodyRefused::TooSlow.into())));
        };
        this.waiting = None;
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.came = this.came.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            if this.came > this.largest {
                this.fate.is(BodyRefused::TooLarge);
                return Poll::Ready(Some(Err(BodyRefused::TooLarge.into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body on its way out; its request lasts until it is dropped.
pub(super) struct Download<G> {
    inner: Body,
    ticket: Ticket,
    /// What else lasts as long.
    _guard: G,
}

impl<G> Download<G> {
    pub(super) const fn new(inner: Body, ticket: Ticket, guard: G) -> Self {
        Self { inner, ticket, _guard: guard }
    }
}

impl<G: Unpin> HttpBody for Download<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.ticket.asked();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if frame.is_some() {
            this.ticket.handed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
