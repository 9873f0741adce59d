//! `countersign halt` and `countersign resume`: the kill switch.

use clap::Args;
use jiff::Timestamp;

use super::Failed;
use super::approvals::{Until, percent, until};
use super::output::{self, Form, second, table};
use super::way::{Remote, Way};
use crate::api::{HaltResumed, HaltWanted};
use crate::clock::{Clock, SystemClock};
use crate::config::Flags;
use crate::halts::{Halt, Scope};

const PATH: &str = "/api/v1/halts";

/// What a halt is about; one of these.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Scoped {
    /// Every call
    #[arg(long)]
    all: bool,
    /// The calls of one agent
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// The calls of the agents in one group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The calls of one tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// The calls of all tools of one backend
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
    /// The calls of all tools with one capability
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// The calls of one workflow
    #[arg(long, value_name = "WORKFLOW")]
    workflow: Option<String>,
}

impl Scoped {
    fn scope(self) -> Option<Scope> {
        let all = self.all.then_some(Scope::All);
        all.or(self.agent.map(Scope::Agent))
            .or(self.group.map(Scope::Group))
            .or(self.tool.map(Scope::Tool))
            .or(self.backend.map(Scope::Backend))
            .or(self.capability.map(Scope::Capability))
            .or(self.workflow.map(Scope::Workflow))
    }
}

#[derive(Debug, Args)]
pub(super) struct Halting {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    scope: Scoped,
    /// Why; agents whose calls are refused are told
    #[arg(long)]
    reason: Option<String>,
    /// When it ends by itself: a length of time like `8h`, or a moment like `2026-01-31T18:00:00Z`; at most 366
    /// days. When it is resumed, unless told otherwise
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Until>,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(super) struct Resuming {
    #[command(flatten)]
    remote: Remote,
    /// The halt, or the first digits of its id
    #[arg(conflicts_with = "Scoped")]
    id: Option<String>,
    #[command(flatten)]
    scope: Scoped,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn halt(flags: &Flags, arguments: Halting) -> Result<(), Failed> {
    let Halting { remote, scope, reason, until, form } = arguments;
    let wanted = match (scope.scope(), reason) {
        (Some(scope), Some(reason)) => {
            let until = until.map(|until| moment(until, SystemClock::new().now())).transpose()?;
            Some(HaltWanted { scope, reason, until })
        }
        (None, None) if until.is_none() => None,
        (Some(_), None) => {
            return Err(Failed::new(2, "nothing was halted: say why, with `--reason`"));
        }
        (None, _) => {
            let told = "nothing was halted: say what, with `--all`, `--agent`, `--group`, `--tool`, `--backend`, \
                        `--capability` or `--workflow`";
            return Err(Failed::new(2, told));
        }
    };
    let way = Way::reach(flags, &remote).await?;
    let done = match wanted {
        Some(wanted) => engage(&way, &wanted, form).await,
        None => list(&way, form).await,
    };
    way.leave().await;
    done
}

async fn engage(way: &Way, wanted: &HaltWanted, form: Form) -> Result<(), Failed> {
    let halt: Halt = way.post(PATH, wanted).await?;
    let told = output::visible(&halt.scope.told());
    eprintln!("halted: {told}; end it with `countersign resume {}`", short(&halt));
    form.print(&halt, |halt| halt.id.to_string())
}

async fn list(way: &Way, form: Form) -> Result<(), Failed> {
    let halts: Vec<Halt> = way.get(PATH).await?;
    if halts.is_empty() {
        eprintln!("nothing is halted");
    }
    form.print(&halts, |halts| if halts.is_empty() { String::new() } else { shown(halts) })
}

pub(super) async fn resume(flags: &Flags, arguments: Resuming) -> Result<(), Failed> {
    let Resuming { remote, id, scope, reason, form } = arguments;
    let scope = scope.scope();
    if id.is_none() && scope.is_none() {
        let told = "nothing was resumed: say which halt, by its id or its scope; `countersign halt` lists them";
        return Err(Failed::new(2, told));
    }
    let way = Way::reach(flags, &remote).await?;
    let done = end(&way, id.as_deref(), scope.as_ref(), reason, form).await;
    way.leave().await;
    done
}

/// Ends the halt whose id begins so, or all of exactly this scope.
async fn end(
    way: &Way,
    id: Option<&str>,
    scope: Option<&Scope>,
    reason: String,
    form: Form,
) -> Result<(), Failed> {
    let engaged: Vec<Halt> = way.get(PATH).await?;
    let named = |halt: &&Halt| match (id, scope) {
        (Some(id), _) => !id.is_empty() && halt.id.to_string().starts_with(&id.to_lowercase()),
        (None, Some(scope)) => halt.scope == *scope,
        (None, None) => false,
    };
    let found: Vec<&Halt> = engaged.iter().filter(named).collect();
    if found.is_empty() {
        let others = engaged.len();
        let told =
            format!("no such halt is engaged ({others} others are; `countersign halt` lists them)");
        return Err(Failed::new(3, told));
    }
    if id.is_some() && found.len() > 1 {
        let told = format!("{} halts begin so; give more digits", found.len());
        return Err(Failed::new(2, told));
    }
    let resumed = HaltResumed { reason };
    let mut ended: Vec<Halt> = Vec::new();
    for halt in found {
        let path = format!("{PATH}/{}/resume", percent(&halt.id.to_string()));
        ended.push(way.post(&path, &resumed).await?);
        eprintln!("resumed: {}", output::visible(&halt.scope.told()));
    }
    let left = engaged.len().saturating_sub(ended.len());
    if left > 0 {
        eprintln!("{left} other halts are still engaged; `countersign halt` lists them");
    }
    form.print(&ended, |_| String::new())
}

/// The moment that is meant, to the second.
fn moment(until: Until, now: Timestamp) -> Result<Timestamp, Failed> {
    let at = match until {
        Until::At(at) => Some(at),
        Until::After(length) => {
            now.checked_add(length).ok().and_then(|at| Timestamp::from_second(at.as_second()).ok())
        }
    };
    at.ok_or_else(|| Failed::new(2, "--until: that is too far ahead; at most 366 days"))
}

fn shown(halts: &[Halt]) -> String {
    let rows = halts.iter().map(|halt| {
        vec![
            short(halt),
            halt.scope.kind().to_owned(),
            halt.scope.name().unwrap_or("-").to_owned(),
            halt.reason.clone(),
            halt.by.name.clone(),
            second(halt.since),
            halt.until.map_or_else(|| "-".to_owned(), second),
        ]
    });
    table(&["ID", "SCOPE", "NAME", "REASON", "BY", "SINCE", "UNTIL"], rows)
}

/// The first digits of its identifier.
fn short(halt: &Halt) -> String {
    halt.id.to_string().chars().take(8).collect()
}
