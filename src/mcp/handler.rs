//! What rmcp asks of a server besides `tools/call`: identity, the catalog as this agent sees it, tasks.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest,
    CustomResult, DetailedTask, ErrorCode, ErrorData, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, TaskPayload, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};

use super::answers;
use super::calls::Era;
use super::lists::{self, Viewer};
use super::watching::{Watched, Watcher, Watches};
use crate::call::refusal::Refusal;
use crate::call::{Answer, holding};
use crate::catalog::Kind;
use crate::gateway::Gateway;
use crate::hold::{Hold, StateName};
use crate::ids::HoldId;
use crate::json::Object;
use crate::principal::Principal;
use crate::storage::HoldError;

/// The gateway as one client sees it: over HTTP each request brings its principal, over stdio it is fixed.
#[derive(Clone)]
pub struct Front {
    gateway: Arc<Gateway>,
    fixed: Option<Principal>,
    /// What the session watches, where there is one.
    watches: Arc<Watches>,
}

impl Front {
    /// For requests that bring their principal.
    #[must_use]
    pub fn per_request(gateway: Arc<Gateway>) -> Self {
        Self { gateway, fixed: None, watches: Arc::default() }
    }

    /// For one agent.
    #[must_use]
    pub fn of(gateway: Arc<Gateway>, principal: Principal) -> Self {
        Self { gateway, fixed: Some(principal), watches: Arc::default() }
    }

