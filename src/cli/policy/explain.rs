//! `countersign policy explain`: why a call is decided as it is, in words.

use serde_json::Value;

use super::super::output::{Form, visible};
use super::super::way::{Remote, Way};
use super::super::{Failed, call};
use crate::api::{Asked, ExplainView, ExplainWanted, RecordedView, explained};
use crate::config::Flags;
use crate::ids::{AgentName, CallId};
use crate::policy::{
    ApprovalTerms, Change, Edit, ExplainedCondition, ExplainedRule, Explanation, Mode, Nearest,
};

/// The longest value that is shown of a constraint or an edit, in characters.
const MAX_SHOWN: usize = 100;

/// What only a gateway knows.
const ON_FILES: &str = "the files were asked, and no gateway: nothing is taken to be held by the agent, spent of \
                        budgets or approved for good, and no group or owner to be registered";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// The tool
    #[arg(required_unless_present = "call", conflicts_with = "call")]
    tool: Option<String>,
    /// Its arguments as a JSON object; `-` reads them from standard input
    #[arg(default_value = "{}", conflicts_with = "call")]
    arguments: String,
    /// The agent that would call
    #[arg(long, value_name = "NAME", default_value = "cli", conflicts_with = "call")]
    agent: AgentName,
    /// A group of the agent, and not those it is registered with; may be given more than once
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "call")]
    groups: Vec<String>,
    /// The client program, as it would name itself
    #[arg(long, value_name = "CLIENT", conflicts_with = "call")]
    client: Option<String>,
    /// The workflow, as the caller would name it
    #[arg(long, value_name = "WORKFLOW", conflicts_with = "call")]
    workflow: Option<String>,
    /// Explain a call of the record, by its identifier
    #[arg(long, value_name = "ID")]
    call: Option<CallId>,
    /// Ask the files as they are now, and not the gateway that runs
    #[arg(long, conflicts_with_all = ["call", "url"])]
    files: bool,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let form = arguments.form;
    let view = view(flags, arguments).await?;
    form.print(&view, text)
}

async fn view(flags: &Flags, given: Arguments) -> Result<ExplainView, Failed> {
    let wanted = match (given.call, given.tool) {
        (Some(call), _) => ExplainWanted { call: Some(call), ..ExplainWanted::default() },
        (None, tool) => ExplainWanted {
            call: None,
            agent: Some(given.agent.clone()),
            groups: Some(given.groups.clone()).filter(|groups| !groups.is_empty()),
            client: given.client.clone(),
            workflow: given.workflow.clone(),
            tool,
            arguments: call::read_arguments(&given.arguments)?,
        },
    };
    // A call of the record needs the record; the rules can be read without.
    let on_files = wanted.call.is_none()
        && (given.files || !super::a_gateway_answers(flags, &given.remote).await?);
    if on_files {
        let revision = super::on_files(flags)?;
        let ExplainWanted { tool, arguments, .. } = wanted;
        let (agent, groups, client) = (given.agent, given.groups, given.client);
        let workflow = given.workflow;
        let tool = tool.unwrap_or_default();
        let now = crate::clock::Clock::now(&crate::clock::SystemClock::new());
        let asked = Asked {
            agent,
            groups,
            owner: None,
            client,
            workflow,
            tool,
            arguments,
            holds: Vec::new(),
            now,
        };
        let view = explained(&revision, asked, &[], None);
        let mut view = view.map_err(|it| Failed::new(3, it.told()))?;
        view.notes.push(ON_FILES.to_owned());
        return Ok(view);
    }
    let way = Way::reach(flags, &given.remote).await?;
    let view = way.post("/api/v1/policy/explain", &wanted).await;
    way.leave().await;
    view
}

/// Everything, in lines.
fn text(view: &ExplainView) -> String {
    let mut lines = vec![format!(
        "{} for {}{}{}",
        visible(&view.tool),
        visible(view.agent.as_str()),
        if view.groups.is_empty() {
            String::new()
        } else {
            format!(", in {}", visible(&view.groups.join(", ")))
        },
        view.client.as_ref().map_or_else(String::new, |it| format!(", by {}", visible(it))),
    )];
    if let Some(why) = &view.unavailable {
        lines.push(format!("cannot be called now, whatever the rules say: {}", visible(why)));
    }
    for fault in &view.faults {
        let at = if fault.pointer.is_empty() { "the arguments" } else { &fault.pointer };
        lines.push(format!(
            "refused before rules are asked: {}: {}",
            visible(at),
            visible(&fault.message)
        ));
    }
    if let Some(told) = &view.explanation {
        decided(told, &mut lines);
    }
    if let Some(recorded) = &view.recorded {
        compared(recorded, &mut lines);
    }
    lines.extend(view.notes.iter().map(|note| format!("note: {note}")));
    if let Some(told) = &view.explanation {
        for one in &told.rules {
            rule(one, &mut lines);
        }
        if told.rules_left_out > 0 {
            lines.push(format!("\nand {} more rules that do not match", told.rules_left_out));
        }
        if told.rules.is_empty() {
            lines.push("\nno rule can match a call of this tool".to_owned());
        }
        lines.extend(told.nearest.as_ref().map(nearest));
    }
    lines.push(format!("\nrevision {}", view.revision));
    lines.join("\n")
}

