//! Taking up an invitation: the person chooses how to sign in, and is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::answer::{Wrong, go_to};
use super::visiting::{Caller, Posted};
use crate::authentication::registered;
use crate::gateway::Gateway;
use crate::storage::{AccessError, Credential, Link, LinkKind, Reviewer};

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage {
    csrf: String,
    passkeys_work: bool,
    named: Option<String>,
    name: String,
    role: &'static str,
    groups: String,
    code: String,
    wrong: Option<String>,
}

/// Looking at an invitation does not use it up.
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(code): Path<String>,
    caller: Caller,
) -> Result<Response, Wrong> {
    let (_, invited) = find(&gateway, &caller, &code).await?;
    shown(&caller, &invited, code, None)
}

/// The invitation, and who is invited as what.
pub(super) async fn find(
    gateway: &Gateway,
    caller: &Caller,
    code: &str,
) -> Result<(Link, Reviewer), Wrong> {
    let address = caller.from.address;
    let link = gateway.sign_in.link(code, LinkKind::Invitation, address).await?;
    let name = registered(&link.person)?;
    let now = gateway.clock.now();
    let known = gateway.people.named(&name).filter(|known| known.stands(now));
    Ok((link, known.ok_or(AccessError::NoLink)?))
}

fn shown(
    caller: &Caller,
    invited: &Reviewer,
    code: String,
    wrong: Option<Wrong>,
) -> Result<Response, Wrong> {
    let status = wrong.as_ref().map_or(StatusCode::OK, |wrong| wrong.status);
    let page = InvitationPage {
        csrf: caller.csrf(),
        passkeys_work: caller.site.domain().is_some(),
        named: caller.site.with_name(),
        name: invited.name.to_string(),
        role: invited.role.as_str(),
        groups: invited.groups.join(", "),
        code,
        wrong: wrong.map(|wrong| wrong.told),
    };
    caller.page(status, &page)
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    password: SecretString,
    again: SecretString,
}

impl Chosen {
    /// The password, if it was typed twice alike.
    pub(super) fn alike(self) -> Result<SecretString, Wrong> {
        if self.password.expose_secret() == self.again.expose_secret() {
            return Ok(self.password);
        }
        Err(Wrong::new(StatusCode::BAD_REQUEST, "The two passwords differ."))
    }
}

pub(super) async fn with_password(
    State(gateway): State<Arc<Gateway>>,
    Path(code): Path<String>,
    Posted { caller, form }: Posted<Chosen>,
) -> Result<Response, Wrong> {
    let (link, invited) = find(&gateway, &caller, &code).await?;
    let hash = match form.alike() {
        Ok(password) => gateway.sign_in.passwords.hash(password, gateway.clock.now()).await,
        Err(wrong) => return shown(&caller, &invited, code, Some(wrong)),
    };
    let hash = match hash {
        Ok(hash) => hash,
        Err(error) => return shown(&caller, &invited, code, Some(error.into())),
    };
    let credential = Credential::Password(hash);
    let visitor = gateway.sign_in.accept(&link, credential, caller.from.clone()).await?;
    Ok(go_to(caller.next(), &caller.let_in(&gateway, &visitor).await?))
}
