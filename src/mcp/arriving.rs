//! A `tools/call`, or what takes the same path, over HTTP: what its body and its headers say.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use rmcp::model::ProtocolVersion;
use serde_json::{Value, json};

use super::calls::{Caller, Era};
use super::reads::Asking;
use super::sessions::{About, Refused};
use super::tasks;
use super::wire::{self, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, Incoming, RpcError};
use crate::backend::contact::{Abilities, Client, Level};
use crate::principal::Principal;

pub(super) const VERSION: &str = "mcp-protocol-version";
pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
pub(super) const CLIENT_KEY: &str = "io.modelcontextprotocol/clientInfo";
const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";

/// A session of a protocol before 2026-07-28 that is the caller's own.
pub(super) struct Session {
    /// Its id.
    pub(super) id: String,
    /// Who its client says it is, and what it can do.
    pub(super) about: About,
}

/// A request that has arrived and takes the path of a call.
pub(super) struct Arriving<'a> {
    /// Who sent it.
    pub(super) principal: Principal,
    /// The session it came in, which is this principal's.
    pub(super) session: Option<Session>,
    /// Its headers.
    pub(super) headers: &'a HeaderMap,
    /// Its body.
    pub(super) incoming: &'a Incoming,
}

impl Arriving<'_> {
    /// Who asks and for what, from the body; headers must say the same.
    pub(super) fn read(&self) -> Result<(Caller, Asking), Rejected> {
        let caller = self.caller()?;
        let method = self.incoming.method.as_deref().unwrap_or_default();
        Ok((caller, Asking::read(method, self.incoming.params()?)?))
    }

    /// Who asks, from the body; headers must say the same.
    pub(super) fn caller(&self) -> Result<Caller, Rejected> {
        let params = self.incoming.params()?;
        let meta = params.get("_meta").and_then(Value::as_object);
        let version = meta.and_then(|meta| meta.get(VERSION_KEY));
        let said = header(self.headers, VERSION);
        match version {
            Some(Value::String(version)) => self.modern(version, said, meta),
            Some(_) => Err(Rejected::params("the protocol version must be a text")),
            None if said.is_some_and(is_modern) => {
                let told = format!(
                    "request _meta is missing or has malformed required fields: {VERSION_KEY}"
                );
                Err(Rejected::params(told))
            }
            None => self.legacy(said),
        }
    }

    fn modern(
        &self,
        version: &str,
        said: Option<&str>,
        meta: Option<&crate::json::Object>,
    ) -> Result<Caller, Rejected> {
        if !ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == version) {
            return Err(Rejected::version(version));
        }
        if said != Some(version) {
            return Err(Rejected::mismatch(
                "the MCP-Protocol-Version header differs from the body",
            ));
        }
        if !is_modern(version) {
            return self.legacy(said);
        }
        let Some(Value::Object(capabilities)) = meta.and_then(|meta| meta.get(CAPABILITIES_KEY))
        else {
            let told = format!(
                "request _meta is missing or has malformed required fields: {CAPABILITIES_KEY}"
            );
            return Err(Rejected::params(told));
        };
        let client = meta
            .and_then(|meta| meta.get(CLIENT_KEY))
            .and_then(|client| client.get("name"))
            .and_then(Value::as_str)
            .map(|name| name.chars().take(128).collect());
        let tasks =
            capabilities.get("extensions").is_some_and(|all| all.get(tasks::EXTENSION).is_some());
        let opens_pages = capabilities.get("elicitation").is_some_and(|it| it.get("url").is_some());
        let principal = self.principal.clone();
        let peer = Client {
            abilities: Abilities::of(meta.and_then(|meta| meta.get(CAPABILITIES_KEY))),
            level: level_in(meta),
        };
        Ok(Caller { principal, era: Era::Modern, client, tasks, opens_pages, peer, session: None })
    }

    fn legacy(&self, said: Option<&str>) -> Result<Caller, Rejected> {
        if let Some(said) = said
            && !ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == said)
        {
            return Err(Rejected::version(said));
        }
        let Some(session) = &self.session else {
            return Err(Rejected {
                status: StatusCode::BAD_REQUEST,
                error: RpcError::new(
                    INVALID_REQUEST,
                    "Bad Request: Mcp-Session-Id header is required",
                ),
            });
        };
        Ok(Caller {
            principal: self.principal.clone(),
            era: Era::Legacy,
            client: session.about.name.clone(),
            tasks: false,
            opens_pages: false,
            peer: session.about.peer.clone(),
            session: Some(session.id.clone()),
        })
    }
}

/// The least severe log messages that a request wants; one that says nothing understandable gets none.
pub(super) fn level_in(meta: Option<&crate::json::Object>) -> Option<Level> {
    meta?.get(LEVEL_KEY).and_then(Level::of)
}

pub(super) fn is_modern(version: &str) -> bool {
    version >= ProtocolVersion::V_2026_07_28.as_str()
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The media types that the transport demands (MCP, Streamable HTTP, sending messages).
pub(super) fn unacceptable(headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
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

/// A call that the transport turns away.
pub(super) struct Rejected {
    status: StatusCode,
    error: RpcError,
}

impl Rejected {
    fn params(why: impl Into<String>) -> Self {
        let told = format!("Invalid params: {}", why.into());
        Self { status: StatusCode::BAD_REQUEST, error: RpcError::new(INVALID_PARAMS, told) }
    }

    /// The headers say other than the body.
    pub(super) fn mismatch(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: RpcError::new(HEADER_MISMATCH, why) }
    }

    fn version(requested: &str) -> Self {
        let supported: Vec<&str> =
            ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
        let requested: String = requested.chars().take(64).collect();
        let mut error = RpcError::new(wire::UNSUPPORTED_VERSION, "Unsupported protocol version");
        error.data = Some(json!({ "supported": supported, "requested": requested }));
        Self { status: StatusCode::BAD_REQUEST, error }
    }

    pub(super) fn of(refused: Refused) -> Self {
        let (status, told) = match refused {
            Refused::IdInUse => {
                (StatusCode::OK, "Invalid Request: a request with this id is under way")
            }
            Refused::TooMany => (StatusCode::OK, "Invalid Request: too many calls are under way"),
            Refused::Gone => (StatusCode::NOT_FOUND, "Not Found: Session not found"),
        };
        Self { status, error: RpcError::new(INVALID_REQUEST, told) }
    }

    /// The status and the body that answer the request `id`, or a message without one.
    pub(super) fn answer(&self, id: Option<&Value>) -> (StatusCode, Bytes) {
        (self.status, self.error.answer(id))
    }
}

impl From<RpcError> for Rejected {
    fn from(error: RpcError) -> Self {
        Self { status: error.status(), error }
    }
}
