//! Who is let in: by the names a request came under, by its credential, by the user at the other end of a socket.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tokio::net::UnixStream;

use super::resource;
use crate::api::{self, Failure};
use crate::authentication::browser::{self, Site};
use crate::authentication::{self, Denied, Reason, bearer};
use crate::edge::{Arrival, Names};
use crate::gateway::Gateway;
use crate::principal::{Authentication, Person};
use crate::storage::Session;

/// The header by which a local client says for which agent it speaks.
pub const AGENT_HEADER: &str = "countersign-agent";

/// Who is at the other end of the local socket.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    user: Option<u32>,
    process: Option<i32>,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        let credential = stream.peer_cred().ok();
        Self {
            user: credential.map(|credential| credential.uid()),
            process: credential.and_then(|credential| credential.pid()),
        }
    }

    /// The name of the user: the sockets let in their owner and root, as their file mode says already. What
    /// a tool started is no person: an agent must not decide about its own calls by way of a program that
    /// it may run.
    pub(super) fn person(&self) -> Result<String, &'static str> {
        let own = nix::unistd::getuid().as_raw();
        let Some(user) = self.user.filter(|user| *user == own || *user == 0) else {
            return Err("the gateway belongs to another user");
        };
        if self.process.is_none_or(crate::backend::command::is_ours) {
            return Err("a program that the gateway started may not use its socket");
        }
        Ok(nix::unistd::User::from_uid(user.into())
            .ok()
            .flatten()
            .map_or_else(|| format!("uid-{user}"), |user| user.name))
    }
}

/// The person is an operator, and may speak for an agent that the request names.
pub(super) async fn let_local_in(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let name = match peer.person() {
        Ok(name) => name,
        Err(told) => return (StatusCode::FORBIDDEN, format!("{told}\n")).into_response(),
    };
    if request.headers().contains_key(AUTHORIZATION) {
        // Who shows a token is who the token says, and never the local user instead.
        let alone = !request.headers().contains_key(AGENT_HEADER);
        let Some(person) = person_of(&gateway, request.headers()).filter(|_| alone) else {
            return refused("the token is not a person's, or not valid any more\n");
        };
        request.extensions_mut().insert(person);
        request.extensions_mut().insert(Authentication::Token);
    } else if let Some(agent) =
        request.headers().get(AGENT_HEADER).and_then(|name| name.to_str().ok())
    {
        let principal = agent.parse().ok().and_then(|agent| gateway.agents.local(&agent, &name));
        let Some(principal) = principal else {
            return (StatusCode::UNAUTHORIZED, "the agent's name is not usable, or it was revoked")
                .into_response();
        };
        request.extensions_mut().insert(principal);
    } else {
        request.extensions_mut().insert(Person::local(name));
        request.extensions_mut().insert(Authentication::Local);
    }
    next.run(request).await
}

/// Agents over HTTP need a token, always.
pub(super) async fn let_agent_in(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let credential = match bearer(request.headers()) {
        Some(token) => {
            let registers = (&gateway.agents, &gateway.issuers);
            authentication::agent(token, registers, gateway.clock.now()).await
        }
        None if request.headers().contains_key(AUTHORIZATION) => Err(Reason::Malformed.into()),
        None => Err(Denied::Missing),
    };
    match credential {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(denied) => resource::refused(&gateway, &denied),
    }
}

/// People over HTTP need a token or a session, always. Without a valid one nobody stands behind the request,
/// and each route says alike that it needs a person.
pub(super) async fn let_person_in(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    if parts.headers.contains_key(AUTHORIZATION) {
        // Who shows a token is who the token says, and never who is signed in at the browser instead.
        if let Some(person) = person_of(&gateway, &parts.headers) {
            parts.extensions.insert(person);
            parts.extensions.insert(Authentication::Token);
        }
    } else {
        match signed_in(&gateway, &parts) {
            Ok(Some(session)) => {
                if let Err(error) = gateway.sign_in.used(&session).await {
                    return Failure::from(error).into_response();
                }
                parts.extensions.insert(session.person);
                parts.extensions.insert(session.with);
            }
            Ok(None) => {}
            Err(refused) => return refused.into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// The session that a request came with. One that changes something must come from our own page and show the
/// session's token, or another site could make a signed-in person's browser decide.
fn signed_in(gateway: &Gateway, parts: &Parts) -> Result<Option<Session>, Failure> {
    let site = Site::of(parts, gateway.config.public_url.as_deref());
    let found = site.and_then(|site| {
        let visitor = gateway.sign_in.visitor(&parts.headers, &site)?;
        Some((visitor, site))
    });
    let Some((visitor, site)) = found else { return Ok(None) };
    if !browser::only_reads(&parts.method) {
        let shown = parts.headers.get(browser::CSRF_HEADER).and_then(|token| token.to_str().ok());
        let shown = shown.is_some_and(|token| browser::is_csrf_token(token, &visitor.secret));
        if !shown || !site.made_by_us(&parts.headers) {
            let told = "a change in a session needs its token in `x-csrf-token`, and to be made by a page of \
                        this gateway";
            return Err(Failure::new(StatusCode::FORBIDDEN, told));
        }
    }
    Ok(Some(visitor.session))
}

fn person_of(gateway: &Gateway, headers: &HeaderMap) -> Option<Person> {
    bearer(headers).and_then(|token| gateway.people.of_token(token, gateway.clock.now()))
}

fn refused(told: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, api::CHALLENGE)], told).into_response()
}

/// Only names of this gateway may stand in Host and Origin, or a web page anywhere could reach it through
/// a visitor's browser (DNS rebinding). A target that is a whole address must name it too.
pub(super) async fn check_names(
    State(names): State<Arc<Names>>,
    request: Request,
    next: Next,
) -> Response {
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    // What a client named to a trusted proxy stands for what the proxy names to us.
    let forwarded = request.extensions().get::<Arrival>().and_then(|it| it.host.as_deref());
    let ours = |name: &str| names.is_ours(name);
    let named = match forwarded {
        Some(forwarded) => ours(forwarded),
        None => (host.is_some() || target.is_some()) && host.into_iter().chain(target).all(ours),
    };
    if !named {
        return (StatusCode::FORBIDDEN, "Forbidden: this Host is not the gateway's")
            .into_response();
    }
    if let Some(origin) = request.headers().get(ORIGIN)
        && !origin.to_str().is_ok_and(|origin| names.origin_is_ours(origin))
    {
        return (StatusCode::FORBIDDEN, "Forbidden: this Origin is not the gateway's")
            .into_response();
    }
    next.run(request).await
}
