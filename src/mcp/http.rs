//! MCP over streamable HTTP: `tools/call` and what takes its path is taken here, whole, in one task and with its body read once;
//! every other message goes on to rmcp's service as our own re-serialisation.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::Front;
use super::agreeing;
use super::arriving::{Arriving, Rejected, Session, VERSION, header, is_modern};
use super::calls::{Caller, Era, Line};
use super::lasting::{Held, Lasting};
use super::media::unacceptable;
use super::reads::Asking;
use super::sessions::Sessions;
use super::watching;
use super::wire::{self, Incoming, RpcError};
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::principal::Principal;

const SESSION: &str = "mcp-session-id";
/// How many progress notifications wait for a slow reader before more are dropped.
const PROGRESS_QUEUE: usize = 16;
/// How often a stream without news sends a comment, so that nothing between cuts it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The MCP endpoint.
pub struct Endpoint {
    gateway: Arc<Gateway>,
    service: StreamableHttpService<Front, LocalSessionManager>,
    manager: Arc<LocalSessionManager>,
    sessions: Sessions,
    lasting: Arc<Lasting>,
}

impl Endpoint {
    /// The endpoint of `gateway`; ends its sessions when `shutdown` is cancelled.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, shutdown: tokio_util::sync::CancellationToken) -> Arc<Self> {
        let mut manager = LocalSessionManager::default();
        // Our own table ends idle sessions; rmcp's clock would end one whose call waits for a person.
        manager.session_config.keep_alive = None;
        let manager = Arc::new(manager);
        let mut config = StreamableHttpServerConfig::default();
        config.cancellation_token = shutdown;
        config.json_response = true;
        config.max_request_body_bytes = gateway.config.edge.max_message_bytes;
        // Host and Origin are checked for every route before this one.
        config.allowed_hosts = Vec::new();
        let fronted = Arc::clone(&gateway);
        let front = move || Ok(Front::per_request(Arc::clone(&fronted)));
        let service = StreamableHttpService::new(front, Arc::clone(&manager), config);
        let edge = &gateway.config.edge;
        let sessions = Sessions::new(edge.max_sessions, edge.session_idle.0);
        let lasting = Lasting::new(edge.limits.streams_per_agent);
        Arc::new(Self { gateway, service, manager, sessions, lasting })
    }

    /// Ends the sessions that were idle too long.
    pub async fn expire_sessions(&self) {
        for id in self.sessions.expire(self.gateway.clock.monotonic()) {
            if let Err(error) = self.manager.close_session(&id.as_str().into()).await {
                tracing::warn!(%error, "an idle session could not be closed");
            }
        }
        self.show_sessions();
    }

    fn now(&self) -> Duration {
        self.gateway.clock.monotonic()
    }

    /// Shows how many sessions are open now.
    fn show_sessions(&self) {
        self.gateway.metrics.sessions(self.sessions.count());
    }
}

/// One request to `/mcp`. Its principal stands in the extensions: the edge put it there.
pub async fn handle(State(endpoint): State<Arc<Endpoint>>, mut request: Request) -> Response {
    let Some(principal) = request.extensions().get::<Principal>().cloned() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    // Since 2026-07-28 there are no sessions: whoever names one names nothing.
    if header(request.headers(), VERSION).is_some_and(is_modern) {
        request.headers_mut().remove(SESSION);
    }
    let session = match header(request.headers(), SESSION) {
        None => None,
        Some(id) => match endpoint.sessions.client_of(id, principal.agent(), endpoint.now()) {
            Some(client) => Some(Session { id: id.to_owned(), client }),
            // A foreign session looks like an unknown one.
            None => {
                let told = "Not Found: Session not found";
                return (StatusCode::NOT_FOUND, told).into_response();
            }
        },
    };
    let method = request.method().clone();
    if method == Method::POST {
        return post(&endpoint, principal, session, request).await;
    }
    if method == Method::GET {
        return last(&endpoint, principal.agent(), request).await;
    }
    let response = forward(&endpoint, request).await;
    if let Some(session) = session.filter(|_| method == Method::DELETE) {
        endpoint.sessions.closed(&session.id);
        endpoint.show_sessions();
    }
    response
}

