//! `countersign catalog`: the tools, callable or not.

use clap::Subcommand;

use super::Failed;
use super::output::{Form, table};
use super::way::{Remote, Way};
use crate::api::ToolView;
use crate::config::Flags;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List every tool, and why it is unavailable where it is
    List(Form),
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let Command::List(form) = command;
    let way = Way::reach(flags, remote).await?;
    let tools = way.get::<Vec<ToolView>>("/api/v1/catalog").await;
    way.leave().await;
    form.print(&tools?, |tools| {
        let rows = tools.iter().map(|tool| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            vec![
                tool.name.clone(),
                tool.backend.clone(),
                text(&tool.capability),
                text(&tool.action),
                text(&tool.action_type),
                text(&tool.environment),
                text(&tool.risk),
                tool.unavailable.as_ref().map_or("yes".to_owned(), |why| format!("no: {why}")),
            ]
        });
        let heading =
            ["TOOL", "BACKEND", "CAPABILITY", "ACTION", "TYPE", "ENVIRONMENT", "RISK", "AVAILABLE"];
        table(&heading, rows)
    })
}
