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
enum Movement {
    /// So many milliseconds pass, on every clock.
    #[serde(rename = "advance_ms")]
    Advance(u64),
    /// The wall clock alone is set, by so many milliseconds.
    #[serde(rename = "jump_ms")]
    Jump(i64),
    /// The machine is suspended for so many milliseconds.
    #[serde(rename = "suspend_ms")]
    Suspend(u64),
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
        Movement::Advance(by) => shift.advance(Duration::from_millis(by)),
        Movement::Suspend(by) => shift.suspend(Duration::from_millis(by)),
        Movement::Jump(by) => shift.jump(SignedDuration::from_millis(by)),
    }
    Ok(Json(Shown { now: gateway.clock.now() }))
}
