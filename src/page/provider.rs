//! The way to an `OpenID` provider, and back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;

use super::answer::{Wrong, go_to, page};
use super::visiting::Caller;
use crate::authentication::SignInError;
use crate::authentication::browser::Cookie;
use crate::authentication::oidc::{BACK_WITHIN, Back, OidcError, Provider};
use crate::gateway::Gateway;
use crate::principal::{Authentication, Person};
use crate::storage::Proof;

/// Strict cookies are not sent along the way back, which another site began; from this page of ours they are.
#[derive(Template)]
#[template(path = "continue.html")]
struct Continue<'a> {
    next: &'a str,
}

fn provider(gateway: &Gateway) -> Result<&Provider, Wrong> {
    let none = || Wrong::new(StatusCode::NOT_FOUND, "No provider is known here.");
    gateway.sign_in.provider.as_ref().ok_or_else(none)
}

pub(super) async fn leave(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
) -> Result<Response, Wrong> {
    let provider = provider(&gateway)?;
    gateway.sign_in.attempts.from_address(caller.from.address).map_err(SignInError::from)?;
    let way = provider.leave(&caller.site).await?;
    let seconds = Some(BACK_WITHIN.as_secs());
    let cookie = caller.site.set_cookie(Cookie::Provider, Some(&way.secret), seconds);
    Ok(go_to(&way.url, &[cookie]))
}

pub(super) async fn back(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: http::HeaderMap,
    Query(back): Query<Back>,
) -> Result<Response, Wrong> {
    let provider = provider(&gateway)?;
    gateway.sign_in.attempts.from_address(caller.from.address).map_err(SignInError::from)?;
    let secret = caller.site.cookie(&headers, Cookie::Provider);
    let identity = provider.back(&back, secret.as_deref()).await.inspect_err(|_| {
        gateway.sign_in.failed(Authentication::Oidc);
    })?;
    let proof = Proof::Subject { subject: identity.subject, ruled: identity.ruled };
    let person = Person::registered(&identity.name);
    let from = caller.from.clone();
    let opened = gateway.sign_in.begin(person, Authentication::Oidc, from, proof).await;
    // A rule may have added the person, or changed what they may do.
    gateway.people.reload(gateway.store.as_ref()).await?;
    let mut cookies = caller.let_in(&gateway, &opened?).await?;
    cookies.push(caller.site.set_cookie(Cookie::Provider, None, None));
    page(StatusCode::OK, &Continue { next: caller.next() }, &cookies)
}

impl From<OidcError> for Wrong {
    fn from(error: OidcError) -> Self {
        let status = match &error {
            OidcError::NotBegun => StatusCode::BAD_REQUEST,
            OidcError::Refused(_) | OidcError::Token(_) | OidcError::Nameless => {
                StatusCode::FORBIDDEN
            }
            OidcError::Provider(_) => StatusCode::BAD_GATEWAY,
            OidcError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let told = match &error {
            OidcError::Provider(why) => {
                tracing::warn!(%why, "the OpenID provider cannot be asked");
                "The provider cannot be asked at this moment. Try again, or sign in another way."
            }
            OidcError::Refused(why) => {
                tracing::warn!(%why, "the OpenID provider refused a sign-in");
                "The provider did not sign you in."
            }
            OidcError::Token(why) => {
                tracing::warn!(%why, "a token of the OpenID provider is not good");
                "What the provider says of you cannot be relied on; an operator finds the cause in the log."
            }
            OidcError::NotBegun => {
                "This sign-in was not begun in this browser, or took too long. Begin again."
            }
            OidcError::Nameless => {
                "The provider does not say who you are here; an operator finds the claims in the configuration."
            }
            OidcError::Store(_) => "The gateway could not do this; its log says why.",
        };
        Self::new(status, told)
    }
}
