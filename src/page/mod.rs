//! The pages for people: sign in, take up an invitation, look after the own account. Server-rendered, embedded,
//! and loading nothing from elsewhere.

mod account;
mod answer;
mod entering;
mod home;
mod invitation;
mod visiting;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use crate::gateway::Gateway;

/// The largest form or message of a page, in bytes.
const MAX_BODY: usize = 64 << 10;

/// The pages. A GET changes nothing, but that a session was used.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/", get(home::show))
        .route("/sign-in", get(entering::show).post(entering::with_password))
        .route("/sign-in/link", post(entering::with_link))
        .route("/sign-out", post(entering::sign_out))
        .route("/invitation/{code}", get(invitation::show).post(invitation::with_password))
        .route("/account", get(account::show))
        .route("/account/password", post(account::set_password))
        .route("/account/passkeys/remove", post(account::remove_passkey))
        .route("/account/sessions/end", post(account::end_sessions))
        .route("/assets/page.css", get(style))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(gateway)
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("assets/page.css"))
}

/// A file of ours, asked for anew each time: another version of the program has others under these names.
fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers =
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, text).into_response()
}
