//! The JSON body of a request, read as strictly as a message of an agent.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

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
