//! `countersign audit`: the record. Read straight from the data directory, whether a gateway runs or not.

use clap::Subcommand;
use serde_json::Value;

use super::Failed;
use super::output::{self, Form, second, table};
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

pub(super) fn run(flags: &Flags, command: Command) -> Result<(), Failed> {
    let config = Config::load(flags)?;
    let log = open_log_read_only(&config.data).map_err(unreadable)?;
    match command {
        Command::List { limit, after, form } => {
            let query = EntryQuery { newest: after.is_none(), after, call: None, limit };
            let entries = log.entries(&query).map_err(unreadable)?;
            let views: Vec<EntryView> = entries
                .iter()
                .map(EntryView::of)
                .collect::<Result<_, _>>()
                .map_err(anyhow::Error::from)?;
            form.print(&views, |views| {
                table(&["INDEX", "TIME", "KIND", "WHAT"], views.iter().map(row))
            })
        }
        Command::Verify(form) => match log.verify().map_err(unreadable)? {
            Ok(summary) => form.print(&summary, said),
            Err(fault) => {
                output::print(&format!("NOT as written: {fault}"))?;
                Err(Failed::new(1, String::new()))
            }
        },
    }
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
        "agent", "tool", "decision", "refusal", "hold", "state", "by", "rules", "told", "wall",
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
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
