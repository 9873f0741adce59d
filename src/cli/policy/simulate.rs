//! `countersign policy simulate`: what other files would have decided about recorded calls.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::super::output::{Form, second, table, visible};
use super::super::way::{Remote, Way};
use super::Failed;
use crate::api::{CandidateFile, SimulateWanted, SimulationView};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Flags};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// The directory of policies to try
    candidate: PathBuf,
    /// The directory of tool manifests to try with them (default: those in force)
    #[arg(long, value_name = "DIR")]
    with_tool_manifests: Option<PathBuf>,
    /// Only calls of the last so long, like `7d` or `12h`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only the last so many calls, at most 100000
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    last: u64,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn run(flags: &Flags, given: Arguments) -> Result<(), Failed> {
    let since = given.since.as_deref().map(ago).transpose()?;
    let wanted = SimulateWanted {
        policies: files(&given.candidate)?,
        tool_manifests: given.with_tool_manifests.as_deref().map(files).transpose()?,
        since,
        last: Some(given.last),
    };
    let way = Way::reach(flags, &given.remote).await?;
    let view = way.post::<SimulationView>("/api/v1/policy/simulate", &wanted).await;
    way.leave().await;
    given.form.print(&view?, text)
}

/// The moment so long ago.
fn ago(text: &str) -> Result<jiff::Timestamp, Failed> {
    let wrong = || Failed::new(2, format!("`{text}` is not a length of time, like `7d` or `12h`"));
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let length = match days {
        Some(days) => SignedDuration::from_hours(days.checked_mul(24).ok_or_else(wrong)?),
        None => text.parse().map_err(|_| wrong())?,
    };
    SystemClock::new().now().checked_sub(length).map_err(|_| wrong())
}

fn files(directory: &Path) -> Result<Vec<CandidateFile>, Failed> {
    let files = config::read_directory(directory)?;
    let one = |file: crate::source::SourceFile| CandidateFile {
        name: file.name,
        text: file.text.to_string(),
    };
    Ok(files.into_iter().map(one).collect())
}

fn text(view: &SimulationView) -> String {
    let since = view.since.map_or_else(String::new, |since| format!(" since {}", second(since)));
    let mut lines =
        vec![format!("{} calls judged{since}: {} decided otherwise", view.judged, view.flips)];
    if !view.whole {
        lines.push("there was no time for more calls: ask with --since or --last".to_owned());
    }
    let rows = view.matrix.iter().map(|cell| {
        let (before, after) = (cell.before.as_str(), cell.after.as_str());
        vec![before.to_owned(), after.to_owned(), cell.calls.to_string()]
    });
    if !view.matrix.is_empty() {
        lines.push(table(&["BEFORE", "AFTER", "CALLS"], rows));
    }
    let (before, after) = (view.held_before, view.held_after);
    lines.push(match view.held_per_day {
        Some((then, now)) => {
            format!("waiting for people: {before} → {after} ({then:.1} → {now:.1} a day)")
        }
        None => format!("waiting for people: {before} → {after}"),
    });
    let rows = view.samples.iter().map(|flip| {
        let (before, after) = (flip.before.as_str(), flip.after.as_str());
        let (agent, rules) = (flip.agent.to_string(), flip.rules_after.join(", "));
        let rules = if rules.is_empty() { "by default".to_owned() } else { rules };
        let change = format!("{before} → {after}");
        vec![second(flip.at), flip.call.to_string(), agent, flip.tool.clone(), change, rules]
    });
    if !view.samples.is_empty() {
        lines.push(table(&["AT", "CALL", "AGENT", "TOOL", "CHANGE", "BY"], rows));
    }
    let left = view.not_judged.iter();
    lines.extend(left.map(|it| format!("not judged: {} calls: {}", it.calls, visible(&it.why))));
    lines.push(format!("\ncandidate {}", view.candidate));
    lines.join("\n")
}
