//! One verdict on all pending holds of the very same call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{VerdictGiven, beside, find};
use crate::api::body::Whole;
use crate::api::people::Shown;
use crate::api::{Body, Failure, Path, Reviewer};
use crate::call::holding;
use crate::gateway::Gateway;
use crate::ids::HoldId;
use crate::storage::HoldError;

/// A verdict on a hold and on all that are identical to it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IdenticalGiven {
    /// How many there are, as the person was told: another number decides nothing.
    #[schemars(range(max = 4_294_967_295_u32))]
    pub count: u32,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: VerdictGiven,
}

impl<'de> Deserialize<'de> for IdenticalGiven {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Whole(count), verdict) = beside("count", deserializer)?;
        let count = u32::try_from(count).map_err(D::Error::custom)?;
        Ok(Self { count, verdict })
    }
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct IdenticalDecided {
    /// The holds that the verdict counted for.
    pub decided: Vec<HoldId>,
    /// Those that it did not count for, with the reason.
    pub not_decided: Vec<NotDecided>,
}

/// A hold that a verdict did not count for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotDecided {
    /// The hold.
    pub id: HoldId,
    /// Why.
    pub error: String,
}

pub(in crate::api) async fn decide_identical(
    State(gateway): State<Arc<Gateway>>,
    Reviewer(person): Reviewer,
    shown: Shown,
    Path(id): Path<String>,
    Body(given): Body<IdenticalGiven>,
) -> Result<Json<IdenticalDecided>, Failure> {
    let hold = find(&gateway, &id).await?;
    let (verdict, edit) = given.verdict.of(person, shown, &gateway)?;
    if edit.is_some() || verdict.signature.is_some() {
        let told = "a change of arguments and a signature are for one hold; decide them one by one";
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let holds = gateway.store.identical_holds(&hold.digest).await?;
    if u32::try_from(holds.len()).ok() != Some(given.count) {
        let told =
            format!("there are {} of them now, not {}; look again", holds.len(), given.count);
        return Err(Failure::new(StatusCode::CONFLICT, told));
    }
    let mut decided = Vec::new();
    let mut not_decided = Vec::new();
    for id in holds {
        match holding::decide(&gateway, id, verdict.clone()).await {
            Ok(_) => decided.push(id),
            Err(HoldError::Store(error)) => return Err(error.into()),
            Err(error) => not_decided.push(NotDecided { id, error: error.to_string() }),
        }
    }
    Ok(Json(IdenticalDecided { decided, not_decided }))
}
