//! Moving the gateway's clock, for tests; only test builds have it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Body, Failure, Operator};
use crate::gateway::Gateway;

/// One movement of the clock.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Movement {
    /// So many milliseconds pass, on every clock.
    AdvanceMs(u64),
    /// The wall clock alone is set, by so many milliseconds.
    JumpMs(i64),
}

/// What the gateway's clock shows now.
#[derive(Debug, Serialize)]
struct Shown {
    now: Timestamp,
}

/// The route that moves the clock.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/testing/clock", post(move_clock))
}

async fn move_clock(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Body(movement): Body<Movement>,
) -> Result<Json<Shown>, Failure> {
    let Some(shift) = gateway.clock.shift() else {
        let told = "the clock is not `manual`; set COUNTERSIGN_CLOCK";
        return Err(Failure::new(StatusCode::NOT_FOUND, told));
    };
    match movement {
        Movement::AdvanceMs(by) => shift.advance(Duration::from_millis(by)),
        Movement::JumpMs(by) => shift.jump(SignedDuration::from_millis(by)),
    }
    Ok(Json(Shown { now: gateway.clock.now() }))
}
