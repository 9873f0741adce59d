//! `countersign approvals`: held calls, and what people decide about them.

mod deciding;
mod describe;
mod identical;
mod standing;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use self::deciding::Chosen;
use self::describe::{HEADING, row};
use super::Failed;
use super::inbox;
use super::output::{self, Form, Output, table, visible};
use super::way::{Remote, Way};
use crate::api::{HoldView, StandingView};
use crate::clock::{Clock, SystemClock};
use crate::config::Flags;
use crate::hold::{Decision, Resolution, StateName};

pub(super) use self::deciding::{name_of_verdict, rendered};
pub(super) use self::describe::amended;
pub(super) use self::standing::{Until, until};

/// How often `watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List held calls, pending ones unless told otherwise
    List {
        /// Only calls in this state (pending, approved, finished, rejected, …), or `all`
        #[arg(long, default_value = "pending", value_parser = state)]
        state: String,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// A row for each pending call, also where several are identical
        #[arg(long)]
        each: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Show one held call: who, what exactly, why it is held, until when
    Show {
        /// The hold, or the first digits of its id
        id: String,
        #[command(flatten)]
        form: Form,
    },
    /// Let the exact call run, once
    Approve {
        #[command(flatten)]
        chosen: Chosen,
        /// Approve these arguments in place of the held ones: a JSON object, `-` to read it from standard
        /// input, `@FILE` from a file
        #[arg(long, value_name = "JSON", conflicts_with = "identical")]
        edit: Option<String>,
        #[command(flatten)]
        all: All,
    },
    /// Turn the call away
    Reject {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        all: All,
    },
    /// Say what became of a call whose outcome was not recorded
    Resolve {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        resolution: Said,
    },
    /// Grant, list and revoke standing approvals
    #[command(subcommand)]
    Standing(standing::Command),
    /// Decide on held calls as they come, on a terminal; print them one by one where there is none
    Watch {
        /// Sign what is decided with this SSH key
        #[arg(long, value_name = "KEYFILE")]
        sign_with: Option<PathBuf>,
    },
}

/// Whether all identical calls are meant.
#[derive(Debug, clap::Args)]
pub(super) struct All {
    /// Decide on all pending calls that are identical to this one
    #[arg(long, conflicts_with = "sign_with")]
    identical: bool,
    /// Do so without being asked
    #[arg(long, requires = "identical")]
    yes: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Said {
    /// It took effect
    #[arg(long)]
    done: bool,
    /// It did not take effect, or not wholly
    #[arg(long)]
    failed: bool,
    /// It may run again
    #[arg(long)]
    run_again: bool,
}

impl Said {
    const fn resolution(&self) -> Resolution {
        if self.done {
            Resolution::Done
        } else if self.failed {
            Resolution::Failed
        } else {
            Resolution::RunAgain
        }
    }
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let way = Way::reach(flags, remote).await?;
    let done = done(&way, command).await;
    way.leave().await;
    done
}

async fn done(way: &Way, command: Command) -> Result<(), Failed> {
    match command {
        Command::List { state, limit, each, form } => list(way, &state, limit, each, form).await,
        Command::Show { id, form } => show(way, &id, form).await,
        Command::Approve { chosen, edit, all } => {
            decide(way, chosen, Decision::Approve, edit, &all).await
        }
        Command::Reject { chosen, all } => decide(way, chosen, Decision::Reject, None, &all).await,
        Command::Resolve { chosen, resolution } => {
            deciding::resolve(way, chosen, resolution.resolution()).await
        }
        Command::Standing(command) => standing::run(way, command).await,
        Command::Watch { sign_with } => watch(way, sign_with).await,
    }
}

/// A state by its name, or `all`.
fn state(text: &str) -> Result<String, String> {
    let known = text == "all" || serde_json::from_value::<StateName>(text.into()).is_ok();
    known.then(|| text.to_owned()).ok_or_else(|| {
        "a state is one of pending, approved, executing, finished, unknown, rejected, expired, \
         withdrawn, lapsed, superseded, halted; or all"
            .to_owned()
    })
}

async fn list(way: &Way, state: &str, limit: u32, each: bool, form: Form) -> Result<(), Failed> {
    let filter = match state {
        "all" => String::new(),
        state => format!("&state={}", percent(state)),
    };
    let path = format!("/api/v1/approvals?limit={limit}&each={each}{filter}");
    let holds: Vec<HoldView> = way.get(&path).await?;
    let now = SystemClock::new().now();
    form.print(&holds, |holds| table(&HEADING, holds.iter().map(|hold| row(hold, now))))
}

async fn show(way: &Way, id: &str, form: Form) -> Result<(), Failed> {
    let hold: HoldView = way.get(&format!("/api/v1/approvals/{}", percent(id))).await?;
    if form.output == Output::Json {
        return form.print(&hold, |_| String::new());
    }
    let told = deciding::told(way, &hold).await?;
    let mut standing = String::new();
    if hold.state == StateName::Pending {
        let all: Vec<StandingView> = way.get("/api/v1/standing").await?;
        let like = |view: &&StandingView| {
            view.standing.agent == hold.agent && view.standing.tool == hold.tool
        };
        standing = all.iter().filter(like).map(describe::standing).collect();
    }
    output::print(&(told + &standing))
}

async fn decide(
    way: &Way,
    chosen: Chosen,
    decision: Decision,
    edit: Option<String>,
    all: &All,
) -> Result<(), Failed> {
    if all.identical {
        return identical::decide(way, &chosen, decision, all.yes).await;
    }
    deciding::decide(way, chosen, decision, edit).await
}

async fn watch(way: &Way, sign_with: Option<PathBuf>) -> Result<(), Failed> {
    if inbox::can_show() {
        return inbox::run(way, sign_with).await;
    }
    let clock = SystemClock::new();
    let mut seen = std::collections::HashSet::new();
    if std::io::stdout().is_terminal() {
        eprintln!(
            "waiting for held calls; decide with `countersign approvals approve ID` or `reject ID`"
        );
    }
    loop {
        let path = "/api/v1/approvals?state=pending&limit=1000&each=true";
        let holds: Vec<HoldView> = way.get(path).await?;
        seen.retain(|id| holds.iter().any(|hold| hold.id == *id));
        for hold in holds.iter().rev() {
            if seen.insert(hold.id) {
                let row: Vec<String> =
                    row(hold, clock.now()).iter().map(|cell| visible(cell)).collect();
                output::print(&row.join("  "))?;
            }
        }
        clock.sleep(WATCH_EVERY).await;
    }
}

/// A text as one segment of a path.
pub(super) fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
