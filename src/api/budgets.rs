//! What is spent of budgets, and by whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Query, Viewer};
use crate::catalog::Usd;
use crate::evidence::Amounts;
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::limits::budgets::{Read, Who};
use crate::policy::{Budget, Dimension};

/// How many budgets are looked at for one answer.
const MAX_LOOKED_AT: usize = 2_000;
/// How many budgets one answer shows.
const MAX_BUDGETS: usize = 200;
/// Of how many who spent some of a budget it shows what they spent.
const MAX_ACCOUNTS: usize = 100;

/// The budgets in force, and what is spent of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BudgetList {
    /// The budgets, in the order of their files; at most 200.
    pub budgets: Vec<BudgetView>,
    /// Whether there are more budgets than those.
    pub more: bool,
}

/// One budget, and what is spent of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BudgetView {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// What is counted apart: `agent`, `tool`, `backend`, `client`, `workflow`; `gateway` for all together.
    #[schemars(with = "Vec<Dimension>")]
    pub per: Vec<String>,
    /// How much there is.
    pub spend: AmountsView,
    /// What becomes of calls when it is spent: `DENY` or `REQUIRE_APPROVAL`.
    pub then: String,
    /// After how many seconds it renews; absent where it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// When its present window ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<Timestamp>,
    /// The shares that people are told of, in hundredths.
    pub alert_at: Vec<u8>,
    /// Those who spent some of it in its present window, who spent the largest share first; at most 100.
    pub spent: Vec<SpentView>,
    /// Whether there are more of them.
    pub more: bool,
}

/// So much of what budgets count; what a budget does not count is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmountsView {
    /// Calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Tokens of arguments and results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Declared cost, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// What backends took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_ms: Option<u64>,
}

impl AmountsView {
    fn of(amounts: Amounts, counted: Amounts) -> Self {
        let some = |amount: u64, counted: u64| (counted > 0).then_some(amount);
        Self {
            calls: some(amounts.calls, counted.calls),
            tokens: some(amounts.tokens, counted.tokens),
            cost_usd: some(amounts.micro_usd, counted.micro_usd).map(Usd::of_micros),
            compute_ms: some(amounts.compute_ms, counted.compute_ms),
        }
    }
}

/// What is spent of a budget by one of those that are counted apart.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpentView {
    /// Who, by what is counted apart; nothing where all are counted together. Clients and workflows are named by
    /// the agent that stands with them.
    pub who: BTreeMap<String, String>,
    /// How much.
    pub spent: AmountsView,
    /// The largest share of what there is, in hundredths.
    pub share: u64,
}

/// Of whom.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only budgets that a call of this agent can spend, and only what is counted for it or for all together.
    agent: Option<AgentName>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<BudgetList>, Failure> {
    let revision = gateway.revision();
    let agent = wanted.agent.map(|name| {
        let groups = gateway.agents.groups(&name);
        (name, groups)
    });
    let concerns = |budget: &&Budget| {
        agent.as_ref().is_none_or(|(name, groups)| {
            revision.catalog.tools().any(|tool| budget.concerns(name, groups, tool))
        })
    };
    let all = revision.policy.budgets();
    let mut budgets = all.iter().take(MAX_LOOKED_AT).filter(concerns);
    let name = agent.as_ref().map(|(name, _)| name);
    let shown: Vec<&Budget> = budgets.by_ref().take(MAX_BUDGETS).collect();
    let more = budgets.next().is_some() || all.len() > MAX_LOOKED_AT;
    let wanted = |who: &Who| {
        let own = who.get(Dimension::Agent.as_str());
        name.is_none_or(|agent| own.is_none_or(|own| own == agent.as_str()))
    };
    let read = gateway.budgets.read(&shown, wanted, MAX_ACCOUNTS);
    let now = gateway.clock.now();
    let view = |(budget, read): (&&Budget, _)| BudgetView::of(budget, read, now);
    Ok(Json(BudgetList { budgets: shown.iter().zip(read).map(view).collect(), more }))
}

impl BudgetView {
    fn of(budget: &Budget, (spent, more): Read, now: Timestamp) -> Self {
        let of = budget.of();
        let one = |(who, amounts): (Who, Amounts)| {
            let share = amounts.largest_share(&of);
            SpentView { who, spent: AmountsView::of(amounts, of), share }
        };
        Self {
            name: budget.name.clone(),
            location: budget.location.clone(),
            per: budget.per.iter().map(|dimension| dimension.as_str().to_owned()).collect(),
            spend: AmountsView::of(of, of),
            then: budget.then.as_str().to_owned(),
            every: budget.every.map(|every| every.as_secs()),
            renews_at: budget.window(now).until,
            alert_at: budget.alerts.at.clone(),
            spent: spent.into_iter().map(one).collect(),
            more,
        }
    }
}
