//! The inbox: the calls that wait for a person, and one of them in full. What is shown comes from the JSON API.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::header::REFERRER_POLICY;
use http::{HeaderValue, StatusCode};

use super::answer::{Wrong, page};
use super::pages;
use super::visiting::{Caller, Then};
use crate::authentication::Visitor;
use crate::gateway::Gateway;
use crate::ids::HoldId;
use crate::principal::Capacity;

/// Who is signed in, in words.
pub(super) struct Who {
    pub(super) name: String,
    pub(super) local: bool,
    pub(super) role: &'static str,
    pub(super) decides: bool,
    pub(super) groups: String,
    pub(super) with: String,
}

impl Who {
    pub(super) fn new(visitor: &Visitor, capacity: &Capacity) -> Self {
        Self {
            name: visitor.session.person.name.clone(),
            local: visitor.session.person.local,
            role: capacity.role.as_str(),
            decides: capacity.decides,
            groups: capacity.groups.join(", "),
            with: format!("with {}", super::account::way(visitor.session.with)),
        }
    }
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    page: &'static str,
    csrf: String,
    then: Then,
    who: Who,
    /// The hold that is looked at, or nothing.
    hold: String,
}

/// What a link in a notice shows to whoever is not signed in: how to decide, the same for everybody and every hold.
/// Programs that open every link in a message (scanners, previews) learn nothing and change nothing by it.
#[derive(Template)]
#[template(path = "held.html")]
struct Held;

/// The query by which that page asks to sign in.
const TO_SIGN_IN: &str = "sign-in";

pub(super) async fn show(State(_): State<Arc<Gateway>>, caller: Caller) -> Result<Response, Wrong> {
    inbox(&caller, String::new()).unwrap_or_else(|| Ok(caller.to_sign_in()))
}

pub(super) async fn hold(
    State(_): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Wrong> {
    // What is no identifier names no hold; the page says so as it does of one that is gone.
    let hold = id.parse::<HoldId>().map_or_else(|_| "unknown".to_owned(), |id| id.to_string());
    inbox(&caller, hold).unwrap_or_else(|| {
        // The link to sign in is the same on every page; the address that it is relative to says which call.
        if query.as_deref() == Some(TO_SIGN_IN) {
            return Ok(caller.to_sign_in());
        }
        let mut told = page(StatusCode::OK, &Held, &[])?;
        // A link in a message is a secret between its sender and its readers.
        told.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(told)
    })
}

/// The pages that list something: their titles and programs have one name.
#[derive(Template)]
#[template(path = "listing.html")]
struct Listing {
    page: &'static str,
    title: &'static str,
    csrf: String,
    then: Then,
    who: Who,
}

pub(super) fn list(caller: &Caller, page: &'static pages::Listing) -> Result<Response, Wrong> {
    let Some((visitor, capacity)) = caller.signed_in() else { return Ok(caller.to_sign_in()) };
    let (who, then) = (Who::new(visitor, capacity), caller.then);
    let pages::Listing { name, title, .. } = *page;
    caller.page(StatusCode::OK, &Listing { page: name, title, csrf: caller.csrf(), then, who })
}

fn inbox(caller: &Caller, hold: String) -> Option<Result<Response, Wrong>> {
    let (visitor, capacity) = caller.signed_in()?;
    let (who, then) = (Who::new(visitor, capacity), caller.then);
    Some(
        caller.page(StatusCode::OK, &Inbox { page: "inbox", csrf: caller.csrf(), then, who, hold }),
    )
}
