//! One HTTP exchange after the other, with answers taken out of rmcp's way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::{Client, Response};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse as Posted,
};
use sse_stream::Sse;
use tokio::sync::watch;

use super::ledger::{Incoming, Ledger};
use super::sse;
use super::trouble::Trouble;
use super::wire::{self, Envelope};
use crate::backend::BackendError;

/// How long a body that comes with an error status may be, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// How long the first request of a session waits for the stream beside the exchanges.
const STREAM_WITHIN: Duration = Duration::from_secs(1);

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Makes exchanges over pooled connections.
#[derive(Clone)]
pub(super) struct Exchange {
    client: Client,
    ledger: Arc<Ledger>,
    limit: usize,
    /// Whether the server has ever opened the stream beside the exchanges.
    streamed: Arc<AtomicBool>,
    /// Whether it is open, or known not to open, or was waited for long enough.
    settled: Arc<watch::Sender<bool>>,
}

/// What was posted, as far as the answer depends on it.
#[derive(Clone, Copy)]
struct Question {
    /// Its id, unless it wants no answer.
    id: Option<i64>,
    is_discovery: bool,
    in_session: bool,
}

impl Question {
    fn of(message: &ClientJsonRpcMessage, in_session: bool) -> Self {
        let ClientJsonRpcMessage::Request(request) = message else {
            return Self { id: None, is_discovery: false, in_session };
        };
        let id = match request.id {
            RequestId::Number(id) => Some(id),
            RequestId::String(_) => None,
        };
        let is_discovery = matches!(request.request, ClientRequest::DiscoverRequest(_));
        Self { id, is_discovery, in_session }
    }
}

impl Exchange {
    /// Exchanges over `client`, no message from upstream longer than `limit` bytes.
    pub(super) fn new(client: Client, ledger: Arc<Ledger>, limit: usize) -> Self {
        Self { client, ledger, limit, streamed: Arc::default(), settled: Arc::default() }
    }

