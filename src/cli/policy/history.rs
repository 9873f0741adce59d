//! `countersign policy history`, `show` and `rollback`: the revisions that were in force.

use serde_json::json;

use super::super::local;
use super::super::output::{self, Form, second, table, visible};
use super::super::way::{Remote, Way};
use super::super::{Failed, approvals::percent};
use crate::api::{HistoryView, ReloadedView, RevisionFiles, RevisionView};
use crate::config::{Config, Flags};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct History {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    remote: Remote,
    /// The revision's digest, or its first digits, 8 at least
    revision: String,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rollback {
    #[command(flatten)]
    remote: Remote,
    /// The revision's digest, or its first digits, 8 at least
    #[arg(required_unless_present = "end", conflicts_with = "end")]
    revision: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "end", conflicts_with = "end")]
    reason: Option<String>,
    /// Put the files of the directories in force again, as `policy reload` does
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn history(flags: &Flags, given: History) -> Result<(), Failed> {
    let way = Way::reach(flags, &given.remote).await?;
    let view = way.get::<HistoryView>("/api/v1/policy/history").await;
    way.leave().await;
    given.form.print(&view?, |view| {
        let rows = view.revisions.iter().map(row);
        let listed =
            table(&["REVISION", "SINCE", "BY", "RULES", "TOOLS", "FILES", "", "REASON"], rows);
        match &view.rolled_back {
            None => listed,
            Some(back) => {
                let (revision, by) = (back.to.revision, visible(&back.to.by));
                let waiting = back.waiting.map_or_else(String::new, |at| {
                    format!("; the files changed at {} and wait", second(at))
                });
                format!(
                    "{listed}\n\nrolled back to {revision} by {by} at {}: {}{waiting}\n\
                     `countersign policy reload` puts the files in force again",
                    second(back.to.at),
                    visible(&back.to.reason)
                )
            }
        }
    })
}

fn row(view: &RevisionView) -> Vec<String> {
    let kept = &view.kept;
    let how = kept.cause.how.map_or("", |how| how.as_str());
    let by = match &kept.cause.by {
        Some(person) => format!("{how}, {}", person.name),
        None => how.to_owned(),
    };
    let digest: String = kept.revision.to_string().chars().take(7 + 12).collect();
    let files = if kept.kept { kept.files.to_string() } else { "not kept".to_owned() };
    vec![
        digest,
        second(kept.at),
        by,
        kept.rules.to_string(),
        kept.tools.to_string(),
        files,
        if view.in_force { "in force" } else { "" }.to_owned(),
        kept.cause.reason.clone().unwrap_or_default(),
    ]
}

pub(super) async fn show(flags: &Flags, given: Show) -> Result<(), Failed> {
    let way = Way::reach(flags, &given.remote).await?;
    let path = format!("/api/v1/policy/history/{}", percent(&given.revision));
    let files = way.get::<RevisionFiles>(&path).await;
    way.leave().await;
    given.form.print(&files?, |view| {
        let one = |file: &crate::storage::history::KeptFile| {
            format!("# {}\n{}", visible(&file.name), output::readable(file.text.trim_end()))
        };
        view.files.iter().map(one).collect::<Vec<_>>().join("\n\n")
    })
}

pub(super) async fn rollback(flags: &Flags, given: Rollback) -> Result<(), Failed> {
    // A gateway that cannot load what it is to go back to does not start, and could not end it.
    if given.end && !super::a_gateway_answers(flags, &given.remote).await? {
        let config = Config::load(flags)?;
        let revision = local::end_rollback(&config).await?;
        return given.form.print(&ReloadedView { revision, before: None }, |done| {
            format!("the next start begins with the files of the directories: {}", done.revision)
        });
    }
    let way = Way::reach(flags, &given.remote).await?;
    let done = if given.end {
        way.post::<ReloadedView>("/api/v1/policy/reload", &json!({})).await
    } else {
        let wanted = json!({ "revision": given.revision, "reason": given.reason });
        way.post("/api/v1/policy/rollback", &wanted).await
    };
    way.leave().await;
    given.form.print(&done?, |done| {
        let until = if given.end {
            "the files of the directories are in force"
        } else {
            "it stays in force, also over restarts and whatever the files say, until \
             `countersign policy reload`"
        };
        let before = match done.before {
            Some(before) => format!("\nbefore:   {before}"),
            None => String::new(),
        };
        format!("in force: {}{before}\n{until}", done.revision)
    })
}
