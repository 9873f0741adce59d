//! Keeps the catalog at what MCP servers offer, and at what the files say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::backend::Backends;
use crate::backend::mcp::Link;
use crate::catalog::Offered;
use crate::config::{self, Stamp};
use crate::gateway::Gateway;

/// How long a server that gave no definitions is left alone, at first and at the most.
const LEARN_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often it is looked whether files changed. What changed is taken up once it stayed the same from one
/// look to the next, so that whoever writes several files is not read in between.
const LOOK: Duration = Duration::from_secs(1);

/// Asks the servers of the revision in force what they offer, and those of later ones.
pub(super) async fn follow_servers(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut changes = gateway.revision_changes();
    let mut asked: HashMap<String, (Arc<Backends>, AbortHandle)> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let backends = Arc::clone(&gateway.revision().backends);
        asked.retain(|name, (from, learning)| {
            let same = backends.share(from, name);
            if !same {
                learning.abort();
            }
            same
        });
        for (name, link) in backends.servers() {
            if !asked.contains_key(name) {
                let from = (name.to_owned(), Arc::clone(&backends));
                let learning = learn(Arc::clone(&gateway), from, link, shutdown.clone());
                let learning = tokio::spawn(learning).abort_handle();
                asked.insert(name.to_owned(), (Arc::clone(&backends), learning));
            }
        }
        drop(backends);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the catalog at what one server offers.
async fn learn(
    gateway: Arc<Gateway>,
    (backend, from): (String, Arc<Backends>),
    link: Arc<Link>,
    shutdown: CancellationToken,
) {
    let mut changed = link.changed();
    let mut wait = LEARN_AGAIN.0;
    while !shutdown.is_cancelled() {
        changed.mark_unchanged();
        let learned = link.offered().await;
        let learned = learned.and_then(|offered| from.withhold(&backend, offered));
        let offered = learned.map_err(|error| format!("its server cannot be asked: {error}"));
        let missing = offered.as_ref().map_or_else(|why| Some(why.as_str()), Offered::missing);
        let failed = missing.is_some();
        if let Some(why) = missing {
            tracing::warn!(%backend, %why, "an MCP server did not say all it offers");
        }
        if let Err(error) = gateway.learn((&backend, &from), offered).await {
            tracing::error!(%backend, %error, "what an MCP server offers was not taken up");
        }
        if failed {
            gateway.clock.sleep(wait).await;
            wait = (wait * 2).min(LEARN_AGAIN.1);
        } else {
            wait = LEARN_AGAIN.0;
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Takes up policies and manifests when their files change, and on SIGHUP.
pub(super) async fn follow_files(gateway: Arc<Gateway>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let directories = [gateway.config.policies.clone(), gateway.config.tool_manifests.clone()];
    let mut taken = looked(&directories).await;
    let mut before = taken.clone();
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.clock.sleep(LOOK) => {
                let now = looked(&directories).await;
                let still = now == before;
                before = now;
                if !gateway.config.watch || !still || before == taken {
                    continue;
                }
            }
            () = hung_up => before = looked(&directories).await,
        }
        taken.clone_from(&before);
        // What is wrong is told where the reload is made.
        drop(gateway.reload().await);
    }
}

async fn looked(directories: &[PathBuf; 2]) -> Vec<Option<Vec<Stamp>>> {
    let directories = directories.clone();
    let stamps = move || directories.iter().map(|it: &PathBuf| stamps(it)).collect();
    tokio::task::spawn_blocking(stamps).await.unwrap_or_default()
}

fn stamps(directory: &Path) -> Option<Vec<Stamp>> {
    config::stamps(directory).ok()
}
