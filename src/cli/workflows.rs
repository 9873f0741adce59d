//! `countersign workflows`: what agents did together, and rolling it back.

use clap::Subcommand;
use serde_json::Value;

use super::Failed;
use super::approvals::percent;
use super::output::{Form, second, table, visible};
use super::way::{Remote, Way};
use crate::api::{
    UndoView, UndoWanted, WorkflowCallView, WorkflowList, WorkflowTimeline, WorkflowView,
};
use crate::call::undoing::{RanOutcome, Step, StepState};
use crate::catalog::Label;
use crate::config::Flags;
use crate::digest::Digest;
use crate::ids::CallId;

const PATH: &str = "/api/v1/workflows";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List workflows, those that began last first
    List {
        /// Only this agent's
        #[arg(long)]
        agent: Option<String>,
        /// At most so many, up to 200
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        form: Form,
    },
    /// Show the calls of a workflow, in order
    Show {
        /// The workflow: its first call
        id: String,
        #[command(flatten)]
        form: Form,
    },
    /// Show what would undo a workflow; with `--yes` or `--plan`, do it
    Rollback(Rollback),
}

#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The workflow: its first call
    id: String,
    /// Run the plan as it is now
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
    /// Run exactly the plan with this digest, which was shown before
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Leave this call as it is; may be given more than once
    #[arg(long, value_name = "CALL")]
    skip: Vec<CallId>,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let way = Way::reach(flags, remote).await?;
    let done = match command {
        Command::List { agent, limit, form } => list(&way, agent, limit, form).await,
        Command::Show { id, form } => show(&way, &id, form).await,
        Command::Rollback(given) => roll_back(&way, given).await,
    };
    way.leave().await;
    done
}

async fn list(way: &Way, agent: Option<String>, limit: u32, form: Form) -> Result<(), Failed> {
    let agent = agent.map_or_else(String::new, |agent| format!("&agent={}", percent(&agent)));
    let found: WorkflowList = way.get(&format!("{PATH}?limit={limit}{agent}")).await?;
    form.print(&found.workflows, |found| {
        table(
            &[
                "WORKFLOW", "AGENT", "NAME", "BEGAN", "LAST", "ENDED", "DONE", "HELD", "REFUSED",
                "FAILED",
            ],
            found.iter().map(row),
        )
    })
}

fn row(it: &WorkflowView) -> Vec<String> {
    let counts = it.counts;
    vec![
        it.id.to_string(),
        it.agent.to_string(),
        it.name.clone(),
        second(it.began),
        second(it.last),
        it.ended.map_or_else(|| "-".to_owned(), second),
        counts.succeeded.to_string(),
        counts.held.to_string(),
        counts.refused.to_string(),
        counts.failed.to_string(),
    ]
}

async fn show(way: &Way, id: &str, form: Form) -> Result<(), Failed> {
    let path = format!("{PATH}/{}?limit=200", percent(id));
    let mut whole: WorkflowTimeline = way.get(&path).await?;
    while let Some(next) = whole.next.take() {
        let more: WorkflowTimeline = way.get(&format!("{path}&cursor={next}")).await?;
        whole.next = more.next;
        whole.calls.extend(more.calls);
    }
    form.print(&whole, |whole| {
        let it = &whole.workflow;
        let head = format!("{} of {}, {}", visible(&it.name), it.agent, it.id);
        let heading = ["TIME", "CALL", "TOOL", "DECISION", "STATUS", "BROUGHT", "UNDONE BY"];
        format!("{head}\n\n{}", table(&heading, whole.calls.iter().map(call)))
    })
}

fn call(it: &WorkflowCallView) -> Vec<String> {
    let brought: Vec<&str> = it.brings.iter().map(Label::as_str).collect();
    let undone = match (it.compensated_by, it.compensation_status) {
        (Some(by), Some(status)) => format!("{by} ({})", status.as_str()),
        _ => it.compensates.map_or_else(String::new, |undone| format!("undoes {undone}")),
    };
    vec![
        second(it.call.at),
        it.call.call.to_string(),
        it.call.tool.clone(),
        it.decision.clone().unwrap_or_else(|| "-".to_owned()),
        it.call.status.as_str().to_owned(),
        if brought.is_empty() { "-".to_owned() } else { brought.join(", ") },
        undone,
    ]
}

async fn roll_back(way: &Way, given: Rollback) -> Result<(), Failed> {
    let path = format!("{PATH}/{}/rollback", percent(&given.id));
    let mut wanted = UndoWanted { plan: given.plan, skip: given.skip };
    if given.yes {
        let shown: UndoView = way.post(&path, &wanted).await?;
        wanted.plan = Some(shown.plan.digest);
    }
    let done: UndoView = way.post(&path, &wanted).await?;
    given.form.print(&done, told)?;
    if wanted.plan.is_none() {
        let planned = done.plan.steps.iter().any(|step| step.state == StepState::Planned);
        if planned {
            eprintln!("nothing ran; to run this plan: --plan {}", done.plan.digest);
        }
        return Ok(());
    }
    let held = |step: &Step| step.state == StepState::Waiting;
    match done.ran.last().map(|it| it.outcome) {
        Some(RanOutcome::ToolError | RanOutcome::Refused) => {
            Err(Failed::new(1, "it stopped at the first call that did not succeed"))
        }
        _ if done.plan.steps.iter().any(held) => Err(Failed::new(
            5,
            "it waits for people; when they have approved, run it again to go on",
        )),
        Some(RanOutcome::Success | RanOutcome::Held) | None => {
            if done.plan.steps.iter().any(|step| step.state == StepState::Planned) {
                return Err(Failed::new(5, "it is not done yet: run it again to go on"));
            }
            Ok(())
        }
    }
}

fn told(done: &UndoView) -> String {
    let plan = &done.plan;
    let mut text = String::new();
    for ran in &done.ran {
        let outcome = match ran.outcome {
            RanOutcome::Success => "undone",
            RanOutcome::ToolError => "failed",
            RanOutcome::Refused => "refused",
            RanOutcome::Held => "held",
        };
        let why = ran.told.as_deref().map_or_else(String::new, |why| format!(": {}", visible(why)));
        text.push_str(&format!("{outcome} {} by {}{why}\n", ran.call, ran.by));
    }
    if !done.ran.is_empty() {
        text.push('\n');
    }
    let heading = ["STATE", "CALL", "TOOL", "UNDONE BY", "WITH", "WHY"];
    text.push_str(&table(&heading, plan.steps.iter().map(step)));
    if plan.only_read > 0 {
        text.push_str(&format!("\n\ncalls that only read: {}", plan.only_read));
    }
    text
}

fn step(it: &Step) -> Vec<String> {
    let state = match it.state {
        StepState::Planned => "planned",
        StepState::Done => "done",
        StepState::Waiting => "waiting",
        StepState::Impossible => "impossible",
        StepState::Skipped => "skipped",
    };
    let (tool, arguments) = match &it.compensation {
        Some(undoing) => {
            (undoing.tool.clone(), Value::Object(undoing.arguments.clone()).to_string())
        }
        None => ("-".to_owned(), "-".to_owned()),
    };
    let hold = it.hold.map(|hold| format!("hold {hold}"));
    let why = it.why.clone().or(hold).unwrap_or_default();
    vec![state.to_owned(), it.call.to_string(), it.tool.clone(), tool, arguments, why]
}
