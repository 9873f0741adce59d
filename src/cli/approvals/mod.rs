//! `countersign approvals`: held calls, and what people decide about them.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Subcommand;

use super::Failed;
use super::inbox;
use super::output::{self, Form, relative, second, table, visible};
use super::way::{Remote, Way};
use crate::api::{HoldView, VerdictGiven};
use crate::clock::{Clock, SystemClock};
use crate::config::Flags;
use crate::digest::Digest;
use crate::hold::{Decision, StateName};

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
    Approve(Verdict),
    /// Turn the call away
    Reject(Verdict),
    /// Decide on held calls as they come, on a terminal; print them one by one where there is none
    Watch,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verdict {
    /// The hold, or the first digits of its id
    id: String,
    /// Why; the agent is told
    #[arg(long)]
    reason: Option<String>,
    /// The digest of the call that you looked at; the verdict counts for nothing else
    #[arg(long)]
    digest: Option<Digest>,
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let way = Way::reach(flags, remote).await?;
    let done = match command {
        Command::List { state, limit, form } => list(&way, &state, limit, form).await,
        Command::Show { id, form } => show(&way, &id, form).await,
        Command::Approve(verdict) => decide(&way, verdict, Decision::Approve).await,
        Command::Reject(verdict) => decide(&way, verdict, Decision::Reject).await,
        Command::Watch => watch(&way).await,
    };
    way.leave().await;
    done
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

async fn list(way: &Way, state: &str, limit: u32, form: Form) -> Result<(), Failed> {
    let filter = match state {
        "all" => String::new(),
        state => format!("&state={}", percent(state)),
    };
    let holds: Vec<HoldView> = way.get(&format!("/api/v1/approvals?limit={limit}{filter}")).await?;
    form.print(&holds, |holds| {
        table(&["ID", "STATE", "AGENT", "TOOL", "ARGUMENTS", "DECIDE"], holds.iter().map(row))
    })
}

fn row(hold: &HoldView) -> Vec<String> {
    let now = SystemClock::new().now();
    let arguments = serde_json::to_string(&hold.arguments).unwrap_or_default();
    let short: String = arguments.chars().take(60).collect();
    let cut = if short.len() < arguments.len() { "…" } else { "" };
    vec![
        hold.id.to_string(),
        hold.state.as_str().to_owned(),
        hold.agent.to_string(),
        hold.tool.clone(),
        format!("{short}{cut}"),
        match hold.state {
            StateName::Pending => relative(hold.decide_by, now),
            StateName::Approved
            | StateName::Executing
            | StateName::Finished
            | StateName::Unknown
            | StateName::Rejected
            | StateName::Expired
            | StateName::Withdrawn
            | StateName::Lapsed
            | StateName::Superseded
            | StateName::Halted => String::new(),
        },
    ]
}

async fn show(way: &Way, id: &str, form: Form) -> Result<(), Failed> {
    let hold: HoldView = way.get(&format!("/api/v1/approvals/{}", percent(id))).await?;
    form.print(&hold, described)
}

fn described(hold: &HoldView) -> String {
    let now = SystemClock::new().now();
    let json = |value: &crate::json::Object| {
        output::visible_lines(&serde_json::to_string_pretty(value).unwrap_or_default())
    };
    let mut lines = vec![
        format!("hold        {}", hold.id),
        format!("state       {}", hold.state.as_str()),
        format!(
            "agent       {} (for {})",
            hold.agent,
            hold.owner.as_deref().unwrap_or("nobody known")
        ),
        format!("client      {}", visible(hold.client.as_deref().unwrap_or("unknown"))),
        format!("tool        {}", hold.tool),
        format!("rules       {}", hold.rules.join(", ")),
        format!("why held    {}", visible(&hold.reason)),
        format!("decide by   {} ({})", second(hold.decide_by), relative(hold.decide_by, now)),
        format!("digest      {}", hold.digest),
    ];
    if let Some(extended) = &hold.extended {
        let before = second(extended.before);
        lines.push(visible(&format!("extended    was {before}: {}", extended.why)));
    }
    if let Some(reason) = &hold.agent_reason {
        lines.push(format!("agent says  {} (unverified)", visible(reason)));
    }
    lines.push(format!("arguments that will run\n{}", json(&hold.arguments)));
    for edit in &hold.edits {
        let from = edit.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let edited = format!(
            "edited      {}: asked for {from}, will be {} (rule `{}`, {})",
            edit.pointer, edit.to, edit.rule, edit.constraint
        );
        lines.push(visible(&edited));
    }
    if !hold.edits.is_empty() {
        lines.push(format!("arguments as asked\n{}", json(&hold.requested_arguments)));
    }
    for verdict in &hold.verdicts {
        let what = match verdict.decision {
            Decision::Approve => "approved by",
            Decision::Reject => "rejected by",
        };
        let reason = verdict.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        let at = second(verdict.at);
        lines.push(visible(&format!("{what} {} at {at}{reason}", verdict.person.name)));
    }
    if let Some(why) = &hold.why {
        lines.push(format!("why ended   {}", visible(why)));
    }
    if let Some(outcome) = &hold.outcome {
        lines.push(format!("outcome     {}", outcome.status.as_str()));
    }
    if let Some(result) = &hold.result {
        lines.push(format!("result      {}", visible(result.get())));
    }
    lines.join("\n")
}

async fn decide(way: &Way, verdict: Verdict, decision: Decision) -> Result<(), Failed> {
    let id = percent(&verdict.id);
    let hold: HoldView = way.get(&format!("/api/v1/approvals/{id}")).await?;
    let digest = match verdict.digest {
        Some(digest) => digest,
        None => {
            // What is about to be decided is shown first: a verdict is bound to what was seen.
            eprintln!("{}", described(&hold));
            hold.digest
        }
    };
    let given = VerdictGiven {
        decision,
        digest,
        reason: verdict.reason,
        edit: None,
        rendered: None,
        signature: None,
        idempotency_key: None,
    };
    let path = format!("/api/v1/approvals/{}/verdict", hold.id);
    let decided: HoldView = way.post(&path, &given).await?;
    let ended = match decision {
        Decision::Reject => decided,
        Decision::Approve => followed(way, decided).await?,
    };
    let outcome = ended.outcome.as_ref().map(|it| format!(": {}", it.status.as_str()));
    output::print(&format!("{} {}{}", ended.id, ended.state.as_str(), outcome.unwrap_or_default()))
}

/// Follows an approved call for a moment, so that its outcome can be shown.
async fn followed(way: &Way, mut hold: HoldView) -> Result<HoldView, Failed> {
    let clock = SystemClock::new();
    let until = clock.monotonic() + Duration::from_secs(10);
    while !hold.state.is_terminal() && clock.monotonic() < until {
        clock.sleep(Duration::from_millis(50)).await;
        hold = way.get(&format!("/api/v1/approvals/{}", hold.id)).await?;
    }
    Ok(hold)
}

async fn watch(way: &Way) -> Result<(), Failed> {
    if inbox::can_show() {
        return inbox::run(way).await;
    }
    let clock = SystemClock::new();
    let mut seen = std::collections::HashSet::new();
    if std::io::stdout().is_terminal() {
        eprintln!(
            "waiting for held calls; decide with `countersign approvals approve ID` or `reject ID`"
        );
    }
    loop {
        let path = "/api/v1/approvals?state=pending&limit=1000";
        let holds: Vec<HoldView> = way.get(path).await?;
        seen.retain(|id| holds.iter().any(|hold| hold.id == *id));
        for hold in holds.iter().rev() {
            if seen.insert(hold.id) {
                let row: Vec<String> = row(hold).iter().map(|cell| visible(cell)).collect();
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
