//! The link itself: one connection at a time, made when it is needed and made again when it is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams, RequestMetaObject};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Connection, NotOpen, Opening};
use super::definitions::Listing;
use super::ledger::{Ledger, lock};
use super::ticket::Ticket;
use super::{Call, Health, Limits, Subscriptions, Target, keeping, lists, rounds};
use crate::backend::{BackendError, RawResult};
use crate::catalog::{Definition, Offered, Remote};
use crate::clock::Clock;
use crate::json::Object;

/// How long all pages of a list of tools may take, in seconds.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// The first wait after a failed handshake, in milliseconds; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between handshakes, in seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that lived this long, in seconds, was a good one: the next is made at once.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// The JSON-RPC code of a server that has no tools.
const METHOD_NOT_FOUND: i64 = -32601;

/// The link to one upstream server. Dropping it ends the connection, and the child with its group.
pub struct Link {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    name: Arc<str>,
    target: Target,
    limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    changes: watch::Sender<u64>,
    pub(super) subscriptions: Arc<Subscriptions>,
    slots: Semaphore,
    pub(super) closing: CancellationToken,
    /// The handshake that worked last time.
    is_legacy: AtomicBool,
    /// Whether rmcp must see the list of tools to send arguments as headers.
    is_annotated: AtomicBool,
    state: Mutex<State>,
}

type Attempt = Shared<BoxFuture<'static, Result<Arc<Connection>, BackendError>>>;

enum State {
    Idle,
    Connecting(Attempt),
    Up { connection: Arc<Connection>, failures: u32 },
    Down { why: String, since: Timestamp, failures: u32, again_at: Duration },
    Closed,
}

enum Step {
    Ready(Arc<Connection>),
    Wait(Attempt),
}

impl Link {
    /// A link that connects when it is first used.
    #[must_use]
    pub fn new(name: &str, target: Target, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let subscriptions = Subscriptions::new(name, broadcast::channel(1).0);
        Self::keeping(subscriptions, target, limits, clock)
    }

