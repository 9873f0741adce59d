//! MCP over standard streams: one agent, one client, lines of JSON.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rmcp::model::{
    CallToolRequestParams, ClientRequest, CustomResult, ErrorCode, ErrorData, JsonRpcMessage,
    ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerResult,
};
use rmcp::service::{
    NotificationContext, RequestContext, RxJsonRpcMessage, Service, ServiceExt, TxJsonRpcMessage,
};
use rmcp::transport::Transport;
use rmcp::{Peer, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::calls::{self, Caller, Era, Line, Params};
use super::framing::{Framed, Frames};
use super::wire::{Incoming, RpcError, Unread};
use crate::backend::Progress;
use crate::gateway::Gateway;
use crate::json::Object;
use crate::principal::Principal;

/// How many progress notifications wait for a slow reader before more are dropped.
const PROGRESS_QUEUE: usize = 16;
/// How many requests one client may have under way.
const MAX_IN_FLIGHT: usize = 1024;

/// The notification by which the gateway tells a process that carries a client's messages to send no more
/// on this stream: what was sent is still answered.
pub const LEAVING: &str = "countersign/leaving";
/// The request whose answer says that its stream of notifications has ended.
const LISTEN: &str = "subscriptions/listen";

/// How a stream ends before its client goes away.
#[derive(Clone, Debug)]
pub enum Stop {
    /// When cancelled, nothing more is read; what was read is answered.
    Client(CancellationToken),
    /// When cancelled, the carrier at the other end is told ([`LEAVING`]) and closes its side; all that it
    /// sent is answered.
    Carrier(CancellationToken),
}

impl Stop {
    async fn said(&self) {
        let (Self::Client(token) | Self::Carrier(token)) = self;
        token.cancelled().await;
    }

    fn is_told_to_carrier(&self) -> bool {
        matches!(self, Self::Carrier(token) if token.is_cancelled())
    }
}

/// Serves one client on `input` and `output` until it goes away, or `stop` says so and its requests are
/// answered.
///
/// # Errors
/// When the client does not begin as the protocol demands, or the streams fail.
pub async fn serve(
    gateway: Arc<Gateway>,
    principal: Principal,
    (input, output): (
        impl AsyncRead + Send + Unpin + 'static,
        impl AsyncWrite + Send + Unpin + 'static,
    ),
    stop: Stop,
) -> io::Result<()> {
    let lines = Arc::new(Lines::default());
    let limit = gateway.config.edge.max_message_bytes;
    let transport = Streams {
        input: Frames::new(input, limit),
        output: Arc::new(tokio::sync::Mutex::new(Box::new(output))),
        lines: Arc::clone(&lines),
        limit,
        refusing: None,
        stop,
        stopping: false,
    };
    let client = Client { front: Front::of(gateway, principal), lines };
    let running = client.serve(transport).await.map_err(io::Error::other)?;
    running.waiting().await.map(drop).map_err(io::Error::other)
}

/// The calls of this client that are under way, so that an explicit cancellation is told from an end of input.
#[derive(Debug, Default)]
struct Lines {
    open: Mutex<HashMap<String, Open>>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Open {
    line: Line,
    /// Whether it only ends with the stream.
    lasts: bool,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, key: &str) -> Option<Open> {
        let ended = self.lock().remove(key);
        self.ended.notify_waiters();
        ended
    }

    /// Waits until every request has its answer.
    async fn all_ended(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }
}

/// rmcp's server for one client, but for `tools/call`.
struct Client {
    front: Front,
    lines: Arc<Lines>,
}

impl Client {
    async fn call(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let modern =
            context.protocol_version().is_some_and(|it| it >= ProtocolVersion::V_2026_07_28);
        let caller = Caller {
            principal: self.front.principal(&context)?,
            era: if modern { Era::Modern } else { Era::Legacy },
            client: context.client_info().map(|it| it.name.chars().take(128).collect()),
            tasks: context.client_capabilities().is_some_and(|it| it.supports_tasks()),
            session: None,
        };
        let params = read(params, &context)?;
        let (line, carrier) = self.line_of(&context);
        let answer = {
            let run = calls::answer(self.front.gateway(), &caller, params, &line);
            tokio::pin!(run);
            tokio::select! {
                answer = &mut run => answer,
                // The end of input cancels too: what runs is stopped, what is held stays.
                () = context.ct.cancelled() => {
                    line.cancel.cancel();
                    run.await
                }
            }
        };
        self.lines.end(&context.id.to_string());
        if let Some(carrier) = carrier {
            carrier.finish().await;
        }
        let members = answer.map_err(rpc_error)?;
        let text = serde_json::to_string(&members).map_err(|error| internal(&error))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| internal(&error))?;
        Ok(ServerResult::CustomResult(CustomResult::new(value)))
    }

    fn line_of(&self, context: &RequestContext<RoleServer>) -> (Line, Option<Carrier>) {
        let mut lines = self.lines.lock();
        let line = &mut lines.entry(context.id.to_string()).or_default().line;
        let carrier = context.meta.get_progress_token().map(|token| {
            let (sink, progress) = mpsc::channel(PROGRESS_QUEUE);
            line.progress = Some(sink);
            Carrier::start(progress, context.peer.clone(), token)
        });
        (line.clone(), carrier)
    }
}

