//! What rmcp asks of a server besides `tools/call`: identity, the catalog as this agent sees it, tasks.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest, CustomResult,
    DetailedTask, ErrorCode, ErrorData, GetTaskParams, GetTaskResult, Implementation,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
    SubscriptionFilter, TaskPayload, Tool as ToolInfo, ToolListChangedNotification,
    UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;

use super::calls::Era;
use super::{answers, cursor, waiting};
use crate::call::refusal::Refusal;
use crate::call::{Answer, holding};
use crate::catalog::manifest::AttributeValue;
use crate::catalog::{ActionType, Tool};
use crate::gateway::Gateway;
use crate::hold::{Hold, StateName};
use crate::ids::HoldId;
use crate::json::Object;
use crate::principal::Principal;
use crate::storage::HoldError;

/// How many tools one page of `tools/list` shows.
const PAGE: usize = 200;
/// The list that cursors of `tools/list` belong to.
const TOOLS: &str = "tools";

/// The gateway as one client sees it: over HTTP each request brings its principal, over stdio it is fixed.
#[derive(Clone)]
pub struct Front {
    gateway: Arc<Gateway>,
    fixed: Option<Principal>,
}

impl Front {
    /// For requests that bring their principal.
    #[must_use]
    pub const fn per_request(gateway: Arc<Gateway>) -> Self {
        Self { gateway, fixed: None }
    }

    /// For one agent.
    #[must_use]
    pub const fn of(gateway: Arc<Gateway>, principal: Principal) -> Self {
        Self { gateway, fixed: Some(principal) }
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
        let hold = hold.filter(|hold| hold.agent == *principal.agent()).ok_or_else(unknown)?;
        Ok((id, holding::current(&self.gateway, hold).await.map_err(internal)?))
    }

    fn page(
        &self,
        principal: &Principal,
        (era, client): (Era, Option<&str>),
        after: &str,
    ) -> (Vec<ToolInfo>, Option<String>) {
        let revision = self.gateway.revision();
        let mut tools: Vec<ToolInfo> = revision
            .catalog
            .after(after)
            .filter(|tool| tool.unavailable().is_none())
            .filter(|tool| revision.policy.lists(principal, client, tool))
            .take(PAGE + 1)
            .map(|tool| tool_info(tool))
            .collect();
        let more = tools.len() > PAGE;
        tools.truncate(PAGE);
        let last = tools
            .last()
            .map(|tool| cursor::after(&self.gateway, principal.agent(), TOOLS, &tool.name));
        // A client of an earlier protocol is told *pending* and has to come back; others wait by themselves.
        if !more && era == Era::Legacy && revision.policy.may_hold() {
            tools.push(waiting::tool());
        }
        (tools, last.filter(|_| more))
    }
}

fn tool_info(tool: &Tool) -> ToolInfo {
    let input = Arc::new(tool.input().text().clone());
    let mut info = ToolInfo::new(tool.name().to_owned(), tool.description().to_owned(), input);
    info.title = tool.title().map(str::to_owned);
    info.output_schema = tool.output().map(|schema| Arc::new(schema.text().clone()));
    let annotations = tool.annotations().cloned().unwrap_or_else(|| annotations_of(tool));
    info.annotations = serde_json::from_value(annotations).ok();
    info
}

/// What our own attributes say, in the words MCP has for it.
fn annotations_of(tool: &Tool) -> Value {
    let mut hints = Object::new();
    if let Some(AttributeValue::Fixed(action_type)) = &tool.attribute_specs().action_type {
        hints.insert("readOnlyHint".into(), (*action_type == ActionType::Read).into());
        hints.insert("destructiveHint".into(), (*action_type == ActionType::Delete).into());
    }
    hints.insert("idempotentHint".into(), tool.idempotent().into());
    Value::Object(hints)
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
    #[expect(deprecated, reason = "clients of earlier protocols still set a level for the log")]
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .enable_logging()
            .build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("countersign", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(INSTRUCTIONS.to_owned());
        info
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let principal = self.principal(&context)?;
        let client = context.client_info().map(|info| info.name.clone());
        let said = request.and_then(|request| request.cursor);
        let after = cursor::opened(&self.gateway, principal.agent(), TOOLS, said.as_deref())?;
        let era = if is_modern(&context) { Era::Modern } else { Era::Legacy };
        let (tools, next) = self.page(&principal, (era, client.as_deref()), &after);
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = next;
        // What one agent may see is nobody else's: never shared, never kept.
        result.ttl_ms = Some(0);
        result.cache_scope = Some(rmcp::model::CacheScope::Private);
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
        let mut changes = self.gateway.revision_changes();
        // Ends with the session: then nobody can be told any more.
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                if context.peer.notify_tool_list_changed().await.is_err() {
                    break;
                }
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.gateway.revision_changes();
        loop {
            tokio::select! {
                changed = changes.changed() => {
                    let note = ToolListChangedNotification::default().into();
                    if changed.is_err() || subscription.sink().send(note).await.is_err() {
                        return Ok(());
                    }
                }
                () = subscription.cancelled() => return Ok(()),
                () = self.gateway.leaving() => return Ok(()),
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
