//! Who asks for a page: the browser, who is signed in there, and whether a form or message is one of ours.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::Response;
use axum::{Form, Json};
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::answer::{Wrong, go_to, message, page};
use super::next::{Next, REMEMBERED};
use crate::authentication::browser::{self, Cookie, Site};
use crate::authentication::{From, Visitor, new_secret};
use crate::edge::Arrival;
use crate::gateway::Gateway;
use crate::json;
use crate::principal::Capacity;
use crate::storage::Which;

/// A browser that asks for a page.
pub(super) struct Caller {
    /// Under which name it came.
    pub(super) site: Site,
    /// Where it is.
    pub(super) from: From,
    /// The secret that tells it from other browsers.
    pub(super) browser: String,
    /// Whether it has the secret already.
    known: bool,
    /// The page of ours that is asked for.
    here: Option<Next>,
    /// Where the person wanted to go before signing in.
    wanted: Option<Next>,
    /// Who is signed in there, and what they may do now.
    pub(super) visitor: Option<(Visitor, Capacity)>,
    /// What was so when it asked.
    pub(super) then: Then,
}

/// What the programs of a page begin with, so that they need not ask for it.
#[derive(Clone, Copy)]
pub(super) struct Then {
    /// How far the log had come; the stream of events goes on from there.
    pub(super) after: u64,
    /// Whether any halt was engaged, looked at after that.
    pub(super) halted: bool,
}

impl Then {
    fn now(gateway: &Gateway) -> Self {
        let after = *gateway.store.written().borrow();
        Self { after, halted: !gateway.store.halts().engaged().is_empty() }
    }
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Wrong> {
        let then = Then::now(gateway);
        let public_url = gateway.config.public_url.as_deref();
        let site = Site::of(parts, public_url)
            .ok_or_else(|| Wrong::new(StatusCode::BAD_REQUEST, "The request names no host."))?;
        let address = parts.extensions.get::<Arrival>().map(|arrival| arrival.address);
        let from = From::new(&parts.headers, address);
        let known = site.cookie(&parts.headers, Cookie::Browser);
        let (browser, known) = match known {
            Some(secret) => (secret, true),
            None => (new_secret()?.0, false),
        };
        let here = Next::read(parts.uri.path());
        let wanted = site.cookie_text(&parts.headers, Cookie::Next).and_then(Next::read);
        let visitor = gateway.sign_in.visitor(&parts.headers, &site);
        let now = gateway.clock.now();
        let visitor = visitor.and_then(|visitor| {
            let capacity = gateway.people.capacity(&visitor.session.person, now)?;
            Some((visitor, capacity))
        });
        if let Some((visitor, _)) = &visitor {
            gateway.sign_in.used(&visitor.session).await?;
        }
        Ok(Self { site, from, browser, known, here, wanted, visitor, then })
    }
}

impl Caller {
    /// The token that the forms of a page for this browser carry.
    pub(super) fn csrf(&self) -> String {
        browser::csrf_token(self.secret())
    }

    fn secret(&self) -> &str {
        self.visitor.as_ref().map_or(&self.browser, |(visitor, _)| &visitor.secret)
    }

    /// Who is signed in.
    pub(super) fn signed_in(&self) -> Option<(&Visitor, &Capacity)> {
        self.visitor.as_ref().map(|(visitor, capacity)| (visitor, capacity))
    }

    /// The way to the page where one signs in, and from there back to this one.
    pub(super) fn to_sign_in(&self) -> Response {
        go_to(&self.here.clone().unwrap_or_default().sign_in(), &self.cookies())
    }

    /// Where to go after signing in.
    pub(super) fn next(&self) -> &str {
        self.wanted.as_ref().map_or("/", Next::path)
    }

    /// The cookies with which a browser remembers where the person wanted to go, and nowhere else.
    pub(super) fn remember(&self, next: Option<&Next>) -> Vec<String> {
        let mut cookies = self.cookies();
        if next.is_some() || self.wanted.is_some() {
            let path = next.map(Next::path);
            cookies.push(self.site.set_cookie(Cookie::Next, path, path.map(|_| REMEMBERED)));
        }
        cookies
    }

