//! The first page: who is signed in, and how many calls wait.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::answer::Wrong;
use super::visiting::Caller;
use crate::authentication::Visitor;
use crate::gateway::Gateway;
use crate::principal::Capacity;

/// How many pending calls are counted at the most.
const COUNTED: u32 = 1000;

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
#[template(path = "home.html")]
struct Home {
    page: &'static str,
    csrf: String,
    who: Who,
    waiting: usize,
    more: bool,
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
) -> Result<Response, Wrong> {
    let Some((visitor, capacity)) = caller.signed_in() else { return Ok(caller.to_sign_in()) };
    let waiting = gateway.store.pending_calls(None, COUNTED).await?.len();
    let home = Home {
        page: "home",
        csrf: caller.csrf(),
        who: Who::new(visitor, capacity),
        waiting,
        more: waiting >= COUNTED as usize,
    };
    caller.page(StatusCode::OK, &home)
}
