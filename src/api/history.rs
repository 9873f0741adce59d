//! The revisions that were in force, and going back to one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::{ReloadedView, not_taken_up};
use super::{Body, Failure, Operator, Path, Viewer};
use crate::digest::Digest;
use crate::gateway::{Gateway, WentBack};
use crate::storage::history::{KeptFile, KeptRevision, RolledBack};

/// The fewest characters of a digest, after `sha256:`, that may stand for all of it.
const MIN_PREFIX: usize = 8;
/// The longest text that stands for a revision, in characters.
const MAX_REVISION: usize = 128;
/// The longest reason, in bytes.
const MAX_REASON: usize = 1_000;
/// What stands before the digits of a digest.
const SHA256: &str = "sha256:";

/// The revisions that were in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HistoryView {
    /// The digest of what is in force now.
    pub in_force: Digest,
    /// That an earlier revision is in force, and not the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBackView>,
    /// Those that are kept, the newest first; at most 200, and 64 MiB of files.
    pub revisions: Vec<RevisionView>,
}

/// A revision that was in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevisionView {
    /// What is kept of it.
    #[serde(flatten)]
    pub kept: KeptRevision,
    /// Whether it is in force now.
    pub in_force: bool,
}

/// An operator went back to an earlier revision.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RolledBackView {
    /// To which, when, who and why.
    #[serde(flatten)]
    pub to: RolledBack,
    /// When the files of the directories were last seen to change since; they wait for a reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Timestamp>,
}

impl RolledBackView {
    pub(super) fn of(back: &WentBack) -> Self {
        Self { to: back.to.clone(), waiting: back.waiting }
    }
}

/// The files of a revision.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevisionFiles {
    /// Its digest.
    pub revision: Digest,
    /// All policies and manifests.
    pub files: Vec<KeptFile>,
}

/// To which revision to go back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackWanted {
    /// Its digest, or so much of its beginning (8 digits at least) that only one begins so.
    #[schemars(length(min = 8, max = 128))]
    pub revision: String,
    /// Why, at most 1000 bytes.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
) -> Result<Json<HistoryView>, Failure> {
    let in_force = gateway.revision().digest;
    let mut found = false;
    let revisions = gateway.store.revisions().await?.into_iter().map(|kept| {
        // One that came back is in force where it stands last.
        let now = !found && kept.revision == in_force;
        found |= now;
        RevisionView { kept, in_force: now }
    });
    Ok(Json(HistoryView {
        in_force,
        rolled_back: gateway.went_back().map(|it| RolledBackView::of(&it)),
        revisions: revisions.collect(),
    }))
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Path(revision): Path<String>,
) -> Result<Json<RevisionFiles>, Failure> {
    let (revision, files) = meant(&gateway, &revision).await?;
    Ok(Json(RevisionFiles { revision, files }))
}

pub(super) async fn roll_back(
    State(gateway): State<Arc<Gateway>>,
    Operator(person): Operator,
    Body(wanted): Body<RollbackWanted>,
) -> Result<Json<ReloadedView>, Failure> {
    let reason = wanted.reason.trim().to_owned();
    if reason.is_empty() || reason.len() > MAX_REASON {
        let told = format!("a reason has 1 to {MAX_REASON} bytes");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let (revision, files) = meant(&gateway, &wanted.revision).await?;
    let (at, by) = (gateway.clock.now(), person.name.clone());
    let to = RolledBack { revision, at, by, reason };
    let done = gateway.roll_back(files, to, person).await.map_err(not_taken_up)?;
    Ok(Json(ReloadedView { revision: done.revision, before: done.before }))
}

/// The kept revision that `text` stands for, and its files.
async fn meant(gateway: &Gateway, text: &str) -> Result<(Digest, Vec<KeptFile>), Failure> {
    let digits = text.strip_prefix(SHA256).unwrap_or(text);
    if digits.len() < MIN_PREFIX || text.chars().count() > MAX_REVISION {
        let told = format!("a revision is named by {MIN_PREFIX} digits of its digest, or more");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let all = gateway.store.revisions().await?;
    let named = |it: &&KeptRevision| {
        it.revision.to_string().strip_prefix(SHA256).is_some_and(|it| it.starts_with(digits))
    };
    let mut found = all.iter().filter(named).map(|it| it.revision);
    let shown: String = text.chars().take(MIN_PREFIX * 4).collect();
    let first = found.next().ok_or_else(|| {
        Failure::new(StatusCode::NOT_FOUND, format!("no revision `{shown}` is kept"))
    })?;
    if found.any(|other| other != first) {
        let told = format!("several revisions begin with `{shown}`");
        return Err(Failure::new(StatusCode::CONFLICT, told));
    }
    let files = gateway.store.revision_files(first).await?.ok_or_else(|| {
        Failure::new(StatusCode::CONFLICT, "the files of this revision are not kept")
    })?;
    Ok((first, files))
}