fn decided(told: &Explanation, lines: &mut Vec<String>) {
    let by = match told.decided_by.as_slice() {
        [] => "by default".to_owned(),
        rules => format!("by {}", visible(&rules.join(", "))),
    };
    lines.push(format!("{} {by}", told.decision.as_str()));
    lines.extend(told.reason.as_ref().map(|reason| format!("  {}", visible(reason))));
    lines.extend(told.edits.iter().map(edit));
    lines.extend(told.approval.as_ref().map(|it| format!("  approval: {}", approval(it))));
    if let Some(standing) = told.standing {
        lines.push(format!("  the standing approval {standing} covers it, so nobody is asked"));
    }
}

fn edit(edit: &Edit) -> String {
    let from = edit.from.as_ref().map_or_else(|| "nothing".to_owned(), short);
    let (to, pointer) = (short(&edit.to), visible(&edit.pointer));
    format!("  {pointer} becomes {to}, from {from} ({}: {})", visible(&edit.rule), edit.constraint)
}

fn approval(terms: &ApprovalTerms) -> String {
    let time = |seconds: i64| format!("{:#}", jiff::SignedDuration::from_secs(seconds));
    let (decide, execute) = (time(terms.decide_within), time(terms.execute_within));
    let told = visible(&terms.told);
    format!("{told}; {decide} to decide, then {execute} to begin")
}

fn compared(recorded: &RecordedView, lines: &mut Vec<String>) {
    let by = match recorded.rules.as_slice() {
        [] => String::new(),
        rules => format!(" by {}", visible(&rules.join(", "))),
    };
    let kind = recorded.refusal.as_ref().map_or_else(String::new, |it| format!(" ({it})"));
    let now = match recorded.differs {
        Some(true) => "the rules in force decide otherwise",
        Some(false) => "the rules in force decide the same",
        None => "rules had no part in it",
    };
    lines.push(format!("then: {}{kind}{by}; {now}", recorded.decision));
}

fn rule(rule: &ExplainedRule, lines: &mut Vec<String>) {
    let (name, location) = (visible(&rule.name), visible(&rule.location));
    let decides = match (rule.mode, rule.decides) {
        (Mode::Shadow, _) => "  in shadow",
        (Mode::Enforce, true) => "  decides",
        (Mode::Enforce, false) => "",
    };
    lines.push(format!(
        "\n{} {name}  {}  {location}{decides}",
        mark(rule.matched),
        rule.decision.as_str()
    ));
    let width = rule.conditions.iter().chain(&rule.except).map(|it| wanted(it).chars().count());
    let width = width.max().unwrap_or_default();
    lines.extend(rule.conditions.iter().map(|it| condition(it, width, "")));
    // Of an exception it is good news when a condition does not hold.
    lines.extend(rule.except.iter().map(|it| condition(it, width, "except ")));
    if rule.conditions.is_empty() && rule.except.is_empty() {
        lines.push("    every call".to_owned());
    }
    for (name, value) in &rule.constraints {
        lines.push(format!("    constraint {}: {}", visible(name), short(value)));
    }
    lines.extend(rule.approval.as_ref().map(|it| format!("    approval: {}", approval(it))));
}

fn condition(it: &ExplainedCondition, width: usize, before: &str) -> String {
    let wanted = wanted(it);
    let pad = " ".repeat(width.saturating_sub(wanted.chars().count()));
    format!("    {} {before}{wanted}{pad}  {}", mark(it.holds), has(it))
}

fn wanted(it: &ExplainedCondition) -> String {
    format!("{}: {}", it.key, visible(&it.any_of.join(", ")))
}

fn has(it: &ExplainedCondition) -> String {
    match it.values.as_slice() {
        [] => "the call has none".to_owned(),
        values => format!("the call has {}", visible(&values.join(", "))),
    }
}

const fn mark(holds: bool) -> &'static str {
    if holds { "✓" } else { "✗" }
}

fn nearest(nearest: &Nearest) -> String {
    let then = nearest.then.as_str();
    match &nearest.change {
        Change::Argument { pointer, value } => {
            format!("\nnearest change: {} as {}: {then}", visible(pointer), short(value))
        }
        Change::Match { rule, location, unmet, excepted } => {
            let unmet = unmet.iter().map(|it| format!("{} ({})", wanted(it), has(it)));
            let excepted: Vec<String> = excepted.iter().map(wanted).collect();
            let excepted = (!excepted.is_empty())
                .then(|| format!("not all of its exceptions: {}", excepted.join(" and ")));
            let needs: Vec<String> = unmet.chain(excepted).collect();
            let (rule, location) = (visible(rule), visible(location));
            format!(
                "\nnearest change: {}; then {rule} ({location}) matches too: {then}",
                needs.join(" and ")
            )
        }
        Change::Without { rules } => {
            format!("\nnearest change: {} not matching: {then}", visible(&rules.join(", ")))
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(MAX_SHOWN).collect();
    visible(&if cut.len() < text.len() { format!("{cut}…") } else { cut })
}
