//! MCP over streamable HTTP: `tools/call` is taken here, whole, in one task and with its body read once;
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
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::Front;
use super::arriving::{Arriving, Rejected, Session, header};
use super::calls::{self, Caller, Era, Line, Params};
use super::outlet::Outlet;
use super::sessions::{About, Sessions};
use super::wire::{self, INVALID_PARAMS, Incoming, RpcError};
use crate::backend::contact::{Abilities, Client, Level};
use crate::gateway::Gateway;
use crate::principal::Principal;

const SESSION: &str = "mcp-session-id";
/// How many messages wait to be written to one stream.
const STREAM_QUEUE: usize = 16;
/// How often a stream without news sends a comment, so that nothing between cuts it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The MCP endpoint.
pub struct Endpoint {
    gateway: Arc<Gateway>,
    service: StreamableHttpService<Front, LocalSessionManager>,
    manager: Arc<LocalSessionManager>,
    sessions: Sessions,
}

impl Endpoint {
    /// The endpoint of `gateway`; ends its sessions when `shutdown` is cancelled.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, shutdown: tokio_util::sync::CancellationToken) -> Arc<Self> {
        let mut manager = LocalSessionManager::default();
        // Our own table ends idle sessions; rmcp's clock would end one whose call waits for a person.
        manager.session_config.keep_alive = None;
        let manager = Arc::new(manager);
        let front = Front::per_request(Arc::clone(&gateway));
        let mut config = StreamableHttpServerConfig::default();
        config.cancellation_token = shutdown;
        config.json_response = true;
        config.max_request_body_bytes = gateway.config.edge.max_message_bytes;
        // Host and Origin are checked for every route before this one.
        config.allowed_hosts = Vec::new();
        let service =
            StreamableHttpService::new(move || Ok(front.clone()), Arc::clone(&manager), config);
        let edge = &gateway.config.edge;
        let sessions = Sessions::new(edge.max_sessions, edge.session_idle.0);
        Arc::new(Self { gateway, service, manager, sessions })
    }

    /// Ends the sessions that were idle too long.
    pub async fn expire_sessions(&self) {
        for id in self.sessions.expire(self.gateway.clock.monotonic()) {
            if let Err(error) = self.manager.close_session(&id.as_str().into()).await {
                tracing::warn!(%error, "an idle session could not be closed");
            }
        }
    }

    fn now(&self) -> Duration {
        self.gateway.clock.monotonic()
    }
}

