//! MCP over standard streams: one agent, one client, lines of JSON.

use std::io;
use std::sync::Arc;

use rmcp::model::{
    ClientRequest, CustomResult, ErrorCode, ErrorData, ProgressNotificationParam, ProgressToken,
    ProtocolVersion, ServerResult,
};
use rmcp::service::{NotificationContext, RequestContext, Service, ServiceExt};
use rmcp::{Peer, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::calls::{Caller, Era, Line};
use super::reads::Asking;
pub use super::streams::{LEAVING, Stop};
use super::streams::{Lines, Streams};
use super::wire::RpcError;
use crate::backend::Progress;
use crate::gateway::Gateway;
use crate::principal::Principal;

/// How many progress notifications wait for a slow reader before more are dropped.
const PROGRESS_QUEUE: usize = 16;

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
    let transport = Streams::new((input, output), Arc::clone(&lines), limit, stop);
    let client = Client { front: Front::of(gateway, principal), lines };
    let running = client.serve(transport).await.map_err(io::Error::other)?;
    running.waiting().await.map(drop).map_err(io::Error::other)
}

/// rmcp's server for one client, but for `tools/call` and what takes its path.
struct Client {
    front: Front,
    lines: Arc<Lines>,
}

impl Client {
    /// Carries what takes the path of a call.
    async fn carry(&self, context: RequestContext<RoleServer>) -> Result<ServerResult, ErrorData> {
        let modern =
            context.protocol_version().is_some_and(|it| it >= ProtocolVersion::V_2026_07_28);
        let caller = Caller {
            principal: self.front.principal(&context)?,
            era: if modern { Era::Modern } else { Era::Legacy },
            client: context.client_info().map(|it| it.name.chars().take(128).collect()),
            tasks: context.client_capabilities().is_some_and(|it| it.supports_tasks()),
            opens_pages: context
                .client_capabilities()
                .is_some_and(|it| it.elicitation.as_ref().is_some_and(|it| it.url.is_some())),
            session: None,
        };
        let asking = self.asking_of(&context)?;
        let (line, carrier) = self.line_of(&context);
        let answer = {
            let run = asking.answer(self.front.gateway(), &caller, &line);
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

    /// Opens a stream that listens, once what it watches is watched.
    async fn listen(
        &self,
        mut request: ClientRequest,
        mut context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        if let ClientRequest::SubscriptionsListenRequest(listen) = &mut request {
            let watcher = self.front.watcher(&context)?;
            let watched = watcher.narrow(&mut listen.params.notifications).await;
            context.extensions.insert(watched);
        }
        Service::handle_request(&self.front, request, context).await
    }

    /// What was asked, as it was read when it came.
    fn asking_of(&self, context: &RequestContext<RoleServer>) -> Result<Asking, ErrorData> {
        let asking =
            self.lines.lock().get_mut(&context.id.to_string()).and_then(|it| it.asking.take());
        asking.ok_or_else(|| {
            ErrorData::invalid_request("the call came by a way that is not open", None)
        })
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

fn rpc_error(error: RpcError) -> ErrorData {
    let code = i32::try_from(error.code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    ErrorData::new(code, error.message, error.data)
}

fn internal(error: &serde_json::Error) -> ErrorData {
    tracing::error!(%error, "a result could not be written");
    ErrorData::internal_error("the gateway failed; its operators can see why", None)
}

impl Service<RoleServer> for Client {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the protocol is rmcp's")]
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        match &request {
            ClientRequest::CallToolRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::GetPromptRequest(_)
            | ClientRequest::CompleteRequest(_) => self.carry(context).await,
            ClientRequest::SubscriptionsListenRequest(_) => self.listen(request, context).await,
            _ => Service::handle_request(&self.front, request, context).await,
        }
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
