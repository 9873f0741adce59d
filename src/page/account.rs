//! The own account: what one signs in with, and the sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use super::answer::{Wrong, go};
use super::inbox::Who;
use super::invitation::Chosen;
use super::visiting::{Caller, Posted, Then};
use crate::authentication::{SignInError, Visitor, registered};
use crate::gateway::Gateway;
use crate::principal::Authentication;
use crate::storage::{Credential, Credentials, Passkey, Session, Which};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    page: &'static str,
    csrf: String,
    then: Then,
    passkeys_work: bool,
    named: Option<String>,
    who: Who,
    done: Option<&'static str>,
    wrong: Option<String>,
    passkeys: Vec<PasskeyRow>,
    password_set: Option<String>,
    sessions: Vec<SessionRow>,
}

struct PasskeyRow {
    id: String,
    name: String,
    domain: String,
    added: String,
    used: Option<String>,
    signs: bool,
}

struct SessionRow {
    id: String,
    browser: String,
    own: bool,
    since: String,
    with: &'static str,
    seen: String,
}

#[derive(Deserialize)]
pub(super) struct After {
    done: Option<Done>,
}

/// What was just done here.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    Password,
    PasskeyAdded,
    PasskeyRemoved,
    Ended,
}

impl Done {
    const fn told(self) -> &'static str {
        match self {
            Self::Password => "The password is set. All other sessions have ended.",
            Self::PasskeyAdded => "The passkey was added.",
            Self::PasskeyRemoved => "The passkey was removed.",
            Self::Ended => "Ended.",
        }
    }
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Query(After { done }): Query<After>,
) -> Result<Response, Wrong> {
    shown(&gateway, &caller, done, None).await
}

async fn shown(
    gateway: &Gateway,
    caller: &Caller,
    done: Option<Done>,
    wrong: Option<Wrong>,
) -> Result<Response, Wrong> {
    let Some((visitor, capacity)) = caller.signed_in() else { return Ok(caller.to_sign_in()) };
    let credentials = match registered(&visitor.session.person) {
        Ok(name) => gateway.store.credentials(&name).await?,
        Err(_) => Credentials::default(),
    };
    let idle = gateway.sign_in.settings.sessions.idle.0;
    let person = &visitor.session.person;
    let sessions = gateway.sign_in.sessions.of(person, gateway.clock.now(), idle);
    let own = visitor.session.digest;
    let status = wrong.as_ref().map_or(StatusCode::OK, |wrong| wrong.status);
    let page = AccountPage {
        page: "account",
        csrf: caller.csrf(),
        then: caller.then,
        passkeys_work: caller.site.domain().is_some(),
        named: caller.site.with_name(),
        who: Who::new(visitor, capacity),
        done: done.map(Done::told),
        wrong: wrong.map(|wrong| wrong.told),
        passkeys: credentials.passkeys.into_iter().map(PasskeyRow::from).collect(),
        password_set: credentials.password.map(|password| minute(password.set_at)),
        sessions: sessions
            .into_iter()
            .map(|it| SessionRow { own: it.digest == own, ..it.into() })
            .collect(),
    };
    caller.page(status, &page)
}

impl From<Passkey> for PasskeyRow {
    fn from(passkey: Passkey) -> Self {
        Self {
            id: passkey.id,
            name: passkey.name,
            domain: passkey.domain,
            added: minute(passkey.added_at),
            used: passkey.used_at.map(minute),
            signs: passkey.signs,
        }
    }
}

impl From<Session> for SessionRow {
    fn from(session: Session) -> Self {
        let unknown = session.browser.is_empty();
        Self {
            id: session.short(),
            own: false,
            since: minute(session.created_at),
            with: way(session.with),
            seen: minute(session.seen_at),
            browser: if unknown { "A program".to_owned() } else { session.browser },
        }
    }
}

