//! Rolling a workflow back: the calls that undo its calls, newest first, each a call like any other.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::{Answer, Request};
use crate::backend::Contact;
use crate::catalog::{ActionType, Catalog, Tool};
use crate::digest::{self, Digest};
use crate::gateway::Gateway;
use crate::hold::StateName;
use crate::ids::{CallId, HoldId};
use crate::json::Object;
use crate::principal::Principal;
use crate::storage::{Attempt, CallStatus, Effect, StoreError};

/// The client program that such calls name; rules may match it.
pub const CLIENT: &str = "countersign-rollback";
/// For how long one run begins calls; it goes on where it stopped when it is asked for again.
const BEGINS_FOR: Duration = Duration::from_secs(20);
/// How often a call is made that finds the result of an earlier one in its place.
const TRIES: u32 = 2;

/// What a rollback would do now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// What a person agrees to: the digest of all steps, as they are now.
    pub digest: Digest,
    /// The steps, in the order in which they run.
    pub steps: Vec<Step>,
    /// How many calls only read, which nothing has to undo.
    pub only_read: u64,
    /// Whether this is all of the workflow. Of one with more than 1000 dispatched calls, or 16 MiB of entries
    /// about them, it is the newest, and cannot be run.
    pub whole: bool,
}

/// One call of a workflow, and what undoes it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The call that is undone.
    pub call: CallId,
    /// Its tool.
    pub tool: String,
    /// When it began.
    pub at: Timestamp,
    /// What is to happen.
    pub state: StepState,
    /// The call that undoes it; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Undoing>,
    /// Why there is none, or what to know before it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The call that has undone it, or was to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<CallId>,
    /// The hold that people decide on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
}

/// A call that undoes another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Undoing {
    /// The tool.
    pub tool: String,
    /// The arguments.
    pub arguments: Object,
    /// The fingerprint of the tool's definition.
    pub definition_fingerprint: Digest,
}

/// What is to happen with one call of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It is to be undone.
    Planned,
    /// It is undone.
    Done,
    /// What undoes it waits for people, or runs.
    Waiting,
    /// It cannot be undone.
    Impossible,
    /// The person leaves it as it is.
    Skipped,
}

/// What came of a step.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ran {
    /// The call that was to be undone.
    pub call: CallId,
    /// The call that was to undo it.
    pub by: CallId,
    /// What came of that, in one word.
    pub outcome: RanOutcome,
    /// Why it gave no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// The hold that people decide on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
}

/// What came of a call that was to undo another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RanOutcome {
    /// The tool gave a result.
    Success,
    /// The tool said that it failed.
    ToolError,
    /// It was turned away.
    Refused,
    /// It waits for people.
    Held,
}

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
pub enum NotUndone {
    /// The plan is not what the person agreed to.
    #[error("the plan is not the one that was shown: look at it again")]
    Stale,
    /// Others are at it.
    #[error("another rollback is under way; try again when it has ended")]
    Busy,
    /// There is more than one run may go over.
    #[error("the workflow is too large to be rolled back at once; nothing was undone")]
    TooLarge,
    /// What is recorded could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What rolling back the workflow `id` would do now. `skip` are calls that are left as they are.
///
/// # Errors
/// When the record cannot be read.
pub async fn plan(gateway: &Gateway, id: CallId, skip: &[CallId]) -> Result<Plan, StoreError> {
    // Outcomes that are on their way to the disk count.
    gateway.store.settle().await?;
    let found = gateway.store.effects(id).await?;
    let revision = gateway.revision();
    let mut only_read = 0_u64;
    let mut steps = Vec::with_capacity(found.effects.len());
    for effect in &found.effects {
        if only_reads(&revision.catalog, effect) {
            only_read = only_read.saturating_add(1);
            continue;
        }
        let mut step = step(&revision.catalog, effect);
        if skip.contains(&step.call) && step.state != StepState::Done {
            step.state = StepState::Skipped;
        }
        steps.push(step);
    }
    // Of times and reasons in words it depends on nothing.
    let agreed = steps.iter().map(|it| json!([it.call, it.state, it.compensation, it.by]));
    let agreed = json!({ "v": 1, "workflow": id, "steps": agreed.collect::<Vec<_>>() });
    let digest = digest::canonical(&agreed)
        .map(|bytes| Digest::of(&bytes))
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Plan { digest, steps, only_read, whole: found.whole })
}

