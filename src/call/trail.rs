//! The trail a call leaves: its intent before it is dispatched, its outcome always and once, a refusal
//! otherwise; and the same values as metrics.

use std::sync::Arc;
use std::time::Duration;

use super::refusal::{Kind, Refusal};
use super::spending::Spending;
use super::{Answer, Request, halting};
use crate::backend::{BackendError, Contact, RawResult};
use crate::catalog::{CheckedArguments, CheckedResult, Durability, Tool};
use crate::digest::{self, Digest};
use crate::evidence::{Asked, Intent, Outcome, OutcomeStatus, Refused};
use crate::gateway::{Gateway, Revision};
use crate::ids::{AgentName, CallId, HoldId};
use crate::limits::Caller;
use crate::limits::held::Bringing;
use crate::policy::{Exhausted, Noticed, Permit, Policy};
use crate::storage::{Receipt, Wait};
use crate::telemetry::Observed;

/// The largest arguments of a refused call that its entry repeats, in bytes.
const MAX_REFUSED_ARGUMENTS: usize = 64 << 10;

/// What is known of a call so far.
pub(super) struct Trail<'a> {
    gateway: &'a Gateway,
    call: CallId,
    contact: Contact,
    agent: AgentName,
    tool: Option<Arc<Tool>>,
    /// What was in force when it arrived, then what decided.
    revision: Digest,
    approval: Option<HoldId>,
    begun: Duration,
    decided: Option<Duration>,
    dispatched: Option<Duration>,
    backend_time: Duration,
    decision: &'static str,
    noticed: Noticed,
    outcome: Option<OutcomeStatus>,
    spending: Spending,
    cached: bool,
    bringing: Option<Bringing<'a>>,
}

impl<'a> Trail<'a> {
    pub(super) fn start(gateway: &'a Gateway, request: &Request) -> Self {
        gateway.held.called(&request.principal);
        Self {
            gateway,
            call: request.call,
            contact: request.contact.clone(),
            agent: request.principal.agent().clone(),
            tool: None,
            revision: gateway.revision().digest,
            approval: request.approval.as_ref().map(crate::hold::Approval::hold),
            begun: gateway.clock.monotonic(),
            decided: None,
            dispatched: None,
            backend_time: Duration::ZERO,
            decision: "none",
            noticed: Noticed::default(),
            outcome: None,
            spending: Spending::default(),
            cached: false,
            bringing: None,
        }
    }

    /// The revision that decides.
    pub(super) fn under(&mut self, revision: &Revision) {
        self.revision = revision.digest;
    }

    pub(super) fn found(&mut self, tool: &Arc<Tool>) {
        self.tool = Some(Arc::clone(tool));
    }

    /// Counts the call against every limit that matches it. An approved one was counted when it was asked for.
    pub(super) fn reserve(
        &self,
        policy: &Policy,
        request: &Request,
        checked: &CheckedArguments,
    ) -> Result<(), Refusal> {
        if request.approval.is_some() {
            return Ok(());
        }
        let caller = Caller {
            principal: &request.principal,
            client: request.client.as_deref(),
            workflow: request.workflow.as_deref(),
        };
        self.gateway.limits.reserve(policy, caller, checked).map_err(|reached| {
            self.gateway.metrics.limited(&reached.limit);
            reached.into()
        })
    }

    /// Reserves what the call takes from budgets; gives those that do not suffice.
    pub(super) fn afford(
        &mut self,
        policy: &Policy,
        request: &Request,
        checked: &CheckedArguments,
    ) -> Vec<Exhausted> {
        self.spending.afford(self.gateway, policy, request, checked)
    }

    /// What was noticed beside the decision. A call that does not run now takes nothing from budgets.
    pub(super) fn decided(&mut self, noticed: Noticed, runs: bool) {
        if !runs {
            self.spending.forgo();
        }
        self.gateway.metrics.policy.noticed(&noticed);
        self.noticed = noticed;
        self.decided = Some(self.gateway.clock.monotonic());
    }

    /// Whether its result is kept from an earlier call: then no backend is asked, and it costs nothing.
    pub(super) fn answered_by_kept(&mut self, is_kept: bool) {
        self.cached = is_kept;
        if is_kept {
            self.spending.costs_nothing();
        }
    }

