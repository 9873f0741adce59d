//! The rules in force, to be read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::history::RolledBackView;
use super::{Failure, Operator, Viewer};
use crate::digest::Digest;
use crate::evidence::{Cause, Loading};
use crate::gateway::{Gateway, OpenError};
use crate::json::Object;
use crate::policy::{ApprovalTerms, Condition, Mode};

/// The rules in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyView {
    /// The digest of catalog and policy together.
    pub revision: String,
    /// What is decided where no rule matches.
    pub default: String,
    /// The rules, in the order of their files.
    pub rules: Vec<RuleView>,
    /// What looks wrong.
    pub warnings: Vec<WarningView>,
    /// Why the files as they are now are not in force; absent when they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedView>,
    /// That an earlier revision is in force, and not the files, because an operator went back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBackView>,
}

/// Files that were not taken up: what was in force before stays so.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefusedView {
    /// When they were read.
    pub at: Timestamp,
    /// What is wrong with them, each fault with its place.
    pub why: String,
}

/// Files that were taken up.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReloadedView {
    /// The digest of what is in force now.
    pub revision: Digest,
    /// What was in force before; absent when that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

/// One rule.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Its decision.
    pub decision: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// The tools whose calls it can match.
    pub tools: Vec<String>,
    /// Why, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The conditions of `match`; all must hold.
    #[serde(default)]
    pub matches: Vec<Condition>,
    /// The conditions of `except`; where all of them hold, it does not match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Condition>,
    /// Its constraints, by name.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub constraints: Object,
    /// What it asks of an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalTerms>,
    /// `shadow` where it decides nothing and is only recorded.
    #[serde(default, skip_serializing_if = "Mode::is_enforced")]
    pub mode: Mode,
}

/// What looks wrong with a policy that loads.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WarningView {
    /// Where: `file:line:column`.
    pub location: String,
    /// What.
    pub message: String,
}

pub(super) async fn show(State(gateway): State<Arc<Gateway>>, _: Viewer) -> Json<PolicyView> {
    let revision = gateway.revision();
    let policy = &revision.policy;
    let rules = policy.rules().map(|rule| RuleView {
        name: rule.name,
        decision: rule.decision.as_str().to_owned(),
        location: rule.location,
        tools: rule.tools,
        reason: rule.reason,
        matches: rule.matches,
        except: rule.except,
        constraints: rule.constraints,
        approval: rule.approval,
        mode: rule.mode,
    });
    let warnings = policy.warnings();
    let warnings = warnings.iter().map(|warning| WarningView {
        location: warning.location(),
        message: warning.message().to_owned(),
    });
    Json(PolicyView {
        revision: revision.digest.to_string(),
        default: policy.default_ruling().as_str().to_owned(),
        rules: rules.collect(),
        warnings: warnings.collect(),
        refused: gateway
            .refused_reload()
            .map(|refused| RefusedView { at: refused.at, why: refused.why.clone() }),
        rolled_back: gateway.went_back().map(|it| RolledBackView::of(&it)),
    })
}

pub(super) async fn reload(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
) -> Result<Json<ReloadedView>, Failure> {
    let cause = Cause { how: Some(Loading::Reload), by: Some(person), reason: None };
    let reloaded = gateway.reload(cause).await.map_err(not_taken_up)?;
    Ok(Json(ReloadedView { revision: reloaded.revision, before: reloaded.before }))
}

/// Why files are not in force now.
pub(super) fn not_taken_up(error: OpenError) -> Failure {
    match error {
        OpenError::Store(error) => error.into(),
        OpenError::Files(_) | OpenError::Other(_) => {
            Failure::new(StatusCode::CONFLICT, format!("the files were not taken up: {error}"))
        }
    }
}
