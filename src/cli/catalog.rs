//! `countersign catalog`: the tools, callable or not, and definitions that changed.

use std::fmt::Write as _;

use clap::Subcommand;

use super::Failed;
use super::output::{self, Form, second, table, visible};
use super::way::{Remote, Way};
use crate::api::{AcceptWanted, How, QuarantineView, ToolView};
use crate::config::Flags;
use crate::digest::Digest;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List every tool, and why it is unavailable where it is
    List(Form),
    /// Show what servers say otherwise than it was accepted
    Diff {
        /// Only of this tool
        tool: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Accept a definition as its server gives it now
    Accept {
        /// The tool, by its name in the catalog
        tool: String,
        /// The digest of the definition that was looked at, as `catalog diff` shows it
        #[arg(long)]
        digest: Option<Digest>,
        /// Accept what is shown without asking
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let way = Way::reach(flags, remote).await?;
    let done = match command {
        Command::List(form) => list(&way, &form).await,
        Command::Diff { tool, form } => diff(&way, tool.as_deref(), &form).await,
        Command::Accept { tool, digest, yes } => accept(&way, tool, digest, yes).await,
    };
    way.leave().await;
    done
}

async fn list(way: &Way, form: &Form) -> Result<(), Failed> {
    form.print(&way.get::<Vec<ToolView>>("/api/v1/catalog").await?, |tools| {
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

async fn diff(way: &Way, tool: Option<&str>, form: &Form) -> Result<(), Failed> {
    let mut waiting = quarantine(way).await?;
    if let Some(tool) = tool {
        waiting.retain(|it| it.tool == tool);
        if waiting.is_empty() {
            return Err(nothing(tool));
        }
    }
    form.print(&waiting, |waiting| {
        if waiting.is_empty() {
            return "nothing waits: every definition is the one that was accepted".to_owned();
        }
        waiting.iter().map(shown).collect::<Vec<_>>().join("\n\n")
    })
}

async fn accept(way: &Way, tool: String, seen: Option<Digest>, yes: bool) -> Result<(), Failed> {
    let waiting = quarantine(way).await?;
    let Some(found) = waiting.iter().find(|it| it.tool == tool) else {
        return Err(nothing(&tool));
    };
    let digest = match seen {
        Some(digest) => digest,
        None => {
            eprintln!("{}", shown(found));
            if !yes {
                let told =
                    "nothing was accepted; say `--digest` with what you looked at, or `--yes`";
                let typed = output::asked("accept this definition? type yes: ")?;
                let typed = typed.ok_or_else(|| Failed::new(2, told))?;
                if typed.trim() != "yes" {
                    return Err(Failed::new(1, "nothing was accepted"));
                }
            }
            found.digest
        }
    };
    let accepted: ToolView =
        way.post("/api/v1/catalog/accept", &AcceptWanted { tool, digest }).await?;
    match accepted.unavailable {
        None => output::print(&format!("`{}` is offered again", visible(&accepted.name))),
        Some(why) => {
            output::print(&format!("accepted; `{}`: {}", visible(&accepted.name), visible(&why)))
        }
    }
}

async fn quarantine(way: &Way) -> Result<Vec<QuarantineView>, Failed> {
    way.get("/api/v1/catalog/quarantine").await
}

fn nothing(tool: &str) -> Failed {
    Failed::new(3, format!("nothing called `{}` waits to be accepted", visible(tool)))
}

/// What is different, with what hides made visible.
fn shown(it: &QuarantineView) -> String {
    let how = if it.before.is_some() { "changed" } else { "is new" };
    let (tool, backend) = (visible(&it.tool), visible(&it.backend));
    let since = second(it.since);
    let mut text = format!("{tool} of {backend} {how} (since {since})\ndigest {}", it.digest);
    for line in &it.differences {
        let sign = match line.how {
            How::Same => "  ",
            How::Removed => "- ",
            How::Added => "+ ",
            How::LeftOut => "  …",
        };
        // To write to a text cannot fail.
        let _ = write!(text, "\n{sign}{}", visible(&line.text));
    }
    text
}
