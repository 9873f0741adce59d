//! What is sent back: pages with their headers, ways to the next one, and what went wrong in words.

use askama::Template;
use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::authentication::SignInError;
use crate::authentication::passwords::PasswordError;
use crate::storage::{AccessError, StoreError};

/// Only our own style, program and connections; forms go nowhere else, and nobody frames us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every page says of itself. Links to us carry secrets, so no other site is told where people come
/// from; our own forms must name their origin.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "same-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

/// A page, with cookies to set.
pub(super) fn page(
    status: StatusCode,
    template: &impl Template,
    cookies: &[String],
) -> Result<Response, Wrong> {
    let text = template.render().map_err(|error| Wrong::broken(&error))?;
    Ok(with_cookies((status, HEADERS, Html(text)).into_response(), cookies))
}

/// The way to another of our pages, which is fetched with GET.
pub(super) fn go(to: &'static str, cookies: &[String]) -> Response {
    go_to(to, cookies)
}

/// The way elsewhere.
pub(super) fn go_to(to: &str, cookies: &[String]) -> Response {
    with_cookies((StatusCode::SEE_OTHER, HEADERS, [(LOCATION, to)]).into_response(), cookies)
}

fn with_cookies(mut response: Response, cookies: &[String]) -> Response {
    for cookie in cookies {
        if let Ok(mut value) = HeaderValue::from_str(cookie) {
            value.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    response
}

/// An answer to our page's program.
pub(super) fn message(answer: Result<(Json<serde_json::Value>, Vec<String>), Wrong>) -> Response {
    match answer {
        Ok((body, cookies)) => with_cookies((HEADERS, body).into_response(), &cookies),
        Err(wrong) => {
            let body = Json(serde_json::json!({ "error": wrong.told }));
            (wrong.status, HEADERS, body).into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    heading: &'a str,
    told: &'a str,
    next: &'a str,
    go: &'a str,
}

/// A request that was not done: the status, why in words, and when to try again.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) status: StatusCode,
    pub(super) told: String,
    pub(super) wait: Option<u64>,
}

impl Wrong {
    pub(super) fn new(status: StatusCode, told: impl Into<String>) -> Self {
        Self { status, told: told.into(), wait: None }
    }

    /// A form or message that does not show the token of its page, or was made elsewhere.
    pub(super) fn not_ours() -> Self {
        let told = "This page was open for too long, or cookies are switched off. Load it again and try once more.";
        Self::new(StatusCode::FORBIDDEN, told)
    }

    pub(super) fn broken(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a page could not be made");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The gateway could not do this; its log says why.",
        )
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let heading = if self.status.is_server_error() { "Not now" } else { "That did not work" };
        let message = Message { heading, told: &self.told, next: "/", go: "Go on" };
        let mut response = match page(self.status, &message, &[]) {
            Ok(response) => response,
            Err(broken) => return (broken.status, HEADERS, broken.told).into_response(),
        };
        if let Some(wait) = self.wait {
            response.headers_mut().insert(RETRY_AFTER, wait.into());
        }
        response
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence(&error))
    }
}

impl From<AccessError> for Wrong {
    fn from(error: AccessError) -> Self {
        let status = match &error {
            AccessError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            AccessError::NoLink | AccessError::NoPasskey => StatusCode::NOT_FOUND,
            AccessError::NotProven | AccessError::NotListed => StatusCode::FORBIDDEN,
            AccessError::OtherSubject
            | AccessError::PasskeyTaken
            | AccessError::TooManyPasskeys
            | AccessError::People(_) => StatusCode::CONFLICT,
        };
        Self::new(status, sentence(&error))
    }
}

impl From<PasswordError> for Wrong {
    fn from(error: PasswordError) -> Self {
        let status = match error {
            PasswordError::Unfit => StatusCode::BAD_REQUEST,
            PasswordError::Busy | PasswordError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, sentence(&error))
    }
}

impl From<SignInError> for Wrong {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::TooMany(many) => {
                let wait = many.wait.as_secs().max(1);
                let told = sentence(&SignInError::TooMany(many));
                Self { status: StatusCode::TOO_MANY_REQUESTS, told, wait: Some(wait) }
            }
            SignInError::Wrong => Self::new(StatusCode::FORBIDDEN, sentence(&error)),
            SignInError::Password(error) => error.into(),
            SignInError::Access(error) => error.into(),
        }
    }
}

/// An error as a sentence, for people.
fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().collect::<String>());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}
