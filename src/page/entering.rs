//! Signing in, with a password or a link that works once, and signing out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;

use super::answer::{Wrong, go, go_to, page};
use super::next::Next;
use super::visiting::{Caller, Posted};
use crate::authentication::browser::Cookie;
use crate::authentication::oidc::Provider;
use crate::gateway::Gateway;
use crate::storage::{LinkKind, Which};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    csrf: String,
    passkeys_work: bool,
    /// The same page where passkeys work, if they do not here.
    named: Option<String>,
    provider: Option<String>,
    name: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    csrf: String,
    name: String,
    code: String,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    code: Option<String>,
    next: Option<String>,
}

/// The page where one signs in. Whoever follows a link with a code confirms it there: programs that open every
/// link in a message use nothing up.
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Wrong> {
    let Some(code) = wanted.code else {
        let next = wanted.next.as_deref().and_then(Next::read);
        if caller.visitor.is_some() {
            return Ok(go_to(next.unwrap_or_default().path(), &[]));
        }
        let cookies = caller.remember(next.as_ref());
        return sign_in_page(&gateway, &caller, &cookies, (String::new(), None));
    };
    let link = gateway.sign_in.link(&code, LinkKind::SignIn, caller.from.address).await?;
    let page = LinkPage { csrf: caller.csrf(), name: link.person.name, code };
    caller.page(StatusCode::OK, &page)
}

fn sign_in_page(
    gateway: &Gateway,
    caller: &Caller,
    cookies: &[String],
    (name, wrong): (String, Option<Wrong>),
) -> Result<Response, Wrong> {
    let status = wrong.as_ref().map_or(StatusCode::OK, |wrong| wrong.status);
    let sign_in = SignInPage {
        csrf: caller.csrf(),
        passkeys_work: caller.site.domain().is_some(),
        named: caller.site.with_name(),
        provider: gateway.sign_in.provider.as_ref().map(Provider::name),
        name,
        wrong: wrong.map(|wrong| wrong.told),
    };
    page(status, &sign_in, cookies)
}

#[derive(Deserialize)]
pub(super) struct Password {
    name: String,
    password: SecretString,
}

pub(super) async fn with_password(
    State(gateway): State<Arc<Gateway>>,
    Posted { caller, form }: Posted<Password>,
) -> Result<Response, Wrong> {
    let Password { name, password } = form;
    match gateway.sign_in.with_password(&name, password, caller.from.clone()).await {
        Ok(visitor) => Ok(go_to(caller.next(), &caller.let_in(&gateway, &visitor).await?)),
        Err(error) => {
            sign_in_page(&gateway, &caller, &caller.cookies(), (name, Some(error.into())))
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Code {
    code: String,
}

pub(super) async fn with_link(
    State(gateway): State<Arc<Gateway>>,
    Posted { caller, form }: Posted<Code>,
) -> Result<Response, Wrong> {
    let visitor = gateway.sign_in.with_link(&form.code, caller.from.clone()).await?;
    Ok(go_to(caller.next(), &caller.let_in(&gateway, &visitor).await?))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn sign_out(
    State(gateway): State<Arc<Gateway>>,
    Posted { caller, .. }: Posted<Nothing>,
) -> Result<Response, Wrong> {
    if let Some((visitor, _)) = &caller.visitor {
        let which = Which::One(visitor.session.digest);
        gateway.sign_in.end(which, &visitor.session.person.name).await?;
    }
    let gone = [Cookie::Session, Cookie::Browser].map(|it| caller.site.set_cookie(it, None, None));
    Ok(go("/sign-in", &gone))
}
