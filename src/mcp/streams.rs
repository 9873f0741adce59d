//! The lines of one client's streams: read strictly, told from one another by their ids, and ended well.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::calls::Line;
use super::framing::{Framed, Frames};
use super::questions::Questions;
use super::reads::Asking;
use super::wire::{Incoming, Unread};

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

/// The calls of this client that are under way, so that an explicit cancellation is told from an end of input.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The requests of ours that the client has yet to answer.
    pub(super) questions: Arc<Questions>,
    open: Mutex<HashMap<String, Open>>,
    ended: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) line: Line,
    /// What is asked for, where that takes the path of a call, until it begins.
    pub(super) asking: Option<Asking>,
    /// Whether it only ends with the stream.
    lasts: bool,
}

impl Lines {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self, key: &str) -> Option<Open> {
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

/// Where lines to the client go, whole.
pub(super) type Output = Arc<tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>>;

/// `output` for several who write lines to it.
pub(super) fn shared(output: impl AsyncWrite + Send + Unpin + 'static) -> Output {
    Arc::new(tokio::sync::Mutex::new(Box::new(output)))
}

/// Lines of JSON, read strictly.
pub(super) struct Streams<R> {
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
    /// For messages of at most `limit` bytes; `lines` is shared with what serves them.
    pub(super) fn new(
        (input, output): (R, Output),
        lines: Arc<Lines>,
        limit: usize,
        stop: Stop,
    ) -> Self {
        let input = Frames::new(input, limit);
        Self { input, output, lines, limit, refusing: None, stop, stopping: false }
    }

    /// What a line says to rmcp; an error is answered at once, and the connection kept.
    fn accept(&self, line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Box<Unread>> {
        let mut incoming = Incoming::read(line)?;
        if incoming.method.is_none() && self.lines.questions.answered(&incoming.message) {
            return Ok(None);
        }
        let asking = take_asking(&mut incoming)?;
        if let (Some(_), Some(id)) = (&incoming.method, &incoming.id) {
            let mut lines = self.lines.lock();
            let invalid = |why: &str| Err(Unread::invalid(why, Some(id.clone())));
            if lines.len() >= MAX_IN_FLIGHT {
                return invalid("Invalid Request: too many requests are under way");
            }
            let key = key_of(id);
            if lines.contains_key(&key) {
                return invalid("Invalid Request: a request with this id is under way");
            }
            let lasts = incoming.method.as_deref() == Some(LISTEN);
            lines.insert(key, Open { line: Line::default(), asking, lasts });
        }
        if incoming.method.as_deref() == Some("notifications/cancelled") && incoming.id.is_none() {
            let id = incoming.message.get("params").and_then(|params| params.get("requestId"));
            if let Some(id) = id {
                let key = key_of(id);
                if let Some(open) = self.lines.lock().get(&key) {
                    open.line.withdraw();
                }
            }
        }
        let id = incoming.id.clone();
        serde_json::from_value(Value::Object(incoming.message)).map(Some).map_err(|_| {
            if let Some(id) = &id {
                self.lines.end(&key_of(id));
            }
            Unread::invalid("Invalid Request: not a message of this protocol", id)
        })
    }

    fn refuse(&mut self, unread: &Unread) {
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

/// What a request is known by, spelt as rmcp spells its id: a whole number and the text of its digits are
/// the same, and one under way keeps the other out.
fn key_of(id: &Value) -> String {
    match (id.as_str(), id.as_i64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => id.to_string(),
    }
}

/// The parameters of what takes the path of a call, read as those over HTTP are. rmcp gets them without
/// arguments: it takes some values for others, and cannot hold every number.
fn take_asking(incoming: &mut Incoming) -> Result<Option<Asking>, Box<Unread>> {
    let method = incoming.method.as_deref().filter(|_| incoming.id.is_some());
    let Some(method) = method.filter(|method| Asking::takes(method)) else { return Ok(None) };
    let asking = incoming.params().and_then(|params| Asking::read(method, params));
    let asking = asking.map_err(|error| Unread::told(error, incoming.id.clone()))?;
    if let Some(Value::Object(params)) = incoming.message.get_mut("params") {
        params.shift_remove("arguments");
        params.shift_remove("inputResponses");
    }
    Ok(Some(asking))
}

pub(super) async fn write_line(output: &Output, message: &[u8]) -> io::Result<()> {
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
                    Ok(Some(message)) => return Some(message),
                    Ok(None) => {}
                    Err(unread) => self.refuse(&unread),
                },
                Some(Framed::TooLong) => {
                    let told =
                        format!("Invalid Request: a message has at most {} bytes", self.limit);
                    self.refuse(&Unread::invalid(&told, None));
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
