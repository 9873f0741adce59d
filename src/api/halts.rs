//! Halts: engaged and resumed by operators, shown to everybody among the people.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Failure, Operator, Path, Viewer};
use crate::call::halting::{self, NotHalted, Reach, Wish};
use crate::gateway::Gateway;
use crate::halts::{Halt, Scope};
use crate::ids::HaltId;

/// What an operator wants to halt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaltWanted {
    /// What to stop.
    pub scope: Scope,
    /// Why; agents whose calls are refused are told.
    #[schemars(length(min = 1, max = 2000), regex(pattern = r"\S"))]
    pub reason: String,
    /// When it ends by itself; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The scope of a halt that somebody thinks of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaltConsidered {
    /// What it would stop.
    pub scope: Scope,
}

/// What a halt would reach now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HaltReach {
    /// How many registered agents.
    pub agents: usize,
    /// How many tools that can be called.
    pub tools: usize,
    /// How many held calls that wait or are approved.
    pub holds: usize,
    /// Whether there are more held calls than were counted.
    pub more: bool,
    /// How many calls that are under way; they are stopped.
    pub running: usize,
}

/// Why a halt ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaltResumed {
    /// Why.
    #[schemars(length(min = 1, max = 2000), regex(pattern = r"\S"))]
    pub reason: String,
}

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, _: Viewer) -> Json<Vec<Halt>> {
    let engaged = gateway.store.halts().engaged();
    Json(engaged.iter().map(|entry| Halt::clone(&entry.halt)).collect())
}

pub(super) async fn engage(
    State(gateway): State<Arc<Gateway>>,
    Operator(by): Operator,
    Body(wanted): Body<HaltWanted>,
) -> Result<Json<Halt>, Failure> {
    let HaltWanted { scope, reason, until } = wanted;
    Ok(Json(halting::engage(&gateway, Wish { scope, reason, until, by }).await?))
}

pub(super) async fn consider(
    State(gateway): State<Arc<Gateway>>,
    Operator(_): Operator,
    Body(considered): Body<HaltConsidered>,
) -> Result<Json<HaltReach>, Failure> {
    let Reach { agents, tools, holds, more, running } =
        halting::reach(&gateway, &considered.scope).await?;
    Ok(Json(HaltReach { agents, tools, holds, more, running }))
}

pub(super) async fn resume(
    State(gateway): State<Arc<Gateway>>,
    Operator(by): Operator,
    Path(id): Path<String>,
    Body(resumed): Body<HaltResumed>,
) -> Result<Json<Halt>, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no halt `{id}` is engaged"));
    let parsed: HaltId = id.parse().map_err(|_| unknown())?;
    let ended = halting::resume(&gateway, parsed, by, resumed.reason).await?;
    ended.map(Json).ok_or_else(unknown)
}

impl From<NotHalted> for Failure {
    fn from(error: NotHalted) -> Self {
        match error {
            NotHalted::Unfit(why) => Self::new(StatusCode::BAD_REQUEST, why),
            NotHalted::Full(full) => Self::new(StatusCode::CONFLICT, full.to_string()),
            NotHalted::Store(error) => error.into(),
        }
    }
}
