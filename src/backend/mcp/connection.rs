//! One connection to an upstream server, from the handshake to its loss.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CancelledNotificationParam, ClientJsonRpcMessage, ClientRequest, GetExtensions as _,
    ProtocolVersion, RequestId, RequestMetaObject, ServerCapabilities, ServerJsonRpcMessage,
    SubscriptionFilter,
};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _,
    PeerRequestOptions, RequestHandle, RunningService, ServiceError, Subscription,
};
use rmcp::transport::Transport;
use rmcp::{Peer, RoleClient};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::client::Client;
use super::ledger::{Ledger, Loss, lock};
use super::pipe::Pipe;
use super::ticket::{Answer, Ticket};
use super::wire::bounded;
use super::{Limits, Target, http, process};
use crate::backend::BackendError;
use crate::backend::contact::Level;
use crate::clock::Clock;

/// How long a cancellation may take to be sent, in seconds.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long rmcp may take to see a list of tools that has arrived, in seconds.
const LEARN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long closing may take, in seconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a subscription may take to be confirmed, in seconds.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before a subscription that ended is opened again, in seconds.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);

/// Which handshake to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Ask what the server speaks, and fall back.
    Probe,
    /// `initialize` at once: some old servers hang or end at a method they do not know.
    Legacy,
}

/// Why there is no connection; nothing ran.
pub(super) enum NotOpen {
    /// There is nobody to speak with.
    Start(BackendError),
    /// The other side did not come through the handshake.
    Handshake(BackendError),
    /// It answers, and not as one that speaks without a handshake: it names only protocols that begin with
    /// `initialize`, or answers a method that it does not know with what is no discovery.
    OnlyLegacy(BackendError),
}

/// What a server says it offers beside tools, and of which lists it announces changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Announced {
    /// Resources.
    pub(super) resources: bool,
    /// Prompts.
    pub(super) prompts: bool,
    /// Changes of the lists of tools, resources and prompts.
    changes: (bool, bool, bool),
}

impl Announced {
    fn of(capabilities: &ServerCapabilities) -> Self {
        let (resources, prompts) = (capabilities.resources.as_ref(), capabilities.prompts.as_ref());
        let tools = capabilities.tools.as_ref().and_then(|it| it.list_changed);
        let changes = (
            tools == Some(true),
            resources.and_then(|it| it.list_changed) == Some(true),
            prompts.and_then(|it| it.list_changed) == Some(true),
        );
        Self { resources: resources.is_some(), prompts: prompts.is_some(), changes }
    }

    /// What to listen to for changes of lists, if anything.
    fn changes(self) -> Option<SubscriptionFilter> {
        let (tools, resources, prompts) = self.changes;
        let mut filter = SubscriptionFilter::new();
        filter.tools_list_changed = tools.then_some(true);
        filter.resources_list_changed = resources.then_some(true);
        filter.prompts_list_changed = prompts.then_some(true);
        (tools || resources || prompts).then_some(filter)
    }
}

/// A connection that came up.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    running: Mutex<Option<RunningService<RoleClient, Client>>>,
    listening: Option<AbortHandle>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) protocol_version: String,
    pub(super) server: String,
    /// Whether it has no handshake (2026-07-28 and later).
    pub(super) is_modern: bool,
    /// What the server says it offers.
    pub(super) announces: Announced,
    /// When it came up.
    pub(super) since: Duration,
    /// What its server was told to log; nothing yet.
    level: Mutex<Option<Level>>,
}

