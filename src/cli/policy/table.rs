//! `countersign policy table`: the decision table, tools against agents.

use super::super::Failed;
use super::super::approvals::percent;
use super::super::output::{Form, table};
use super::super::way::{Remote, Way};
use crate::api::{Known, TableRow, TableView, decision_table};
use crate::config::Flags;
use crate::policy::{Cell, Ruling};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// Only agents whose name, or a group of theirs, has this in it
    #[arg(long, value_name = "TEXT")]
    agent: Option<String>,
    /// Only tools whose name has this in it
    #[arg(long, value_name = "TEXT")]
    tool: Option<String>,
    /// Ask the files as they are now, and not the gateway that runs
    #[arg(long, conflicts_with = "url")]
    files: bool,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn run(flags: &Flags, given: Arguments) -> Result<(), Failed> {
    let sought = (given.agent.as_deref(), given.tool.as_deref());
    let view = if given.files || !super::a_gateway_answers(flags, &given.remote).await? {
        decision_table(&super::on_files(flags)?, Vec::new(), sought)
    } else {
        let way = Way::reach(flags, &given.remote).await?;
        let asked = [("agent", sought.0), ("tool", sought.1)];
        let asked =
            asked.into_iter().filter_map(|(key, text)| Some(format!("{key}={}", percent(text?))));
        let query = asked.collect::<Vec<_>>().join("&");
        let view = way.get(&format!("/api/v1/policy/table?{query}")).await;
        way.leave().await;
        view?
    };
    given.form.print(&view, text)
}

fn text(view: &TableView) -> String {
    let named: Vec<String> = view.rows.iter().map(named).collect();
    let heading: Vec<&str> =
        std::iter::once("TOOL").chain(named.iter().map(String::as_str)).collect();
    let rows = view.tools.iter().enumerate().map(|(at, tool)| {
        let cells = view.rows.iter().map(|row| row.cells.get(at).map_or_else(String::new, words));
        let name =
            if tool.available { tool.name.clone() } else { format!("{} (unavailable)", tool.name) };
        std::iter::once(name).chain(cells).collect()
    });
    let mut text = table(&heading, rows);
    for (count, what) in [(view.tools_left_out, "tools"), (view.rows_left_out, "agents")] {
        if count > 0 {
            text.push_str(&format!(
                "\n{count} more {what} are left out; ask with --agent and --tool"
            ));
        }
    }
    format!("{text}\n\nrevision {}", view.revision)
}

fn named(row: &TableRow) -> String {
    let groups = row.groups.join(", ");
    match (&row.agent, row.known) {
        (Some(agent), _) if groups.is_empty() => agent.to_string(),
        (Some(agent), _) => format!("{agent} ({groups})"),
        (None, Known::Other | Known::Registered | Known::Seen) => "(any other)".to_owned(),
        (None, Known::Named) => format!("({groups})"),
    }
}

/// The decisions of a cell in words.
pub(super) fn words(cell: &Cell) -> String {
    let word = |decision: &Ruling| match decision {
        Ruling::Allow => "allow",
        Ruling::AllowWithConstraints => "constrain",
        Ruling::RequireApproval => "hold",
        Ruling::Deny => "deny",
    };
    let decisions: Vec<&str> = cell.decisions.iter().map(word).collect();
    let decisions = decisions.join("/");
    if cell.depends_on.is_empty() {
        decisions
    } else {
        format!("{decisions} by {}", cell.depends_on.join(", "))
    }
}
