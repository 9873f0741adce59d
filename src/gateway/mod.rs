//! `Gateway`: every long-lived part, opened once from `Config` and complete when opened.

mod aside;
mod definitions;
mod history;
mod reloading;
mod revision;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::authentication::{Agents, Issuers, People, SignIn};
use crate::backend::{self, Backends};
use crate::call::asking::Parked;
use crate::call::board::{Board, HeldAgents};
use crate::call::caching::Results;
use crate::call::following::Followed;
use crate::call::standing::Grants;
use crate::call::tokens::Tokens;
use crate::call::{halting, holding, time};
use crate::catalog::{Manifests, Pins};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::evidence::Loading;
use crate::limits::held::Held;
use crate::limits::{Budgets, Limits, Places};
use crate::notify::{self, Notifier, NotifyError};
use crate::source::Problems;
use crate::storage::history::Pin;
use crate::storage::{Store, StoreError};
use crate::telemetry::Metrics;

pub use definitions::{NotAccepted, Quarantined};
pub use history::{WentBack, end_rollback};
pub use reloading::{RefusedReload, Reloaded};
use revision::{Files, Learned};
pub use revision::{InForce, Revision};

/// How many people may ask at once what the rules would decide.
const ASKING: usize = 2;

/// Every long-lived part of a running gateway.
pub struct Gateway {
    /// The configuration.
    pub config: Config,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What must survive.
    pub store: Arc<dyn Store>,
    /// Rate limits.
    pub limits: Limits,
    /// What agents hold.
    pub held: Held,
    /// What is spent of budgets.
    pub budgets: Arc<Budgets>,
    /// Calls whose tokens are yet to be counted.
    pub tokens: Tokens,
    /// Results of read tools that are kept for a while.
    pub results: Results,
    /// Registered agents, by token.
    pub agents: Agents,
    /// Authorization servers whose tokens let agents in.
    pub issuers: Issuers,
    /// Registered people, by token.
    pub people: People,
    /// How people sign in, and their sessions.
    pub sign_in: SignIn,
    /// Who waits for which hold in this process.
    pub board: Arc<Board>,
    /// Calls whose client was asked something and has yet to come back with the answer.
    pub parked: Arc<Parked>,
    /// Held calls that their agents follow, and what their tools ask.
    pub followed: Followed,
    /// Which agents may have holds.
    pub held_agents: HeldAgents,
    /// Standing approvals in force.
    pub standing: Grants,
    /// Held by who ends the holds that halts cover.
    pub halting: tokio::sync::Mutex<()>,
    /// What is counted.
    pub metrics: Metrics,
    /// Who is told of held calls.
    pub notifier: Notifier,
    /// One for each request to call a tool that may be under way at once.
    pub places: Arc<Semaphore>,
    /// One for each person who may ask at once what the rules would decide.
    pub asking: Arc<Semaphore>,
    /// Who rolls a workflow back: one at a time.
    pub undoing: Arc<Semaphore>,
    /// Who follows the log, of those that may at once.
    pub listeners: Arc<Places>,
    /// The key that seals `requestState`.
    pub seal: rmcp::model::RequestStateCodec,
    revision: ArcSwap<InForce>,
    refused: ArcSwapOption<RefusedReload>,
    went_back: ArcSwapOption<WentBack>,
    changes: watch::Sender<u64>,
    leaving: CancellationToken,
    learned: Mutex<Learned>,
    /// What was accepted of what servers say.
    pins: Mutex<Pins>,
    learning: tokio::sync::Mutex<()>,
    random: SystemRandom,
}

/// Why a gateway could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A policy, manifest or configuration file is wrong.
    #[error(transparent)]
    Files(#[from] Problems),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else in the data directory or the environment.
    #[error("{0}")]
    Other(String),
}

impl From<NotifyError> for OpenError {
    fn from(error: NotifyError) -> Self {
        match error {
            NotifyError::Store(error) => error.into(),
            NotifyError::Channel { .. } => Self::Other(error.to_string()),
        }
    }
}