/// Connects.
///
/// # Errors
/// Why not.
pub(super) async fn open(
    target: &Target,
    limits: &Limits,
    opening: Opening,
    ledger: Arc<Ledger>,
    clock: &Arc<dyn Clock>,
) -> Result<Connection, NotOpen> {
    let served = match target {
        Target::Process(program) => {
            let running = process::start(program, &ledger).map_err(NotOpen::Start)?;
            let pipe = Pipe::new(running, limits.max_message_bytes, Arc::clone(&ledger));
            serve(pipe, opening, &ledger).await
        }
        Target::Http { url, headers, trust } => {
            let to = http::To { url, headers, trust };
            let transport = http::transport(&to, limits, &ledger).map_err(NotOpen::Start)?;
            serve(transport, opening, &ledger).await
        }
    };
    let running = served.map_err(|error| not_open(&error, &ledger))?;
    let peer = running.peer().clone();
    peer.set_response_cache_config(ClientCacheConfig::disabled()).await;
    let info = peer.peer_info();
    let version = info.as_ref().map(|info| info.protocol_version.clone()).unwrap_or_default();
    let server = info.as_ref().and_then(|info| info.server_info.as_ref());
    let server = server.map(|server| bounded(&format!("{} {}", server.name, server.version)));
    let is_modern = !version.has_initialize();
    let announces = info.as_ref().map(|info| Announced::of(&info.capabilities)).unwrap_or_default();
    let listening = announces.changes().filter(|_| is_modern).map(|filter| {
        let listening = listen(peer.clone(), filter, Arc::clone(&ledger), Arc::clone(clock));
        tokio::spawn(listening).abort_handle()
    });
    Ok(Connection {
        peer,
        running: Mutex::new(Some(running)),
        listening,
        ledger,
        protocol_version: version.to_string(),
        server: server.unwrap_or_default(),
        is_modern,
        announces,
        since: clock.monotonic(),
        level: Mutex::default(),
    })
}

async fn serve<T>(
    transport: T,
    opening: Opening,
    ledger: &Arc<Ledger>,
) -> Result<RunningService<RoleClient, Client>, ClientInitializeError>
where
    T: Transport<RoleClient> + 'static,
{
    let transport = Entered { inner: transport, ledger: Arc::clone(ledger) };
    let mode = match opening {
        Opening::Probe => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
        Opening::Legacy => ClientLifecycleMode::Initialize,
    };
    Client::new(Arc::clone(ledger)).serve_with_lifecycle(transport, mode).await
}

fn not_open(error: &ClientInitializeError, ledger: &Ledger) -> NotOpen {
    let why = match ledger.loss() {
        Some(loss) => loss.error.to_string(),
        None => bounded(&error.to_string()),
    };
    let why = BackendError::Unavailable(format!("no handshake: {why}"));
    let is_legacy = if let ClientInitializeError::NoCompatibleProtocolVersion {
        server_supported,
        ..
    } = error
    {
        server_supported.iter().any(ProtocolVersion::has_initialize)
    } else {
        matches!(error, ClientInitializeError::ExpectedInitResult(_))
    };
    if is_legacy { NotOpen::OnlyLegacy(why) } else { NotOpen::Handshake(why) }
}

