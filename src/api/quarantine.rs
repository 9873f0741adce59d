//! Definitions that changed and wait for an operator: what is different, and to accept it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

use super::{Body, Failure, Operator, ToolView, Viewer};
use crate::catalog::{Changed, DefinitionKind};
use crate::digest::Digest;
use crate::gateway::{Gateway, NotAccepted, OpenError, Quarantined};
use crate::json::Object;

/// How many are listed.
const LISTED: usize = 100;
/// How long the lines of one definition may be compared; after that more of them are told as changed than are.
const COMPARED_FOR: Duration = Duration::from_millis(200);
/// How many lines stand around what is different.
const AROUND: usize = 3;

/// A definition that waits for an operator.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineView {
    /// Its name in the catalog.
    pub tool: String,
    /// Its backend.
    pub backend: String,
    /// What it is of.
    pub of: DefinitionKind,
    /// Its name, URI or template at the server.
    pub name: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// The digest of the definition as it is now, to accept it by.
    pub digest: Digest,
    /// The definition as it was accepted; absent where it is new.
    pub before: Option<Object>,
    /// The definition as it is now.
    pub now: Object,
    /// What is different, line by line of both, each member on a line of its own.
    pub differences: Vec<DifferenceLine>,
}

/// A line of a definition.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DifferenceLine {
    /// How it came there.
    pub how: How,
    /// The line.
    pub text: String,
}

/// How a line came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It stands in both.
    Same,
    /// It stood in the definition that was accepted.
    Removed,
    /// It stands in the definition as it is now.
    Added,
    /// Lines that are the same are left out here.
    LeftOut,
}

/// The definition that an operator accepts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptWanted {
    /// The name in the catalog.
    pub tool: String,
    /// The digest of the definition that was shown.
    pub digest: Digest,
}

impl From<Quarantined> for QuarantineView {
    fn from(it: Quarantined) -> Self {
        let Changed { now, before, since } = it.changed;
        Self {
            tool: it.tool,
            differences: differences(before.as_ref(), &now.definition),
            backend: now.key.backend,
            of: now.key.of,
            name: now.key.name,
            since,
            digest: now.digest,
            before,
            now: now.definition,
        }
    }
}

fn differences(before: Option<&Object>, now: &Object) -> Vec<DifferenceLine> {
    let lines = |it: &Object| serde_json::to_string_pretty(it).unwrap_or_default();
    let (before, now) = (before.map(lines).unwrap_or_default(), lines(now));
    let diff = TextDiff::configure().timeout(COMPARED_FOR).diff_lines(&before, &now);
    let mut told = Vec::new();
    for (number, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if number > 0 {
            told.push(DifferenceLine { how: How::LeftOut, text: String::new() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let how = match change.tag() {
                ChangeTag::Equal => How::Same,
                ChangeTag::Delete => How::Removed,
                ChangeTag::Insert => How::Added,
            };
            let text = change.value().trim_end_matches('\n').to_owned();
            told.push(DifferenceLine { how, text });
        }
    }
    told
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
) -> Result<Json<Vec<QuarantineView>>, Failure> {
    let quarantined = gateway.quarantined();
    // Long definitions take their time to compare, which calls must not wait for.
    let comparing = tokio::task::spawn_blocking(move || {
        quarantined.into_iter().take(LISTED).map(QuarantineView::from).collect()
    });
    let broken = |error: tokio::task::JoinError| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    };
    Ok(Json(comparing.await.map_err(broken)?))
}

pub(super) async fn accept(
    State(gateway): State<Arc<Gateway>>,
    Operator(by): Operator,
    Body(wanted): Body<AcceptWanted>,
) -> Result<Json<ToolView>, Failure> {
    let tool = wanted.tool.clone();
    gateway.accept_definition(wanted.tool, wanted.digest, by).await?;
    let revision = gateway.revision();
    let gone =
        || Failure::new(StatusCode::NOT_FOUND, format!("`{tool}` is in the catalog no more"));
    Ok(Json(ToolView::from(&**revision.catalog.tool(&tool).ok_or_else(gone)?)))
}

impl From<NotAccepted> for Failure {
    fn from(error: NotAccepted) -> Self {
        let status = match &error {
            NotAccepted::NotQuarantined(_) => StatusCode::NOT_FOUND,
            NotAccepted::ChangedAgain { .. } => StatusCode::CONFLICT,
            NotAccepted::Refused(OpenError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            NotAccepted::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}