fn only_reads(catalog: &Catalog, effect: &Effect) -> bool {
    let asked = &effect.intent.asked;
    let same = |tool: &&Arc<Tool>| *tool.fingerprint() == asked.definition_fingerprint;
    let attributes =
        catalog.tool(&asked.tool).filter(same).map(|it| it.attributes(&asked.arguments));
    attributes.is_some_and(|it| it.is_ok_and(|it| it.action_type == ActionType::Read))
}

fn step(catalog: &Catalog, effect: &Effect) -> Step {
    let asked = &effect.intent.asked;
    let mut step = Step {
        call: asked.call,
        tool: asked.tool.clone(),
        at: effect.at,
        state: StepState::Impossible,
        compensation: None,
        why: None,
        by: effect.attempt.map(|it| it.call),
        hold: None,
    };
    match undoing(catalog, effect) {
        Ok(compensation) => step.compensation = Some(compensation),
        Err(why) => step.why = Some(why),
    }
    let stands = effect.attempt.map(|it| (it, standing(&it)));
    match stands {
        Some((_, Standing::Done)) => {
            (step.state, step.why) = (StepState::Done, None);
        }
        Some((attempt, Standing::Waiting)) => {
            step.state = StepState::Waiting;
            step.hold = attempt.hold.map(|(hold, _)| hold);
        }
        Some((attempt, Standing::Ended)) if step.compensation.is_some() => {
            step.state = StepState::Planned;
            step.why = warned(&attempt);
        }
        None if step.compensation.is_some() => step.state = StepState::Planned,
        Some((_, Standing::Ended)) | None => {}
    }
    step
}

/// Where a call stands that was to undo another.
enum Standing {
    Done,
    Waiting,
    Ended,
}

fn standing(attempt: &Attempt) -> Standing {
    use StateName::{Approved, Executing, Pending};
    match (attempt.status, attempt.hold) {
        (CallStatus::Success, _) => Standing::Done,
        (CallStatus::Running, _)
        | (CallStatus::Held, Some((_, Pending | Approved | Executing))) => Standing::Waiting,
        _ => Standing::Ended,
    }
}

/// What a person has to know of an earlier call that was to undo the same.
fn warned(attempt: &Attempt) -> Option<String> {
    if matches!(attempt.status, CallStatus::Held | CallStatus::Refused) {
        return None;
    }
    let (call, status) = (attempt.call, attempt.status.as_str());
    Some(format!("`{call}` was to undo it before and ended as `{status}`: look whether it has"))
}

/// The call that undoes another, or why there is none.
fn undoing(catalog: &Catalog, effect: &Effect) -> Result<Undoing, String> {
    let asked = &effect.intent.asked;
    if effect.status == CallStatus::Running {
        return Err("it still runs".to_owned());
    }
    if effect.status != CallStatus::Success {
        let status = effect.status.as_str();
        return Err(format!("it ended as `{status}`: what it did is not known"));
    }
    if asked.compensates.is_some() {
        return Err("it has undone another call itself".to_owned());
    }
    let tool = catalog.tool(&asked.tool).ok_or("its tool is not in the catalog any more")?;
    if *tool.fingerprint() != asked.definition_fingerprint {
        return Err("the definition of its tool has changed since".to_owned());
    }
    let compensation = catalog.compensation(tool.name()).ok_or("its tool has no `rollback`")?;
    let arguments = compensation.arguments(&asked.arguments)?;
    let name = compensation.tool();
    let undoing = catalog
        .available(name)
        .ok_or_else(|| format!("`{name}`, which undoes it, is not there"))?;
    let checked = undoing
        .check(arguments)
        .map_err(|faults| Refusal::invalid_arguments(name, &faults).told)?;
    Ok(Undoing {
        tool: name.to_owned(),
        definition_fingerprint: *undoing.fingerprint(),
        arguments: checked.into_arguments(),
    })
}

