//! The links to one MCP server: one that all calls share, and, where it may ask callers for something without
//! saying for which call, one for each agent, on which one call runs at a time.
//!
//! A process of its own for each call would be as exact, but would start one for every call and lose what a
//! server keeps between them; one link on which all calls take turns would let one agent's question keep all
//! others waiting, and could hand a late one to the next agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::confinement::Kept;
use super::mcp::{self, Asking, Link, Subscriptions, Target, Update};
use super::outgoing::Trust;
use super::pool::{Pool, Slot};
use super::secrets::Named;
use super::{BackendError, command};
use crate::catalog::Sandbox;
use crate::catalog::manifest::{BackendSpec, McpSpec};
use crate::clock::Clock;
use crate::digest::Digest;
use crate::ids::AgentName;

/// How long the handshake with an MCP server may take, the start of its program included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How many tools an MCP server may offer.
const MAX_TOOLS: usize = 10_000;
/// What a message of an MCP server may be larger than the largest result, in bytes.
const ENVELOPE: usize = 64 << 10;
/// How long a call waits for its agent's earlier calls to this server.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// An MCP server and the links to it.
pub(super) struct Server {
    name: String,
    spec: McpSpec,
    limits: mcp::Limits,
    queue: usize,
    surroundings: Surroundings,
    directory: Option<PathBuf>,
    subscriptions: Arc<Subscriptions>,
    clock: Arc<dyn Clock>,
    links: Mutex<Links>,
}

/// What a child that speaks MCP gets to see.
pub(super) struct Surroundings {
    /// Its environment, but for secrets.
    pub(super) environment: Vec<(String, SecretString)>,
    /// What its confinement shares with other calls.
    pub(super) kept: Arc<Kept>,
    /// How it is to be confined, if it is, or why it cannot be.
    pub(super) sandbox: Option<Result<Box<Sandbox>, String>>,
}

#[derive(Default)]
struct Links {
    shared: Option<Linked>,
    own: BTreeMap<AgentName, Own>,
    last: u64,
}

/// A link, with the digest of the secrets it was made with.
struct Linked {
    secrets: Digest,
    link: Arc<Link>,
}

/// One agent's link.
struct Own {
    linked: Linked,
    turns: Pool,
    /// When it was last wanted, by count.
    wanted: u64,
}

/// One call's turn on its agent's link; given back when dropped.
pub(super) struct Turn {
    _slot: Slot,
}

impl Server {
    pub(super) fn new(
        (spec, mcp): (&BackendSpec, McpSpec),
        surroundings: Surroundings,
        (updates, clock): (&broadcast::Sender<Update>, Arc<dyn Clock>),
    ) -> Self {
        let limits = mcp::Limits {
            max_message_bytes: spec.max_output_bytes.saturating_add(ENVELOPE),
            connect_timeout: CONNECT_TIMEOUT,
            max_concurrent: spec.concurrency,
            max_tools: MAX_TOOLS,
            asking: Asking {
                allow: mcp.allow.clone(),
                within: mcp.answer_within.0,
                is_alone: false,
            },
        };
        Self {
            name: spec.name.clone(),
            spec: mcp,
            limits,
            queue: spec.queue,
            surroundings,
            subscriptions: Subscriptions::new(&spec.name, updates.clone()),
            directory: spec.working_directory.clone(),
            clock,
            links: Mutex::default(),
        }
    }

    /// The link for a call of `agent`, and its turn where calls take turns.
    ///
    /// # Errors
    /// When there is none to be had, or the agent's earlier calls do not end in time.
    pub(super) async fn turn(
        &self,
        agent: &AgentName,
        (secrets, digest): (&[Named], Digest),
        cancel: &CancellationToken,
    ) -> Result<(Arc<Link>, Option<Turn>), BackendError> {
        let shared = self.shared(secrets, digest)?;
        if self.limits.asking.allow.is_empty() || shared.is_modern() {
            return Ok((shared, None));
        }
        let (link, turns) = self.own(agent, secrets, digest)?;
        let slot = turns.acquire(TURN_WITHIN, cancel).await?;
        Ok((link, Some(Turn { _slot: slot })))
    }

