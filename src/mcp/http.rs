//! MCP over streamable HTTP: `tools/call` and what takes its path is taken here, whole, in one task and with its body read once;
//! every other message goes on to rmcp's service as our own re-serialisation.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;
use tower::ServiceExt;

use super::Front;
use super::acting;
use super::agreeing;
use super::arriving::{
    Arriving, Rejected, Session, VERSION, VERSION_KEY, header, is_modern, unacceptable,
};
use super::calls::{Caller, Line};
use super::lasting::{Held, Lasting};
use super::outlet::Outlet;
use super::reads::Asking;
use super::replying::{Call, json_response};
use super::sessions::{About, Sessions};
use super::tasks::{self, Tasks};
use super::watching;
use super::wire::{self, INVALID_PARAMS, Incoming, RpcError};
use crate::backend::contact::{Abilities, Client, Level};
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::principal::Principal;

const SESSION: &str = "mcp-session-id";

/// The MCP endpoint.
pub struct Endpoint {
    pub(super) gateway: Arc<Gateway>,
    service: StreamableHttpService<Front, LocalSessionManager>,
    manager: Arc<LocalSessionManager>,
    pub(super) sessions: Sessions,
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
    let (principal, mut parts, mut incoming) = match arrived(endpoint, principal, request).await {
        Ok(arrived) => arrived,
        Err(response) => return *response,
    };
    match (incoming.method.as_deref(), &incoming.id) {
        (Some(method), Some(id)) if Asking::takes(method) => {
            let arriving =
                Arriving { principal, session, headers: &parts.headers, incoming: &incoming };
            return match read(endpoint, &arriving) {
                Ok((caller, asking)) => begin(endpoint, caller, asking, id.clone()).await,
                Err(rejected) => reject(&rejected, Some(id)),
            };
        }
        (Some("tasks/get"), Some(id)) if is_modern_request(&parts.headers, &incoming) => {
            let arriving =
                Arriving { principal, session, headers: &parts.headers, incoming: &incoming };
            return match task(endpoint, &arriving).await {
                Ok(members) => json_response(StatusCode::OK, wire::response(id, &members)),
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

/// What a request says, and whom it is made for; what asks for no answer is the sender's own.
async fn arrived(
    endpoint: &Endpoint,
    sender: Principal,
    request: Request,
) -> Result<(Principal, http::request::Parts, Incoming), Box<Response>> {
    let (mut parts, body) = request.into_parts();
    let limit = endpoint.gateway.config.edge.max_message_bytes;
    let Ok(bytes) = axum::body::to_bytes(body, limit).await else {
        let told = format!("Payload Too Large: a message has at most {limit} bytes");
        return Err(Box::new((StatusCode::PAYLOAD_TOO_LARGE, told).into_response()));
    };
    let incoming = Incoming::read(&bytes)
        .map_err(|unread| Box::new(json_response(StatusCode::BAD_REQUEST, unread.answer())))?;
    let rejected = |why: &Rejected| Box::new(reject(why, incoming.id.as_ref()));
    agreeing::check(&parts.headers, &incoming).map_err(|why| rejected(&Rejected::mismatch(why)))?;
    let principal = match (&incoming.method, &incoming.id) {
        (Some(method), Some(_)) => {
            let params = incoming.message.get("params");
            let whose = acting::whose(&endpoint.gateway, sender, method, params).await;
            whose.map_err(|error| rejected(&error.into()))?
        }
        (Some(_) | None, _) => sender,
    };
    // The lists that rmcp asks for are those of whom the request is made for.
    parts.extensions.insert(principal.clone());
    Ok((principal, parts, incoming))
}

/// Who asks and for what; headers must say the same.
fn read(endpoint: &Endpoint, arriving: &Arriving<'_>) -> Result<(Caller, Asking), Rejected> {
    let (caller, asking) = arriving.read()?;
    if let Asking::Call(params) = &asking {
        agreeing::check_call(&endpoint.gateway, arriving.headers, &caller, params)
            .map_err(Rejected::mismatch)?;
    }
    Ok((caller, asking))
}

/// Whether a request says of itself that it is of 2026-07-28 or after, in its body or its headers.
fn is_modern_request(headers: &HeaderMap, incoming: &Incoming) -> bool {
    let meta = incoming.message.get("params").and_then(|params| params.get("_meta"));
    let said = meta.and_then(|meta| meta.get(VERSION_KEY)).and_then(Value::as_str);
    said.or_else(|| header(headers, VERSION)).is_some_and(is_modern)
}

/// What became of a task.
async fn task(endpoint: &Endpoint, arriving: &Arriving<'_>) -> Result<wire::Members, Rejected> {
    let caller = arriving.caller()?;
    if !caller.tasks {
        return Err(tasks::undeclared().into());
    }
    let params = arriving.incoming.params()?;
    let Some(id) = params.get("taskId").and_then(Value::as_str) else {
        return Err(RpcError::new(INVALID_PARAMS, "Invalid params: `taskId` must be a text").into());
    };
    let tasks = Tasks { gateway: &endpoint.gateway, principal: &caller.principal };
    Ok(tasks.get(id, &caller.peer).await?)
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
        place.opened(id, principal.agent().clone(), about, endpoint.now());
        endpoint.show_sessions();
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

fn reject(rejected: &Rejected, id: Option<&Value>) -> Response {
    let (status, body) = rejected.answer(id);
    json_response(status, body)
}

/// Runs a call whose parameters could be read, and answers it.
async fn begin(endpoint: &Arc<Endpoint>, caller: Caller, asking: Asking, id: Value) -> Response {
    let token = asking.meta().get("progressToken").cloned();
    let (outlet, messages) = Outlet::new(token, caller.peer.level);
    let questions = caller.session.as_deref().and_then(|id| endpoint.sessions.questions(id));
    let line = Line { outlet: Some(outlet), questions, ..Line::default() };
    if let Some(session) = &caller.session
        && let Err(refused) = endpoint.sessions.begin(session, &id, line.clone())
    {
        return reject(&Rejected::of(refused), Some(&id));
    }
    Call { endpoint: Arc::clone(endpoint), caller, asking, line, id }.answer(messages).await
}
