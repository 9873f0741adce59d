//! The decision table: agents against tools, and what can be decided about a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Query, Viewer};
use crate::gateway::{Gateway, Revision};
use crate::ids::AgentName;
use crate::policy::Cell;
use crate::storage::CallQuery;

/// How many rows a table has.
const MAX_ROWS: usize = 50;
/// How many tools it shows.
const MAX_TOOLS: usize = 200;
/// How many comparisons of a rule with a call one table takes.
const MAX_WORK: usize = 3_000_000;
/// In how many of the last calls it is looked for agents that are not registered.
const LAST_CALLS: u32 = 200;
/// The longest text to look for, in characters.
const MAX_SOUGHT: usize = 128;
/// The name that stands for every agent that nothing is known of.
const ANY: &str = "any-other-agent";

/// The decision table: agents against tools.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TableView {
    /// The digest of catalog and policy together.
    pub revision: String,
    /// The tools, by name; at most 200.
    pub tools: Vec<TableTool>,
    /// The agents; at most 50.
    pub rows: Vec<TableRow>,
    /// How many tools more fit what was asked for.
    pub tools_left_out: usize,
    /// How many rows more do.
    pub rows_left_out: usize,
}

/// A tool of the table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TableTool {
    /// Its name.
    pub name: String,
    /// Whether agents can call it now, if rules let them.
    pub available: bool,
}

/// One agent, or all of one group, or all of whom nothing is known.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TableRow {
    /// The agent; absent for all in the groups, or all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Its groups.
    pub groups: Vec<String>,
    /// How it is known.
    pub known: Known,
    /// What can be decided, one for each tool.
    pub cells: Vec<Cell>,
}

/// How an agent of the table is known.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Not at all: every agent in no group that nothing else names.
    Other,
    /// A rule names it, or its group.
    Named,
    /// It is registered.
    Registered,
    /// It is not registered and called lately, over the local socket.
    Seen,
}

/// Which part of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only agents whose name, or a group of theirs, has this in it.
    #[schemars(length(max = 128))]
    agent: Option<String>,
    /// Only tools whose name has this in it.
    #[schemars(length(max = 128))]
    tool: Option<String>,
}

/// Who stands in a row.
type Who = (Option<AgentName>, Vec<String>, Known);

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<TableView>, Failure> {
    let too_long = |text: &String| text.chars().count() > MAX_SOUGHT;
    if wanted.agent.as_ref().is_some_and(too_long) || wanted.tool.as_ref().is_some_and(too_long) {
        let told = format!("what is looked for has at most {MAX_SOUGHT} characters");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let mut agents = BTreeMap::new();
    let last = CallQuery { limit: LAST_CALLS, ..CallQuery::default() };
    for call in gateway.store.calls(last).await?.calls {
        agents.insert(call.agent, (Vec::new(), Known::Seen));
    }
    for agent in gateway.store.agents().await? {
        if agent.revoked_at.is_none() {
            agents.insert(agent.name, (agent.groups, Known::Registered));
        } else {
            agents.remove(&agent.name);
        }
    }
    let known = agents.into_iter().map(|(name, (groups, known))| (Some(name), groups, known));
    let known: Vec<Who> = known.collect();
    let revision = gateway.revision();
    let _place = super::place_to_ask(&gateway)?;
    let made = move || {
        let sought = (wanted.agent.as_deref(), wanted.tool.as_deref());
        decision_table(&revision, known, sought)
    };
    let failed = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the table was not made");
    tokio::task::spawn_blocking(made).await.map(Json).map_err(failed)
}

/// The table of `known` agents, of those that rules name and of all others; with what is sought in names of
/// agents and of tools.
#[must_use]
pub fn decision_table(
    revision: &Revision,
    known: Vec<Who>,
    (agent, tool): (Option<&str>, Option<&str>),
) -> TableView {
    let has = |name: &str, sought: Option<&str>| sought.is_none_or(|sought| name.contains(sought));
    let mut tools: Vec<_> = revision.catalog.tools().filter(|it| has(it.name(), tool)).collect();
    let tools_left_out = tools.len().saturating_sub(MAX_TOOLS);
    tools.truncate(MAX_TOOLS);
    let mut who = rows(revision, known);
    who.retain(|(name, groups, _)| {
        let name = name.as_ref().map_or("", |name| name.as_str());
        has(name, agent) || groups.iter().any(|group| has(group, agent))
    });
    let count = who.len();
    let mut budget = MAX_WORK;
    let mut rows = Vec::new();
    for (agent, groups, known) in who.into_iter().take(MAX_ROWS) {
        let Some(name) = agent.clone().or_else(|| ANY.parse().ok()) else { continue };
        let cell = |tool: &&Arc<crate::catalog::Tool>| {
            revision.policy.cell(&name, &groups, tool, &mut budget)
        };
        let Some(cells) = tools.iter().map(cell).collect::<Option<Vec<_>>>() else { break };
        rows.push(TableRow { agent, groups, known, cells });
    }
    let shown = |tool: &&Arc<crate::catalog::Tool>| TableTool {
        name: tool.name().to_owned(),
        available: tool.unavailable().is_none(),
    };
    TableView {
        revision: revision.digest.to_string(),
        tools: tools.iter().map(shown).collect(),
        rows_left_out: count.saturating_sub(rows.len()),
        rows,
        tools_left_out,
    }
}

/// All others first, then whom rules name, then who is known.
fn rows(revision: &Revision, known: Vec<Who>) -> Vec<Who> {
    let (agents, groups) = revision.policy.names_callers();
    let mut rows: Vec<Who> = vec![(None, Vec::new(), Known::Other)];
    rows.extend(groups.into_iter().map(|group| (None, vec![group.to_owned()], Known::Named)));
    for name in agents.into_iter().filter_map(|name| name.parse::<AgentName>().ok()) {
        if !known.iter().any(|(other, ..)| other.as_ref() == Some(&name)) {
            rows.push((Some(name), Vec::new(), Known::Named));
        }
    }
    rows.extend(known);
    rows
}
