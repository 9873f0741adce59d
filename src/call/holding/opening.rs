//! A call that needs people: the hold it joins, or the one that is opened for it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::call::refusal::{Kind, Refusal};
use crate::call::{Request, Waiting, halting, spending};
use crate::catalog::{CheckedArguments, Tool};
use crate::digest::{self, Digest};
use crate::evidence::{Asked, Event};
use crate::gateway::{Gateway, Revision};
use crate::hold::{Hold, State, StateName};
use crate::ids::HoldId;
use crate::limits::budgets::Budgets;
use crate::limits::held::Held;
use crate::policy::{Decision, Facts, Noticed, Proposal};

/// The hold that this call joins: the one it names, or one of the same call that nobody waits for.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::call) async fn join(
    gateway: &Gateway,
    request: &Request,
    checked: &CheckedArguments,
) -> Result<Option<Waiting>, Refusal> {
    let agent = request.principal.agent();
    if request.approval.is_some() {
        return Ok(None);
    }
    if let Some(id) = request.hold {
        let hold = gateway.store.hold(id).await?;
        // Another agent's hold looks like one that does not exist.
        let Some(hold) = hold.filter(|hold| hold.agent == *agent && hold.tool == request.tool)
        else {
            return Ok(None);
        };
        // Compared as they are hashed: `1.0` is `1`, whichever way the hold came to be found.
        let canonical = |arguments| {
            digest::canonical(arguments)
                .map_err(|error| Refusal::new(Kind::InvalidArguments, error.to_string()))
        };
        if canonical(&hold.requested_arguments)? != canonical(checked.arguments())? {
            let told = format!("Hold {id} is for other arguments; nothing ran.");
            return Err(Refusal::new(Kind::InvalidArguments, told));
        }
        let hold = super::current(gateway, hold).await?;
        let seat = Some(gateway.board.wait(hold.id, &request.cancel));
        return Ok(Some(Waiting { hold, seat }));
    }
    if !gateway.held_agents.may_have(agent, gateway.store.as_ref()).await? {
        return Ok(None);
    }
    let tool = checked.tool();
    let requested =
        digest::call_digest(agent, tool.name(), tool.fingerprint(), checked.arguments())
            .map_err(|error| Refusal::new(Kind::InvalidArguments, error.to_string()))?;
    let remembered = gateway.config.holds.remember_rejection.0;
    let since = gateway.clock.now().checked_sub(remembered).unwrap_or(Timestamp::MIN);
    let found = gateway.store.joinable(agent, &requested, since).await?;
    let now = gateway.clock.monotonic();
    Ok(found.into_iter().find_map(|hold| {
        let state = hold.state.name();
        // What gives no result says the same to everybody.
        if state.is_terminal() && state != StateName::Finished {
            return Some(Waiting { hold, seat: None });
        }
        let seat = gateway.board.claim(hold.id, hold.terms.keep, now, &request.cancel)?;
        Some(Waiting { hold, seat: Some(seat) })
    }))
}

/// Opens a hold for a call that policy wants people to see, durably, before anything is answered.
pub(in crate::call) async fn open(
    gateway: &Gateway,
    request: &Request,
    proposal: Proposal,
    revision: Digest,
) -> Result<Waiting, Refusal> {
    let id = HoldId::from_random(gateway.random()?);
    let tool = Arc::clone(&proposal.tool);
    let noticed = proposal.noticed.clone();
    let hold = proposed(id, gateway.clock.now(), request, proposal, revision);
    // Taken before anybody can find the hold, so that the same call beside it is a call of its own.
    let seat = Some(gateway.board.wait(id, &request.cancel));
    Ok(Waiting { hold: store(gateway, hold, &tool, noticed).await?, seat })
}

/// The hold that a proposal makes.
fn proposed(
    id: HoldId,
    now: Timestamp,
    request: &Request,
    proposal: Proposal,
    revision: Digest,
) -> Hold {
    Hold {
        id,
        state: State::Pending { verdicts: Vec::new() },
        agent: request.principal.agent().clone(),
        groups: request.principal.groups().to_vec(),
        via: request.principal.via().cloned(),
        owner: request.principal.owner().map(str::to_owned),
        client: request.client.clone(),
        tool: proposal.tool.name().to_owned(),
        definition_fingerprint: *proposal.tool.fingerprint(),
        requested_arguments: proposal.requested,
        requested_digest: proposal.requested_digest,
        arguments: proposal.arguments,
        edits: proposal.edits,
        digest: proposal.digest,
        rules: proposal.rules,
        reason: proposal.reason,
        agent_reason: request.reason.clone(),
        call: request.call,
        workflow: request.workflow.clone(),
        compensates: request.compensates,
        revision,
        created_at: now,
        decide_by: now.saturating_add(proposal.decide_within).unwrap_or(Timestamp::MAX),
        extended: None,
        execute_within: proposal.execute_within,
        terms: proposal.terms,
        amendments: Vec::new(),
        anew_of: None,
    }
}

