//! Links that work once, for people who are to sign in, and the end of their sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::whole;
use super::people::Shown;
use super::reviewers::{check_names, end, named};
use super::{Body, Failure, Operator, Path};
use crate::authentication;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::principal::{Authentication, Role};
use crate::storage::{PeopleError, Reviewer, Which};

/// For how long an invitation works, in seconds, when nobody says.
const INVITED_FOR: u64 = 72 * 3600;
/// The longest that one may work, in seconds.
const MAX_INVITED_FOR: u64 = 30 * 24 * 3600;

/// Whom to invite. Someone in the register gets a new link and stays what they are; anybody else is added.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationWanted {
    /// What a new person may do; a reviewer when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The groups of a new person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub groups: Vec<String>,
    /// Other names of the same human, for a new person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub also: Vec<String>,
    /// After how many seconds a new person's record ends; never when absent.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// For how many seconds the link works, at most 30 days; three days when absent.
    #[schemars(range(min = 1, max = 2_592_000))]
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<u64>,
}

/// An invitation, shown this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Invitation {
    /// The link.
    pub url: String,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// Whether the person was added with it.
    pub added: bool,
}

/// A link to sign in, shown this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkMade {
    /// The link.
    pub url: String,
    /// Until when it works.
    pub expires_at: Timestamp,
}

pub(super) async fn invite(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
    Body(wanted): Body<InvitationWanted>,
) -> Result<Json<Invitation>, Failure> {
    check_names(&wanted.groups, &wanted.also)?;
    let told = |told: &str| Failure::new(StatusCode::BAD_REQUEST, told);
    let name =
        named(&name).map_err(|_| told("a name has 1 to 64 characters of `A-Z a-z 0-9 . _ @ -`"))?;
    let valid_for = wanted.valid_for.unwrap_or(INVITED_FOR);
    if !(1..=MAX_INVITED_FOR).contains(&valid_for) {
        return Err(told("an invitation works for at most 30 days"));
    }
    let site = site(&gateway.config).ok_or_else(unreachable)?;
    let expires_at = end(&gateway, Some(valid_for))?.unwrap_or(Timestamp::MAX);
    let known = gateway.people.named(&name).filter(|known| known.revoked_at.is_none());
    let new = match known {
        Some(_) if wanted.names_more() => return Err(PeopleError::Exists(name).into()),
        Some(_) => None,
        None => Some(Reviewer {
            name: name.clone(),
            role: wanted.role.unwrap_or(Role::Reviewer),
            groups: wanted.groups,
            also: wanted.also,
            // Of a token that nobody has: the person signs in.
            token_digest: authentication::new_person_token()?.1,
            keys: Vec::new(),
            passkeys: Vec::new(),
            created_at: gateway.clock.now(),
            expires_at: end(&gateway, wanted.expires_in)?,
            revoked_at: None,
        }),
    };
    let added = new.is_some();
    let code = gateway.sign_in.invite(&name, new, expires_at, &person.name).await?;
    gateway.people.reload(gateway.store.as_ref()).await?;
    Ok(Json(Invitation { url: format!("{site}/invitation/{code}"), expires_at, added }))
}

impl InvitationWanted {
    /// Whether it says anything that is only for a new person.
    const fn names_more(&self) -> bool {
        self.role.is_some()
            || !self.groups.is_empty()
            || !self.also.is_empty()
            || self.expires_in.is_some()
    }
}

pub(super) async fn sign_out(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    gateway.sign_in.end(Which::Of(name), &person.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Only for who is at the gateway's machine: a session that a link opened makes no links that outlive it.
pub(super) async fn link(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Shown(shown): Shown,
) -> Result<Json<LinkMade>, Failure> {
    if !person.local || shown != Some(Authentication::Local) {
        let told = "a link to sign in is made on the gateway's machine: countersign reviewers sign-in-link";
        return Err(Failure::new(StatusCode::FORBIDDEN, told));
    }
    if !gateway.config.listens {
        return Err(unreachable());
    }
    let site = site(&gateway.config).ok_or_else(unreachable)?;
    let (code, expires_at) = gateway.sign_in.sign_in_link(&person, &person.name).await?;
    Ok(Json(LinkMade { url: format!("{site}/sign-in?code={code}"), expires_at }))
}

/// What links to this gateway begin with; none where no browser can reach it.
#[must_use]
pub fn site(config: &Config) -> Option<String> {
    if let Some(url) = &config.public_url {
        return Some((**url).to_owned());
    }
    let reachable = !config.listen.ends_with(":0");
    let loopback = || config.url().replace("//0.0.0.0:", "//127.0.0.1:");
    reachable.then(|| loopback().replace("//[::]:", "//[::1]:"))
}

fn unreachable() -> Failure {
    let told = "this gateway listens on no address that a browser could open: start `countersign serve`, and \
                behind a proxy say where it is with `public_url`";
    Failure::new(StatusCode::CONFLICT, told)
}
