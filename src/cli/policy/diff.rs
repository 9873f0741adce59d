//! `countersign policy diff`: what changes from one directory of policies to another.

use std::path::PathBuf;

use serde::Serialize;

use super::super::output::{Form, table, visible};
use super::table::words;
use super::{Failed, on_files};
use crate::config::Flags;
use crate::policy::{CellChange, Changes, Difference};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The directory of policies as they were
    old: PathBuf,
    /// The directory of policies as they become (default: the one that the gateway would read)
    new: Option<PathBuf>,
    /// The directory of tool manifests as they were (default: the same as for the new)
    #[arg(long, value_name = "DIR")]
    old_tool_manifests: Option<PathBuf>,
    /// Exit with 1 where they differ
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    form: Form,
}

/// What is printed.
#[derive(Serialize)]
struct View {
    old: String,
    new: String,
    #[serde(flatten)]
    difference: Difference,
}

pub(super) fn run(flags: &Flags, given: Arguments) -> Result<(), Failed> {
    let flags_of = |policies: Option<PathBuf>, manifests: Option<PathBuf>| Flags {
        policies: policies.or_else(|| flags.policies.clone()),
        tool_manifests: manifests.or_else(|| flags.tool_manifests.clone()),
        ..flags.clone()
    };
    let old = on_files(&flags_of(Some(given.old), given.old_tool_manifests))?;
    let new = on_files(&flags_of(given.new, None))?;
    let difference = Difference::between((&old.policy, &old.catalog), (&new.policy, &new.catalog));
    let differs = !difference.is_empty();
    let view = View { old: old.digest.to_string(), new: new.digest.to_string(), difference };
    given.form.print(&view, text)?;
    if differs && given.exit_code { Err(Failed::new(1, "")) } else { Ok(()) }
}

fn text(view: &View) -> String {
    let it = &view.difference;
    let mut lines = Vec::new();
    for (what, changes) in [("rule", &it.rules), ("limit", &it.limits), ("tool", &it.tools)] {
        lines.extend(listed(what, changes));
    }
    if let Some((before, after)) = &it.default {
        lines.push(format!("default: {before} → {after}"));
    }
    if !it.cells.is_empty() {
        let rows = it.cells.iter().map(|cell| {
            let told = |cell: &Option<crate::policy::Cell>| {
                cell.as_ref().map_or_else(|| "no tool".to_owned(), words)
            };
            vec![cell.tool.clone(), who(cell), told(&cell.before), told(&cell.after)]
        });
        lines.push(table(&["TOOL", "AGENT", "BEFORE", "AFTER"], rows));
    }
    if it.more {
        lines.push("there is more, or too much to compare".to_owned());
    }
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    lines.push(format!("\nold {}\nnew {}", view.old, view.new));
    lines.join("\n")
}

fn listed(what: &str, changes: &Changes) -> Vec<String> {
    let all =
        [("added", &changes.added), ("removed", &changes.removed), ("changed", &changes.changed)];
    let lines = all.into_iter().flat_map(|(how, names)| {
        names.iter().map(move |name| format!("{how} {what} {}", visible(name)))
    });
    lines.collect()
}

fn who(cell: &CellChange) -> String {
    match (&cell.agent, cell.groups.as_slice()) {
        (Some(agent), _) => agent.to_string(),
        (None, []) => "(any other)".to_owned(),
        (None, groups) => format!("({})", groups.join(", ")),
    }
}
