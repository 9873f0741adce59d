//! `countersign policy diff`: what changes from one directory of policies, or one revision, to another.

use std::path::PathBuf;

use serde::Serialize;

use super::super::approvals::percent;
use super::super::output::{Form, table, visible};
use super::super::way::{Remote, Way};
use super::table::words;
use super::{Failed, on_files};
use crate::api::{HistoryView, RevisionFiles};
use crate::config::{Config, Flags};
use crate::gateway::Revision;
use crate::policy::{CellChange, Changes, Difference};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// The directory of policies as they were; `in-force` for what a running gateway has in force, or a revision of
    /// its history, like `sha256:1e0b9958`
    old: String,
    /// The same as they become (default: the directory that the gateway would read)
    new: Option<String>,
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

/// What stands for what is in force.
const IN_FORCE: &str = "in-force";
/// What a revision begins with; a directory of such a name is meant by `./` before it.
const DIGEST: &str = "sha256:";

pub(super) async fn run(flags: &Flags, given: Arguments) -> Result<(), Failed> {
    let of = |named: Option<String>, manifests: Option<PathBuf>| async {
        let named = match named {
            Some(name) if name == IN_FORCE || name.starts_with(DIGEST) => {
                return kept(flags, &given.remote, &name).await;
            }
            other => other.map(PathBuf::from),
        };
        on_files(&Flags {
            policies: named.or_else(|| flags.policies.clone()),
            tool_manifests: manifests.or_else(|| flags.tool_manifests.clone()),
            ..flags.clone()
        })
    };
    let old = of(Some(given.old.clone()), given.old_tool_manifests.clone()).await?;
    let new = of(given.new.clone(), None).await?;
    let difference = Difference::between((&old.policy, &old.catalog), (&new.policy, &new.catalog));
    let differs = !difference.is_empty();
    let view = View { old: old.digest.to_string(), new: new.digest.to_string(), difference };
    given.form.print(&view, text)?;
    if differs && given.exit_code { Err(Failed::new(1, "")) } else { Ok(()) }
}

/// A revision that a running gateway keeps, with its own manifests.
async fn kept(flags: &Flags, remote: &Remote, name: &str) -> Result<Revision, Failed> {
    let way = Way::reach(flags, remote).await?;
    let found = async {
        let name = match name {
            IN_FORCE => {
                way.get::<HistoryView>("/api/v1/policy/history").await?.in_force.to_string()
            }
            revision => revision.to_owned(),
        };
        way.get::<RevisionFiles>(&format!("/api/v1/policy/history/{}", percent(&name))).await
    };
    let found = found.await;
    way.leave().await;
    Ok(Revision::of_kept(found?.files, &Config::load(flags)?)?)
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
