//! How many processes a call has: looked at cheaply, counted when there may be too many, and bounded.

use std::fs;
use std::time::Duration;

use super::tree::{Hunt, Tree};

/// How often it is looked whether there may be too many.
const LOOK: Duration = Duration::from_millis(20);
/// How long a count is believed, since counting reads what the machine says of every process.
const COUNT_AGAIN: Duration = Duration::from_millis(100);

/// The growth of a call.
pub(super) struct Growth {
    watched: Option<Watched>,
}

struct Watched {
    census: Hunt,
    most: u64,
    /// How many tasks the machine had when the call began.
    before: u64,
}

impl Growth {
    /// That of `tree`, which may have `most` processes.
    pub(super) fn of(tree: &Tree, most: Option<u32>) -> Self {
        let watched = tree.census().zip(most).map(|(census, most)| Watched {
            census,
            most: most.into(),
            before: tasks().unwrap_or_default(),
        });
        Self { watched }
    }

    /// Resolves when there are more than allowed. Dropping it is safe at any time.
    pub(super) async fn past_limit(&mut self) {
        let Some(watched) = &mut self.watched else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK).await;
            let now = tasks().unwrap_or(u64::MAX);
            if now.saturating_sub(watched.before) < watched.most {
                continue;
            }
            let census = watched.census.clone();
            let count = tokio::task::spawn_blocking(move || census.count()).await;
            if count.is_ok_and(|count| count as u64 > watched.most) {
                return;
            }
            tokio::time::sleep(COUNT_AGAIN).await;
        }
    }
}

/// How many tasks the machine has (proc_loadavg(5)).
fn tasks() -> Option<u64> {
    let line = fs::read_to_string("/proc/loadavg").ok()?;
    line.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}