/// One request to `/mcp`. Its principal stands in the extensions: the edge put it there.
pub async fn handle(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let Some(principal) = request.extensions().get::<Principal>().cloned() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let session = match header(request.headers(), SESSION) {
        None => None,
        Some(id) => match endpoint.sessions.client_of(id, principal.agent(), endpoint.now()) {
            Some(about) => Some(Session { id: id.to_owned(), about }),
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
    let response = forward(&endpoint, request).await;
    if let Some(session) = session.filter(|_| method == Method::DELETE) {
        endpoint.sessions.closed(&session.id);
    }
    response
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
    let incoming = match Incoming::read(&bytes) {
        Ok(incoming) => incoming,
        Err(unread) => return json_response(StatusCode::BAD_REQUEST, unread.answer()),
    };
    match (incoming.method.as_deref(), &incoming.id) {
        (Some("tools/call"), Some(id)) => {
            let arriving =
                Arriving { principal, session, headers: &parts.headers, incoming: &incoming };
            return match arriving.read() {
                Ok((caller, params)) => begin(endpoint, caller, params, id.clone()).await,
                Err(rejected) => reject(&rejected, id),
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
        (Some("logging/setLevel"), Some(id)) => {
            if let Some(session) = &session {
                return set_level(endpoint, session, &incoming, id);
            }
        }
        (None, Some(_)) => {
            if let Some(session) = &session
                && endpoint.sessions.answered(&session.id, &incoming.message)
            {
                return StatusCode::ACCEPTED.into_response();
            }
        }
        (Some("initialize"), Some(_)) if session.is_none() => {
            return initialize(endpoint, &principal, parts, &incoming).await;
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
    if !endpoint.sessions.has_room() {
        let told = "Service Unavailable: too many sessions are open";
        return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
    }
    let params = incoming.message.get("params");
    let name = params
        .and_then(|params| params.pointer("/clientInfo/name"))
        .and_then(Value::as_str)
        .map(|name| name.chars().take(128).collect());
    let abilities = Abilities::of(params.and_then(|params| params.get("capabilities")));
    let about = About { name, peer: Client { abilities, level: None } };
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let response = forward(endpoint, Request::from_parts(parts, incoming.to_bytes().into())).await;
    if let Some(id) = header(response.headers(), SESSION) {
        endpoint.sessions.opened(id, principal.agent().clone(), about, endpoint.now());
    }
    response
}

/// Sets what the session's client hears of logs from its next call on.
fn set_level(endpoint: &Endpoint, session: &Session, incoming: &Incoming, id: &Value) -> Response {
    let level = incoming.message.get("params").and_then(|params| params.get("level"));
    let Some(level) = level.and_then(Level::of) else {
        let told = "Invalid params: `level` must be a level of RFC 5424, like `info`";
        let error = RpcError::new(INVALID_PARAMS, told);
        return json_response(StatusCode::OK, error.answer(Some(id)));
    };
    endpoint.sessions.hears(&session.id, level);
    json_response(StatusCode::OK, wire::response(id, &wire::Members::new()))
}

/// The media types that the transport demands (MCP, Streamable HTTP, sending messages).
fn unacceptable(headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_lowercase();
    let content = header(headers, CONTENT_TYPE.as_str()).map(essence);
    if content.as_deref() != Some("application/json") {
        let told = "Unsupported Media Type: Content-Type must be application/json";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let accepted: Vec<String> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(essence))
        .collect();
    let accepts =
        |kind: &str, all: &str| accepted.iter().any(|it| it == kind || it == all || it == "*/*");
    if !accepts("application/json", "application/*") || !accepts("text/event-stream", "text/*") {
        let told = "Not Acceptable: Client must accept both application/json and text/event-stream";
        return Some((StatusCode::NOT_ACCEPTABLE, told));
    }
    None
}

fn reject(rejected: &Rejected, id: &Value) -> Response {
    let (status, body) = rejected.answer(id);
    json_response(status, body)
}

/// Runs a call whose parameters could be read, and answers it.
async fn begin(endpoint: &Arc<Endpoint>, caller: Caller, params: Params, id: Value) -> Response {
    let token = params.meta().get("progressToken").cloned();
    let (outlet, messages) = Outlet::new(token, caller.peer.level);
    let questions = caller.session.as_deref().and_then(|id| endpoint.sessions.questions(id));
    let line = Line { outlet: Some(outlet), questions, ..Line::default() };
    if let Some(session) = &caller.session
        && let Err(refused) = endpoint.sessions.begin(session, &id, line.clone())
    {
        return reject(&Rejected::of(refused), &id);
    }
    Call { endpoint: Arc::clone(endpoint), caller, params, line, id }.answer(messages).await
}

/// A call that may begin.
struct Call {
    endpoint: Arc<Endpoint>,
    caller: Caller,
    params: Params,
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
    /// The answer; none for a call that its caller took back, who does not listen any more (MCP,
    /// cancellation).
    async fn run(self) -> Option<Bytes> {
        let Self { endpoint, caller, params, line, id } = self;
        let _under_way = caller.session.clone().map(|session| UnderWay {
            endpoint: Arc::clone(&endpoint),
            session,
            id: id.clone(),
        });
        let answer = calls::answer(&endpoint.gateway, &caller, params, &line).await;
        if line.withdrawn.load(Ordering::SeqCst) {
            return None;
        }
        Some(match answer {
            Ok(members) => wire::response(&id, &members),
            Err(error) => error.answer(Some(&id)),
        })
    }

    /// Answers with the result alone; with a stream that ends with it if anything comes before it.
    async fn answer(self, mut messages: mpsc::Receiver<Bytes>) -> Response {
        // Before 2026-07-28 a client that hangs up has not taken its call back.
        let modern = self.caller.era == Era::Modern;
        let leaving = modern.then(|| self.line.cancel.clone().drop_guard());
        let mut running = Box::pin(self.run());
        let (first, done) = tokio::select! {
            biased;
            Some(first) = messages.recv() => (first, None),
            answer = &mut running => match messages.try_recv() {
                Ok(first) => (first, Some(answer)),
                Err(_) => {
                    if let Some(guard) = leaving {
                        guard.disarm();
                    }
                    return answer.map_or_else(nothing, |it| json_response(StatusCode::OK, it));
                }
            },
        };
        let (out, events) = mpsc::channel::<Bytes>(STREAM_QUEUE);
        tokio::spawn(async move {
            let _leaving = leaving;
            let mut next = Some(first);
            let answer = match done {
                Some(answer) => answer,
                None => loop {
                    if let Some(message) = next.take()
                        && out.send(message).await.is_err()
                    {
                        return;
                    }
                    tokio::select! {
                        biased;
                        Some(message) = messages.recv() => next = Some(message),
                        answer = &mut running => break answer,
                        () = out.closed() => return,
                    }
                },
            };
            // What was said before the answer goes before it: a client knows no call that has ended.
            while let Some(message) = next.take().or_else(|| messages.try_recv().ok()) {
                if out.send(message).await.is_err() {
                    return;
                }
            }
            if let Some(answer) = answer {
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
