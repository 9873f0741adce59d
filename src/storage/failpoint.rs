//! Faults on demand, for tests: a process that dies at a named point, a disk that is full, an fsync
//! that fails. Driven by the environment and by files in the data directory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Names the point, as `name` or `name:k` (the k-th hit, from 1), at which the process dies.
const FAIL_AT: &str = "COUNTERSIGN_FAIL_AT";

/// How many pages the database may have.
const MAX_PAGES: &str = "COUNTERSIGN_MAX_PAGES";

/// While this file is in the data directory, the database cannot grow.
const DISK_FULL: &str = "disk-full";

/// While this file is in the data directory, a commit answers that it could not be synced.
const FSYNC_FAILS: &str = "fsync-fails";

/// As many pages as SQLite allows.
const UNLIMITED_PAGES: u32 = 4_294_967_294;

/// Kills this process, with nothing flushed and nothing unwound, if the environment names this point.
pub fn hit(name: &str) {
    static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = variable(FAIL_AT)?;
        match text.rsplit_once(':') {
            Some((name, times)) => Some((name.to_owned(), times.parse().ok()?)),
            None => Some((text, 1)),
        }
    });
    static HITS: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);
    let Some((target, times)) = &*TARGET else { return };
    if target != name {
        return;
    }
    let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = hits.entry(name.to_owned()).or_default();
    *count += 1;
    if *count == *times {
        // What SIGKILL cannot do, abort does.
        let _ = kill(Pid::this(), Signal::SIGKILL);
        std::process::abort();
    }
}

/// How many pages a database in `dir` that has `pages` may have now.
#[must_use]
pub fn max_pages(dir: &Path, pages: u32) -> u32 {
    static CONFIGURED: LazyLock<u32> = LazyLock::new(|| {
        variable(MAX_PAGES).and_then(|text| text.parse().ok()).unwrap_or(UNLIMITED_PAGES)
    });
    if dir.join(DISK_FULL).exists() { pages } else { *CONFIGURED }
}

/// Whether a commit in `dir` is to fail as if it could not be synced.
#[must_use]
pub fn fsync_fails(dir: &Path) -> bool {
    dir.join(FSYNC_FAILS).exists()
}

#[expect(clippy::disallowed_methods, reason = "only test builds read these, and only here")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
