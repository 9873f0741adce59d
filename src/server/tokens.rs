//! What is looked at now and then about agents' tokens: when they were used, and how many end soon.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::Gateway;

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// Looks, for as long as it is polled.
pub(super) async fn watch(gateway: Arc<Gateway>) {
    loop {
        look(&gateway).await;
        gateway.clock.sleep(EVERY).await;
    }
}

/// Stores when tokens were used, and counts them.
pub(super) async fn look(gateway: &Gateway) {
    if let Err(error) = gateway.agents.store_uses(gateway.store.as_ref()).await {
        tracing::warn!(%error, "when tokens were last used could not be stored");
    }
    let tokens = gateway.agents.tokens(gateway.clock.now());
    let counts = [
        ("valid", tokens.valid),
        ("ending", tokens.ending),
        ("ended", tokens.ended),
        ("revoked", tokens.revoked),
    ];
    for (state, count) in counts {
        gateway.metrics.agent_tokens(state, count);
    }
}