/// How somebody signed in, in words.
pub(super) const fn way(with: Authentication) -> &'static str {
    match with {
        Authentication::Password => "a password",
        Authentication::Passkey => "a passkey",
        Authentication::Oidc => "the provider",
        Authentication::Link => "a link",
        Authentication::Token => "a token",
        Authentication::Local => "the local socket",
    }
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[derive(Deserialize)]
pub(super) struct Changed {
    current: Option<SecretString>,
    #[serde(flatten)]
    chosen: Chosen,
}

/// Whoever found a browser open must know the password to change it.
pub(super) async fn set_password(
    State(gateway): State<Arc<Gateway>>,
    Posted { caller, form }: Posted<Changed>,
) -> Result<Response, Wrong> {
    let Some((visitor, _)) = caller.signed_in() else { return Ok(caller.to_sign_in()) };
    match changed(&gateway, visitor, form).await {
        Ok(()) => Ok(go("/account?done=password", &[])),
        Err(wrong) => shown(&gateway, &caller, None, Some(wrong)).await,
    }
}

/// How long after signing in one may add something to sign in or to sign with, in seconds.
const FRESH: i64 = 600;

/// A session alone adds no credential: whoever got hold of a browser left open would keep what it adds, and sign
/// verdicts with it. Who has just signed in may.
pub(super) fn fresh(gateway: &Gateway, visitor: &Visitor) -> Result<(), Wrong> {
    let age = gateway.clock.now().duration_since(visitor.session.created_at);
    if age.as_secs() < FRESH {
        return Ok(());
    }
    let told = "You signed in more than 10 minutes ago. Sign out, sign in again, and add it then.";
    Err(Wrong::new(StatusCode::FORBIDDEN, told))
}

async fn changed(gateway: &Gateway, visitor: &Visitor, form: Changed) -> Result<(), Wrong> {
    let name = registered(&visitor.session.person)?;
    if let Some(known) = gateway.store.credentials(&name).await?.password {
        gateway.sign_in.attempts.for_name(name.as_str()).map_err(SignInError::from)?;
        let current = form.current.unwrap_or_default();
        if !gateway.sign_in.passwords.verify(current, Some(known)).await? {
            let told = "The password now is another.";
            return Err(Wrong::new(StatusCode::FORBIDDEN, told));
        }
        gateway.sign_in.attempts.succeeded(name.as_str());
    } else {
        fresh(gateway, visitor)?;
    }
    let password = form.chosen.alike()?;
    let hash = gateway.sign_in.passwords.hash(password, gateway.clock.now()).await?;
    Ok(gateway.sign_in.set_credential(visitor, Credential::Password(hash)).await?)
}

#[derive(Deserialize)]
pub(super) struct Removed {
    id: String,
}

pub(super) async fn remove_passkey(
    State(gateway): State<Arc<Gateway>>,
    Posted { caller, form }: Posted<Removed>,
) -> Result<Response, Wrong> {
    let Some((visitor, _)) = caller.signed_in() else { return Ok(caller.to_sign_in()) };
    let name = registered(&visitor.session.person)?;
    gateway.store.remove_passkey(&name, &form.id, name.to_string()).await?;
    gateway.people.reload(gateway.store.as_ref()).await?;
    Ok(go("/account?done=passkey-removed", &[]))
}

#[derive(Deserialize)]
pub(super) struct Ended {
    session: String,
}

/// Ends one of the own sessions, or all others.
pub(super) async fn end_sessions(
    State(gateway): State<Arc<Gateway>>,
    Posted { caller, form }: Posted<Ended>,
) -> Result<Response, Wrong> {
    let Some((visitor, _)) = caller.signed_in() else { return Ok(caller.to_sign_in()) };
    let (person, idle) = (&visitor.session.person, gateway.sign_in.settings.sessions.idle.0);
    let which = if form.session == "others" {
        Which::Others(visitor.session.digest)
    } else {
        let own = gateway.sign_in.sessions.of(person, gateway.clock.now(), idle);
        match own.into_iter().find(|session| session.short() == form.session) {
            Some(session) => Which::One(session.digest),
            None => return Ok(go("/account", &[])),
        }
    };
    gateway.sign_in.end(which, &person.name).await?;
    Ok(go("/account?done=ended", &[]))
}