/// Answers with a stream that lasts, one of those that the agent may have.
async fn last(endpoint: &Endpoint, agent: &AgentName, request: Request) -> Response {
    let Some(place) = endpoint.lasting.open(agent) else {
        endpoint.gateway.metrics.edge.refused("streams_per_agent");
        let told = "Service Unavailable: this agent has too many event streams open";
        return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
    };
    let guard = (place, endpoint.gateway.metrics.edge.streaming());
    forward(endpoint, request).await.map(|body| Held::body(body, guard))
}

async fn forward(endpoint: &Endpoint, request: Request) -> Response {
    match endpoint.service.clone().oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

async fn post(
    endpoint: &Arc<Endpoint>,
    principal: Principal,
    session: Option<Session>,
    request: Request,
) -> Response {
    if let Some(refusal) = unacceptable(request.headers()) {
        return refusal.into_response();
    }
    let (mut parts, body) = request.into_parts();
    let limit = endpoint.gateway.config.edge.max_message_bytes;
    let Ok(bytes) = axum::body::to_bytes(body, limit).await else {
        let told = format!("Payload Too Large: a message has at most {limit} bytes");
        return (StatusCode::PAYLOAD_TOO_LARGE, told).into_response();
    };
    let mut incoming = match Incoming::read(&bytes) {
        Ok(incoming) => incoming,
        Err(unread) => return json_response(StatusCode::BAD_REQUEST, unread.answer()),
    };
    if let Err(why) = agreeing::check(&parts.headers, &incoming) {
        return reject(&Rejected::mismatch(why), incoming.id.as_ref());
    }
    match (incoming.method.as_deref(), &incoming.id) {
        (Some(method), Some(id)) if Asking::takes(method) => {
            let arriving =
                Arriving { principal, session, headers: &parts.headers, incoming: &incoming };
            let read = arriving.read().and_then(|(caller, asking)| {
                if let Asking::Call(params) = &asking {
                    agreeing::check_call(&endpoint.gateway, &parts.headers, &caller, params)
                        .map_err(Rejected::mismatch)?;
                }
                Ok((caller, asking))
            });
            return match read {
                Ok((caller, asking)) => begin(endpoint, caller, asking, id.clone()).await,
                Err(rejected) => reject(&rejected, Some(id)),
            };
        }
        (Some("notifications/cancelled"), None) => {
            let id = incoming.message.get("params").and_then(|params| params.get("requestId"));
            if let (Some(session), Some(id)) = (&session, id)
                && endpoint.sessions.withdraw(&session.id, id)
            {
                return StatusCode::ACCEPTED.into_response();
            }
        }
        (Some("initialize"), Some(_)) if session.is_none() => {
            return initialize(endpoint, &principal, parts, &incoming).await;
        }
        (Some("subscriptions/listen"), Some(_)) => {
            let agent = principal.agent().clone();
            let watched = watching::arrive(&endpoint.gateway, principal, &mut incoming).await;
            parts.extensions.insert(watched);
            parts.headers.remove(http::header::CONTENT_LENGTH);
            let request = Request::from_parts(parts, incoming.to_bytes().into());
            return last(endpoint, &agent, request).await;
        }
        _ => {}
    }
    parts.headers.remove(http::header::CONTENT_LENGTH);
    forward(endpoint, Request::from_parts(parts, incoming.to_bytes().into())).await
}

/// A session is bound to the agent that opened it.
async fn initialize(
    endpoint: &Arc<Endpoint>,
    principal: &Principal,
    mut parts: http::request::Parts,
    incoming: &Incoming,
) -> Response {
    let Some(place) = endpoint.sessions.opening() else {
        let told = "Service Unavailable: too many sessions are open";
        return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
    };
    let client = incoming
        .message
        .get("params")
        .and_then(|params| params.pointer("/clientInfo/name"))
        .and_then(Value::as_str)
        .map(|name| name.chars().take(128).collect());
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let response = forward(endpoint, Request::from_parts(parts, incoming.to_bytes().into())).await;
    if let Some(id) = header(response.headers(), SESSION) {
        place.opened(id, principal.agent().clone(), client, endpoint.now());
        endpoint.show_sessions();
    }
    response
}

fn reject(rejected: &Rejected, id: Option<&Value>) -> Response {
    let (status, body) = rejected.answer(id);
    json_response(status, body)
}

/// Runs a call whose parameters could be read, and answers it.
async fn begin(endpoint: &Arc<Endpoint>, caller: Caller, asking: Asking, id: Value) -> Response {
    let token = asking.meta().get("progressToken").cloned();
    let (sink, progress) = mpsc::channel(PROGRESS_QUEUE);
    let line = Line { progress: token.is_some().then_some(sink), ..Line::default() };
    if let Some(session) = &caller.session
        && let Err(refused) = endpoint.sessions.begin(session, &id, line.clone())
    {
        return reject(&Rejected::of(refused), Some(&id));
    }
    let call = Call { endpoint: Arc::clone(endpoint), caller, asking, line, id };
    match token {
        Some(token) => call.stream(token, progress).await,
        None => call.answer().await,
    }
}

/// A call that may begin.
struct Call {
    endpoint: Arc<Endpoint>,
    caller: Caller,
    asking: Asking,
    line: Line,
    id: Value,
}

/// A request's place among those of its session that are under way; given back when dropped, and so also
/// when the client hangs up.
struct UnderWay {
    endpoint: Arc<Endpoint>,
    session: String,
    id: Value,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.endpoint.sessions.end(&self.session, &self.id);
    }
}

