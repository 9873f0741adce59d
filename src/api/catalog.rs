//! The catalog, to be read: every tool, callable or not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Viewer;
use crate::catalog::manifest::{ActionType, AttributeValue, Risk};
use crate::catalog::{Cost, Tool, Usd};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::json::Object;

/// A tool as people see it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of the tool, described there")]
pub struct ToolView {
    pub name: String,
    pub title: Option<String>,
    pub description: String,
    pub backend: String,
    pub capability: Option<String>,
    pub action: Option<String>,
    pub action_type: Option<String>,
    pub environment: Option<String>,
    pub risk: Option<String>,
    pub tags: Vec<String>,
    pub input_schema: Object,
    pub definition_fingerprint: Digest,
    /// What one call costs, as its manifest declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Why agents cannot call it now; absent when they can.
    pub unavailable: Option<String>,
}

impl From<&Tool> for ToolView {
    fn from(tool: &Tool) -> Self {
        let specs = tool.attribute_specs();
        Self {
            name: tool.name().to_owned(),
            title: tool.title().map(str::to_owned),
            description: tool.description().to_owned(),
            backend: tool.backend().to_string(),
            capability: shown(specs.capability.as_ref(), Clone::clone),
            action: shown(specs.action.as_ref(), Clone::clone),
            action_type: shown(specs.action_type.as_ref(), |it: &ActionType| {
                it.as_str().to_owned()
            }),
            environment: shown(specs.environment.as_ref(), Clone::clone),
            risk: shown(specs.risk.as_ref(), |it: &Risk| it.as_str().to_owned()),
            tags: specs.tags.clone(),
            input_schema: tool.input().text().clone(),
            definition_fingerprint: *tool.fingerprint(),
            cost: Some(Cost { usd: tool.cost() }).filter(|cost| cost.usd != Usd::default()),
            unavailable: tool.unavailable().map(str::to_owned),
        }
    }
}

fn shown<T>(value: Option<&AttributeValue<T>>, text: impl Fn(&T) -> String) -> Option<String> {
    value.map(|value| match value {
        AttributeValue::Fixed(value) => text(value),
        AttributeValue::Chosen(chosen) => format!("by argument `{}`", chosen.argument),
    })
}

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, _: Viewer) -> Json<Vec<ToolView>> {
    let revision = gateway.revision();
    Json(revision.catalog.tools().map(|tool| ToolView::from(tool.as_ref())).collect())
}