    /// The same for what is watched already; it has to be kept at telling of that.
    #[must_use]
    pub fn keeping(
        subscriptions: Arc<Subscriptions>,
        target: Target,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let slots = Semaphore::new(limits.max_concurrent.min(Semaphore::MAX_PERMITS));
        let inner = Inner {
            name: Arc::clone(subscriptions.backend()),
            subscriptions,
            target,
            limits,
            clock,
            changes: watch::Sender::new(0),
            slots,
            closing: CancellationToken::new(),
            is_legacy: AtomicBool::new(false),
            is_annotated: AtomicBool::new(false),
            state: Mutex::new(State::Idle),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps the server at telling of what is watched, until the link closes.
    pub fn keep(&self) -> impl Future<Output = ()> + Send + use<> {
        keeping::keep(Arc::clone(&self.inner))
    }

    /// What the upstream offers, as it defines it; a malformed definition is left out.
    ///
    /// # Errors
    /// If the upstream cannot be reached, or its list of tools is too long or no list.
    pub async fn offered(&self) -> Result<Offered, BackendError> {
        let _slot = self.slot()?;
        let connection = self.inner.connection().await?;
        let tools = self.inner.list(&connection).await?;
        Ok(lists::beside_tools(&connection, self.inner.limits.max_tools, tools).await)
    }

    /// Asks for something with exactly these arguments, once. Dropping the future takes the call back.
    ///
    /// # Errors
    /// If there is no result; each kind says whether the tool may have run.
    pub async fn call(
        &self,
        remote: &Remote,
        arguments: &Object,
        call: Call,
    ) -> Result<RawResult, BackendError> {
        let _slot = self.slot()?;
        let _over = call.contact.until_over();
        let sent = AtomicBool::new(false);
        let exchange = async {
            let connection = self.inner.connection().await?;
            let asked = rounds::Asked { remote, arguments };
            rounds::run(&connection, asked, &call, &self.inner.limits.asking, &sent).await
        };
        // What is dropped here has noted whether it was sent.
        let result = tokio::select! {
            biased;
            result = exchange => Some(result?),
            () = call.contact.run_out(call.deadline) => None,
            () = call.cancel.cancelled() => return Err(BackendError::Cancelled),
        };
        match result {
            Some(result) if result.get().len() > call.max_result_bytes => {
                Err(BackendError::TooLarge { limit: call.max_result_bytes })
            }
            Some(result) => Ok(RawResult(result)),
            None if sent.load(Ordering::Acquire) => Err(BackendError::Timeout(call.deadline)),
            None => {
                let why = format!("no connection within {:?}", call.deadline);
                Err(BackendError::Unavailable(why))
            }
        }
    }

    /// Whether its server speaks a protocol without sessions (2026-07-28), where every request stands for
    /// itself; as far as is known.
    #[must_use]
    pub fn is_modern(&self) -> bool {
        match &*lock(&self.inner.state) {
            State::Up { connection, .. } => connection.is_modern,
            State::Idle | State::Connecting(_) | State::Down { .. } | State::Closed => false,
        }
    }

    /// Counts what makes the list of tools stale: changes that the upstream announces, and new
    /// connections after the first.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// How the link is.
    #[must_use]
    pub fn health(&self) -> Health {
        match &*lock(&self.inner.state) {
            State::Idle => Health::Idle,
            State::Connecting(_) => Health::Connecting,
            State::Up { connection, .. } => match connection.loss() {
                Some(loss) => Health::Down { since: loss.at, why: loss.error.to_string() },
                None => Health::Connected {
                    protocol_version: connection.protocol_version.clone(),
                    server: connection.server.clone(),
                },
            },
            State::Down { why, since, .. } => Health::Down { since: *since, why: why.clone() },
            State::Closed => Health::Closed,
        }
    }

    /// Closes the link for good. Calls under way end as if the upstream had died.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        let state = std::mem::replace(&mut *lock(&self.inner.state), State::Closed);
        match state {
            State::Up { connection, .. } => connection.close().await,
            // It sees that the link is closing, and undoes what it has done.
            State::Connecting(attempt) => drop(attempt.await),
            State::Idle | State::Down { .. } | State::Closed => {}
        }
    }

    fn slot(&self) -> Result<tokio::sync::SemaphorePermit<'_>, BackendError> {
        self.inner.slots.try_acquire().map_err(|_| BackendError::Busy { waiting: 0 })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.inner.closing.cancel();
        *lock(&self.inner.state) = State::Closed;
    }
}

