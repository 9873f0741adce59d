//! The JSON API for people: what the command line and the page use, and anybody else may. Never for agents.

mod agents;
mod approvals;
mod audit;
mod body;
mod budgets;
mod calls;
mod catalog;
mod events;
mod explain;
mod halts;
mod health;
mod history;
mod limits;
mod notifications;
mod openapi;
mod people;
mod policy;
mod quarantine;
mod reports;
mod reviewers;
mod sign_in;
mod simulate;
mod standing;
mod table;
#[cfg(feature = "testing")]
mod testing;
mod trying;
mod workflows;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use crate::call::holding::NotAmended;
use crate::gateway::Gateway;
use crate::storage::{AccessError, HoldError, PeopleError, StoreError};

pub use agents::{AgentEdit, AgentRotation, AgentView, NewAgent, NewToken};
pub use approvals::{
    HoldView, IdenticalDecided, IdenticalGiven, NotDecided, ResolutionGiven, SigningPasskey,
    StatementMade, StatementWanted, VerdictGiven,
};
pub use audit::{EntryList, EntryView};
pub use body::Body;
pub use budgets::{AmountsView, BudgetList, BudgetView, SpentView};
pub use calls::{CallList, CallTimeline, CallView};
pub use catalog::ToolView;
pub use explain::{Asked, ExplainView, ExplainWanted, FaultView, RecordedView, explained};
pub use halts::{HaltConsidered, HaltReach, HaltResumed, HaltWanted};
pub use health::{Check, probes};
pub use history::{HistoryView, RevisionFiles, RevisionView, RollbackWanted, RolledBackView};
pub use limits::{LimitLeft, LimitList, LimitView};
pub use people::{Operator, Reviewer, Viewer, WhoAmI};
pub use policy::{PolicyView, RefusedView, ReloadedView, RuleView, WarningView};
pub use quarantine::{AcceptWanted, How, QuarantineView};
pub use reports::Verified;
pub use reviewers::{
    KeyGiven, KeyView, NewPersonToken, NewReviewer, Renewal, ReviewerEdit, ReviewerView,
};
pub use sign_in::{Invitation, InvitationWanted, LinkMade, site};
pub use simulate::{
    CandidateFile, FlipView, ReplayedCell, SimulateWanted, SimulationView, UnjudgedView,
};
pub use standing::{StandingView, StandingWanted};
pub use table::{Known, TableRow, TableTool, TableView, decision_table};
pub use trying::{TryOutcome, TryView, TryWanted};
pub use workflows::{
    UndoView, UndoWanted, WorkflowCallView, WorkflowList, WorkflowTimeline, WorkflowView,
};

/// What a refused request is told to bring.
pub(crate) const CHALLENGE: &str = "Bearer realm=\"countersign\"";

/// The routes for people. Each demands one: a [`Viewer`], a [`Reviewer`] or an [`Operator`].
pub fn routes(gateway: Arc<Gateway>) -> Router {
    let routes = Router::new()
        .route("/api/v1/whoami", get(people::whoami))
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{id}", get(approvals::show))
        .route("/api/v1/approvals/{id}/statement", post(approvals::state))
        .route("/api/v1/approvals/{id}/verdict", post(approvals::decide))
        .route("/api/v1/approvals/{id}/identical", post(approvals::decide_identical))
        .route("/api/v1/approvals/{id}/resolution", post(approvals::resolve))
        .route("/api/v1/standing", get(standing::list).post(standing::grant))
        .route("/api/v1/standing/{id}", delete(standing::revoke))
        .route("/api/v1/halts", get(halts::list).post(halts::engage))
        .route("/api/v1/halts/reach", post(halts::consider))
        .route("/api/v1/halts/{id}/resume", post(halts::resume))
        .route("/api/v1/catalog", get(catalog::list))
        .route("/api/v1/catalog/quarantine", get(quarantine::list))
        .route("/api/v1/catalog/accept", post(quarantine::accept))
        .route("/api/v1/policy", get(policy::show))
        .route("/api/v1/policy/table", get(table::show))
        .route("/api/v1/policy/history", get(history::list))
        .route("/api/v1/policy/history/{revision}", get(history::show))
        .route("/api/v1/policy/simulate", post(simulate::simulate))
        .route("/api/v1/policy/rollback", post(history::roll_back))
        .route("/api/v1/policy/explain", post(explain::explain))
        .route("/api/v1/try", post(trying::call))
        .route("/api/v1/limits", get(limits::list))
        .route("/api/v1/budgets", get(budgets::list))
        .route("/api/v1/policy/reload", post(policy::reload))
        .route("/api/v1/agents", get(agents::list).post(agents::add))
        .route("/api/v1/agents/{name}", patch(agents::change).delete(agents::revoke))
        .route("/api/v1/agents/{name}/token", post(agents::rotate))
        .route("/api/v1/reviewers", get(reviewers::list).post(reviewers::add))
        .route("/api/v1/reviewers/{name}", patch(reviewers::change).delete(reviewers::revoke))
        .route("/api/v1/reviewers/{name}/token", post(reviewers::renew))
        .route("/api/v1/reviewers/{name}/keys", post(reviewers::add_key))
        .route("/api/v1/reviewers/{name}/keys/{fingerprint}", delete(reviewers::remove_key))
        .route("/api/v1/reviewers/{name}/invitation", post(sign_in::invite))
        .route("/api/v1/reviewers/{name}/sessions", delete(sign_in::sign_out))
        .route("/api/v1/sign-in-link", post(sign_in::link))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/audit/search", get(audit::search))
        .route("/api/v1/audit/verify", post(reports::verify))
        .route("/api/v1/statistics", get(reports::statistics))
        .route("/api/v1/calls", get(calls::list))
        .route("/api/v1/calls/{id}", get(calls::show))
        .route("/api/v1/workflows", get(workflows::list))
        .route("/api/v1/workflows/{id}", get(workflows::show))
        .route("/api/v1/workflows/{id}/rollback", post(workflows::roll_back))
        .route("/api/v1/events", get(events::follow))
        .route("/api/v1/openapi.json", get(openapi::show))
        .route("/api/v1/doctor", get(health::doctor))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/notifications/test", post(notifications::test));
    #[cfg(feature = "testing")]
    let routes = routes.merge(testing::routes());
    routes.with_state(gateway)
}