/// Carries the progress of one call to the client. All of it goes before the result: a client knows no
/// token of a call that has ended.
struct Carrier {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Carrier {
    fn start(
        mut progress: mpsc::Receiver<Progress>,
        peer: Peer<RoleServer>,
        token: ProgressToken,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                let news = tokio::select! {
                    biased;
                    news = progress.recv() => news,
                    () = stopped.cancelled() => return,
                };
                let Some(news) = news else { return };
                let mut note = ProgressNotificationParam::new(token.clone(), news.progress);
                note.total = news.total;
                note.message = news.message;
                if peer.notify_progress(note).await.is_err() {
                    return;
                }
            }
        });
        Self { stop, task }
    }

    /// Carries what has queued, and nothing after it.
    async fn finish(self) {
        self.stop.cancel();
        drop(self.task.await);
    }
}

fn read(
    params: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Params, ErrorData> {
    let mut object = Object::new();
    object.insert("name".into(), params.name.into_owned().into());
    if let Some(arguments) = params.arguments {
        object.insert("arguments".into(), arguments.into());
    }
    if let Some(state) = params.request_state {
        object.insert("requestState".into(), state.into());
    }
    let meta = serde_json::to_value(&context.meta).map_err(|error| internal(&error))?;
    object.insert("_meta".into(), meta);
    Params::read(object).map_err(rpc_error)
}

fn rpc_error(error: RpcError) -> ErrorData {
    let code = i32::try_from(error.code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    ErrorData::new(code, error.message, error.data)
}

fn internal(error: &serde_json::Error) -> ErrorData {
    tracing::error!(%error, "a result could not be written");
    ErrorData::internal_error("the gateway failed; its operators can see why", None)
}

impl Service<RoleServer> for Client {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let ClientRequest::CallToolRequest(call) = request else {
            return Service::handle_request(&self.front, request, context).await;
        };
        self.call(call.params, context).await
    }

    async fn handle_notification(
        &self,
        notification: rmcp::model::ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Service::handle_notification(&self.front, notification, context).await
    }

    fn get_info(&self) -> rmcp::model::ServerConfig {
        ServerHandler::get_info(&self.front)
    }
}

type Output = Arc<tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>>;

/// Lines of JSON, read strictly.
struct Streams<R> {
    input: Frames<R>,
    output: Output,
    lines: Arc<Lines>,
    limit: usize,
    /// The refusal that is being written, one at a time. It is a task of its own, because rmcp drops
    /// `receive` whenever it has something else to do, and an answer must not be lost with it.
    refusing: Option<JoinHandle<()>>,
    stop: Stop,
    /// Whether the stream ends because `stop` says so.
    stopping: bool,
}

impl<R: AsyncRead + Send + Unpin + 'static> Streams<R> {
    /// What a line says to rmcp; an error is answered at once, and the connection kept.
    fn accept(&self, line: &[u8]) -> Result<RxJsonRpcMessage<RoleServer>, Box<Unread>> {
        let incoming = Incoming::read(line)?;
        if has_null_argument(&incoming) {
            return Err(Unread::wrong_params("`arguments` must be an object", incoming.id));
        }
        if let (Some(_), Some(id)) = (&incoming.method, &incoming.id) {
            let mut lines = self.lines.lock();
            let invalid = |why: &str| Err(Unread::invalid(why, Some(id.clone())));
            if lines.len() >= MAX_IN_FLIGHT {
                return invalid("Invalid Request: too many requests are under way");
            }
            let key = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            if lines.contains_key(&key) {
                return invalid("Invalid Request: a request with this id is under way");
            }
            let lasts = incoming.method.as_deref() == Some(LISTEN);
            lines.insert(key, Open { line: Line::default(), lasts });
        }
        if incoming.method.as_deref() == Some("notifications/cancelled") {
            let id = incoming.message.get("params").and_then(|params| params.get("requestId"));
            if let Some(id) = id {
                let key = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                if let Some(open) = self.lines.lock().get(&key) {
                    open.line.withdraw();
                }
            }
        }
        let id = incoming.id.clone();
        serde_json::from_value(Value::Object(incoming.message)).map_err(|_| {
            if let Some(id) = &id {
                self.lines.end(&id.as_str().map_or_else(|| id.to_string(), str::to_owned));
            }
            Unread::invalid("Invalid Request: not a message of this protocol", id)
        })
    }

    fn refuse(&mut self, unread: Box<Unread>) {
        self.write_aside(unread.answer());
    }

    fn write_aside(&mut self, message: Bytes) {
        let output = Arc::clone(&self.output);
        self.refusing = Some(tokio::spawn(async move {
            if let Err(error) = write_line(&output, &message).await {
                tracing::debug!(%error, "the client does not read");
            }
        }));
    }

    /// Begins to end the stream.
    fn begin_to_stop(&mut self) {
        self.stopping = true;
        if matches!(self.stop, Stop::Carrier(_)) {
            let note = serde_json::json!({ "jsonrpc": "2.0", "method": LEAVING });
            self.write_aside(note.to_string().into());
        }
    }

    const fn reads(&self) -> bool {
        !self.stopping || matches!(self.stop, Stop::Carrier(_))
    }
}

