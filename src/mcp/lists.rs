//! The catalog as one agent sees it: tools, resources, templates and prompts, in pages; and what is
//! announced of it.

use std::sync::Arc;

use rmcp::model::{
    ErrorCode, ErrorData, PaginatedRequestParams, Prompt, PromptListChangedNotification,
    PromptsCapability, Resource, ResourceListChangedNotification, ResourceTemplate,
    ResourcesCapability, ServerCapabilities, ServerNotification, SubscriptionFilter,
    Tool as ToolInfo, ToolListChangedNotification,
};
use rmcp::service::ServiceError;
use rmcp::{Peer, RoleServer};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::calls::Era;
use super::{cursor, done, waiting};
use crate::catalog::manifest::AttributeValue;
use crate::catalog::{ActionType, Catalog, Kind, Offer, Tool};
use crate::gateway::{Gateway, Revision};
use crate::json::Object;
use crate::policy::Listed;
use crate::principal::Principal;

/// How many entries one page shows.
const PAGE: usize = 200;

/// A page, and the cursor of the next.
type Page<T> = Result<(Vec<T>, Option<String>), ErrorData>;

/// What clients are told that there is. Changes of lists are always told: a server that offers nothing now
/// may later.
#[expect(deprecated, reason = "clients of earlier protocols still set a level for the log")]
pub(super) fn capabilities(catalog: &Catalog) -> ServerCapabilities {
    let mut capabilities = ServerCapabilities::builder()
        .enable_tools()
        .enable_tool_list_changed()
        .enable_tasks()
        .enable_logging()
        .build();
    let (resources, prompts) = (catalog.lists(Kind::Resource), catalog.lists(Kind::Prompt));
    if resources {
        let mut capability = ResourcesCapability::default();
        (capability.subscribe, capability.list_changed) = (Some(true), Some(true));
        capabilities.resources = Some(capability);
    }
    if prompts {
        let mut capability = PromptsCapability::default();
        capability.list_changed = Some(true);
        capabilities.prompts = Some(capability);
    }
    if resources || prompts {
        capabilities.completions = Some(Object::new());
    }
    capabilities
}

/// Tells a session that its lists may be others now.
///
/// # Errors
/// When nobody can be told any more.
pub(super) async fn tell_all(
    peer: &Peer<RoleServer>,
    catalog: &Catalog,
) -> Result<(), ServiceError> {
    peer.notify_tool_list_changed().await?;
    if catalog.lists(Kind::Resource) {
        peer.notify_resource_list_changed().await?;
    }
    if catalog.lists(Kind::Prompt) {
        peer.notify_prompt_list_changed().await?;
    }
    Ok(())
}

/// What tells a stream the same, as far as it listens to that.
pub(super) fn changed(accepted: &SubscriptionFilter) -> Vec<ServerNotification> {
    let of =
        |wanted: Option<bool>, note: ServerNotification| (wanted == Some(true)).then_some(note);
    let notes = [
        of(accepted.tools_list_changed, ToolListChangedNotification::default().into()),
        of(accepted.resources_list_changed, ResourceListChangedNotification::default().into()),
        of(accepted.prompts_list_changed, PromptListChangedNotification::default().into()),
    ];
    notes.into_iter().flatten().collect()
}

/// Who looks at the catalog.
pub(super) struct Viewer<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) principal: Principal,
    pub(super) client: Option<String>,
    pub(super) era: Era,
}

