//! `countersign policy`: the rules, checked as the gateway would load them, without one.

use std::collections::HashMap;

use clap::Subcommand;
use serde::Serialize;

use super::Failed;
use super::output::{Form, table};
use crate::config::{Config, Flags};
use crate::gateway::Revision;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Load policies and manifests as the gateway would, and say what is wrong or looks wrong
    Check(Form),
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

pub(super) fn run(flags: &Flags, command: &Command) -> Result<(), Failed> {
    let Command::Check(form) = command;
    let config = Config::load(flags)?;
    let revision = Revision::read(&config, &HashMap::new())?;
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
        let rules = table(&["RULE", "DECISION", "CAN MATCH", "WHERE"], rows);
        let warnings: Vec<String> = checked
            .warnings
            .iter()
            .map(|warning| format!("warning: {}: {}\n", warning.location, warning.message))
            .collect();
        format!("{rules}\n{}revision {}", warnings.concat(), checked.revision)
    })
}
