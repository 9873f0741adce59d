//! What is said about everything together: how calls fared over time, and whether the log is as it was written.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Query, Viewer};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::storage::{Span, Statistics};

/// A span of time that ends now.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Length {
    /// 60 minutes, in minutes.
    Hour,
    /// 24 hours, in quarters of an hour.
    #[default]
    Day,
    /// 7 days, in steps of 2 hours.
    Week,
    /// 30 days, in steps of 8 hours.
    Month,
}

impl Length {
    /// The length of a step in seconds, and how many there are.
    const fn steps(self) -> (u32, u32) {
        match self {
            Self::Hour => (60, 60),
            Self::Day => (900, 96),
            Self::Week => (7_200, 84),
            Self::Month => (28_800, 90),
        }
    }

    /// Steps begin at whole multiples of their length, so that what was told of one stays true.
    fn until(self, now: Timestamp) -> Span {
        let (step, steps) = self.steps();
        let length = i64::from(step);
        let begun = now.as_second().div_euclid(length).saturating_mul(length);
        let back = SignedDuration::from_secs(length.saturating_mul(i64::from(steps) - 1));
        let last = Timestamp::from_second(begun).unwrap_or(now);
        Span { since: last.saturating_sub(back).unwrap_or(Timestamp::MIN), step, steps }
    }
}

/// Of which time to tell.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The span, up to now; `day` when absent.
    span: Option<Length>,
}

pub(super) async fn statistics(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Statistics>, Failure> {
    let span = wanted.span.unwrap_or_default().until(gateway.clock.now());
    Ok(Json(gateway.store.statistics(span).await?))
}

/// What verifying the log found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// Whether it is as it was written.
    pub verified: bool,
    /// How many entries were verified.
    pub entries: u64,
    /// The chain's value at the last; compare it with one that was kept elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Digest>,
    /// How many calls have no outcome, yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// The first entry that is not as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What is wrong there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

pub(super) async fn verify(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
) -> Result<Json<Verified>, Failure> {
    let busy = || Failure::new(StatusCode::CONFLICT, "the log is being verified; ask again soon");
    Ok(Json(match gateway.store.verify_log().await?.ok_or_else(busy)? {
        Ok(summary) => Verified {
            verified: true,
            entries: summary.head.count,
            head: Some(summary.head.chain),
            open: Some(summary.open),
            index: None,
            wrong: None,
        },
        Err(fault) => Verified {
            verified: false,
            entries: fault.index.saturating_sub(1),
            head: None,
            open: None,
            index: Some(fault.index),
            wrong: Some(fault.what.to_string()),
        },
    }))
}
