//! Where the next page of a list begins, sealed for the agent and the list that it was made for.

use std::time::Duration;

use rmcp::model::{ErrorData, RequestStateCodec, SealOptions};

use crate::ids::AgentName;

/// How long a cursor can be used.
const LIFE: Duration = Duration::from_secs(3600);

/// What the seal is bound to; no name of an agent has a colon, so that this is nothing else's.
fn bound(agent: &AgentName, list: &str) -> Vec<u8> {
    format!("cursor:{list}:{agent}").into_bytes()
}

/// The cursor of the page of `list` that begins after the item `last`.
pub(super) fn after(
    codec: &RequestStateCodec,
    agent: &AgentName,
    list: &str,
    last: &str,
) -> String {
    let bound = bound(agent, list);
    let options = SealOptions::new().associated_data(&bound).ttl(LIFE);
    codec.seal_with(last.as_bytes(), &options)
}

/// The item after which a page begins; the list's beginning without a cursor.
///
/// # Errors
/// When the cursor is forged, another agent's, another list's, or too old; the error does not say which.
pub(super) fn opened(
    codec: &RequestStateCodec,
    agent: &AgentName,
    list: &str,
    cursor: Option<&str>,
) -> Result<String, ErrorData> {
    let Some(cursor) = cursor else { return Ok(String::new()) };
    let opened = codec.open_with(cursor, &bound(agent, list)).ok();
    opened
        .and_then(|last| String::from_utf8(last.to_vec()).ok())
        .ok_or_else(|| ErrorData::invalid_params("Invalid cursor", None))
}
