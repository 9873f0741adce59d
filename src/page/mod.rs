//! The pages for people: sign in, take up an invitation, look after the own account. Server-rendered, embedded,
//! and loading nothing from elsewhere.

mod account;
mod answer;
mod assets;
mod entering;
mod inbox;
mod invitation;
mod next;
mod pages;
mod passkeys;
mod provider;
mod visiting;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use self::visiting::Caller;
use crate::authentication::oidc::CALLBACK;
use crate::gateway::Gateway;

/// The largest form or message of a page, in bytes.
const MAX_BODY: usize = 64 << 10;

/// The pages. A GET changes nothing, but that a session was used.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    let listings = pages::LISTINGS.iter().fold(Router::new(), |routes, listing| {
        let show = move |caller: Caller| async move { inbox::list(&caller, listing) };
        routes.route(&format!("/{}", listing.name), get(show))
    });
    listings
        .route("/", get(inbox::show))
        .route("/holds/{id}", get(inbox::hold))
        .route("/sign-in", get(entering::show).post(entering::with_password))
        .route("/sign-in/link", post(entering::with_link))
        .route("/sign-in/passkey/start", post(passkeys::ask_to_sign_in))
        .route("/sign-in/passkey/finish", post(passkeys::sign_in))
        .route("/sign-in/oidc", get(provider::leave))
        .route(CALLBACK, get(provider::back))
        .route("/sign-out", post(entering::sign_out))
        .route("/invitation/{code}", get(invitation::show).post(invitation::with_password))
        .route("/invitation/{code}/passkey/start", post(passkeys::ask_invited))
        .route("/invitation/{code}/passkey/finish", post(passkeys::accept_invitation))
        .route("/account", get(account::show))
        .route("/account/password", post(account::set_password))
        .route("/account/passkeys/start", post(passkeys::ask_to_add))
        .route("/account/passkeys/finish", post(passkeys::add))
        .route("/account/passkeys/remove", post(account::remove_passkey))
        .route("/account/sessions/end", post(account::end_sessions))
        .route("/assets/{name}", get(assets::asset))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(gateway)
}