    /// A page for this browser.
    pub(super) fn page(
        &self,
        status: StatusCode,
        template: &impl Template,
    ) -> Result<Response, Wrong> {
        page(status, template, &self.cookies())
    }

    /// Cookies that the browser needs and does not have.
    pub(super) fn cookies(&self) -> Vec<String> {
        let fresh = (!self.known).then_some(self.browser.as_str());
        fresh.map(|it| self.site.set_cookie(Cookie::Browser, Some(it), None)).into_iter().collect()
    }

    /// The cookies of a browser in which `visitor` has just signed in: both are new, so that nothing that
    /// was put into it before is worth anything. Whoever was signed in there is so no more.
    pub(super) async fn let_in(
        &self,
        gateway: &Gateway,
        visitor: &Visitor,
    ) -> Result<Vec<String>, Wrong> {
        if let Some((before, _)) = &self.visitor {
            let which = Which::One(before.session.digest);
            gateway.sign_in.end(which, &before.session.person.name).await?;
        }
        let lifetime = gateway.sign_in.settings.sessions.lifetime.0.as_secs();
        let mut cookies = vec![
            self.site.set_cookie(Cookie::Session, Some(&visitor.secret), Some(lifetime)),
            self.site.set_cookie(Cookie::Browser, Some(&new_secret()?.0), None),
        ];
        if self.wanted.is_some() {
            cookies.push(self.site.set_cookie(Cookie::Next, None, None));
        }
        Ok(cookies)
    }
}

/// A form that one of our pages sent.
pub(super) struct Posted<T> {
    pub(super) caller: Caller,
    pub(super) form: T,
}

#[derive(Deserialize)]
struct Signed<T> {
    csrf: String,
    #[serde(flatten)]
    form: T,
}

impl<T: DeserializeOwned> FromRequest<Arc<Gateway>> for Posted<T> {
    type Rejection = Wrong;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Wrong> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, gateway).await?;
        if !caller.site.made_by_us(&parts.headers) {
            return Err(Wrong::not_ours());
        }
        let request = Request::from_parts(parts, body);
        let Form(signed) = Form::<Signed<T>>::from_request(request, &())
            .await
            .map_err(|rejection| Wrong::new(rejection.status(), "The form is not one of ours."))?;
        if !browser::is_csrf_token(&signed.csrf, caller.secret()) {
            return Err(Wrong::not_ours());
        }
        Ok(Self { caller, form: signed.form })
    }
}

/// A message that the program of one of our pages sent.
pub(super) struct Sent<T> {
    pub(super) caller: Caller,
    pub(super) message: T,
}

impl<T: DeserializeOwned> FromRequest<Arc<Gateway>> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Response> {
        Self::read(request, gateway).await.map_err(|wrong| message(Err(wrong)))
    }
}

impl<T: DeserializeOwned> Sent<T> {
    async fn read(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Wrong> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, gateway).await?;
        let shown = parts.headers.get(browser::CSRF_HEADER).and_then(|token| token.to_str().ok());
        let ours = shown.is_some_and(|token| browser::is_csrf_token(token, caller.secret()));
        if !ours || !caller.site.made_by_us(&parts.headers) {
            return Err(Wrong::not_ours());
        }
        let request = Request::from_parts(parts, body);
        let unread = |status| Wrong::new(status, "The message is not one of ours.");
        let Json(text) = Json::<Box<RawValue>>::from_request(request, &())
            .await
            .map_err(|rejection| unread(rejection.status()))?;
        let message = json::parse(text.get().as_bytes()).ok();
        let message = message.and_then(|message| T::deserialize(message).ok());
        let message = message.ok_or_else(|| unread(StatusCode::BAD_REQUEST))?;
        Ok(Self { caller, message })
    }
}
