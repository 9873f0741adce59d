//! The audit log, to be read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Failure, Query, Viewer};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::ids::CallId;
use crate::json::Object;
use crate::storage::{EntryQuery, StoredEntry};

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
    let views: Result<Vec<_>, _> = entries.iter().map(EntryView::of).collect();
    views
        .map(Json)
        .map_err(|error| Failure::new(http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
