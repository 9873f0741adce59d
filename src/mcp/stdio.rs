//! MCP over standard streams: one agent, one client, lines of JSON.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rmcp::model::{
    ClientRequest, CustomResult, EmptyObject, ErrorData, ProtocolVersion, ServerResult,
};
use rmcp::service::{NotificationContext, RequestContext, Service, ServiceExt};
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::acting::{self, Acting};
use super::arriving::level_in;
use super::calls::{Caller, Era, Line};
use super::handler::rpc_error;
use super::outlet::Outlet;
use super::reads::Asking;
pub use super::streams::{LEAVING, Stop};
use super::streams::{Lines, Output, Streams, shared, write_line};
use super::tasks::{self, Tasks};
use super::wire::Members;
use crate::backend::contact::{self, Abilities, Level};
use crate::gateway::Gateway;
use crate::ids::CallId;
use crate::principal::Principal;

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
    let output = shared(output);
    let transport = Streams::new((input, Arc::clone(&output)), Arc::clone(&lines), limit, stop);
    let front = Front::of(gateway, principal);
    let connection = CallId::new().to_string();
    let client = Client { front, lines, output, level: Mutex::default(), connection };
    let running = client.serve(transport).await.map_err(io::Error::other)?;
    running.waiting().await.map(drop).map_err(io::Error::other)
}

/// rmcp's server for one client, but for `tools/call` and what takes its path.
struct Client {
    front: Front,
    lines: Arc<Lines>,
    output: Output,
    /// The least severe log messages that a client of an earlier protocol wants.
    level: Mutex<Option<Level>>,
    /// Tells it from every other: what names no workflow is of its own.
    connection: String,
}

impl Client {
    /// Carries what takes the path of a call.
    async fn carry(&self, context: RequestContext<RoleServer>) -> Result<ServerResult, ErrorData> {
        let modern = is_modern(&context);
        let caller = Caller {
            principal: self.front.principal(&context)?,
            era: if modern { Era::Modern } else { Era::Legacy },
            client: context.client_info().map(|it| it.name.chars().take(128).collect()),
            tasks: context.client_capabilities().is_some_and(|it| it.supports_tasks()),
            opens_pages: context
                .client_capabilities()
                .is_some_and(|it| it.elicitation.as_ref().is_some_and(|it| it.url.is_some())),
            peer: self.peer(modern, &context)?,
            session: Some(self.connection.clone()),
        };
        let asking = self.asking_of(&context)?;
        let (outlet, carrier) = self.outlet(&caller, &asking);
        let line = self.line_of(&context, outlet);
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
        carrier.finish().await;
        raw(&answer.map_err(rpc_error)?)
    }

    /// Makes the request that of the child it names, if it names one.
    async fn act(
        &self,
        request: &ClientRequest,
        context: &mut RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let Some(said) = context.meta.0.get(acting::KEY).cloned() else { return Ok(()) };
        let sender = self.front.principal(context)?;
        let name = if let ClientRequest::CallToolRequest(call) = request {
            Some(&*call.params.name)
        } else {
            None
        };
        let asked = (request.method(), name);
        let child = acting::child(self.front.gateway(), sender, &said, asked).await;
        context.extensions.insert(Acting(child.map_err(rpc_error)?));
        Ok(())
    }

    /// What became of a task.
    async fn task(
        &self,
        id: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        if !context.client_capabilities().is_some_and(|it| it.supports_tasks()) {
            return Err(rpc_error(tasks::undeclared()));
        }
        let principal = self.front.principal(context)?;
        let tasks = Tasks { gateway: self.front.gateway(), principal: &principal };
        let task = tasks.get(id, &self.peer(true, context)?).await;
        raw(&task.map_err(rpc_error)?)
    }

    fn outlet(&self, caller: &Caller, asking: &Asking) -> (Outlet, Carrier) {
        let token = asking.meta().get("progressToken").cloned();
        let (outlet, messages) = Outlet::new(token, caller.peer.level);
        (outlet, Carrier::start(messages, Arc::clone(&self.output)))
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

    fn line_of(&self, context: &RequestContext<RoleServer>, outlet: Outlet) -> Line {
        let mut lines = self.lines.lock();
        let line = &mut lines.entry(context.id.to_string()).or_default().line;
        line.outlet = Some(outlet);
        line.questions = Some(Arc::clone(&self.lines.questions));
        line.clone()
    }

    /// What the client can do for tools, and wants to hear of them.
    fn peer(
        &self,
        modern: bool,
        context: &RequestContext<RoleServer>,
    ) -> Result<contact::Client, ErrorData> {
        let capabilities = context.client_capabilities().map(serde_json::to_value).transpose();
        let capabilities = capabilities.map_err(|error| internal(&error))?;
        let level = if modern {
            level_in(Some(&context.meta.0))
        } else {
            *self.level.lock().unwrap_or_else(PoisonError::into_inner)
        };
        Ok(contact::Client { abilities: Abilities::of(capabilities.as_ref()), level })
    }

    /// Sets what the client hears of logs from its next call on.
    fn set_level(&self, params: &impl serde::Serialize) -> Result<ServerResult, ErrorData> {
        let params = serde_json::to_value(params).map_err(|error| internal(&error))?;
        let level = params.get("level").and_then(Level::of);
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        Ok(ServerResult::EmptyResult(EmptyObject {}))
    }
}

/// Carries what comes before the answer of one call to the client, and before it: a client knows nothing of
/// a call that has ended.
struct Carrier {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Carrier {
    fn start(mut messages: mpsc::Receiver<Bytes>, output: Output) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    biased;
                    message = messages.recv() => message,
                    () = stopped.cancelled() => return,
                };
                let Some(message) = message else { return };
                if write_line(&output, &message).await.is_err() {
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

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|it| it >= ProtocolVersion::V_2026_07_28)
}

/// A result as we wrote it.
fn raw(members: &Members) -> Result<ServerResult, ErrorData> {
    let text = serde_json::to_string(members).map_err(|error| internal(&error))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| internal(&error))?;
    Ok(ServerResult::CustomResult(CustomResult::new(value)))
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
        mut context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        self.act(&request, &mut context).await?;
        match &request {
            ClientRequest::CallToolRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::GetPromptRequest(_)
            | ClientRequest::CompleteRequest(_) => self.carry(context).await,
            ClientRequest::GetTaskRequest(get) if is_modern(&context) => {
                self.task(&get.params.task_id, &context).await
            }
            ClientRequest::SubscriptionsListenRequest(_) => self.listen(request, context).await,
            ClientRequest::SetLevelRequest(set) if !is_modern(&context) => {
                self.set_level(&set.params)
            }
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
