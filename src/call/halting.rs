//! Halts as they meet calls: who may pass, what is ended, and when a halt ends by itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Request;
use super::holding::announce;
use super::refusal::Refusal;
use crate::catalog::manifest::AttributeValue;
use crate::catalog::{CheckedArguments, Tool};
use crate::gateway::{Gateway, Revision};
use crate::halts::{self, Full, Halt, Pass, Scope, Subject};
use crate::hold::{Hold, StateName};
use crate::ids::{HaltId, HoldId};
use crate::json::Object;
use crate::principal::{Person, Principal};
use crate::storage::{Agent, HaltEnding, HaltError, StoreError};

/// How long who engages a halt waits for held calls to end; however many there are, they go on ending.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many portions of 256 held calls are looked at for what a halt would reach.
const PREVIEWED: usize = 16;
/// The longest time that a halt may be engaged for before it ends by itself.
const MAX_TERM: SignedDuration = SignedDuration::from_hours(366 * 24);

/// What an operator wants to halt.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What to stop.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Who wants it.
    pub by: Person,
}

/// What a halt reaches, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How many registered agents.
    pub agents: usize,
    /// How many tools that can be called.
    pub tools: usize,
    /// How many held calls that wait or are approved.
    pub holds: usize,
    /// Whether there are more held calls than were looked at.
    pub more: bool,
    /// How many calls that are under way.
    pub running: usize,
}

