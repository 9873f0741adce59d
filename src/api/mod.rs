//! The JSON API for people: what the command line and the page use, and anybody else may. Never for agents.

mod agents;
mod approvals;
mod audit;
mod catalog;
mod health;
#[cfg(feature = "testing")]
mod testing;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::gateway::Gateway;
use crate::principal::Person;
use crate::storage::{HoldError, StoreError};

pub use agents::{AgentView, NewAgent, NewToken};
pub use approvals::{HoldView, VerdictGiven};
pub use audit::EntryView;
pub use catalog::ToolView;
pub use health::{Check, probes};

/// The routes for people; each demands a [`Person`], whom the edge put into the request.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    let routes = Router::new()
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{id}", get(approvals::show))
        .route("/api/v1/approvals/{id}/verdict", post(approvals::decide))
        .route("/api/v1/catalog", get(catalog::list))
        .route("/api/v1/agents", get(agents::list).post(agents::add))
        .route("/api/v1/agents/{name}", delete(agents::revoke))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/doctor", get(health::doctor));
    #[cfg(feature = "testing")]
    let routes = routes.merge(testing::routes());
    routes.with_state(gateway)
}

/// The person who asks: an operator, for whom the operating system opened the socket. A request without one
/// is refused, whatever agent's credential it carries.
pub struct Operator(pub Person);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Person>().cloned().map(Self).ok_or_else(|| {
            let told = "this needs a person; an agent's credential decides nothing. Use the `countersign` \
                        command on the gateway's machine";
            Failure::new(StatusCode::UNAUTHORIZED, told)
        })
    }
}

/// A request that was not done: the status, and why in words.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    told: String,
}

/// The body of a failed request.
#[derive(Debug, Serialize, Deserialize)]
pub struct FailureBody {
    /// Why, in words.
    pub error: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, told: impl Into<String>) -> Self {
        Self { status, told: told.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json!({ "error": self.told }))).into_response()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::NotFound => Self::new(StatusCode::NOT_FOUND, "no such hold"),
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

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// A JSON body whose faults are told as [`Failure`].
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Failure))]
pub struct Body<T>(pub T);

/// Query parameters whose faults are told as [`Failure`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Failure))]
pub struct Query<T>(pub T);