/// rmcp takes `null` for nothing; over HTTP it is refused, and a call means the same on every way in.
fn has_null_argument(incoming: &Incoming) -> bool {
    let params = incoming.message.get("params");
    incoming.method.as_deref() == Some("tools/call")
        && params.and_then(|params| params.get("arguments")).is_some_and(Value::is_null)
}

async fn write_line(output: &Output, message: &[u8]) -> io::Result<()> {
    let mut output = output.lock().await;
    output.write_all(message).await?;
    output.write_all(b"\n").await?;
    output.flush().await
}

impl<R: AsyncRead + Send + Unpin + 'static> Transport<RoleServer> for Streams<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let id = match &item {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        let ended = id.and_then(|id| self.lines.end(&id.to_string()));
        // Its carrier asks the next gateway for the same: for the client, the stream goes on.
        let goes_on = ended.is_some_and(|ended| ended.lasts) && self.stop.is_told_to_carrier();
        let output = Arc::clone(&self.output);
        async move {
            if goes_on {
                return Ok(());
            }
            let message = serde_json::to_vec(&item).map_err(io::Error::other)?;
            write_line(&output, &message).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(refusing) = &mut self.refusing {
                drop(refusing.await);
                self.refusing = None;
            }
            let framed = tokio::select! {
                biased;
                () = self.stop.said(), if !self.stopping => {
                    self.begin_to_stop();
                    continue;
                }
                framed = self.input.next(), if self.reads() => framed,
                () = std::future::ready(()), if !self.reads() => None,
            };
            match framed {
                Some(Framed::Line(line)) => match self.accept(&line) {
                    Ok(message) => return Some(message),
                    Err(unread) => self.refuse(unread),
                },
                Some(Framed::TooLong) => {
                    let told =
                        format!("Invalid Request: a message has at most {} bytes", self.limit);
                    self.refuse(Unread::invalid(&told, None));
                }
                None => {
                    // The end of input would stop what runs.
                    if self.stopping {
                        self.lines.all_ended().await;
                    }
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.output.lock().await.shutdown().await
    }
}
