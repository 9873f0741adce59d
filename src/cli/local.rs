//! The way from a command to the gateway: through the socket in the data directory; if no gateway runs,
//! one is opened for as long as the command takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::Failed;
use crate::api;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Flags};
use crate::gateway::{Gateway, OpenError};
use crate::server;
use crate::storage::StoreError;
use crate::storage::sqlite::SqliteStore;

/// How long one request to the gateway may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an owner of the data directory may take to begin or to go away. Other commands own it for a
/// moment only, and a client that starts its gateway anew does so before the old one has ended.
const HANDOVER: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A connection to the gateway of a data directory.
pub(super) struct Local {
    http: reqwest::Client,
    opened: Option<Opened>,
}

/// A gateway that this command opened itself.
struct Opened {
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Local {
    /// Reaches the gateway that runs, or opens one.
    pub(super) async fn reach(flags: &Flags) -> Result<Self, Failed> {
        let config = Config::load(flags)?;
        let socket = server::socket_path(&config.data);
        let opened = reach(config, &socket).await?;
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(anyhow::Error::from)?;
        Ok(Self { http, opened })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.send(self.http.get(url(path))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failed> {
        self.send(self.http.post(url(path)).json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Failed> {
        let response = self.http.delete(url(path)).send().await.map_err(unreachable)?;
        refused(response).await.map(drop)
    }

    /// Ends the gateway that this command opened, if it did, after it has finished what it began.
    pub(super) async fn leave(self) {
        if let Some(opened) = self.opened {
            opened.shutdown.cancel();
            drop(opened.running.await);
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failed> {
        let response = request.send().await.map_err(unreachable)?;
        let text = refused(response).await?.text().await.map_err(unreachable)?;
        serde_json::from_str(&text).map_err(|error| anyhow::Error::from(error).into())
    }
}

fn url(path: &str) -> String {
    format!("http://localhost{path}")
}

fn unreachable(error: reqwest::Error) -> Failed {
    Failed::new(
        1,
        format!("the gateway does not answer: {:#}", anyhow::anyhow!(error.without_url())),
    )
}

/// The exit code that a refusal of the API has.
async fn refused(response: reqwest::Response) -> Result<reqwest::Response, Failed> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let told = serde_json::from_str::<api::FailureBody>(&text).map_or(text, |body| body.error);
    let code = match status.as_u16() {
        400 => 2,
        401 | 403 => 4,
        404 => 3,
        409 => 5,
        _ => 1,
    };
    Err(Failed::new(code, told))
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
enum NotOpen {
    /// Another process owns the data directory.
    Owned(PathBuf),
    Failed(Failed),
}

impl From<NotOpen> for Failed {
    fn from(why: NotOpen) -> Self {
        match why {
            NotOpen::Owned(path) => Self::new(
                5,
                format!("another gateway owns {}; stop it, or use another --data", path.display()),
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

async fn open_now(config: &Config) -> Result<Arc<Gateway>, NotOpen> {
    let clock: Arc<dyn Clock> = Arc::new(gateway_clock());
    let store =
        SqliteStore::open(&config.data, Arc::clone(&clock)).map_err(|error| match error {
            StoreError::Owned(path) => NotOpen::Owned(path),
            StoreError::Busy { .. }
            | StoreError::Unwritable(_)
            | StoreError::Corrupt(_)
            | StoreError::Engine(_) => error.into(),
        })?;
    let gateway = Gateway::open(config.clone(), clock, Arc::new(store)).await?;
    gateway.recover().await?;
    Ok(gateway)
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
async fn reach(config: Config, socket: &Path) -> Result<Option<Opened>, Failed> {
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
    let socket = server::bind_socket(&gateway.config.data)?;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(server::run(gateway, socket, None, shutdown.clone()));
    Ok(Opened { shutdown, running })
}
