//! The gateway of a data directory: the one that runs, or one opened for as long as a command takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::Failed;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::digest::Digest;
use crate::gateway::{self, Gateway, OpenError};
use crate::server;
use crate::storage::StoreError;
use crate::storage::sqlite::SqliteStore;

/// How long an owner of the data directory may take to begin or to go away. Other commands own it for a
/// moment only, and a client that starts its gateway anew does so before the old one has ended.
const HANDOVER: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A gateway that this command opened itself.
pub(super) struct Opened {
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Opened {
    /// Ends the gateway after it has finished what it began.
    pub(super) async fn close(self) {
        self.shutdown.cancel();
        drop(self.running.await);
    }
}

/// Opens the gateway of `config`, ready to run.
pub(super) async fn open(config: Config) -> Result<Arc<Gateway>, Failed> {
    let clock = SystemClock::new();
    let until = clock.monotonic() + HANDOVER;
    loop {
        match open_now(&config).await {
            Err(NotOpen::Owned(_)) if clock.monotonic() < until => clock.sleep(LOOK_AGAIN).await,
            opened => return Ok(opened?),
        }
    }
}

/// Why no gateway was opened.
pub(super) enum NotOpen {
    /// Another process owns the data directory.
    Owned(PathBuf),
    Failed(Failed),
}

impl From<NotOpen> for Failed {
    fn from(why: NotOpen) -> Self {
        match why {
            NotOpen::Owned(path) => Self::new(
                5,
                format!(
                    "another gateway owns {}; stop it (one that an MCP client started as `countersign \
                     stdio` ends with its session), or use another --data",
                    path.display()
                ),
            ),
            NotOpen::Failed(failed) => failed,
        }
    }
}

impl<E: Into<OpenError>> From<E> for NotOpen {
    fn from(error: E) -> Self {
        Self::Failed(error.into().into())
    }
}

/// Opens the gateway of `config` if no process owns its data directory.
pub(super) async fn open_now(config: &Config) -> Result<Arc<Gateway>, NotOpen> {
    let clock: Arc<dyn Clock> = Arc::new(gateway_clock());
    let store = open_store(config, &clock)?;
    let gateway = Gateway::open(config.clone(), clock, Arc::new(store)).await?;
    gateway.recover().await?;
    Ok(gateway)
}

/// Opens the store of `config` alone if no process owns its data directory.
fn open_store(config: &Config, clock: &Arc<dyn Clock>) -> Result<SqliteStore, NotOpen> {
    SqliteStore::open(&config.data, Arc::clone(clock)).map_err(|error| match error {
        StoreError::Owned(path) => NotOpen::Owned(path),
        StoreError::Busy { .. }
        | StoreError::Unwritable(_)
        | StoreError::Corrupt(_)
        | StoreError::Halted(_)
        | StoreError::Engine(_) => error.into(),
    })
}

/// Ends, where no gateway runs, that an earlier revision is in force.
pub(super) async fn end_rollback(config: &Config) -> Result<Digest, Failed> {
    let clock: Arc<dyn Clock> = Arc::new(gateway_clock());
    let store = open_store(config, &clock)?;
    Ok(gateway::end_rollback(config, &store).await?)
}

/// The clock of a gateway. In test builds `COUNTERSIGN_CLOCK` makes it one that can be moved: `manual`, or
/// `manual:MS` for one whose wall clock is so many milliseconds off from the beginning.
fn gateway_clock() -> SystemClock {
    #[cfg(feature = "testing")]
    if let Some(rest) = crate::config::variable("COUNTERSIGN_CLOCK")
        .as_deref()
        .and_then(|it| it.strip_prefix("manual"))
    {
        let off = rest.strip_prefix(':').and_then(|ms| ms.parse().ok()).unwrap_or(0);
        return SystemClock::movable(off);
    }
    SystemClock::new()
}

/// Waits for the gateway that runs, or opens one. Between its first and its last moment a gateway owns the
/// directory and does not answer yet, or no more.
pub(super) async fn reach(config: Config, socket: &Path) -> Result<Option<Opened>, Failed> {
    let clock = SystemClock::new();
    let until = clock.monotonic() + HANDOVER;
    loop {
        if UnixStream::connect(socket).await.is_ok() {
            return Ok(None);
        }
        match open_now(&config).await {
            Ok(gateway) => return serve_own(gateway).map(Some),
            Err(NotOpen::Owned(_)) if clock.monotonic() < until => clock.sleep(LOOK_AGAIN).await,
            Err(why) => return Err(why.into()),
        }
    }
}

fn serve_own(gateway: Arc<Gateway>) -> Result<Opened, Failed> {
    let sockets = server::Sockets::bind(&gateway.config.data)?;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(server::run(gateway, sockets, None, shutdown.clone()));
    Ok(Opened { shutdown, running })
}
