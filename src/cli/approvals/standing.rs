//! `countersign approvals standing`: approvals for many calls of one agent, shown as the rule they are.

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::percent;
use crate::api::{StandingView, StandingWanted};
use crate::cli::Failed;
use crate::cli::agents::seconds;
use crate::cli::output::{self, Form, second, table, visible_lines};
use crate::cli::way::Way;
use crate::clock::{Clock, SystemClock};
use crate::ids::StandingId;
use crate::json::{self, Object};

const PATH: &str = "/api/v1/standing";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Let calls like a held one run without a person: the same agent and tool, within bounds, until a moment
    Grant(Grant),
    /// List those in force
    List(Form),
    /// End one; no call that has not begun runs under it
    Revoke {
        /// The standing approval
        id: StandingId,
    },
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Grant {
    /// The hold, or the first digits of its id
    id: String,
    /// Until when: a length of time like `8h`, or a moment like `2026-01-31T18:00:00Z`; at most 30 days
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Until,
    /// What the arguments must keep to, like `max_replicas=5` or `allowed_namespace=["app"]`; may be given
    /// more than once. Without one, any arguments
    #[arg(long = "bound", value_name = "NAME=JSON", value_parser = bound)]
    bounds: Vec<(String, Value)>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Grant without being asked
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Until {
    After(SignedDuration),
    At(Timestamp),
}

pub(in crate::cli) fn until(text: &str) -> Result<Until, String> {
    if let Ok(at) = text.parse() {
        return Ok(Until::At(at));
    }
    let seconds = seconds(text)?;
    Ok(Until::After(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))))
}

fn bound(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it like `max_replicas=5`")?;
    let value = json::parse(value.as_bytes()).map_err(|error| {
        format!("what follows `{name}=` is not JSON ({error}); a text has quotes, a list brackets")
    })?;
    Ok((name.to_owned(), value))
}

pub(super) async fn run(way: &Way, command: Command) -> Result<(), Failed> {
    match command {
        Command::Grant(it) => grant(way, it).await,
        Command::List(form) => list(way, form).await,
        Command::Revoke { id } => way.delete(&format!("{PATH}/{}", percent(&id.to_string()))).await,
    }
}

async fn grant(way: &Way, wish: Grant) -> Result<(), Failed> {
    let mut bounds = Object::new();
    for (name, value) in wish.bounds {
        if bounds.insert(name.clone(), value).is_some() {
            return Err(Failed::new(2, format!("--bound: `{name}` is given twice")));
        }
    }
    let until = match wish.until {
        Until::At(at) => at,
        Until::After(length) => moment(length)?,
    };
    let wanted =
        StandingWanted { hold: wish.id, bounds, until, reason: wish.reason, confirm: None };
    let shown: StandingView = way.post(PATH, &wanted).await?;
    eprint!("{}", visible_lines(&shown.rule));
    let any = if wanted.bounds.is_empty() { "with any arguments" } else { "within these bounds" };
    eprintln!("\nsuch calls, {any}, run without a person until {}", second(until));
    if !wish.yes {
        let typed = output::asked("grant this standing approval? type yes: ")?;
        let Some(typed) = typed else {
            return Err(Failed::new(2, "nothing was granted; say `--yes` to grant this rule"));
        };
        if typed.trim() != "yes" {
            return Err(Failed::new(1, "nothing was granted"));
        }
    }
    let confirmed = StandingWanted { confirm: Some(shown.standing.id), ..wanted };
    let granted: StandingView = way.post(PATH, &confirmed).await?;
    output::print(&granted.standing.id.to_string())
}

/// The moment that is so far ahead, to the second.
fn moment(length: SignedDuration) -> Result<Timestamp, Failed> {
    let at = SystemClock::new().now().checked_add(length).ok();
    at.and_then(|at| Timestamp::from_second(at.as_second()).ok())
        .ok_or_else(|| Failed::new(2, "--until: that is too far ahead; at most 30 days"))
}

async fn list(way: &Way, form: Form) -> Result<(), Failed> {
    let all: Vec<StandingView> = way.get(PATH).await?;
    form.print(&all, |all| {
        let rows = all.iter().map(|view| {
            let it = &view.standing;
            vec![
                it.id.to_string(),
                it.agent.to_string(),
                it.tool.clone(),
                serde_json::to_string(&it.bounds).unwrap_or_default(),
                it.waives.join(", "),
                second(it.until),
                it.granted_by.name.clone(),
            ]
        });
        table(&["ID", "AGENT", "TOOL", "BOUNDS", "WAIVES", "UNTIL", "GRANTED BY"], rows)
    })
}