impl Call {
    /// Answers with the result alone.
    async fn answer(self) -> Response {
        // Before 2026-07-28 a client that hangs up has not taken its call back.
        let leaving =
            (self.caller.era == Era::Modern).then(|| self.line.cancel.clone().drop_guard());
        let answer = self.run().await;
        if let Some(guard) = leaving {
            guard.disarm();
        }
        answer.map_or_else(nothing, |answer| json_response(StatusCode::OK, answer))
    }

    /// The answer; none for a call that its caller took back, who does not listen any more (MCP,
    /// cancellation).
    async fn run(self) -> Option<Bytes> {
        let Self { endpoint, caller, asking, line, id } = self;
        let _under_way = caller.session.clone().map(|session| UnderWay {
            endpoint: Arc::clone(&endpoint),
            session,
            id: id.clone(),
        });
        let answer = asking.answer(&endpoint.gateway, &caller, &line).await;
        if line.withdrawn.load(Ordering::SeqCst) {
            return None;
        }
        Some(match answer {
            Ok(members) => wire::response(&id, &members),
            Err(error) => error.answer(Some(&id)),
        })
    }

    /// Answers with a stream of progress that ends with the result; with the result alone if nothing
    /// came before it.
    async fn stream(
        self,
        token: Value,
        mut progress: mpsc::Receiver<crate::backend::Progress>,
    ) -> Response {
        let cancel = self.line.cancel.clone();
        let modern = self.caller.era == Era::Modern;
        let leaving = modern.then(|| cancel.drop_guard());
        let mut running = tokio::spawn(self.run());
        let failed = || RpcError::new(wire::INTERNAL_ERROR, "the call failed").answer(None);
        let first = tokio::select! {
            biased;
            Some(first) = progress.recv() => first,
            done = &mut running => {
                if let Some(guard) = leaving {
                    guard.disarm();
                }
                let answer = done.unwrap_or_else(|_| Some(failed()));
                return answer.map_or_else(nothing, |answer| json_response(StatusCode::OK, answer));
            }
        };
        let (out, events) = mpsc::channel::<Bytes>(PROGRESS_QUEUE);
        tokio::spawn(async move {
            let _leaving = leaving;
            let mut next = Some(first);
            while let Some(news) = next {
                if out.send(wire::progress(&token, &news)).await.is_err() {
                    return;
                }
                next = tokio::select! {
                    biased;
                    news = progress.recv() => news,
                    () = out.closed() => return,
                };
            }
            if let Some(answer) = running.await.unwrap_or_else(|_| Some(failed())) {
                drop(out.send(answer).await);
            }
        });
        event_stream(events)
    }
}

fn event_stream(events: mpsc::Receiver<Bytes>) -> Response {
    use axum::response::sse::{Event, KeepAlive, Sse};
    let stream = futures::stream::unfold(events, |mut events| async move {
        events.recv().await.map(|message| (message, events))
    })
    .map(|message| {
        let text = String::from_utf8_lossy(&message).into_owned();
        Ok::<_, Infallible>(Event::default().event("message").data(text))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// A stream that ends without a message.
fn nothing() -> Response {
    event_stream(mpsc::channel(1).1)
}

fn json_response(status: StatusCode, body: Bytes) -> Response {
    let mut response = (status, body).into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
