//! `countersign budgets`: how much may be spent, and what is spent by whom.

use super::Failed;
use super::approvals::percent;
use super::output::{Form, second, table};
use super::way::{Remote, Way};
use crate::api::{AmountsView, BudgetList, BudgetView};
use crate::config::Flags;
use crate::ids::AgentName;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only what a call of this agent can spend
    #[arg(long)]
    agent: Option<AgentName>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let way = Way::reach(flags, &arguments.remote).await?;
    let path = match &arguments.agent {
        Some(agent) => format!("/api/v1/budgets?agent={}", percent(agent.as_str())),
        None => "/api/v1/budgets".to_owned(),
    };
    let found = way.get::<BudgetList>(&path).await;
    way.leave().await;
    arguments.form.print(&found?, |list| {
        if list.budgets.is_empty() {
            return "no policy file has a budget".to_owned();
        }
        table(
            &["BUDGET", "WHO", "SPENT", "OF", "THEN", "RENEWS"],
            list.budgets.iter().flat_map(rows),
        )
    })
}

fn rows(budget: &BudgetView) -> Vec<Vec<String>> {
    let renews = budget.renews_at.map_or_else(|| "never".to_owned(), second);
    let row = |who: String, spent: String| {
        let (name, then) = (budget.name.clone(), budget.then.clone());
        vec![name, who, spent, in_words(&budget.spend), then, renews.clone()]
    };
    if budget.spent.is_empty() {
        return vec![row(format!("each {}", budget.per.join(" and ")), "nothing".to_owned())];
    }
    let of = |who: &std::collections::BTreeMap<String, String>| {
        if who.is_empty() {
            return "all together".to_owned();
        }
        who.values().cloned().collect::<Vec<_>>().join(" ")
    };
    budget.spent.iter().map(|it| row(of(&it.who), in_words(&it.spent))).collect()
}

fn in_words(amounts: &AmountsView) -> String {
    let parts = [
        amounts.calls.map(|calls| format!("{calls} calls")),
        amounts.tokens.map(|tokens| format!("{tokens} tokens")),
        amounts.cost_usd.map(|dollars| format!("{dollars} USD")),
        amounts.compute_ms.map(|ms| format!("{:?}", std::time::Duration::from_millis(ms))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