/// Why nothing was halted or resumed.
#[derive(Debug, thiserror::Error)]
pub enum NotHalted {
    /// It cannot be what is meant.
    #[error("{0}")]
    Unfit(String),
    /// There are too many.
    #[error(transparent)]
    Full(#[from] Full),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HaltError> for NotHalted {
    fn from(error: HaltError) -> Self {
        match error {
            HaltError::Full(full) => full.into(),
            HaltError::Store(error) => error.into(),
        }
    }
}

/// Lets a call in that no halt covers (design §3, step 6).
pub(super) fn enter(
    gateway: &Gateway,
    request: &Request,
    checked: &CheckedArguments,
) -> Result<Pass, Refusal> {
    let subject = of_call(&request.principal, request.workflow.clone(), checked);
    let entered = gateway.store.halts().enter(subject, &request.cancel);
    entered.map_err(|halt| Refusal::halted(&halt, false))
}

/// The facts of a call that halts may be about.
#[must_use]
pub fn of_call(
    principal: &Principal,
    workflow: Option<String>,
    checked: &CheckedArguments,
) -> Subject {
    let tool = checked.tool();
    Subject {
        agent: principal.agent().clone(),
        groups: principal.groups().to_vec(),
        via: principal.via().cloned(),
        tool: tool.name().to_owned(),
        backend: Some(tool.backend().to_string()),
        capability: capability(tool, checked.arguments()),
        workflow,
    }
}

/// The capability of a call with these arguments, if it has one.
pub(super) fn capability(tool: &Tool, arguments: &Object) -> Option<String> {
    tool.attributes(arguments).ok().and_then(|attributes| attributes.capability)
}

/// The facts of a held call, its tool's as they are now.
pub(super) fn subject_of(revision: &Revision, hold: &Hold) -> Subject {
    let tool = revision.catalog.tool(&hold.tool);
    Subject {
        agent: hold.agent.clone(),
        groups: hold.groups.clone(),
        via: hold.via.clone(),
        tool: hold.tool.clone(),
        backend: tool.map(|tool| tool.backend().to_string()),
        capability: tool.and_then(|tool| capability(tool, &hold.arguments)),
        workflow: hold.workflow.clone(),
    }
}

/// Engages a halt: when this returns it is on disk, no call that it covers begins, those that run are being
/// ended, and so are the holds that it covers.
///
/// # Errors
/// When it cannot be what is meant, there are too many, or the store fails.
pub async fn engage(gateway: &Arc<Gateway>, wish: Wish) -> Result<Halt, NotHalted> {
    let Wish { scope, reason, until, by } = wish;
    scope.check().and_then(|()| halts::check_reason(&reason)).map_err(NotHalted::Unfit)?;
    let since = gateway.clock.now();
    if until.is_some_and(|until| until <= since || until.duration_since(since) > MAX_TERM) {
        let why = "a halt ends after now and within 366 days, or when it is resumed";
        return Err(NotHalted::Unfit(why.to_owned()));
    }
    let id = HaltId::from_random(gateway.random()?);
    let halt = Halt { id, scope, reason, by, since, until };
    let (gateway, engaged) = (Arc::clone(gateway), halt.clone());
    // In a task of its own: who asks and goes away leaves no halt that is half engaged.
    let task = tokio::spawn(async move {
        gateway.store.engage_halt(engaged).await?;
        count(&gateway);
        end_for_a_while(&gateway).await;
        Ok(())
    });
    let done: Result<(), HaltError> =
        task.await.map_err(|failure| StoreError::Engine(failure.to_string()))?;
    done?;
    tracing::warn!(halt = %halt.id, scope = halt.scope.kind(), "halted");
    Ok(halt)
}

/// Ends a halt; none when there is none of this identifier.
///
/// # Errors
/// When the reason is not one, or the store fails.
pub async fn resume(
    gateway: &Gateway,
    id: HaltId,
    by: Person,
    reason: String,
) -> Result<Option<Halt>, NotHalted> {
    halts::check_reason(&reason).map_err(NotHalted::Unfit)?;
    let engaged = gateway.store.halts().engaged();
    let found = engaged.into_iter().find(|entry| entry.halt.id == id);
    let ended = gateway.store.end_halt(id, HaltEnding::Resumed { by, reason }).await?;
    count(gateway);
    Ok(found.filter(|_| ended).map(|entry| Halt::clone(&entry.halt)))
}

/// Ends the halts whose time is over, and the holds that halts cover. At the start it finishes what a stop
/// interrupted.
pub(super) async fn sweep(gateway: &Arc<Gateway>) -> Result<(), StoreError> {
    let over = gateway.store.halts().over(gateway.clock.now());
    for halt in &over {
        gateway.store.end_halt(halt.id, HaltEnding::Over).await?;
        tracing::warn!(halt = %halt.id, "a halt ended by itself");
    }
    if !over.is_empty() {
        count(gateway);
    }
    if !gateway.store.halts().unswept().is_empty() {
        end_for_a_while(gateway).await;
    }
    Ok(())
}

/// Ends the holds that halts cover, and waits for that no longer than [`PATIENCE`]: it goes on by itself.
async fn end_for_a_while(gateway: &Arc<Gateway>) {
    let ending = tokio::spawn({
        let gateway = Arc::clone(gateway);
        async move {
            if let Err(error) = end_holds(&gateway).await {
                tracing::error!(%error, "held calls could not be ended by a halt; tried again");
            }
        }
    });
    tokio::select! {
        _ = ending => {}
        () = gateway.clock.sleep(PATIENCE) => {}
    }
}

/// Shows how many halts are engaged, by the kind of their scope.
pub fn count(gateway: &Gateway) {
    let engaged = gateway.store.halts().engaged();
    gateway.metrics.halts.show(engaged.iter().map(|entry| entry.halt.scope.kind()));
}

/// Ends the pending and approved holds that halts cover, where they have not been looked through, a portion at a
/// time. No hold that a halt covers is opened, decided or run meanwhile.
async fn end_holds(gateway: &Gateway) -> Result<(), StoreError> {
    // One at a time: the next finds what this one left.
    let Ok(_turn) = gateway.halting.try_lock() else { return Ok(()) };
    loop {
        let new = gateway.store.halts().unswept();
        if new.is_empty() {
            return Ok(());
        }
        // In this order: what is approved meanwhile is found among the approved.
        for state in [StateName::Pending, StateName::Approved] {
            let mut after = None;
            loop {
                let (holds, next) = gateway.store.holds_from(state, after).await?;
                end_covered(gateway, &new, &holds).await?;
                if next.is_none() {
                    break;
                }
                after = next;
            }
        }
        new.iter().for_each(|halt| gateway.store.halts().swept(halt.id));
    }
}

/// Ends those of `holds` that one of the halts covers, and tells who waits for them.
async fn end_covered(
    gateway: &Gateway,
    halts: &[Arc<Halt>],
    holds: &[Hold],
) -> Result<(), StoreError> {
    let revision = gateway.revision();
    for halt in halts {
        let covered = |hold: &&Hold| halt.scope.covers(&subject_of(&revision, hold));
        let ids: Vec<HoldId> = holds.iter().filter(covered).map(|hold| hold.id).collect();
        if ids.is_empty() {
            continue;
        }
        for (was, hold) in gateway.store.halt_holds(ids, halt.told()).await? {
            // What was approved was counted as decided then.
            if was == StateName::Pending {
                gateway.metrics.hold_decided(&hold, gateway.clock.now());
            }
            gateway.board.cancel(hold.id);
            announce(gateway, hold.id).await;
        }
    }
    Ok(())
}

/// What a halt of this scope would reach now.
///
/// # Errors
/// When the scope names nothing, or the store cannot be read.
pub async fn reach(gateway: &Gateway, scope: &Scope) -> Result<Reach, NotHalted> {
    scope.check().map_err(NotHalted::Unfit)?;
    let revision = gateway.revision();
    let mut reach = Reach {
        running: gateway.store.halts().under_way(|subject| scope.covers(subject)),
        ..Reach::default()
    };
    for state in [StateName::Pending, StateName::Approved] {
        let mut after = None;
        for portion in 1..=PREVIEWED {
            let (holds, next) = gateway.store.holds_from(state, after).await?;
            let covered = holds.iter().filter(|hold| scope.covers(&subject_of(&revision, hold)));
            reach.holds = reach.holds.saturating_add(covered.count());
            reach.more |= portion == PREVIEWED && next.is_some();
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    let agents = gateway.store.agents().await?;
    let live = agents.iter().filter(|agent| agent.revoked_at.is_none());
    let in_scope = |agent: &&Agent| match scope {
        Scope::Agent(name) => agent.name.as_str() == name,
        Scope::Group(name) => agent.groups.contains(name),
        Scope::All
        | Scope::Tool(_)
        | Scope::Backend(_)
        | Scope::Capability(_)
        | Scope::Workflow(_) => true,
    };
    reach.agents = live.filter(in_scope).count();
    reach.tools = revision.catalog.tools().filter(|tool| reaches(scope, tool)).count();
    Ok(reach)
}

/// Whether a halt of this scope may stop a call of `tool`.
fn reaches(scope: &Scope, tool: &Tool) -> bool {
    let callable = tool.unavailable().is_none();
    callable
        && match scope {
            Scope::All | Scope::Agent(_) | Scope::Group(_) | Scope::Workflow(_) => true,
            Scope::Tool(name) => tool.name() == name,
            Scope::Backend(name) => tool.backend().as_ref() == name,
            Scope::Capability(name) => match &tool.attribute_specs().capability {
                Some(AttributeValue::Fixed(value)) => value == name,
                Some(AttributeValue::Chosen(chosen)) => {
                    chosen.values.values().any(|value| value == name)
                }
                None => false,
            },
        }
}
