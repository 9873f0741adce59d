//! Standing approvals: shown as the rule they are before they are granted, listed, revoked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::approvals::find;
use super::{Body, Failure, Path, Reviewer, Viewer};
use crate::call::standing::{self, NotGranted, Wish};
use crate::gateway::Gateway;
use crate::hold::Standing;
use crate::ids::StandingId;
use crate::json::Object;

/// The longest reason, in characters.
const MAX_REASON: usize = 2000;

/// What a person wants to grant, for calls like that of one hold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandingWanted {
    /// The hold.
    pub hold: String,
    /// What the arguments must keep to, in the words of constraints; `{}` for any arguments.
    pub bounds: Object,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub reason: Option<String>,
    /// The identifier of the rule that was shown; without it the rule is only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<StandingId>,
}

/// A standing approval as people see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StandingView {
    /// What it is.
    #[serde(flatten)]
    pub standing: Standing,
    /// The rule that it is.
    pub rule: String,
    /// Whether it is in force; a rule that is only shown is not.
    pub granted: bool,
}

impl StandingView {
    fn of(standing: Standing, granted: bool) -> Self {
        Self { rule: standing.rule(), standing, granted }
    }
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
) -> Json<Vec<StandingView>> {
    let all = gateway.standing.all(gateway.clock.now());
    Json(all.into_iter().map(|standing| StandingView::of(standing, true)).collect())
}

pub(super) async fn grant(
    State(gateway): State<Arc<Gateway>>,
    Reviewer(person): Reviewer,
    Body(wanted): Body<StandingWanted>,
) -> Result<Json<StandingView>, Failure> {
    let hold = find(&gateway, &wanted.hold).await?;
    if wanted.reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        let told = format!("a reason has at most {MAX_REASON} characters");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let StandingWanted { bounds, until, reason, confirm, .. } = wanted;
    let drafted = standing::draft(&gateway, &hold, Wish { person, bounds, until, reason })?;
    match confirm {
        None => Ok(Json(StandingView::of(drafted, false))),
        Some(shown) if shown != drafted.id => {
            let told = "the rule is no longer the one that was shown; look at it again";
            Err(Failure::new(StatusCode::CONFLICT, told))
        }
        Some(_) => {
            standing::grant(&gateway, drafted.clone(), hold.id).await?;
            Ok(Json(StandingView::of(drafted, true)))
        }
    }
}

pub(super) async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Reviewer(person): Reviewer,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let unknown =
        || Failure::new(StatusCode::NOT_FOUND, format!("no standing approval `{id}` is in force"));
    let parsed: StandingId = id.parse().map_err(|_| unknown())?;
    if standing::revoke(&gateway, parsed, person.name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(unknown())
}

impl From<NotGranted> for Failure {
    fn from(error: NotGranted) -> Self {
        match error {
            NotGranted::Unfit(why) => Self::new(StatusCode::BAD_REQUEST, why),
            NotGranted::Hold(error) => error.into(),
        }
    }
}
