//! The audit log, to be read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Failure, Query, Viewer};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::ids::CallId;
use crate::json::Object;
use crate::storage::{EntryQuery, EntrySearch, StoredEntry};

/// How many characters the words of one search have together.
const MAX_SOUGHT: usize = 200;
/// How many entries one search gives.
const MAX_FOUND: usize = 200;

/// An entry with its place in the log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EntryView {
    /// Its place, from 1.
    pub index: u64,
    /// The chain's value at this entry.
    pub chain: Digest,
    /// What it says.
    #[schemars(with = "Object")]
    pub entry: Value,
}

impl EntryView {
    /// The entry as it is shown.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn of(stored: &StoredEntry) -> Result<Self, serde_json::Error> {
        let entry = serde_json::to_value(&stored.entry)?;
        Ok(Self { index: stored.index, chain: stored.chain, entry })
    }
}

/// Which entries to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only those after this place; the last ones when absent.
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    after: Option<u64>,
    /// Only those about this call.
    call: Option<CallId>,
    /// At most so many, and at most 1000; 100 when absent.
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<EntryView>>, Failure> {
    let query = EntryQuery {
        newest: wanted.after.is_none(),
        after: wanted.after,
        call: wanted.call,
        limit: wanted.limit.unwrap_or(100),
    };
    let entries = gateway.store.entries(query).await?;
    views(&entries).map(Json)
}

fn views(entries: &[StoredEntry]) -> Result<Vec<EntryView>, Failure> {
    let views: Result<Vec<_>, _> = entries.iter().map(EntryView::of).collect();
    views.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// A part of the entries that were looked for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EntryList {
    /// The entries, newest first; one request goes over 20 000 entries and gives at most 200 of them.
    pub entries: Vec<EntryView>,
    /// What to give as `below` to go on; absent at the beginning of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Which entries to look for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sought {
    /// Words, with blanks between them, that all stand in the entry, in whatever case.
    #[schemars(length(max = 200))]
    words: String,
    /// Only entries whose place is less.
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    below: Option<u64>,
}

pub(super) async fn search(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(sought): Query<Sought>,
) -> Result<Json<EntryList>, Failure> {
    let words: Vec<String> = sought.words.split_whitespace().map(str::to_owned).collect();
    if sought.words.chars().count() > MAX_SOUGHT {
        let told = "`words` has at most 200 characters";
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let query = EntrySearch { words, below: sought.below, limit: MAX_FOUND };
    let page = gateway.store.search_entries(query).await?;
    Ok(Json(EntryList { entries: views(&page.entries)?, next: page.next }))
}