    /// Records that the call is about to be dispatched, waiting as its durability class demands; spends
    /// the approval in the same transaction.
    pub(super) async fn intend(
        &mut self,
        permit: &Permit,
        request: &Request,
        revision: &Revision,
    ) -> Result<Receipt, Refusal> {
        self.decision = permit.decision().as_str();
        // Held before anything can come back, and at least until that has.
        self.bringing = Some(self.gateway.held.bring(&request.principal, permit.tool().brings()));
        let approval = permit.approval();
        let intent = Intent {
            asked: Asked {
                call: self.call,
                agent: self.agent.clone(),
                owner: request.principal.owner().map(str::to_owned),
                groups: request.principal.groups().to_vec(),
                via: request.principal.via().cloned(),
                client: request.client.clone(),
                workflow: request.workflow.clone(),
                compensates: request.compensates,
                tool: permit.tool().name().to_owned(),
                backend: permit.tool().backend().to_string(),
                capability: halting::capability(permit.tool(), permit.arguments()),
                definition_fingerprint: *permit.tool().fingerprint(),
                arguments: permit.arguments().clone(),
                digest: *permit.digest(),
                revision: revision.digest,
                decision: self.decision.to_owned(),
                rules: permit.rules().to_vec(),
                edits: permit.edits().to_vec(),
                noticed: self.noticed.clone(),
            },
            hold: approval.map(crate::hold::Approval::hold),
            approved_by: approval
                .map(|approval| approval.approved_by().iter().map(|it| it.name.clone()).collect())
                .unwrap_or_default(),
            standing: permit.standing(),
            charges: self.spending.charges(),
            brings: permit.tool().brings().to_vec(),
        };
        let receipt = match approval {
            Some(approval) => self.gateway.store.spend_approval(approval.hold(), intent).await?,
            None if permit.standing().is_some() => {
                self.gateway.store.begin_standing_call(intent).await?
            }
            None => {
                let wait = match permit.tool().durability() {
                    Durability::Read => Wait::Queued,
                    Durability::Write => Wait::Durable,
                };
                self.gateway.store.begin_call(intent, wait).await?
            }
        };
        self.spending.keep(self.gateway, permit);
        self.dispatched = Some(self.gateway.clock.monotonic());
        Ok(receipt)
    }