    /// The link that all share, made with these secrets; when they have changed, a new one takes the old
    /// one's place.
    pub(super) fn shared(
        &self,
        secrets: &[Named],
        digest: Digest,
    ) -> Result<Arc<Link>, BackendError> {
        let mut links = self.links();
        if let Some(linked) = links.shared.as_ref().filter(|linked| linked.secrets == digest) {
            return Ok(Arc::clone(&linked.link));
        }
        let (limits, target) = (self.limits.clone(), self.target(secrets)?);
        let (watched, clock) = (Arc::clone(&self.subscriptions), Arc::clone(&self.clock));
        let link = Arc::new(Link::keeping(watched, target, limits, clock));
        tokio::spawn(link.keep());
        let old = links.shared.replace(Linked { secrets: digest, link: Arc::clone(&link) });
        close(old);
        Ok(link)
    }

    /// The agent's own link. There are at most as many as calls run at once: each that is in use has one of
    /// their slots, and so has this one, so that another is idle when one too many is wanted.
    fn own(
        &self,
        agent: &AgentName,
        secrets: &[Named],
        digest: Digest,
    ) -> Result<(Arc<Link>, Pool), BackendError> {
        let mut links = self.links();
        links.last += 1;
        let wanted = links.last;
        if let Some(own) = links.own.get_mut(agent)
            && own.linked.secrets == digest
        {
            own.wanted = wanted;
            return Ok((Arc::clone(&own.linked.link), own.turns.clone()));
        }
        let mut limits = self.limits.clone();
        limits.asking.is_alone = true;
        let (target, clock) = (self.target(secrets)?, Arc::clone(&self.clock));
        let link = Arc::new(Link::new(&self.name, target, limits, clock));
        let turns = Pool::new(1, self.queue);
        let linked = Linked { secrets: digest, link: Arc::clone(&link) };
        let old = links.own.insert(agent.clone(), Own { linked, turns: turns.clone(), wanted });
        close(old.map(|own| own.linked));
        if links.own.len() > self.limits.max_concurrent {
            // Whoever has a turn, or waits for one, has the link too.
            let idle = links.own.iter().filter(|(_, own)| Arc::strong_count(&own.linked.link) == 1);
            let idlest = idle.min_by_key(|(_, own)| own.wanted).map(|(other, _)| other.clone());
            close(idlest.and_then(|other| links.own.remove(&other)).map(|own| own.linked));
        }
        Ok((link, turns))
    }

    fn target(&self, secrets: &[Named]) -> Result<Target, BackendError> {
        let (spec, Surroundings { environment, kept, sandbox }) = (&self.spec, &self.surroundings);
        if let Some(url) = &spec.url {
            let headers = spec
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), filled(value, secrets)))
                .collect();
            let trust = Trust { allow_private: spec.allow_private, ca: spec.ca.clone() };
            return Ok(Target::Http { url: url.clone(), headers, trust });
        }
        let missing = || BackendError::Unavailable("neither `url` nor `program`".into());
        let program = spec.program.as_ref().ok_or_else(missing)?;
        let mut env = environment.clone();
        env.extend(secrets.iter().cloned());
        let sandbox = sandbox.clone().transpose().map_err(BackendError::Unavailable)?;
        let confinement = sandbox.map(|sandbox| kept.of(&sandbox)).transpose()?.flatten();
        let path = if confinement.is_some() {
            kept.without_home(&mut env);
            let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
            let path = path.map(ExposeSecret::expose_secret).unwrap_or_default();
            let absent = || BackendError::Unavailable(format!("`{program}` is not installed"));
            command::find_program(program, path.as_ref()).ok_or_else(absent)?
        } else {
            Path::new(program).to_owned()
        };
        let (args, cwd) = (spec.args.clone(), self.directory.clone());
        Ok(Target::Process(mcp::Program { path, args, env, cwd, confinement }))
    }

    /// What is watched at the server.
    pub(super) const fn subscriptions(&self) -> &Arc<Subscriptions> {
        &self.subscriptions
    }

    /// Ends every link.
    pub(super) async fn close(&self) {
        let all: Vec<Arc<Link>> = {
            let links = self.links();
            let own = links.own.values().map(|own| &own.linked);
            links.shared.iter().chain(own).map(|linked| Arc::clone(&linked.link)).collect()
        };
        futures::future::join_all(all.iter().map(|link| link.close())).await;
    }

    /// Our sections under this lock cannot panic, so a poisoned one is whole.
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a link that another has taken the place of.
fn close(old: Option<Linked>) {
    if let Some(old) = old {
        tokio::spawn(async move { old.link.close().await });
    }
}

/// A header with the secrets that `${NAME}` stands for.
fn filled(text: &str, secrets: &[Named]) -> SecretString {
    let mut filled = text.to_owned();
    for (name, value) in secrets {
        filled = filled.replace(&format!("${{{name}}}"), value.expose_secret());
    }
    filled.into()
}