impl Gateway {
    /// Opens everything. Nothing listens yet and nothing runs but the links to MCP servers, which are
    /// asked for their tools in the background.
    ///
    /// # Errors
    /// When a file is wrong (with its place), another process owns the data directory, or it cannot be used.
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Self>, OpenError> {
        keep_secrets_apart(&config)?;
        let (files, went_back) = history::at_start(&config, store.as_ref()).await?;
        let Files { looked, manifests, policies } = files;
        let manifests = Manifests::read(manifests)?;
        let revision = Revision::build(&manifests, policies, &HashMap::new(), &config)?;
        let backends = Backends::open(&manifests, &config, &clock)
            .map_err(|error| OpenError::Other(error.to_string()))?;
        let metrics = Metrics::new();
        let parts = notify::Parts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            counts: metrics.notifications(),
        };
        let settings = &config.notifications;
        let notifier =
            Notifier::open(settings, (&config.url(), config.listens), config::variable, &parts)
                .await?;
        let gateway = Arc::new(Self {
            agents: Agents::load(store.as_ref()).await?,
            issuers: Issuers::open(&config.authentication, config.resource(), &clock)
                .map_err(OpenError::Other)?,
            people: People::load(store.as_ref()).await?,
            sign_in: SignIn::open(
                config.authentication.clone(),
                Arc::clone(&store),
                Arc::clone(&clock),
                (config::variable, metrics.sign_ins()),
            )
            .await?,
            limits: Limits::new(Arc::clone(&clock)),
            held: Held::new(Arc::clone(&clock), store.held_labels().await?),
            budgets: Arc::new(Budgets::new(Arc::clone(&clock), store.spent().await?)),
            tokens: Tokens::default(),
            results: Results::default(),
            board: Arc::new(Board::new(config.holds.poll_interval.0)),
            parked: Arc::default(),
            followed: Followed::default(),
            held_agents: HeldAgents::default(),
            standing: Grants::load(store.as_ref()).await?,
            halting: tokio::sync::Mutex::new(()),
            metrics,
            notifier,
            places: Arc::new(Semaphore::new(config.edge.max_calls.min(Semaphore::MAX_PERMITS))),
            asking: Arc::new(Semaphore::new(ASKING)),
            undoing: Arc::new(Semaphore::new(1)),
            listeners: Arc::default(),
            seal: crate::authentication::seal_key(&config.data).map_err(OpenError::Other)?,
            revision: ArcSwap::from_pointee(InForce {
                revision,
                backends: Arc::new(backends),
                manifests: Arc::new(manifests),
                files: looked,
            }),
            refused: ArcSwapOption::empty(),
            went_back: ArcSwapOption::from(went_back.map(Arc::new)),
            changes: watch::Sender::new(0),
            leaving: CancellationToken::new(),
            learned: Mutex::default(),
            pins: definitions::accepted(store.as_ref()).await?,
            learning: tokio::sync::Mutex::new(()),
            random: SystemRandom::new(),
            config,
            clock,
            store,
        });
        gateway.comes_in_force(&gateway.revision(), Loading::Start.into(), Pin::Stays).await?;
        Ok(gateway)
    }

    /// The revision in force.
    #[must_use]
    pub fn revision(&self) -> Arc<InForce> {
        self.revision.load_full()
    }

    /// From now on the gateway is going away: `/readyz` says so, nobody waits for people any more, and
    /// approved calls are left to the next gateway.
    pub fn drain(&self) {
        self.leaving.cancel();
    }

    /// Resolves when the gateway begins to go away.
    pub async fn leaving(&self) {
        self.leaving.cancelled().await;
    }

    /// Whether the gateway is going away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Changes whenever another revision comes into force.
    #[must_use]
    pub fn revision_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes up what an earlier process left: pending holds are counted, calls between intent and
    /// outcome become unknown, approved calls run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        self.metrics.holds_pending(&self.store.pending_by_rule().await?);
        halting::count(self);
        // Some at once, so that whoever opened the gateway to decide is not told that it is too late.
        time::give_time(self).await?;
        let revision = self.revision();
        let idempotent =
            move |tool: &str| revision.catalog.tool(tool).is_some_and(|tool| tool.idempotent());
        for hold in self.store.recover(&idempotent).await? {
            holding::start(self, &hold);
        }
        Ok(())
    }

    /// Bytes from the operating system's cryptographic generator.
    ///
    /// # Errors
    /// When it fails; then nothing that needs an identifier happens.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.random
            .fill(&mut bytes)
            .map_err(|_| StoreError::Engine("no random bytes from the system".into()))?;
        Ok(bytes)
    }
}

/// Nothing opens where every tool could read what the gateway keeps secret; where some could, it is said.
fn keep_secrets_apart(config: &Config) -> Result<(), OpenError> {
    for exposed in backend::confinement::exposed(config) {
        if exposed.to_all {
            return Err(OpenError::Other(exposed.to_string()));
        }
        tracing::warn!("{exposed}");
    }
    Ok(())
}
