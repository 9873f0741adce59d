//! The only way out: what really runs a tool.

mod breaker;
pub mod command;
pub mod confinement;
pub mod contact;
mod links;
pub mod mcp;
pub mod outgoing;
pub mod pool;
mod running;
pub mod secrets;
mod withholding;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::broadcast;

use crate::catalog::manifest::BackendSpec;
use crate::catalog::{Manifests, Offered};
use crate::clock::Clock;
use crate::config::Config;
use crate::digest::Digest;
use crate::halts::{Halt, Pass};
use crate::json::Object;
use crate::policy::Permit;
use crate::storage::Receipt;
pub use contact::Contact;
pub use running::Prepared;
use running::Running;

/// How many updates of resources wait for a slow listener before it is told of all of its own, in updates.
const UPDATES: usize = 1024;

/// How long calls may go on with a backend that is in no revision any more.
const LEFT: Duration = Duration::from_secs(600);
/// How often it is looked whether they have ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a backend gave back: the text of an MCP `CallToolResult` object, not yet checked.
#[derive(Debug)]
pub struct RawResult(pub Box<RawValue>);

/// Why a backend gave no result. The texts are for operators; agents get a fixed sentence per kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// It cannot be reached or started now. Nothing ran.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// All worker slots are taken and the queue is full or its deadline passed. Nothing ran.
    #[error("busy: {waiting} calls wait already")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// It failed again and again and is left alone for a while. Nothing ran.
    #[error("left alone for {after:?}, because it fails")]
    Resting {
        /// For how long.
        after: std::time::Duration,
    },
    /// The arguments cannot be given to the program as they are. Nothing ran.
    #[error("unfit arguments: {0}")]
    Unfit(String),
    /// It refused the request itself, with a JSON-RPC error. As a rule nothing ran.
    #[error("refused with code {code}: {message}")]
    Refused {
        /// The JSON-RPC error code, as the backend sent it.
        code: i64,
        /// What it said, bounded; never shown to agents as it stands.
        message: String,
    },
    /// It refused the request because the caller's client did not say that it can do this (MCP 2026-07-28,
    /// error -32021). Nothing ran.
    #[error("it needs {} of its client", needed.keys().cloned().collect::<Vec<_>>().join(" and "))]
    Needs {
        /// What the client would have to declare, as `ClientCapabilities`; nothing but what is known here.
        needed: Object,
    },
    /// The time limit passed; it was stopped. It may have had an effect.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The caller took the call back; it was stopped. It may have had an effect.
    #[error("cancelled")]
    Cancelled,
    /// A halt stopped the call.
    #[error("stopped by halt {}", halt.id)]
    Halted {
        /// The halt.
        halt: Arc<Halt>,
        /// Whether it had been dispatched. Then it may have had an effect.
        ran: bool,
    },
    /// It ended or lost its connection before it answered. It may have had an effect.
    #[error("died: {0}")]
    Died(String),
    /// It answered what is not an MCP result. It may have had an effect.
    #[error("nonsense: {0}")]
    Nonsense(String),
    /// It asked for something that nobody gave it. What it did before it asked is not known.
    #[error("unanswered: {0}")]
    Unanswered(String),
    /// Its result is larger than the limit, in bytes.
    #[error("a result of more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// What travels with a call to its backend.
#[derive(Debug)]
pub struct Journey {
    /// What ends it when the caller takes the call back, or a halt covers it.
    pub pass: Pass,
    /// The way back to the caller.
    pub contact: Contact,
}

/// Every backend of the manifests, each with its worker slots.
pub struct Backends {
    running: HashMap<String, Open>,
    updates: broadcast::Sender<mcp::Update>,
}

/// A backend, and what its manifest said when it was opened.
#[derive(Clone)]
struct Open {
    manifest: Option<Digest>,
    running: Arc<Running>,
}