async fn store(
    gateway: &Gateway,
    hold: Hold,
    tool: &Tool,
    noticed: Noticed,
) -> Result<Hold, Refusal> {
    let event = Event::Hold {
        hold: hold.id,
        asked: Asked {
            call: hold.call,
            agent: hold.agent.clone(),
            owner: hold.owner.clone(),
            groups: hold.groups.clone(),
            via: hold.via.clone(),
            client: hold.client.clone(),
            workflow: hold.workflow.clone(),
            compensates: hold.compensates,
            tool: hold.tool.clone(),
            backend: tool.backend().to_string(),
            capability: halting::capability(tool, &hold.arguments),
            definition_fingerprint: hold.definition_fingerprint,
            arguments: hold.arguments.clone(),
            digest: hold.digest,
            revision: hold.revision,
            decision: "REQUIRE_APPROVAL".to_owned(),
            rules: hold.rules.clone(),
            edits: hold.edits.clone(),
            noticed,
        },
        requested_arguments: hold.requested_arguments.clone(),
        decide_by: hold.decide_by,
        terms: hold.terms.clone(),
        anew_of: hold.anew_of,
    };
    let hold = gateway.store.open_hold(hold, event, gateway.config.holds.pending_max).await?;
    gateway.held_agents.has(&hold.agent);
    gateway.metrics.hold_opened(&hold);
    Ok(hold)
}

/// Opens the hold `id` in place of `old`, which was approved as what it is no more, if policy still wants
/// people to see the call: they decide on it as it is now.
pub(super) async fn open_anew(gateway: &Gateway, old: &Hold, id: HoldId) -> Option<Hold> {
    let request = super::running::request_of(old, None);
    let revision = gateway.revision();
    let now = gateway.clock.now();
    let proposal = asked_again(&revision, &gateway.held, old, Some(&gateway.budgets), now)?;
    let tool = Arc::clone(&proposal.tool);
    let noticed = proposal.noticed.clone();
    let requested_digest = digest::call_digest(
        &old.agent,
        &old.tool,
        proposal.tool.fingerprint(),
        &old.requested_arguments,
    );
    let hold = Hold {
        requested_arguments: old.requested_arguments.clone(),
        requested_digest: requested_digest.ok()?,
        amendments: old.amendments.clone(),
        anew_of: Some(old.id),
        ..proposed(id, now, &request, proposal, revision.digest)
    };
    let opened = store(gateway, hold, &tool, noticed).await;
    opened
        .inspect_err(|refusal| {
            tracing::warn!(hold = %old.id, told = %refusal.told, "a call could not be held anew");
        })
        .ok()
}

/// What policy now proposes of a call that was held before, with what is spent of `budgets`, or as if nothing
/// were without them; none where it asks for nobody, or people could not let the call run.
pub(in crate::call) fn asked_again(
    revision: &Revision,
    held: &Held,
    old: &Hold,
    budgets: Option<&Budgets>,
    now: Timestamp,
) -> Option<Proposal> {
    let request = super::running::request_of(old, None);
    let arguments = request.arguments.clone();
    let checked = revision.catalog.available(&old.tool)?.check(arguments).ok()?;
    let spender = spending::spender(&request);
    let spent = budgets.map(|it| it.look(&revision.policy, spender, &checked)).unwrap_or_default();
    let holds = held.of(&request.principal);
    let facts = Facts {
        principal: &request.principal,
        client: request.client.as_deref(),
        workflow: request.workflow.as_deref(),
        checked,
        approval: None,
        standing: &[],
        spent: &spent,
        holds: &holds,
        now,
    };
    match revision.policy.decide(facts) {
        Decision::Hold(proposal) => Some(proposal),
        Decision::Permit(_) | Decision::Deny(_) | Decision::NotCovered { .. } => None,
    }
}
