//! One `tools/call`, from arrival to reply: the only door to a tool, for every protocol version, every
//! transport, and for a call that comes back with an approval.

pub mod asking;
pub mod board;
pub mod caching;
pub mod following;
pub mod halting;
pub mod holding;
pub mod manned;
pub mod refusal;
mod spending;
pub mod standing;
pub mod time;
pub mod tokens;
mod told;
mod trail;
pub mod undoing;
pub mod workflows;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::backend::{Contact, Journey};
use crate::catalog::CheckedResult;
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::hold::{Amendment, Approval, Hold};
use crate::ids::{CallId, HoldId};
use crate::json::Object;
use crate::policy::{Decision, Edit, Facts, Permit};
use crate::principal::Principal;
use crate::storage::Receipt;
use board::Waiter;
use refusal::Refusal;
use trail::Trail;

/// What an agent asks for, and what came with it.
#[derive(Debug)]
pub struct Request {
    /// The call's identifier.
    pub call: CallId,
    /// Who asks.
    pub principal: Principal,
    /// The tool, by name.
    pub tool: String,
    /// The arguments.
    pub arguments: Object,
    /// The client program, as it names itself; rules may narrow by it, never widen.
    pub client: Option<String>,
    /// The workflow the call belongs to.
    pub workflow: Option<String>,
    /// The call that it undoes, when an operator rolls a workflow back.
    pub compensates: Option<CallId>,
    /// The agent's own reason, shown to reviewers as such.
    pub reason: Option<String>,
    /// A hold that the caller says this call belongs to.
    pub hold: Option<HoldId>,
    /// The approval that the call comes back with.
    pub approval: Option<Approval>,
    /// Cancelled when the caller takes the call back.
    pub cancel: CancellationToken,
    /// The way back to the caller.
    pub contact: Contact,
}

/// What a call gives.
#[derive(Debug)]
pub enum Answer {
    /// The tool ran and its result may go to the caller.
    Result(Box<Answered>),
    /// It was turned away.
    Refused(Refusal),
    /// It waits for people, or already did when it was asked again.
    Held(Box<Waiting>),
}

/// A held call, and the seat of the request that waits for it: while it is held, no other request joins.
#[derive(Debug)]
pub struct Waiting {
    /// The hold.
    pub hold: Hold,
    /// Given back when dropped; none where there is nothing to wait for.
    pub seat: Option<Waiter>,
}

/// A result with what was decided about the call.
#[derive(Debug)]
pub struct Answered {
    /// The call that ran.
    pub call: CallId,
    /// The result.
    pub result: CheckedResult,
    /// The decision, as it is written in entries.
    pub decision: &'static str,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// What constraints changed.
    pub edits: Vec<Edit>,
    /// The revision that decided.
    pub revision: Digest,
    /// The hold whose approval was spent.
    pub hold: Option<HoldId>,
    /// What reviewers changed before they approved.
    pub amendments: Vec<Amendment>,
}

impl Answered {
    fn of(permit: &Permit, receipt: &Receipt, revision: Digest, result: CheckedResult) -> Self {
        Self {
            call: receipt.call(),
            result,
            decision: permit.decision().as_str(),
            rules: permit.rules().to_vec(),
            edits: permit.edits().to_vec(),
            revision,
            hold: receipt.hold(),
            amendments: Vec::new(),
        }
    }
}

/// Runs one call. It leaves the caller's task, so that a caller who goes away loses nothing.
pub async fn run(gateway: Arc<Gateway>, request: Request) -> Answer {
    let task = tokio::spawn(async move {
        let mut trail = Trail::start(&gateway, &request);
        let answer = walk(&gateway, &request, &mut trail).await;
        let answer = answer.unwrap_or_else(|it| Answer::Refused(it.of_call(request.call)));
        trail.close(&request, &answer).await;
        answer
    });
    task.await.unwrap_or_else(|failure| {
        let told = "The gateway failed while it carried this call. It may have run.";
        Answer::Refused(Refusal::new(refusal::Kind::UnknownOutcome, told).because(failure))
    })
}

/// The path of a call (design §3), in its order. A call sees one revision.
async fn walk(
    gateway: &Gateway,
    request: &Request,
    trail: &mut Trail<'_>,
) -> Result<Answer, Refusal> {
    let revision = gateway.revision();
    trail.under(&revision);
    let tool = revision.catalog.available(&request.tool);
    let tool = tool.ok_or_else(|| Refusal::unknown_tool(&request.tool))?;
    trail.found(tool);
    let checked = tool
        .check(request.arguments.clone())
        .map_err(|faults| Refusal::invalid_arguments(tool.name(), &faults))?;
    if let Some(waiting) = holding::join(gateway, request, &checked).await? {
        return Ok(Answer::Held(Box::new(waiting)));
    }
    let pass = halting::enter(gateway, request, &checked)?;
    trail.reserve(&revision.policy, request, &checked)?;
    let standing = gateway.standing.of(request.principal.agent(), tool.name(), &*gateway.clock);
    let spent = trail.afford(&revision.policy, request, &checked);
    let holds = gateway.held.of(&request.principal);
    let facts = Facts {
        principal: &request.principal,
        client: request.client.as_deref(),
        workflow: request.workflow.as_deref(),
        checked,
        approval: request.approval.as_ref(),
        standing: &standing,
        spent: &spent,
        holds: &holds,
        now: gateway.clock.now(),
    };
    let (decision, noticed) = revision.policy.decide_noting(facts);
    trail.decided(noticed, matches!(decision, Decision::Permit(_)));
    let permit = match decision {
        Decision::Permit(permit) => permit,
        Decision::Deny(denial) => return Err(denial.into()),
        Decision::NotCovered { why, .. } => {
            return Err(Refusal::new(refusal::Kind::Superseded, why));
        }
        // Held although it came with an approval: the approval does not cover it any more.
        Decision::Hold(_) if request.approval.is_some() => {
            let why = "policy now asks for another approval";
            return Err(Refusal::new(refusal::Kind::Superseded, why));
        }
        Decision::Hold(proposal) => {
            let waiting = holding::open(gateway, request, proposal, revision.digest).await?;
            return Ok(Answer::Held(Box::new(waiting)));
        }
    };
    // A worker first: a call that finds none must not spend its approval.
    let way = caching::prepare(gateway, &revision, &permit, &pass).await?;
    trail.answered_by_kept(way.is_kept());
    let receipt = trail.intend(&permit, request, &revision).await?;
    let journey = Journey { pass, contact: request.contact.clone() };
    let raw = caching::fetch(&revision, &permit, &receipt, way, journey).await;
    let result = trail.returned(&permit, &receipt, raw).await?;
    caching::keep(gateway, &revision, &permit, &result);
    Ok(Answer::Result(Box::new(Answered::of(&permit, &receipt, revision.digest, result))))
}