impl Backends {
    /// Prepares every backend; nothing is started or connected yet.
    ///
    /// # Errors
    /// When a working directory cannot be made or a secret has no usable name.
    pub fn open(
        manifests: &Manifests,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, BackendError> {
        let home = confinement::home(&config.data);
        confinement::clear(&home).map_err(|error| {
            let home = home.display();
            BackendError::Unavailable(format!(
                "{home}, for temporary files, cannot be cleared: {error}"
            ))
        })?;
        let nothing = Self { running: HashMap::new(), updates: broadcast::Sender::new(UPDATES) };
        nothing.followed_by(manifests, config, clock)
    }

    /// The backends of other manifests. One whose manifest is the same goes on as it is, with its worker
    /// slots, its links and whoever waits for them; the others are opened anew.
    ///
    /// # Errors
    /// As [`Self::open`]; these backends go on.
    pub fn followed_by(
        &self,
        manifests: &Manifests,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, BackendError> {
        let open = |spec: &BackendSpec| {
            let manifest = manifests.digest(&spec.name);
            let same = |open: &&Open| open.manifest == manifest;
            if let Some(open) = self.running.get(&spec.name).filter(same) {
                return Ok((spec.name.clone(), open.clone()));
            }
            let sandboxes = manifests.sandboxes(&spec.name);
            let running =
                Running::open(spec, &sandboxes, config, Arc::clone(clock), &self.updates)?;
            Ok((spec.name.clone(), Open { manifest, running: Arc::new(running) }))
        };
        let running = manifests.backends().map(open).collect::<Result<_, BackendError>>()?;
        Ok(Self { running, updates: self.updates.clone() })
    }

    /// Whether `backend` is the very same in both.
    #[must_use]
    pub fn share(&self, other: &Self, backend: &str) -> bool {
        self.one(backend).zip(other.one(backend)).is_some_and(|(one, another)| one.is(&another))
    }

    /// Those that `next` does not go on with, to be ended when no call uses them any more.
    #[must_use]
    pub fn left_by(&self, next: &Self) -> Left {
        let left = self.running.iter().filter(|(name, _)| !self.share(next, name));
        Left(left.map(|(_, open)| Arc::clone(&open.running)).collect())
    }

    /// Everything the permitted call needs but the record: a worker slot (waiting in the backend's
    /// bounded queue), its arguments as the program takes them, its secrets.
    ///
    /// # Errors
    /// When one of them cannot be had. Nothing ran.
    pub async fn prepare(&self, permit: &Permit, pass: &Pass) -> Result<Prepared, BackendError> {
        self.running(permit)?.prepare(permit, pass).await
    }

    /// Carries the permitted and recorded call to its backend. The only way out.
    ///
    /// # Errors
    /// When the backend gives no result.
    pub async fn dispatch(
        &self,
        permit: &Permit,
        receipt: &Receipt,
        prepared: Prepared,
        journey: Journey,
    ) -> Result<RawResult, BackendError> {
        self.running(permit)?.dispatch(permit, receipt, prepared, journey).await
    }

    /// The MCP servers among the backends, by name, with their health and their links.
    pub fn servers(&self) -> impl Iterator<Item = (&str, Arc<mcp::Link>)> {
        let links = self.running.iter().map(|(name, open)| (name.as_str(), open.running.link()));
        links.filter_map(|(name, link)| Some((name, link?)))
    }

    /// The backend of this name.
    #[must_use]
    pub fn one(&self, backend: &str) -> Option<One> {
        self.running.get(backend).map(|open| One(Arc::clone(&open.running)))
    }

    /// Watches the resource `uri` of the MCP server `backend`, until what this gives is dropped. Who may
    /// know of it is for the caller to decide.
    ///
    /// # Errors
    /// When the server does not tell of it.
    pub async fn watch(&self, backend: &str, uri: &str) -> Result<mcp::Watching, BackendError> {
        match self.running.get(backend) {
            Some(open) => open.running.watch(uri).await,
            None => Err(BackendError::Unavailable(format!("there is no backend `{backend}`"))),
        }
    }

    /// What servers tell of all watched resources.
    #[must_use]
    pub fn updates(&self) -> broadcast::Receiver<mcp::Update> {
        self.updates.subscribe()
    }

    /// The MCP servers among the backends, by name, and whether calls reach them.
    pub fn health(&self) -> impl Iterator<Item = (&str, bool)> {
        let healths =
            self.running.iter().map(|(name, open)| (name.as_str(), open.running.is_healthy()));
        healths.filter_map(|(name, health)| Some((name, health?)))
    }

    /// Ends every long-lived link.
    pub async fn close(&self) {
        for open in self.running.values() {
            open.running.close().await;
        }
    }

    fn running(&self, permit: &Permit) -> Result<&Running, BackendError> {
        let name = permit.tool().backend();
        let missing = || BackendError::Unavailable(format!("there is no backend `{name}`"));
        self.running.get(name.as_ref()).map(|open| &*open.running).ok_or_else(missing)
    }
}

/// One backend, as it was opened.
#[derive(Clone)]
pub struct One(Arc<Running>);

impl One {
    /// Whether the other is the very same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The link to its MCP server as it is now, if it is one and its secrets can be had.
    #[must_use]
    pub fn link(&self) -> Option<Arc<mcp::Link>> {
        self.0.link()
    }

    /// What its server offers, without what repeats a secret of it.
    ///
    /// # Errors
    /// When its secrets cannot be had: then nobody can tell.
    pub fn withhold(&self, backend: &str, offered: Offered) -> Result<Offered, BackendError> {
        Ok(match self.0.secrets_of_now()? {
            Some(secrets) => withholding::without_secrets(backend, offered, &secrets),
            None => offered,
        })
    }
}

/// Backends that no revision in force has any more.
pub struct Left(Vec<Arc<Running>>);

impl Left {
    /// Ends each when the last call that uses it has ended, or after [`LEFT`].
    pub async fn end(self, clock: &dyn Clock) {
        let mut left = self.0;
        let mut waited = Duration::ZERO;
        while !left.is_empty() {
            let forced = waited >= LEFT;
            let (over, used): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|one| forced || Arc::strong_count(one) == 1);
            for one in over {
                one.close().await;
            }
            left = used;
            clock.sleep(LOOK_AGAIN).await;
            waited = waited.saturating_add(LOOK_AGAIN);
        }
    }
}