impl Inner {
    /// The connection there is, or the one that all who need it now wait for.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, BackendError> {
        match self.step()? {
            Step::Ready(connection) => Ok(connection),
            Step::Wait(attempt) => attempt.await,
        }
    }

    fn step(self: &Arc<Self>) -> Result<Step, BackendError> {
        let mut state = lock(&self.state);
        self.notice_loss(&mut state);
        let (failures, is_first) = match &*state {
            State::Idle => (0, true),
            State::Up { connection, .. } => return Ok(Step::Ready(Arc::clone(connection))),
            State::Connecting(attempt) => return Ok(Step::Wait(attempt.clone())),
            State::Closed => return Err(closed()),
            State::Down { why, failures, again_at, .. } => {
                let rest = again_at.saturating_sub(self.clock.monotonic()).as_secs_f32();
                if rest > 0.0 {
                    return Err(unavailable(format!("{why}; tried again in {rest:.1} s")));
                }
                (*failures, false)
            }
        };
        let attempt = Arc::clone(self).attempt(failures, is_first).boxed().shared();
        *state = State::Connecting(attempt.clone());
        // It goes on when those who wait for it give up.
        tokio::spawn(attempt.clone());
        Ok(Step::Wait(attempt))
    }

    /// A connection that was lost after a good life is made again at once, others less and less
    /// often.
    fn notice_loss(&self, state: &mut State) {
        let State::Up { connection, failures } = &*state else { return };
        let Some(loss) = connection.loss() else { return };
        let lived = loss.monotonic.saturating_sub(connection.since);
        let ours = matches!(loss.error, BackendError::Cancelled);
        let failures = if lived < GOOD_AFTER && !ours { failures.saturating_add(1) } else { 0 };
        let again_at = loss.monotonic.saturating_add(wait_after(failures.saturating_sub(1)));
        *state = State::Down { why: loss.error.to_string(), since: loss.at, failures, again_at };
    }

    /// One attempt, and what follows from it for the state.
    async fn attempt(
        self: Arc<Self>,
        failures: u32,
        is_first: bool,
    ) -> Result<Arc<Connection>, BackendError> {
        let opened = tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(closed()),
            opened = tokio::time::timeout(self.limits.connect_timeout, self.open()) => {
                opened.unwrap_or_else(|_| {
                    // Some old servers hang at a method they do not know.
                    self.is_legacy.fetch_xor(true, Ordering::Relaxed);
                    let within = self.limits.connect_timeout;
                    Err(unavailable(format!("no handshake within {within:?}")))
                })
            }
        };
        let mut state = lock(&self.state);
        if matches!(*state, State::Closed) {
            return Err(closed());
        }
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = State::Up { connection: Arc::clone(&connection), failures };
                if !is_first {
                    connection.ledger.changed();
                }
                Ok(connection)
            }
            Err(error) => {
                let failures = failures.saturating_add(1);
                let again_at = self.clock.monotonic().saturating_add(wait_after(failures));
                let (since, why) = (self.clock.now(), error.to_string());
                *state = State::Down { why, since, failures, again_at };
                Err(error)
            }
        }
    }

    /// A handshake; if it fails, the other one, which some servers need.
    async fn open(&self) -> Result<Connection, BackendError> {
        let is_legacy = self.is_legacy.load(Ordering::Relaxed);
        let (first, second) = if is_legacy {
            (Opening::Legacy, Opening::Probe)
        } else {
            (Opening::Probe, Opening::Legacy)
        };
        let connection = match self.open_with(first).await {
            Ok(connection) => connection,
            Err(NotOpen::Handshake(error)) if matches!(self.target, Target::Process(_)) => {
                self.open_with(second).await.map_err(|_| error)?
            }
            Err(NotOpen::OnlyLegacy(error)) => {
                self.open_with(Opening::Legacy).await.map_err(|_| error)?
            }
            Err(NotOpen::Handshake(error) | NotOpen::Start(error)) => return Err(error),
        };
        self.is_legacy.store(!connection.is_modern, Ordering::Relaxed);
        if connection.is_modern && self.is_annotated.load(Ordering::Relaxed) {
            self.list(&connection).await?;
        }
        Ok(connection)
    }

    async fn open_with(&self, opening: Opening) -> Result<Connection, NotOpen> {
        let (name, clock) = (Arc::clone(&self.name), Arc::clone(&self.clock));
        let kept = (self.changes.clone(), Arc::clone(&self.subscriptions));
        let ledger = Ledger::new(name, clock, kept, self.limits.asking.clone());
        connection::open(&self.target, &self.limits, opening, ledger, &self.clock).await
    }

    async fn list(&self, connection: &Connection) -> Result<Vec<Definition>, BackendError> {
        let pages = async {
            let mut listing = Listing::new(self.limits.max_tools);
            let mut cursor = None;
            loop {
                let page = match page(connection, cursor).await {
                    Err(BackendError::Refused { code: METHOD_NOT_FOUND, .. }) => {
                        return Ok(listing);
                    }
                    page => page?,
                };
                cursor = listing.add(&page)?;
                if cursor.is_none() {
                    return Ok(listing);
                }
            }
        };
        let listing = tokio::time::timeout(LIST_TIMEOUT, pages)
            .await
            .map_err(|_| BackendError::Timeout(LIST_TIMEOUT))??;
        self.is_annotated.store(listing.is_annotated, Ordering::Relaxed);
        Ok(listing.tools)
    }
}

async fn page(
    connection: &Connection,
    cursor: Option<String>,
) -> Result<Box<RawValue>, BackendError> {
    let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
    let request = ListToolsRequest { params, ..ListToolsRequest::default() };
    let request = ClientRequest::ListToolsRequest(request);
    let (ticket, answer) = Ticket::for_listing();
    connection.request(request, RequestMetaObject::new(), &ticket, answer).await
}

fn wait_after(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT)
}

fn unavailable(why: String) -> BackendError {
    BackendError::Unavailable(why)
}

fn closed() -> BackendError {
    unavailable("the link is closed".to_owned())
}
