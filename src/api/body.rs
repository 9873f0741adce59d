//! The JSON body of a request, read as strictly as a message of an agent.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

use super::Failure;
use crate::json;

/// A JSON body whose faults are told as [`Failure`].
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            let told = "the body must be sent as `Content-Type: application/json`";
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
        let value = json::parse(&bytes).map_err(|error| {
            Failure::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
        })?;
        // serde would take the members of an array for those of an object, in their order.
        if !value.is_object() {
            let told = "the body does not fit: it is no object";
            return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, told));
        }
        T::deserialize(value).map(Self).map_err(|error| {
            Failure::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("the body does not fit: {error}"),
            )
        })
    }
}

/// A whole number in whatever way it is written: `1.0` is one too (JSON Schema, section 6.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        let written = || {
            // Beyond, a fraction could not be told from none.
            const EXACT: f64 = 9_007_199_254_740_991.0;
            let value = number.as_f64()?;
            let is_whole = (0.0..=EXACT).contains(&value) && value.fract() == 0.0;
            is_whole.then(|| format!("{value:.0}").parse().ok()).flatten()
        };
        let whole = number.as_u64().or_else(written);
        whole.map(Self).ok_or_else(|| D::Error::custom("a whole number is expected, 0 or more"))
    }
}

/// Reads a member that is a [`Whole`], or absent.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|Whole(whole)| whole))
}
