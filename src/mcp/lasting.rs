//! Event streams that last: how many one agent has open, and that each is given back when it ends.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use crate::ids::AgentName;

/// The streams that are open.
pub(super) struct Lasting {
    open: Mutex<HashMap<AgentName, usize>>,
    most: usize,
}

impl Lasting {
    /// Each agent may have `most`.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), most })
    }

    /// One more stream of `agent`; none when it has all it may have.
    pub(super) fn open(self: &Arc<Self>, agent: &AgentName) -> Option<Place> {
        let mut open = self.lock();
        let count = open.entry(agent.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place { all: Arc::clone(self), agent: agent.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AgentName, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one stream.
pub(super) struct Place {
    all: Arc<Lasting>,
    agent: AgentName,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Some(count) = open.get_mut(&self.agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.agent);
            }
        }
    }
}

/// A body that holds on to `guard`, which is dropped with it.
pub(super) struct Held<G> {
    inner: Body,
    _guard: G,
}

impl<G: Send + Unpin + 'static> Held<G> {
    pub(super) fn body(inner: Body, guard: G) -> Body {
        Body::new(Self { inner, _guard: guard })
    }
}

impl<G: Unpin> HttpBody for Held<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
