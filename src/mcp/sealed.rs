//! What a client of 2026-07-28 comes back with, sealed for the agent that it was given to.

use std::time::Duration;

use rmcp::model::{RequestStateCodec, SealOptions};

use crate::ids::AgentName;

/// How long a sealed state can be opened; what it names is gone sooner.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// `state` as the agent gets it.
pub(super) fn seal(codec: &RequestStateCodec, agent: &AgentName, state: &str) -> String {
    let options = SealOptions::new().associated_data(agent.as_str().as_bytes()).ttl(LIFE);
    codec.seal_with(state.as_bytes(), &options)
}

/// The state in `sealed`; none when it is forged, another agent's or too old.
pub(super) fn opened(codec: &RequestStateCodec, agent: &AgentName, sealed: &str) -> Option<String> {
    let opened = codec.open_with(sealed, agent.as_str().as_bytes()).ok()?;
    String::from_utf8(opened).ok()
}
