//! What is left of the limits on how often calls may be made.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Query, Viewer};
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::limits::Left;
use crate::policy::{Dimension, Limit};

/// How many limits are looked at for one answer.
const MAX_LOOKED_AT: usize = 2_000;
/// How many limits one answer shows.
const MAX_LIMITS: usize = 200;
/// Of how many who used some of a limit it shows what they have left.
const MAX_KEYS: usize = 100;

/// The limits in force, and what is left of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitList {
    /// The limits, in the order of their files; at most 200.
    pub limits: Vec<LimitView>,
    /// Whether there are more limits than those.
    pub more: bool,
}

/// One limit, and what is left of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitView {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// What is counted apart: `agent`, `tool`, `backend`, `client`, `workflow`; `gateway` for all together.
    #[schemars(with = "Vec<Dimension>")]
    pub per: Vec<String>,
    /// How many calls it lets through in `period`.
    pub count: u32,
    /// The period, in seconds.
    pub period: f64,
    /// How many may come at once: what is left for whoever is not in `used`.
    pub burst: u32,
    /// Those who used some of it, the least left first; at most 100.
    pub used: Vec<LimitLeft>,
    /// Whether there are more of them.
    pub more: bool,
}

/// What is left of a limit for one of those that are counted apart.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitLeft {
    /// The agent; absent where agents are counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The tool, where tools are counted apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The backend, where backends are counted apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The client program as it names itself, where clients are counted apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The workflow as the agent names it, where workflows are counted apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// How many calls fit at once now.
    pub left: u32,
    /// In how many seconds the next one fits; 0 where one fits now.
    pub next_in: f64,
    /// In how many seconds everything is left again.
    pub full_in: f64,
}

/// Of whom.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only limits that can count a call of this agent, and only what is counted for it or for all together.
    agent: Option<AgentName>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<LimitList>, Failure> {
    let revision = gateway.revision();
    let agent = match wanted.agent {
        Some(name) => {
            let groups = gateway.agents.groups(&name);
            Some((name, groups))
        }
        None => None,
    };
    let concerns = |limit: &&Limit| {
        agent.as_ref().is_none_or(|(name, groups)| {
            revision.catalog.tools().any(|tool| limit.concerns(name, groups, tool))
        })
    };
    let all = revision.policy.limits();
    let mut limits = all.iter().take(MAX_LOOKED_AT).filter(concerns);
    let name = agent.as_ref().map(|(name, _)| name);
    let view = |limit: &Limit| {
        let reading = gateway.limits.read(limit, name, MAX_KEYS);
        LimitView {
            name: limit.name.clone(),
            location: limit.location.clone(),
            per: limit.per.iter().map(|dimension| dimension.as_str().to_owned()).collect(),
            count: limit.count.get(),
            period: limit.period.as_secs_f64(),
            burst: limit.burst.get(),
            used: reading.left.into_iter().map(LimitLeft::from).collect(),
            more: reading.more,
        }
    };
    let shown = limits.by_ref().take(MAX_LIMITS).map(view).collect();
    let more = limits.next().is_some() || all.len() > MAX_LOOKED_AT;
    Ok(Json(LimitList { limits: shown, more }))
}

impl From<Left> for LimitLeft {
    fn from(left: Left) -> Self {
        let Left { mut who, calls, next, full } = left;
        Self {
            agent: who.remove(&Dimension::Agent),
            tool: who.remove(&Dimension::Tool),
            backend: who.remove(&Dimension::Backend),
            client: who.remove(&Dimension::Client),
            workflow: who.remove(&Dimension::Workflow),
            left: calls,
            next_in: next.as_secs_f64(),
            full_in: full.as_secs_f64(),
        }
    }
}