/// A place to ask much of the rules: few may at once, because with very many rules it takes a core for long.
fn place_to_ask(gateway: &Gateway) -> Result<OwnedSemaphorePermit, Failure> {
    let told = "others ask much of the rules just now; ask again soon";
    let busy = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, told);
    Arc::clone(&gateway.asking).try_acquire_owned().map_err(busy)
}

/// A request that was not done: the status, and why in words.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    told: String,
}

/// The body of a failed request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailureBody {
    /// Why, in words.
    pub error: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, told: impl Into<String>) -> Self {
        Self { status, told: told.into() }
    }

    /// Why, in words.
    pub(crate) fn told(&self) -> &str {
        &self.told
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = axum::Json(json!({ "error": self.told }));
        if self.status == StatusCode::UNAUTHORIZED {
            return (self.status, [(WWW_AUTHENTICATE, CHALLENGE)], body).into_response();
        }
        (self.status, body).into_response()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Halted(_) => StatusCode::CONFLICT,
            StoreError::Busy { .. }
            | StoreError::Unwritable(_)
            | StoreError::Owned(_)
            | StoreError::Corrupt(_)
            | StoreError::Engine(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<PeopleError> for Failure {
    fn from(error: PeopleError) -> Self {
        let status = match error {
            PeopleError::NotFound(_) | PeopleError::NoSuchKey { .. } => StatusCode::NOT_FOUND,
            PeopleError::Exists(_)
            | PeopleError::Revoked(_)
            | PeopleError::Full
            | PeopleError::KeyTaken { .. }
            | PeopleError::TooManyKeys => StatusCode::CONFLICT,
            PeopleError::Store(error) => return error.into(),
        };
        Self::new(status, error.to_string())
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        let status = match error {
            AccessError::People(error) => return error.into(),
            AccessError::Store(error) => return error.into(),
            AccessError::NoPasskey | AccessError::NotListed => StatusCode::NOT_FOUND,
            AccessError::NoLink | AccessError::NotProven => StatusCode::FORBIDDEN,
            AccessError::OtherSubject
            | AccessError::PasskeyTaken
            | AccessError::TooManyPasskeys => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::NotFound => Self::new(StatusCode::NOT_FOUND, "no such hold"),
            HoldError::Lost { lost, .. } if lost.is_forbidden() => {
                Self::new(StatusCode::FORBIDDEN, lost.to_string())
            }
            HoldError::Lost { lost, hold } => {
                let who = match hold.state.verdicts().last() {
                    Some(verdict) => format!("; {} decided at {}", verdict.person.name, verdict.at),
                    None => String::new(),
                };
                Self::new(StatusCode::CONFLICT, format!("{lost}{who}"))
            }
            HoldError::TooMany { .. } => Self::new(StatusCode::CONFLICT, error.to_string()),
            HoldError::Store(error) => error.into(),
        }
    }
}

impl From<NotAmended> for Failure {
    fn from(error: NotAmended) -> Self {
        match error {
            NotAmended::Unfit(why) => Self::new(StatusCode::BAD_REQUEST, why),
            NotAmended::Hold(error) => error.into(),
        }
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// Parts of the path whose faults are told as [`Failure`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Failure))]
pub struct Path<T>(pub T);

/// Query parameters whose faults are told as [`Failure`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Failure))]
pub struct Query<T>(pub T);