impl Viewer<'_> {
    /// A page of `tools/list`.
    pub(super) fn tools(&self, request: Option<PaginatedRequestParams>) -> Page<ToolInfo> {
        let revision = self.gateway.revision();
        let (mut tools, next) =
            self.page(&revision, request, ("tools", Kind::Tool), |tool, listed| {
                matches!(tool.offer(), Offer::Tool).then(|| tool_info(tool, listed))
            })?;
        // A client of an earlier protocol is told *pending* and has to come back; others wait by themselves.
        if next.is_none() && self.era == Era::Legacy && revision.policy.may_hold() {
            tools.push(waiting::tool());
        }
        if next.is_none() && self.gateway.config.workflows.done {
            tools.push(done::tool());
        }
        Ok((tools, next))
    }

    /// A page of `resources/list`.
    pub(super) fn resources(&self, request: Option<PaginatedRequestParams>) -> Page<Resource> {
        let list = ("resources", Kind::Resource);
        self.page(&self.gateway.revision(), request, list, |tool, listed| match tool.offer() {
            Offer::Resource(entry) => shown(entry).map(|mut entry: Resource| {
                told(&mut entry.description, listed);
                entry
            }),
            Offer::Tool | Offer::Template(_) | Offer::Prompt(_) | Offer::Completion => None,
        })
    }

    /// A page of `resources/templates/list`.
    pub(super) fn templates(
        &self,
        request: Option<PaginatedRequestParams>,
    ) -> Page<ResourceTemplate> {
        let list = ("templates", Kind::Resource);
        self.page(&self.gateway.revision(), request, list, |tool, listed| match tool.offer() {
            Offer::Template(entry) => shown(entry).map(|mut entry: ResourceTemplate| {
                told(&mut entry.description, listed);
                entry
            }),
            Offer::Tool | Offer::Resource(_) | Offer::Prompt(_) | Offer::Completion => None,
        })
    }

    /// A page of `prompts/list`.
    pub(super) fn prompts(&self, request: Option<PaginatedRequestParams>) -> Page<Prompt> {
        let list = ("prompts", Kind::Prompt);
        self.page(&self.gateway.revision(), request, list, |tool, listed| match tool.offer() {
            Offer::Prompt(entry) => shown(entry).map(|mut entry: Prompt| {
                told(&mut entry.description, listed);
                entry
            }),
            Offer::Tool | Offer::Resource(_) | Offer::Template(_) | Offer::Completion => None,
        })
    }

    fn page<T>(
        &self,
        revision: &Revision,
        request: Option<PaginatedRequestParams>,
        (list, kind): (&str, Kind),
        entry: impl Fn(&Tool, Listed) -> Option<T>,
    ) -> Page<T> {
        if kind != Kind::Tool && !revision.catalog.lists(kind) {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "Method not found", None));
        }
        let (gateway, agent) = (self.gateway, self.principal.agent());
        let said = request.and_then(|request| request.cursor);
        let after = match said {
            None => kind.prefix().to_owned(),
            Some(said) => cursor::opened(&gateway.seal, agent, list, Some(&said))?,
        };
        let (principal, client) = (&self.principal, self.client.as_deref());
        let mut shown: Vec<(&str, T)> = revision
            .catalog
            .after(&after)
            .filter(|tool| tool.kind() == kind && tool.unavailable().is_none())
            .filter_map(|tool| {
                let listed = revision.policy.listing(principal, client, tool)?;
                Some((tool.name(), entry(tool, listed)?))
            })
            .take(PAGE + 1)
            .collect();
        let more = shown.len() > PAGE;
        shown.truncate(PAGE);
        let last = shown.last().map(|(name, _)| cursor::after(&gateway.seal, agent, list, name));
        Ok((shown.into_iter().map(|(_, entry)| entry).collect(), last.filter(|_| more)))
    }
}

/// An entry as its server wrote it; without its ornaments where those are not what the protocol knows.
fn shown<T: DeserializeOwned>(entry: &Object) -> Option<T> {
    serde_json::from_value(Value::Object(entry.clone())).ok().or_else(|| {
        let plain = ["uri", "uriTemplate", "name", "title", "description", "mimeType"];
        let mut entry = entry.clone();
        entry.retain(|key, value| plain.contains(&key.as_str()) && value.is_string());
        serde_json::from_value(Value::Object(entry)).ok()
    })
}

/// Adds to a description what to know of approvals.
fn told(description: &mut Option<impl From<String> + AsRef<str>>, listed: Listed) {
    let Some(approval) = listed.note else { return };
    let told = match description.as_ref().map(AsRef::as_ref) {
        None | Some("") => approval,
        Some(own) => format!("{own}\n\n{approval}"),
    };
    *description = Some(told.into());
}

fn tool_info(tool: &Tool, mut listed: Listed) -> ToolInfo {
    let input = listed.input.take().unwrap_or_else(|| tool.input().text().clone());
    let mut info =
        ToolInfo::new(tool.name().to_owned(), tool.description().to_owned(), Arc::new(input));
    told(&mut info.description, listed);
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
