//! `countersign policy`: the rules, checked as the gateway would load them, and asked what they decide.

mod diff;
mod explain;
mod history;
mod junit;
mod reload;
mod simulate;
mod table;
mod test;

use std::collections::HashMap;

use clap::Subcommand;
use serde::Serialize;
use tokio::net::UnixStream;

use super::Failed;
use super::output::{self, Form};
use super::way::Remote;
use crate::config::{Config, Flags};
use crate::gateway::Revision;
use crate::server;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Load policies and manifests as the gateway would, and say what is wrong or looks wrong
    Check(Form),
    /// Say what changes from one directory of policies to another: rules, and the decision table
    Diff(diff::Arguments),
    /// Say what is decided about a call, and why: each rule, condition by condition
    Explain(explain::Arguments),
    /// List the revisions of policies and manifests that were in force
    History(history::History),
    /// Have the running gateway read policies and manifests again: taken up as a whole, or not at all
    Reload(reload::Arguments),
    /// Go back to an earlier revision, which stays in force until a reload
    Rollback(history::Rollback),
    /// Print the files of a revision
    Show(history::Show),
    /// Say what other files would have decided about recorded calls
    Simulate(simulate::Arguments),
    /// Print what can be decided about every tool, for every agent
    Table(table::Arguments),
    /// Ask the rules about the cases of `policies/*.test.yaml`, and say which are decided otherwise
    Test(test::Arguments),
}

/// What `policy check` found.
#[derive(Serialize)]
struct Checked {
    revision: String,
    rules: Vec<Rule>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Rule {
    name: String,
    decision: String,
    location: String,
    tools: Vec<String>,
}

#[derive(Serialize)]
struct Warning {
    location: String,
    message: String,
}

pub(super) async fn run(flags: &Flags, command: Command) -> Result<(), Failed> {
    match command {
        Command::Check(form) => check(flags, form),
        Command::Diff(arguments) => diff::run(flags, arguments).await,
        Command::Explain(arguments) => explain::run(flags, arguments).await,
        Command::History(arguments) => history::history(flags, arguments).await,
        Command::Rollback(arguments) => history::rollback(flags, arguments).await,
        Command::Show(arguments) => history::show(flags, arguments).await,
        Command::Simulate(arguments) => simulate::run(flags, arguments).await,
        Command::Reload(arguments) => reload::run(flags, arguments).await,
        Command::Table(arguments) => table::run(flags, arguments).await,
        Command::Test(arguments) => test::run(flags, &arguments),
    }
}

/// The revision that the files make; what MCP servers would say is not asked.
fn on_files(flags: &Flags) -> Result<Revision, Failed> {
    Ok(Revision::read(&Config::load(flags)?, &HashMap::new())?)
}

/// Whether there is a gateway to ask: the one that is named, or one that runs on the data directory.
async fn a_gateway_answers(flags: &Flags, remote: &Remote) -> Result<bool, Failed> {
    if remote.url.is_some() || remote.token_file.is_some() {
        return Ok(true);
    }
    let socket = server::socket_path(&Config::load(flags)?.data);
    Ok(UnixStream::connect(socket).await.is_ok())
}

fn check(flags: &Flags, form: Form) -> Result<(), Failed> {
    let revision = on_files(flags)?;
    let policy = &revision.policy;
    let checked = Checked {
        revision: revision.digest.to_string(),
        rules: policy
            .rules()
            .map(|rule| Rule {
                name: rule.name.to_owned(),
                decision: rule.decision.as_str().to_owned(),
                location: rule.location,
                tools: rule.tools,
            })
            .collect(),
        warnings: policy
            .warnings()
            .iter()
            .map(|warning| Warning {
                location: warning.location(),
                message: warning.message().to_owned(),
            })
            .collect(),
    };
    form.print(&checked, |checked| {
        let rows = checked.rules.iter().map(|rule| {
            let tools = match rule.tools.len() {
                0..=3 => rule.tools.join(", "),
                count => format!("{count} tools"),
            };
            vec![rule.name.clone(), rule.decision.clone(), tools, rule.location.clone()]
        });
        let rules = output::table(&["RULE", "DECISION", "CAN MATCH", "WHERE"], rows);
        let warnings: Vec<String> = checked
            .warnings
            .iter()
            .map(|warning| format!("warning: {}: {}\n", warning.location, warning.message))
            .collect();
        format!("{rules}\n{}revision {}", warnings.concat(), checked.revision)
    })
}