    pub(super) const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn principal(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<Principal, ErrorData> {
        self.fixed
            .clone()
            .or_else(|| context.extensions.get::<Parts>()?.extensions.get::<Principal>().cloned())
            .ok_or_else(|| ErrorData::invalid_request("the request carries no credential", None))
    }

    /// Who asks to be told of resources.
    pub(super) fn watcher(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<Watcher, ErrorData> {
        Ok(Watcher {
            gateway: Arc::clone(&self.gateway),
            principal: self.principal(context)?,
            client: context.client_info().map(|info| info.name.clone()),
        })
    }

    /// The hold that stands behind a task now, if it is this caller's, and the task's own identifier; a
    /// foreign one looks like none.
    async fn task(
        &self,
        id: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<(HoldId, Hold), ErrorData> {
        let principal = self.principal(context)?;
        let unknown = || ErrorData::invalid_params("Unknown task", None);
        let id = id.parse().map_err(|_| unknown())?;
        let hold = self.gateway.store.hold(id).await.map_err(internal)?;
        // What is held beside calls of tools is waited for in legs: nobody was given a task for it.
        let theirs =
            |hold: &Hold| hold.agent == *principal.agent() && Kind::of(&hold.tool) == Kind::Tool;
        let hold = hold.filter(theirs).ok_or_else(unknown)?;
        Ok((id, holding::current(&self.gateway, hold).await.map_err(internal)?))
    }

    /// As whom, and with what, the request sees the catalog.
    fn viewer(&self, context: &RequestContext<RoleServer>) -> Result<Viewer<'_>, ErrorData> {
        Ok(Viewer {
            gateway: &self.gateway,
            principal: self.principal(context)?,
            client: context.client_info().map(|info| info.name.clone()),
            era: if is_modern(context) { Era::Modern } else { Era::Legacy },
        })
    }
}

fn internal(error: impl std::fmt::Display) -> ErrorData {
    tracing::error!(%error, "a request failed");
    ErrorData::internal_error("the gateway failed; its operators can see why", None)
}

/// Methods of earlier protocols that 2026-07-28 does not have.
const REMOVED: &[&str] =
    &["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|it| it >= ProtocolVersion::V_2026_07_28)
}

/// Whether rmcp knows the method: then its parameters were wrong, and nobody may take it for another.
fn is_known(method: &str) -> bool {
    const KNOWN: &[&str] = &[
        "initialize",
        "ping",
        "server/discover",
        "completion/complete",
        "logging/setLevel",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
        "tools/call",
        "tools/list",
        "tasks/get",
        "tasks/update",
        "tasks/cancel",
    ];
    KNOWN.contains(&method)
}

impl ServerHandler for Front {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(lists::capabilities(&self.gateway.revision().catalog));
        info.server_info = Implementation::new("countersign", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(INSTRUCTIONS.to_owned());
        info
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (tools, next) = self.viewer(&context)?.tools(request)?;
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = next;
        // What one agent may see is nobody else's: never shared, never kept.
        (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
        Ok(result)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let (resources, next) = self.viewer(&context)?.resources(request)?;
        let mut result = ListResourcesResult::with_all_items(resources);
        result.next_cursor = next;
        (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let (templates, next) = self.viewer(&context)?.templates(request)?;
        let mut result = ListResourceTemplatesResult::with_all_items(templates);
        result.next_cursor = next;
        (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
        Ok(result)
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let (prompts, next) = self.viewer(&context)?.prompts(request)?;
        let mut result = ListPromptsResult::with_all_items(prompts);
        result.next_cursor = next;
        (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
        Ok(result)
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Both transports take `tools/call` before rmcp sees it; a third way in must not be a second door.
        Err(ErrorData::invalid_request("tools/call came by a way that is not open", None))
    }

    async fn get_task(
        &self,
        params: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let (id, hold) = self.task(&params.task_id, &context).await?;
        self.gateway.board.attend(hold.id, self.gateway.clock.monotonic());
        let task = answers::task_of(&self.gateway, id, &hold);
        let payload = match hold.state.name() {
            StateName::Withdrawn => TaskPayload::Cancelled,
            _ if answers::broke(&hold) => {
                TaskPayload::Failed { error: answers::breakdown(self.task_result(&hold).await?) }
            }
            name if name.is_terminal() => {
                TaskPayload::Completed { result: self.task_result(&hold).await? }
            }
            StateName::Pending
            | StateName::Approved
            | StateName::Executing
            | StateName::Finished
            | StateName::Unknown
            | StateName::Rejected
            | StateName::Expired
            | StateName::Lapsed
            | StateName::Superseded
            | StateName::Halted => TaskPayload::Working,
        };
        Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
    }

    async fn update_task(
        &self,
        params: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // No task of ours asks for input: nothing that an agent sends decides anything.
        self.task(&params.task_id, &context).await.map(drop)
    }

    async fn cancel_task(
        &self,
        params: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (_, hold) = self.task(&params.task_id, &context).await?;
        match holding::withdraw(&self.gateway, hold.id).await {
            // Too late to withdraw is acknowledged all the same; `tasks/get` says what became of it.
            Ok(_) | Err(HoldError::Lost { .. }) => Ok(()),
            Err(error) => Err(internal(error)),
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        // Without the parameters that they had, methods that the newest protocol removed come here too.
        let removed = is_modern(&context) && REMOVED.contains(&request.method.as_str());
        if is_known(&request.method) && !removed {
            return Err(ErrorData::invalid_params("Invalid params", None));
        }
        let told = "Method not found";
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, told, None))
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let gateway = Arc::downgrade(&self.gateway);
        let mut changes = self.gateway.revision_changes();
        // Ends with the session: then nobody can be told any more.
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(revision) = gateway.upgrade().map(|gateway| gateway.revision()) else {
                    break;
                };
                if lists::tell_all(&context.peer, &revision.catalog).await.is_err() {
                    break;
                }
            }
        });
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let watcher = self.watcher(&context)?;
        self.watches.add(watcher, request.uri, context.peer.clone()).await
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watches.remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let context = subscription.request_context();
        // What the stream watches was asked for on its way in.
        let watched = context.extensions.get::<Watched>().cloned();
        let brought = || context.extensions.get::<Parts>()?.extensions.get::<Watched>().cloned();
        let watched = watched.or_else(brought).unwrap_or_default();
        let watcher = self.watcher(context)?;
        let (mut changes, mut updates) =
            (self.gateway.revision_changes(), self.gateway.backends.updates());
        loop {
            let notes = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => lists::changed(subscription.accepted()),
                    Err(_) => return Ok(()),
                },
                news = updates.recv() => watched.notes(&watcher, &news),
                () = subscription.cancelled() => return Ok(()),
                () = self.gateway.leaving() => return Ok(()),
            };
            for note in notes {
                if subscription.sink().send(note).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        std::borrow::Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS)
    }
}

impl Front {
    async fn task_result(&self, hold: &Hold) -> Result<Object, ErrorData> {
        let answer = if hold.state.name() == StateName::Finished {
            let kept = self.gateway.store.hold_result(hold.id).await.map_err(internal)?;
            // The agent has it now: the same call is a new call from here on.
            match self.gateway.store.collect_hold(hold.id).await {
                Ok(_) | Err(HoldError::Lost { .. }) => {}
                Err(error) => return Err(internal(error)),
            }
            match kept {
                Some(text) => holding::told(hold, text),
                None => Answer::Refused(Refusal::of_hold(hold)),
            }
        } else {
            holding::tell(&self.gateway, hold.clone()).await
        };
        let members = answers::finished(&self.gateway, Era::Modern, answer)
            .map_err(|error| ErrorData::internal_error(error.message, None))?;
        let result = serde_json::to_string(&members).map_err(internal)?;
        serde_json::from_str(&result).map_err(internal)
    }
}

/// What a client may show its model about this server.
const INSTRUCTIONS: &str = "Tools behind this server act on real systems under policy. A call may be \
    refused, changed to fit limits, or held until a person approves it. A held call is neither consent \
    nor failure: when told that it is pending, repeat it with exactly the same arguments to collect its \
    result. When refused, read the reason; it says what would be accepted.";