/// Runs the plan that was agreed to, as `principal`, until a step does not succeed. It leaves the caller's task,
/// so that a caller who goes away loses nothing.
///
/// # Errors
/// When nothing was undone.
pub async fn run(
    gateway: Arc<Gateway>,
    id: CallId,
    skip: &[CallId],
    agreed: Digest,
    principal: Principal,
) -> Result<Vec<Ran>, NotUndone> {
    let place = Arc::clone(&gateway.undoing).try_acquire_owned().map_err(|_| NotUndone::Busy)?;
    let plan = plan(&gateway, id, skip).await?;
    if plan.digest != agreed {
        return Err(NotUndone::Stale);
    }
    if !plan.whole {
        return Err(NotUndone::TooLarge);
    }
    let task = tokio::spawn(async move {
        let done = steps(&gateway, id, &plan, &principal).await;
        drop(place);
        done
    });
    task.await.map_err(|error| StoreError::Engine(error.to_string()).into())
}

async fn steps(gateway: &Arc<Gateway>, id: CallId, plan: &Plan, principal: &Principal) -> Vec<Ran> {
    let begun = gateway.clock.monotonic();
    let mut all = Vec::new();
    for step in &plan.steps {
        let compensation = match (step.state, &step.compensation) {
            (StepState::Planned, Some(compensation)) => compensation,
            // What came before is undone only after what came later.
            (StepState::Waiting, _) => break,
            _ => continue,
        };
        if gateway.is_draining() || gateway.clock.monotonic().saturating_sub(begun) > BEGINS_FOR {
            break;
        }
        let ran = one(gateway, id, step.call, compensation, principal).await;
        let went_well = ran.outcome == RanOutcome::Success;
        all.push(ran);
        if !went_well {
            break;
        }
    }
    all
}

/// One step. The result of an earlier call that was approved and waits to be collected is taken out of its way:
/// it belongs to another step, or to an attempt that failed.
async fn one(
    gateway: &Arc<Gateway>,
    workflow: CallId,
    undone: CallId,
    undoing: &Undoing,
    principal: &Principal,
) -> Ran {
    let mut tried = 0;
    loop {
        tried += 1;
        let call = CallId::new();
        let request = Request {
            call,
            principal: principal.clone(),
            tool: undoing.tool.clone(),
            arguments: undoing.arguments.clone(),
            client: Some(CLIENT.to_owned()),
            // Its own, so that a halt of what is rolled back does not keep it from being rolled back.
            workflow: Some(format!("rollback:{workflow}")),
            compensates: Some(undone),
            reason: Some(format!("undoes the call {undone}")),
            hold: None,
            approval: None,
            cancel: CancellationToken::new(),
            contact: Contact::default(),
        };
        let ran =
            Ran { call: undone, by: call, outcome: RanOutcome::Success, told: None, hold: None };
        return match super::run(Arc::clone(gateway), request).await {
            Answer::Result(answered) if answered.result.is_error() => Ran {
                outcome: RanOutcome::ToolError,
                told: Some("the tool said that it failed".to_owned()),
                ..ran
            },
            Answer::Result(_) => ran,
            Answer::Refused(refusal) => {
                Ran { outcome: RanOutcome::Refused, told: Some(refusal.told), ..ran }
            }
            Answer::Held(waiting) => {
                let hold = &waiting.hold;
                if hold.state.name() == StateName::Finished
                    && tried < TRIES
                    && gateway.store.collect_hold(hold.id).await.is_ok()
                {
                    continue;
                }
                let told = Refusal::of_hold(hold).told;
                let waits = !hold.state.name().is_terminal();
                let outcome = if waits { RanOutcome::Held } else { RanOutcome::Refused };
                Ran { outcome, told: Some(told), hold: Some(hold.id), ..ran }
            }
        };
    }
}
