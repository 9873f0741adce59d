//! `countersign audit`: the record. Read straight from the data directory, whether a gateway runs or not,
//! or listed over HTTP.

use clap::Subcommand;
use serde_json::Value;

use super::Failed;
use super::output::{self, Form, second, table};
use super::way::{Remote, Way};
use crate::api::EntryView;
use crate::config::{Config, Flags};
use crate::evidence::verify::Summary;
use crate::storage::sqlite::open_log_read_only;
use crate::storage::{EntryQuery, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List entries, the newest unless told otherwise
    List {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Only entries after this index, from the oldest on
        #[arg(long)]
        after: Option<u64>,
        #[command(flatten)]
        form: Form,
    },
    /// Recompute the whole record and say whether it is as it was written
    Verify(Form),
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let afar = remote.url.is_some() || remote.token_file.is_some();
    match command {
        Command::List { limit, after, form } => {
            let views = if afar {
                listed_afar(flags, remote, limit, after).await?
            } else {
                let log = open_log_read_only(&Config::load(flags)?.data).map_err(unreadable)?;
                let query = EntryQuery { newest: after.is_none(), after, call: None, limit };
                let entries = log.entries(&query).map_err(unreadable)?;
                let views: Result<Vec<_>, _> = entries.iter().map(EntryView::of).collect();
                views.map_err(anyhow::Error::from)?
            };
            form.print(&views, |views| {
                table(&["INDEX", "TIME", "KIND", "WHAT"], views.iter().map(row))
            })
        }
        Command::Verify(_) if afar => Err(Failed::new(
            2,
            "the record is verified where it is: on the gateway's machine, with `--data`",
        )),
        Command::Verify(form) => {
            let log = open_log_read_only(&Config::load(flags)?.data).map_err(unreadable)?;
            match log.verify().map_err(unreadable)? {
                Ok(summary) => form.print(&summary, said),
                Err(fault) => {
                    output::print(&format!("NOT as written: {fault}"))?;
                    Err(Failed::new(1, String::new()))
                }
            }
        }
    }
}

async fn listed_afar(
    flags: &Flags,
    remote: &Remote,
    limit: u32,
    after: Option<u64>,
) -> Result<Vec<EntryView>, Failed> {
    let way = Way::reach(flags, remote).await?;
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    way.get(&format!("/api/v1/audit?limit={limit}{after}")).await
}

fn unreadable(error: StoreError) -> Failed {
    Failed::new(1, format!("the record cannot be read: {error}"))
}

fn said(summary: &Summary) -> String {
    let open = match summary.open {
        0 => String::new(),
        open => format!("; {open} calls have no outcome (yet)"),
    };
    format!("verified: {} entries, head {}{open}", summary.head.count, summary.head.chain)
}

fn row(view: &EntryView) -> Vec<String> {
    let text = |key: &str| view.entry.get(key).map(shown);
    let status = view.entry.pointer("/outcome/status").map(shown);
    let person = view.entry.pointer("/verdict/person/name").map(shown);
    let keys = [
        "agent",
        "reviewer",
        "person",
        "role",
        "fingerprint",
        "tool",
        "decision",
        "refusal",
        "halt",
        "scope",
        "reason",
        "hold",
        "state",
        "by",
        "rules",
        "told",
        "wall",
        "why",
    ];
    let what = keys.iter().map(|key| (*key, text(key)));
    let what = what.chain([("by", person), ("outcome", status)]);
    let what: Vec<String> =
        what.filter_map(|(key, value)| value.map(|value| format!("{key}={value}"))).collect();
    let what: String = what.join(" ").chars().take(160).collect();
    let time = text("time").unwrap_or_default();
    let time = time.parse().map_or(time, second);
    vec![view.index.to_string(), time, text("kind").unwrap_or_default(), what]
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        // A person is told by the name alone.
        Value::Object(of) if of.get("name").is_some_and(Value::is_string) => {
            of.get("name").map(shown).unwrap_or_default()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
