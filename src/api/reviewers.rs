//! The register of people: who may read, decide and operate, with which tokens and keys.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::{MAX_GROUPS, MAX_NAME};
use super::body::whole;
use super::{Body, Failure, Operator, Path, Viewer};
use crate::authentication;
use crate::evidence::signature;
use crate::gateway::Gateway;
use crate::ids::PersonName;
use crate::principal::Role;
use crate::storage::{PeopleError, Reviewer, ReviewerChange, SshKey};

/// How many other names a person may have.
const MAX_ALSO: usize = 16;

/// A person as people see it; the token is shown to nobody.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of the reviewer, described there")]
pub struct ReviewerView {
    pub name: PersonName,
    pub role: Role,
    pub groups: Vec<String>,
    pub also: Vec<String>,
    pub keys: Vec<KeyView>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A public key as people see it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of the key, described there")]
pub struct KeyView {
    pub fingerprint: String,
    pub public: String,
    pub added_at: Timestamp,
    pub added_by: String,
}

impl From<Reviewer> for ReviewerView {
    fn from(reviewer: Reviewer) -> Self {
        let key = |key: SshKey| KeyView {
            fingerprint: key.fingerprint,
            public: key.public,
            added_at: key.added_at,
            added_by: key.added_by,
        };
        Self {
            name: reviewer.name,
            role: reviewer.role,
            groups: reviewer.groups,
            also: reviewer.also,
            keys: reviewer.keys.into_iter().map(key).collect(),
            created_at: reviewer.created_at,
            expires_at: reviewer.expires_at,
            revoked_at: reviewer.revoked_at,
        }
    }
}

/// A person to be added.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReviewer {
    /// The name.
    pub name: PersonName,
    /// What the person may do.
    pub role: Role,
    /// The groups.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub groups: Vec<String>,
    /// Other names of the same human.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub also: Vec<String>,
    /// After how many seconds the record ends; never when absent.
    #[serde(default, deserialize_with = "whole")]
    pub expires_in: Option<u64>,
}

/// What to change of a person; what is absent stays.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewerEdit {
    /// Another role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Other groups, in place of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub groups: Option<Vec<String>>,
    /// Other further names, in place of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub also: Option<Vec<String>>,
}

/// How long a new token is to live.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// After how many seconds the record ends; when it ended anyway, when absent.
    #[serde(default, deserialize_with = "whole")]
    pub expires_in: Option<u64>,
}

/// A person's new token, shown this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewPersonToken {
    /// The person.
    pub name: PersonName,
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A public key to be registered.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyGiven {
    /// The key in OpenSSH's one-line form; a comment is dropped.
    pub public: String,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
) -> Result<Json<Vec<ReviewerView>>, Failure> {
    let reviewers = gateway.store.reviewers().await?;
    Ok(Json(reviewers.into_iter().map(ReviewerView::from).collect()))
}

pub(super) async fn add(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Body(new): Body<NewReviewer>,
) -> Result<Json<NewPersonToken>, Failure> {
    check_names(&new.groups, &new.also)?;
    let expires_at = end(&gateway, new.expires_in)?;
    let (token, token_digest) = authentication::new_person_token()?;
    let reviewer = Reviewer {
        name: new.name,
        role: new.role,
        groups: new.groups,
        also: new.also,
        token_digest,
        keys: Vec::new(),
        passkeys: Vec::new(),
        created_at: gateway.clock.now(),
        expires_at,
        revoked_at: None,
    };
    let added = gateway.store.add_reviewer(reviewer, person.name).await;
    let added = taken_up(&gateway, added).await?;
    Ok(Json(NewPersonToken { name: added.name, token, expires_at: added.expires_at }))
}

pub(super) async fn change(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
    Body(edit): Body<ReviewerEdit>,
) -> Result<Json<ReviewerView>, Failure> {
    check_names(edit.groups.as_deref().unwrap_or(&[]), edit.also.as_deref().unwrap_or(&[]))?;
    let name = named(&name)?;
    let change = ReviewerChange {
        role: edit.role,
        groups: edit.groups,
        also: edit.also,
        ..ReviewerChange::default()
    };
    let changed = gateway.store.change_reviewer(&name, change, person.name).await;
    Ok(Json(taken_up(&gateway, changed).await?.into()))
}

pub(super) async fn renew(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
    Body(renewal): Body<Renewal>,
) -> Result<Json<NewPersonToken>, Failure> {
    let name = named(&name)?;
    let expires_at = end(&gateway, renewal.expires_in)?;
    let ended = |known: &Reviewer| known.expires_at.is_some_and(|at| at <= gateway.clock.now());
    if expires_at.is_none() && gateway.people.named(&name).as_ref().is_some_and(ended) {
        let told = format!("the record of `{name}` has ended; say how long a new token lives");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let (token, digest) = authentication::new_person_token()?;
    let change =
        ReviewerChange { token_digest: Some(digest), expires_at, ..ReviewerChange::default() };
    let changed = gateway.store.change_reviewer(&name, change, person.name).await;
    let changed = taken_up(&gateway, changed).await?;
    Ok(Json(NewPersonToken { name, token, expires_at: changed.expires_at }))
}

pub(super) async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let revoked = gateway.store.revoke_reviewer(&named(&name)?, person.name).await;
    taken_up(&gateway, revoked).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn add_key(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path(name): Path<String>,
    Body(given): Body<KeyGiven>,
) -> Result<Json<ReviewerView>, Failure> {
    let (public, fingerprint) = signature::public_key(&given.public)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let added_at = gateway.clock.now();
    let key = SshKey { public, fingerprint, added_at, added_by: person.name };
    let registered = gateway.store.register_key(&named(&name)?, key).await;
    Ok(Json(taken_up(&gateway, registered).await?.into()))
}

pub(super) async fn remove_key(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Path((name, fingerprint)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let removed = gateway.store.remove_key(&named(&name)?, &fingerprint, person.name).await;
    taken_up(&gateway, removed).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was changed in the store, once every request is judged by it.
async fn taken_up(
    gateway: &Gateway,
    changed: Result<Reviewer, PeopleError>,
) -> Result<Reviewer, Failure> {
    let changed = changed?;
    gateway.people.reload(gateway.store.as_ref()).await?;
    gateway.sign_in.reload().await?;
    Ok(changed)
}

pub(super) fn named(name: &str) -> Result<PersonName, Failure> {
    name.parse()
        .map_err(|_| Failure::new(StatusCode::NOT_FOUND, format!("nobody is called `{name}`")))
}

pub(super) fn check_names(groups: &[String], also: &[String]) -> Result<(), Failure> {
    let bad = |name: &String| name.is_empty() || name.chars().count() > MAX_NAME;
    if groups.len() > MAX_GROUPS || also.len() > MAX_ALSO || groups.iter().chain(also).any(bad) {
        let told = format!(
            "names have 1 to {MAX_NAME} characters; a person is in at most {MAX_GROUPS} groups and has at \
             most {MAX_ALSO} other names"
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    Ok(())
}

/// When something ends that begins now and lives for `seconds`.
pub(super) fn end(gateway: &Gateway, seconds: Option<u64>) -> Result<Option<Timestamp>, Failure> {
    let too_far = |_| Failure::new(StatusCode::BAD_REQUEST, "`expires_in` is too far away");
    let ends = |seconds| gateway.clock.now().checked_add(Duration::from_secs(seconds));
    seconds.map(|seconds| ends(seconds).map_err(too_far)).transpose()
}
