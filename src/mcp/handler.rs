//! What rmcp asks of a server besides `tools/call`: identity, the catalog as this agent sees it, tasks.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest,
    CustomResult, ErrorCode, ErrorData, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};

use super::acting::Acting;
use super::calls::Era;
use super::lists::{self, Viewer};
use super::tasks::Tasks;
use super::watching::{Watched, Watcher, Watches};
use super::wire::RpcError;
use crate::gateway::Gateway;
use crate::principal::Principal;

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
        let child = context.extensions.get::<Acting>().map(|acting| acting.0.clone());
        child
            .or_else(|| self.fixed.clone())
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

/// Our error as rmcp writes it.
pub(super) fn rpc_error(error: RpcError) -> ErrorData {
    let code = i32::try_from(error.code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    ErrorData::new(code, error.message, error.data)
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
        _: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        // Both transports take it before; protocols before 2026-07-28 have no tasks of this kind.
        Err(ErrorData::invalid_params("Unknown task", None))
    }

    async fn update_task(
        &self,
        params: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let principal = self.principal(&context)?;
        let tasks = Tasks { gateway: &self.gateway, principal: &principal };
        tasks.update(&params.task_id, params.input_responses).await.map_err(rpc_error)
    }

    async fn cancel_task(
        &self,
        params: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let principal = self.principal(&context)?;
        let tasks = Tasks { gateway: &self.gateway, principal: &principal };
        tasks.cancel(&params.task_id).await.map_err(rpc_error)
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
            (self.gateway.revision_changes(), self.gateway.revision().backends.updates());
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

/// What a client may show its model about this server.
const INSTRUCTIONS: &str = "Tools behind this server act on real systems under policy. A call may be \
    refused, changed to fit limits, or held until a person approves it. A held call is neither consent \
    nor failure: when told that it is pending, repeat it with exactly the same arguments to collect its \
    result. When refused, read the reason; it says what would be accepted.";