    /// Checks what came back and records the outcome, whatever it is.
    pub(super) async fn returned(
        &mut self,
        permit: &Permit,
        receipt: &Receipt,
        raw: Result<RawResult, BackendError>,
    ) -> Result<CheckedResult, Refusal> {
        let back = self.gateway.clock.monotonic();
        self.backend_time = back.saturating_sub(self.dispatched.unwrap_or(back));
        let checked = raw.map_err(Refusal::from).and_then(|raw| {
            CheckedResult::check(permit.tool(), raw.0, permit.max_result_bytes())
                .map_err(Refusal::from)
        });
        let backend_ms = u64::try_from(self.backend_time.as_millis()).unwrap_or(u64::MAX);
        let text = checked.as_ref().ok().map(CheckedResult::text);
        let (charges, uncounted) =
            self.spending.took(self.gateway, permit, text, backend_ms).parts();
        let outcome = Outcome { charges, ..self.outcome_of(&checked, backend_ms) };
        self.outcome = Some(outcome.status);
        let recorded = match receipt.hold() {
            None => {
                let recorded = self.gateway.store.end_call(receipt.call(), outcome).await;
                recorded.map_err(|error| error.to_string())
            }
            Some(hold) => {
                let kept = match &checked {
                    Ok(result) => Some(result.text().to_owned()),
                    Err(refusal) => super::holding::told_as_result(&refusal.told, true),
                };
                let recorded = self.gateway.store.finish_hold(hold, outcome, kept).await;
                recorded.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = recorded {
            tracing::error!(call = %self.call, %error, "an outcome could not be recorded");
            self.gateway.metrics.append_failed();
            return Err(Refusal::not_recorded_after(&error));
        }
        Spending::recorded(self.gateway, uncounted);
        checked
    }

    fn outcome_of(&self, checked: &Result<CheckedResult, Refusal>, backend_ms: u64) -> Outcome {
        let asked = self.contact.noted();
        match checked {
            Ok(result) => Outcome {
                status: if result.is_error() {
                    OutcomeStatus::ToolError
                } else {
                    OutcomeStatus::Success
                },
                error: None,
                result_digest: Some(Digest::of(result.text().get().as_bytes())),
                result_bytes: u64::try_from(result.bytes()).ok(),
                backend_ms,
                asked,
                cached: self.cached,
                charges: Vec::new(),
            },
            Err(refusal) => Outcome {
                status: status_of(refusal.kind),
                error: Some(refusal.cause.clone().unwrap_or_else(|| refusal.told.clone())),
                result_digest: None,
                result_bytes: None,
                backend_ms,
                asked,
                cached: self.cached,
                charges: Vec::new(),
            },
        }
    }

    /// Records the refusal of a call that was not dispatched, and counts the call.
    pub(super) async fn close(self, request: &Request, answer: &Answer) {
        let outcome = match answer {
            Answer::Refused(refusal) => {
                if self.dispatched.is_none() {
                    self.refused(request, refusal).await;
                }
                self.outcome.map_or(refusal.kind.as_str(), OutcomeStatus::as_str)
            }
            Answer::Held(_) => "held",
            Answer::Result(_) => self.outcome.map_or("unknown", OutcomeStatus::as_str),
        };
        let decision = match answer {
            Answer::Refused(Refusal {
                kind: Kind::Denied | Kind::DryRun | Kind::BudgetSpent,
                ..
            }) => "DENY",
            Answer::Held(_) => "REQUIRE_APPROVAL",
            Answer::Refused(_) | Answer::Result(_) => self.decision,
        };
        let total = self.gateway.clock.monotonic().saturating_sub(self.begun);
        self.gateway.metrics.call(&Observed {
            tool: self.tool.as_deref().map(Tool::name),
            backend: self.tool.as_deref().map(|tool| tool.backend().as_ref()),
            decision,
            outcome,
            deciding: self.decided.map(|at| at.saturating_sub(self.begun)),
            backend_time: self.dispatched.map(|_| self.backend_time),
            overhead: total.saturating_sub(self.backend_time),
        });
    }

    async fn refused(&self, request: &Request, refusal: &Refusal) {
        // What becomes of an approved call is recorded with its hold.
        if self.approval.is_some() {
            return;
        }
        let canonical = digest::canonical(&request.arguments)
            .ok()
            .filter(|_| crate::json::check_i_json(&request.arguments).is_ok());
        let small = canonical.as_ref().is_some_and(|bytes| bytes.len() <= MAX_REFUSED_ARGUMENTS);
        let entry = Refused {
            call: self.call,
            agent: self.agent.clone(),
            groups: request.principal.groups().to_vec(),
            via: request.principal.via().cloned(),
            client: request.client.clone(),
            workflow: request.workflow.clone(),
            compensates: request.compensates,
            tool: request.tool.chars().take(128).collect(),
            arguments: small.then(|| request.arguments.clone()),
            arguments_digest: canonical.map(|bytes| Digest::of(&bytes)),
            revision: self.revision,
            refusal: refusal.kind.as_str().to_owned(),
            rules: refusal.rules.clone(),
            told: refusal.told.clone(),
            cause: refusal.cause.clone(),
            noticed: self.noticed.clone(),
        };
        if let Err(error) = self.gateway.store.refuse_call(entry).await {
            tracing::error!(call = %self.call, %error, "a refusal could not be recorded");
            self.gateway.metrics.append_failed();
        }
    }
}

const fn status_of(kind: Kind) -> OutcomeStatus {
    match kind {
        Kind::TimedOut => OutcomeStatus::Timeout,
        Kind::Cancelled => OutcomeStatus::Cancelled,
        Kind::Halted => OutcomeStatus::Halted,
        Kind::ResultRefused => OutcomeStatus::ResultRefused,
        Kind::UnknownTool
        | Kind::InvalidArguments
        | Kind::Denied
        | Kind::DryRun
        | Kind::Limited
        | Kind::BudgetSpent
        | Kind::TooManyHolds
        | Kind::Rejected
        | Kind::Expired
        | Kind::Withdrawn
        | Kind::Superseded
        | Kind::Pending
        | Kind::Collected
        | Kind::UnknownOutcome
        | Kind::NotRecorded
        | Kind::Unavailable
        | Kind::MissingCapability
        | Kind::Failed => OutcomeStatus::BackendError,
    }
}