impl Connection {
    /// Sends one request and gives the text of its result. Dropping the future takes the request
    /// back: the upstream is told.
    ///
    /// # Errors
    /// As [`BackendError`] says.
    pub(super) async fn request(
        &self,
        mut request: ClientRequest,
        meta: RequestMetaObject,
        ticket: &Ticket,
        mut answer: oneshot::Receiver<Answer>,
    ) -> Result<Box<RawValue>, BackendError> {
        request.extensions_mut().insert(ticket.clone());
        let options = PeerRequestOptions::no_options().with_meta(meta);
        let sent = self.peer.send_request_with_option(request, options).await;
        let RequestHandle { mut rx, id, .. } =
            sent.map_err(|_| BackendError::Unavailable("the connection is lost".to_owned()))?;
        let mut flight = Flight { peer: &self.peer, ledger: &self.ledger, id: Some(id) };
        let outcome = tokio::select! {
            biased;
            outcome = &mut answer => {
                if ticket.is_listing() {
                    // rmcp's HTTP worker learns from the list which arguments are headers; a call
                    // that follows must find that done.
                    let _ = tokio::time::timeout(LEARN_TIMEOUT, &mut rx).await;
                }
                outcome.ok()
            }
            told = &mut rx => match answer.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(_) => Some(Err(unanswered(told.ok().and_then(Result::err), ticket))),
            },
        };
        flight.id = None;
        outcome.unwrap_or_else(|| Err(unanswered(None, ticket)))
    }

    /// Whether the server has to be told that somebody wants to hear `level`; it has been, the next time.
    pub(super) fn hears_less_than(&self, level: Level) -> bool {
        let mut told = lock(&self.level);
        let less = told.is_none_or(|told| told > level);
        if less {
            *told = Some(level);
        }
        less
    }

    /// Opens a stream of what the filter names (2026-07-28 and later).
    ///
    /// # Errors
    /// When the server opens none.
    pub(super) async fn listen(
        &self,
        filter: SubscriptionFilter,
    ) -> Result<Subscription, ServiceError> {
        self.peer.listen(filter).await
    }

    /// When and why nothing can be sent any more, if so.
    pub(super) fn loss(&self) -> Option<Loss> {
        if self.peer.is_transport_closed() {
            // No change if a better reason is known.
            self.ledger.lose(BackendError::Died("the connection ended".to_owned()));
        }
        self.ledger.loss()
    }

    /// Closes it and waits, for a bounded time, until the other side is gone.
    pub(super) async fn close(&self) {
        self.ledger.lose(BackendError::Died("the link was closed".to_owned()));
        let running = lock(&self.running).take();
        if let Some(mut running) = running {
            // What does not close in time is dropped, which kills it.
            let _ = running.close_with_timeout(CLOSE_TIMEOUT).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// A request without an answer in the book: rmcp gave it up.
fn unanswered(error: Option<ServiceError>, ticket: &Ticket) -> BackendError {
    let why =
        error.map_or_else(|| "the connection is lost".to_owned(), |e| bounded(&e.to_string()));
    if ticket.was_sent() { BackendError::Died(why) } else { BackendError::Unavailable(why) }
}

/// A request under way; dropped before its answer, it is taken back.
struct Flight<'a> {
    peer: &'a Peer<RoleClient>,
    ledger: &'a Arc<Ledger>,
    id: Option<RequestId>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        if let RequestId::Number(number) = id {
            self.ledger.forget(number);
        }
        if self.ledger.asking().is_alone {
            // What it still asks for this call must not be taken for the next one's.
            self.ledger.retire(BackendError::Cancelled);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let peer = self.peer.clone();
        let reason = Some("taken back by the caller".to_owned());
        runtime.spawn(async move {
            let params = CancelledNotificationParam::new(Some(id), reason);
            // Best effort: an upstream that cannot be told is bounded by its own limits.
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, peer.notify_cancelled(params)).await;
        });
    }
}

/// A transport whose messages are entered in the ledger before they leave.
struct Entered<T> {
    inner: T,
    ledger: Arc<Ledger>,
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Entered<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        let sending = self.ledger.outgoing(&message).then(|| self.inner.send(message));
        async move {
            match sending {
                Some(sending) => sending.await,
                None => Ok(()),
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        self.inner.receive().await
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.inner.close().await
    }
}

/// Modern servers announce changes only to who listens. The ledger counts them; here the
/// subscription is only kept open.
async fn listen(
    peer: Peer<RoleClient>,
    filter: SubscriptionFilter,
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
) {
    while !peer.is_transport_closed() {
        match tokio::time::timeout(LISTEN_TIMEOUT, peer.listen(filter.clone())).await {
            Ok(Ok(mut subscription)) => {
                while let Ok(Some(_)) = subscription.next().await {}
                // What changed while nobody listened is not known.
                ledger.changed();
            }
            Ok(Err(ServiceError::McpError(error))) => {
                let code = error.code.0;
                tracing::debug!(backend = %ledger.name(), code, "no subscription to changes");
                return;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        clock.sleep(LISTEN_AGAIN).await;
    }
}
