//! The gateway as an OAuth 2.1 resource server: what its metadata says (RFC 9728), and how it refuses (RFC 6750).

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::api;
use crate::authentication::Denied;
use crate::gateway::Gateway;

/// Where the metadata is: of the gateway, and of its one resource (RFC 9728, section 3.1).
const METADATA: &str = "/.well-known/oauth-protected-resource";
const METADATA_OF_MCP: &str = "/.well-known/oauth-protected-resource/mcp";

/// RFC 9728, section 2.
#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    authorization_servers: Vec<&'a str>,
    bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    resource_name: &'static str,
}

/// The routes of the metadata; none where no authorization server issues tokens, so that nothing leads clients
/// to look for one.
pub(super) fn routes(gateway: &Arc<Gateway>) -> Router {
    if gateway.issuers.is_empty() {
        return Router::new();
    }
    Router::new()
        .route(METADATA, get(metadata))
        .route(METADATA_OF_MCP, get(metadata))
        .with_state(Arc::clone(gateway))
}

async fn metadata(State(gateway): State<Arc<Gateway>>) -> Response {
    let issuers = &gateway.issuers;
    Json(Metadata {
        resource: issuers.resource(),
        authorization_servers: issuers.keys().map(|(issuer, _)| issuer).collect(),
        bearer_methods_supported: ["header"],
        scopes_supported: issuers.scopes(),
        resource_name: "Countersign",
    })
    .into_response()
}

/// Turns an agent away, and says how to do better.
pub(super) fn refused(gateway: &Gateway, denied: &Denied) -> Response {
    gateway.metrics.turned_away(denied.as_str());
    tracing::info!(reason = denied.as_str(), "an agent was not let in");
    let (status, told) = match denied {
        Denied::Missing => (StatusCode::UNAUTHORIZED, "a token is needed\n"),
        Denied::Invalid(_) => (StatusCode::UNAUTHORIZED, "the token is not valid here\n"),
        Denied::Scope(_) => (StatusCode::FORBIDDEN, "the token does not carry the needed scope\n"),
    };
    let challenge = HeaderValue::try_from(challenge(gateway, denied));
    let challenge = challenge.unwrap_or(HeaderValue::from_static(api::CHALLENGE));
    (status, [(WWW_AUTHENTICATE, challenge)], told).into_response()
}

fn challenge(gateway: &Gateway, denied: &Denied) -> String {
    let mut challenge = api::CHALLENGE.to_owned();
    let mut say = |name: &str, value: &str| {
        challenge.push_str(&format!(", {name}=\"{value}\""));
    };
    // What is said of itself needs no escaping: scopes have no quotes, and addresses were parsed.
    match denied {
        Denied::Missing => {}
        Denied::Invalid(_) => say("error", "invalid_token"),
        Denied::Scope(_) => say("error", "insufficient_scope"),
    }
    let issuers = &gateway.issuers;
    if issuers.is_empty() {
        return challenge;
    }
    let needed = match denied {
        Denied::Scope(needed) => needed.join(" "),
        Denied::Missing | Denied::Invalid(_) => issuers.scopes().join(" "),
    };
    if !needed.is_empty() {
        say("scope", &needed);
    }
    let origin = issuers.resource().strip_suffix("/mcp").unwrap_or_default();
    say("resource_metadata", &format!("{origin}{METADATA_OF_MCP}"));
    challenge
}
