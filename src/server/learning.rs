//! Keeps the catalog at what MCP servers offer, and at what the files say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::backend::One;
use crate::catalog::Offered;
use crate::config::{self, Looked};
use crate::evidence::Loading;
use crate::gateway::{Gateway, OpenError};

/// How long a server that gave no definitions is left alone, at first and at the most.
const LEARN_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often it is looked whether files changed. What changed is taken up once it stayed the same from one
/// look to the next, so that whoever writes several files is not read in between.
const LOOK: Duration = Duration::from_secs(1);
/// How long files that could not be taken up, and are not wrong, are left alone.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the link to a server was replaced, as when its secrets change.
const LINK_AGAIN: Duration = Duration::from_secs(60);
/// How long a server is left alone after it was asked, and after that happened [`RESTLESS`] times with no quiet
/// time between that was as long as the second: one that changes all the time keeps nobody busy.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How many changes in a row are taken up at once.
const RESTLESS: u32 = 16;

/// Asks the servers of the revision in force what they offer, and those of later ones.
pub(super) async fn follow_servers(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut changes = gateway.revision_changes();
    let mut asked: HashMap<String, (One, AbortHandle)> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let backends = Arc::clone(&gateway.revision().backends);
        asked.retain(|name, (one, learning)| {
            let same = backends.one(name).is_some_and(|now| now.is(one));
            if !same {
                learning.abort();
            }
            same
        });
        for (name, _) in backends.servers() {
            if !asked.contains_key(name)
                && let Some(one) = backends.one(name)
            {
                let server = (name.to_owned(), one.clone());
                let learning = learn(Arc::clone(&gateway), server, shutdown.clone());
                let learning = tokio::spawn(learning).abort_handle();
                asked.insert(name.to_owned(), (one, learning));
            }
        }
        drop(backends);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the catalog at what one server offers.
async fn learn(gateway: Arc<Gateway>, (backend, one): (String, One), shutdown: CancellationToken) {
    let mut wait = LEARN_AGAIN.0;
    let mut in_a_row = 0_u32;
    while !shutdown.is_cancelled() {
        // Taken anew each time: another takes its place when secrets change.
        let Some(link) = one.link() else {
            gateway.clock.sleep(LEARN_AGAIN.1).await;
            continue;
        };
        let mut changed = link.changed();
        changed.mark_unchanged();
        let learned = link.offered().await;
        let learned = learned.and_then(|offered| one.withhold(&backend, offered));
        let offered = learned.map_err(|error| format!("its server cannot be asked: {error}"));
        let missing = offered.as_ref().map_or_else(|why| Some(why.as_str()), Offered::missing);
        let mut failed = missing.is_some();
        if let Some(why) = missing {
            tracing::warn!(%backend, %why, "an MCP server did not say all it offers");
        }
        if let Err(error) = gateway.learn((&backend, &one), offered).await {
            tracing::error!(%backend, %error, "what an MCP server offers was not taken up");
            failed |= matches!(error, OpenError::Store(_));
        }
        if failed {
            gateway.clock.sleep(wait).await;
            wait = (wait * 2).min(LEARN_AGAIN.1);
            continue;
        }
        wait = LEARN_AGAIN.0;
        gateway.clock.sleep(if in_a_row < RESTLESS { PAUSE.0 } else { PAUSE.1 }).await;
        let rested = gateway.clock.monotonic();
        let is_the_same = || one.link().is_some_and(|now| Arc::ptr_eq(&now, &link));
        while is_the_same() {
            tokio::select! {
                news = changed.changed() => match news {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = gateway.clock.sleep(LINK_AGAIN) => {}
            }
        }
        let was_quiet = gateway.clock.monotonic().saturating_sub(rested) >= PAUSE.1;
        in_a_row = if was_quiet { 0 } else { in_a_row.saturating_add(1) };
    }
}

/// Takes up policies and manifests when their files change, and on SIGHUP.
pub(super) async fn follow_files(gateway: Arc<Gateway>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be heard; files are looked at by time");
            None
        }
    };
    let mut before = gateway.files_in_force();
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.clock.sleep(LOOK) => {
                let now = looked(&gateway).await;
                let still = now == before;
                before = now;
                let settled = still && !gateway.has_judged(&before);
                if !gateway.config.watch || !settled || vanished(&gateway.files_in_force(), &before) {
                    continue;
                }
            }
            () = hung_up => {}
        }
        // What is wrong is told where the reload is made. What is not the files' fault is tried again.
        if let Err(OpenError::Store(_) | OpenError::Other(_)) =
            gateway.reload(Loading::Files.into()).await
        {
            gateway.clock.sleep(TRY_AGAIN).await;
        }
    }
}

/// Whether a directory that had files has none, or cannot be looked at: more likely a volume that is gone for a
/// while than a wish. On SIGHUP, or when asked for, it is taken up all the same.
fn vanished(in_force: &Looked, now: &Looked) -> bool {
    let has_files = |them: &Option<Vec<_>>| them.as_ref().is_some_and(|files| !files.is_empty());
    in_force.iter().zip(now).any(|(then, now)| has_files(then) && !has_files(now))
}

async fn looked(gateway: &Arc<Gateway>) -> Looked {
    let looking = Arc::clone(gateway);
    tokio::task::spawn_blocking(move || config::look(&looking.config)).await.unwrap_or_default()
}
