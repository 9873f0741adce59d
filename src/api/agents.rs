//! Agents and their tokens.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::whole;
use super::reviewers::end;
use super::{Body, Failure, Operator, Path, Viewer};
use crate::authentication;
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::storage::{Agent, MAX_ACTS_FOR, Rotation};

/// The longest name of a group or person, in characters.
pub(super) const MAX_NAME: usize = 128;
/// How many groups an agent may be in.
pub(super) const MAX_GROUPS: usize = 64;

/// For how long an old token may live on.
const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// An agent as people see it; its token is shown to nobody.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of the agent, described there")]
pub struct AgentView {
    pub name: AgentName,
    pub groups: Vec<String>,
    pub owner: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    #[serde(default)]
    pub last_used: Option<Timestamp>,
    #[serde(default)]
    pub acts_for: Vec<AgentName>,
}

/// What is to be another of an agent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentEdit {
    /// The registered agents that it may act for, in place of those before.
    #[schemars(length(max = 256))]
    pub acts_for: Vec<AgentName>,
}

/// An agent to be added.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// Its name.
    pub name: AgentName,
    /// Its groups.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub groups: Vec<String>,
    /// The person it acts for; the one who adds it when absent.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128))]
    pub owner: Option<String>,
    /// After how many seconds its token ends; never when absent.
    #[serde(default, deserialize_with = "whole")]
    pub expires_in: Option<u64>,
    /// The registered agents that it may act for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub acts_for: Vec<AgentName>,
}

/// How an agent's token is replaced.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRotation {
    /// For how many seconds the old token lives on; not at all when absent.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(range(max = 604_800))]
    pub overlap: Option<u64>,
    /// After how many seconds the new token ends; when the old one would have, when absent.
    #[serde(default, deserialize_with = "whole")]
    pub expires_in: Option<u64>,
}

/// A new agent's token, shown this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// The agent.
    pub name: AgentName,
    /// Its token.
    pub token: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
) -> Result<Json<Vec<AgentView>>, Failure> {
    let agents = gateway.store.agents().await?;
    Ok(Json(agents.into_iter().map(|agent| view(&gateway, agent)).collect()))
}

fn view(gateway: &Gateway, agent: Agent) -> AgentView {
    AgentView {
        last_used: gateway.agents.last_used(&agent.name).or(agent.last_used),
        name: agent.name,
        groups: agent.groups,
        owner: agent.owner,
        created_at: agent.created_at,
        expires_at: agent.expires_at,
        revoked_at: agent.revoked_at,
        acts_for: agent.acts_for,
    }
}

pub(super) async fn add(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Body(new): Body<NewAgent>,
) -> Result<Json<NewToken>, Failure> {
    let too_long = |name: &String| name.is_empty() || name.chars().count() > MAX_NAME;
    if new.groups.len() > MAX_GROUPS || new.groups.iter().chain(&new.owner).any(too_long) {
        let told =
            format!("names have 1 to {MAX_NAME} characters, groups are at most {MAX_GROUPS}");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let known = gateway.store.agents().await?;
    if known.iter().any(|agent| agent.name == new.name && agent.revoked_at.is_none()) {
        let told = format!("there is an agent `{}` already; revoke it first", new.name);
        return Err(Failure::new(StatusCode::CONFLICT, told));
    }
    let acts_for = children(&new.name, new.acts_for, &known)?;
    let now = gateway.clock.now();
    let expires_at = end(&gateway, new.expires_in)?;
    let (token, token_digest) = authentication::new_token()?;
    let agent = Agent {
        name: new.name.clone(),
        groups: new.groups,
        owner: new.owner.or_else(|| Some(person.name.clone())),
        token_digest,
        created_at: now,
        expires_at,
        revoked_at: None,
        previous: None,
        last_used: None,
        acts_for,
    };
    gateway.store.add_agent(agent, person.name).await?;
    gateway.agents.reload(gateway.store.as_ref()).await?;
    Ok(Json(NewToken { name: new.name, token, expires_at }))
}

/// Who of `wanted` `orchestrator` may act for: agents of the register, each once.
fn children(
    orchestrator: &AgentName,
    mut wanted: Vec<AgentName>,
    known: &[Agent],
) -> Result<Vec<AgentName>, Failure> {
    let refused = |told: String| Err(Failure::new(StatusCode::BAD_REQUEST, told));
    wanted.sort();
    wanted.dedup();
    if wanted.len() > MAX_ACTS_FOR {
        return refused(format!("an agent acts for at most {MAX_ACTS_FOR} others"));
    }
    let live = |name: &AgentName| {
        known.iter().any(|agent| agent.name == *name && agent.revoked_at.is_none())
    };
    match wanted.iter().find(|name| *name == orchestrator || !live(name)) {
        Some(name) if name == orchestrator => {
            refused(format!("`{name}` acts for itself anyway; name others"))
        }
        Some(name) => refused(format!("no agent `{name}` that is valid; add it first")),
        None => Ok(wanted),
    }
}

pub(super) async fn change(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
    Body(wanted): Body<AgentEdit>,
) -> Result<Json<AgentView>, Failure> {
    let unknown =
        || Failure::new(StatusCode::NOT_FOUND, format!("no agent `{name}` that is valid"));
    let name: AgentName = name.parse().map_err(|_| unknown())?;
    let acts_for = children(&name, wanted.acts_for, &gateway.store.agents().await?)?;
    let changed = gateway.store.let_act_for(&name, acts_for, person.name).await?;
    let changed = changed.ok_or_else(unknown)?;
    gateway.agents.reload(gateway.store.as_ref()).await?;
    Ok(Json(view(&gateway, changed)))
}

pub(super) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
    Body(wanted): Body<AgentRotation>,
) -> Result<Json<NewToken>, Failure> {
    let unknown =
        || Failure::new(StatusCode::NOT_FOUND, format!("no agent `{name}` that is valid"));
    let name: AgentName = name.parse().map_err(|_| unknown())?;
    if wanted.overlap.is_some_and(|overlap| overlap > MAX_OVERLAP.as_secs()) {
        let told = format!(
            "the old token may live on for at most {} days",
            MAX_OVERLAP.as_secs() / 86_400
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let expires_at = end(&gateway, wanted.expires_in)?;
    let now = gateway.clock.now();
    let agents = gateway.store.agents().await?;
    let ends = agents.iter().find(|agent| agent.name == name).and_then(|agent| agent.expires_at);
    if expires_at.is_none() && ends.is_some_and(|at| at <= now) {
        let told = format!("the token of `{name}` has ended; say how long a new one lives");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let (token, token_digest) = authentication::new_token()?;
    let overlap_until = end(&gateway, wanted.overlap)?;
    let rotation = Rotation { token_digest, overlap_until, expires_at };
    let rotated = gateway.store.rotate_agent(&name, rotation, person.name).await?;
    let rotated = rotated.ok_or_else(unknown)?;
    gateway.agents.reload(gateway.store.as_ref()).await?;
    Ok(Json(NewToken { name, token, expires_at: rotated.expires_at }))
}

pub(super) async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no agent `{name}`"));
    let name: AgentName = name.parse().map_err(|_| unknown())?;
    if !gateway.store.revoke_agent(&name, person.name).await? {
        return Err(unknown());
    }
    gateway.agents.reload(gateway.store.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