    /// Waits for the stream beside the exchanges, once: what a server of a protocol before 2026-07-28 logs during
    /// a call may come there, and is lost with some when nobody listens yet.
    async fn stream_settled(&self) {
        let mut settled = self.settled.subscribe();
        let waited = tokio::time::timeout(STREAM_WITHIN, settled.wait_for(|settled| *settled));
        if waited.await.is_err() {
            self.settled.send_replace(true);
        }
    }

    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        headers: HeaderMap,
        question: Question,
    ) -> Result<Posted, Trouble> {
        let mut request = self.client.post(uri).headers(headers).header(ACCEPT, BOTH);
        if let Some(session) = session {
            request = request.header(SESSION, session.as_ref());
        }
        let response = request.json(message).send().await.map_err(Trouble::of)?;
        let status = response.status();
        let accepted = matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT);
        let Some(id) = question.id.filter(|_| !accepted) else {
            return match Trouble::of_status(&response) {
                Some(trouble) => Err(trouble),
                None => Ok(Posted::Accepted),
            };
        };
        if status.is_success() {
            self.answered(response, id).await
        } else {
            self.refused(response, id, question).await
        }
    }

    async fn answered(&self, response: Response, id: i64) -> Result<Posted, Trouble> {
        let session = header(&response, &SESSION);
        let kind = header(&response, &CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("text/event-stream") {
            let posted = self.ledger.is_waiting(id).then_some(id);
            let is_listing = self.ledger.is_listing(id);
            let (body, ledger) = (response.bytes_stream(), Arc::clone(&self.ledger));
            let events = Posted::Sse(sse::events(body, self.limit, ledger, posted), session);
            return if is_listing { unstreamed(events).await } else { Ok(events) };
        }
        if !kind.starts_with("application/json") {
            return Err(Trouble::ContentType(wire::bounded(&kind)));
        }
        let body = read(response, self.limit).await?;
        let envelope = Envelope::of(&body).map_err(Trouble::Malformed)?;
        let ours = envelope.number() == Some(id) && envelope.method.is_none();
        let message = match envelope.error {
            Some(_) if envelope.result.is_some() => {
                return Err(Trouble::Malformed("both a result and an error".to_owned()));
            }
            // The body of an exchange is its answer, whatever id an error carries.
            Some(error) => self.failed(id, error.get(), wire::refusal(error))?,
            None if !ours => return Err(Trouble::Malformed("of another id".to_owned())),
            None => match self.ledger.incoming(&body, Some(id)) {
                Incoming::Replace(message) => *message,
                Incoming::Pass => serde_json::from_slice(&body).map_err(untyped)?,
                Incoming::Done => return Ok(Posted::Accepted),
            },
        };
        Ok(Posted::Json(message, session))
    }

    async fn refused(
        &self,
        response: Response,
        id: i64,
        question: Question,
    ) -> Result<Posted, Trouble> {
        let status = response.status();
        let Some(trouble) = Trouble::of_status(&response) else {
            return Err(Trouble::Malformed("no error".to_owned()));
        };
        if status == StatusCode::NOT_FOUND && question.in_session {
            return Err(Trouble::SessionGone);
        }
        let is_final = status.is_redirection() || matches!(status.as_u16(), 401 | 403 | 408 | 429);
        if is_final {
            return Err(trouble);
        }
        let body = read(response, MAX_ERROR_BODY).await.unwrap_or_default();
        let envelope = Envelope::of(&body).ok();
        let said = envelope.as_ref().and_then(|said| Some((said.id.is_some(), said.error?)));
        match said {
            // Many servers say so when they were restarted.
            Some((false, _)) if question.in_session && status == StatusCode::BAD_REQUEST => {
                Err(Trouble::SessionGone)
            }
            Some((_, error)) => {
                Ok(Posted::Json(self.failed(id, error.get(), wire::refusal(error))?, None))
            }
            // An old server behind something that only knows HTTP.
            None if question.is_discovery && status.is_client_error() => {
                let error = ErrorData::invalid_request(trouble.to_string(), None);
                let message = ServerJsonRpcMessage::error(error, Some(RequestId::Number(id)));
                Ok(Posted::Json(message, None))
            }
            None => Err(trouble),
        }
    }

    /// The message for rmcp when the answer to `id` is an error.
    fn failed(
        &self,
        id: i64,
        error: &str,
        refusal: BackendError,
    ) -> Result<ServerJsonRpcMessage, Trouble> {
        if self.ledger.is_waiting(id)
            && let Incoming::Replace(message) = self.ledger.settle(id, Err(refusal))
        {
            return Ok(*message);
        }
        self.ledger.forget(id);
        let error: ErrorData = serde_json::from_str(error).map_err(untyped)?;
        Ok(ServerJsonRpcMessage::error(error, Some(RequestId::Number(id))))
    }

    /// Tells who waits for `id` what went wrong, in place of rmcp, whose errors say less.
    fn told(
        &self,
        id: Option<i64>,
        trouble: Trouble,
    ) -> Result<Posted, StreamableHttpError<Trouble>> {
        let settled = id
            .filter(|id| self.ledger.is_waiting(*id))
            .map(|id| self.ledger.settle(id, Err(trouble.as_error())));
        if trouble.ends_the_connection() {
            self.ledger.retire(BackendError::Died(trouble.to_string()));
        }
        match settled {
            Some(Incoming::Replace(message)) => Ok(Posted::Json(*message, None)),
            Some(Incoming::Pass | Incoming::Done) | None => {
                Err(StreamableHttpError::Client(trouble))
            }
        }
    }

    async fn stream(
        &self,
        uri: &str,
        session: Option<Arc<str>>,
        last_event: Option<&str>,
        headers: HeaderMap,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Trouble> {
        let mut request = self.client.get(uri).headers(headers).header(ACCEPT, STREAM);
        let in_session = session.is_some();
        if let Some(session) = session {
            request = request.header(SESSION, session.as_ref());
        }
        if let Some(last_event) = last_event {
            request = request.header(LAST_EVENT, last_event);
        }
        let response = request.send().await.map_err(Trouble::of)?;
        let streamed = self.streamed.load(Ordering::Acquire);
        if response.status() == StatusCode::NOT_FOUND && in_session && streamed {
            return Err(Trouble::SessionGone);
        }
        if let Some(trouble) = Trouble::of_status(&response) {
            return Err(trouble);
        }
        let kind = header(&response, &CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        if !kind.starts_with("text/event-stream") {
            return Err(Trouble::ContentType(wire::bounded(&kind)));
        }
        self.streamed.store(true, Ordering::Release);
        Ok(sse::events(response.bytes_stream(), self.limit, Arc::clone(&self.ledger), None))
    }
}

impl StreamableHttpClient for Exchange {
    type Error = Trouble;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Posted, StreamableHttpError<Trouble>> {
        let question = Question::of(&message, session_id.is_some());
        let headers = headers.into_iter().collect();
        if question.in_session && question.id.is_some() {
            self.stream_settled().await;
        }
        match self.post(&uri, &message, session_id, headers, question).await {
            Ok(posted) => Ok(posted),
            Err(trouble) => self.told(question.id, trouble),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<Trouble>> {
        let headers: HeaderMap = headers.into_iter().collect();
        let request = self.client.delete(uri.as_ref()).headers(headers);
        let sent = request.header(SESSION, session_id.as_ref()).send().await;
        // A server may refuse; the session then ends by itself.
        sent.map(drop).map_err(|error| StreamableHttpError::Client(Trouble::of(error)))
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<Trouble>> {
        let headers = headers.into_iter().collect();
        let last_event = last_event_id.as_deref();
        let opened = self.stream(&uri, session_id, last_event, headers).await;
        self.settled.send_replace(true);
        opened.map_err(|trouble| {
            if matches!(trouble, Trouble::SessionGone) {
                self.ledger.retire(BackendError::Died(trouble.to_string()));
            }
            let never = last_event.is_none() && !self.streamed.load(Ordering::Acquire);
            let without = never || trouble.is_status(StatusCode::METHOD_NOT_ALLOWED);
            if without {
                StreamableHttpError::ServerDoesNotSupportSse
            } else {
                StreamableHttpError::Client(trouble)
            }
        })
    }
}

/// The answer in a stream, as if it had come alone. From a stream that ends with its answer, rmcp's
/// worker does not always learn what a list of tools says about headers.
async fn unstreamed(events: Posted) -> Result<Posted, Trouble> {
    match events.expect_initialized::<Trouble>().await {
        Ok((message, session)) => Ok(Posted::Json(message, session)),
        Err(_) => Err(Trouble::Broke("the stream ended before its answer".to_owned())),
    }
}

/// What the library that speaks the protocol cannot read; its own words may hold the text.
fn untyped(_: serde_json::Error) -> Trouble {
    Trouble::Malformed("not as the protocol has it".to_owned())
}

/// The body, if it is not longer than `limit`.
async fn read(response: Response, limit: usize) -> Result<BytesMut, Trouble> {
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(Trouble::of)?;
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(Trouble::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// When the server wants to be asked again, in its words.
pub(super) fn retry_after(response: &Response) -> Option<String> {
    header(response, &RETRY_AFTER).map(|text| text.chars().take(64).collect())
}
