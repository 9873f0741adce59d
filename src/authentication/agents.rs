//! Registered agents: their gateway tokens, and when each was last used.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::digest::Digest;
use crate::ids::AgentName;
use crate::principal::{Person, Principal, Via};
use crate::storage::{Agent, Store, StoreError};

/// How long before its end a token is said to end soon; for one that was given for less than four times that
/// long, a quarter of its time.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much later than the stored time a use must be to be stored, in seconds.
const COARSE: i64 = 60;

/// What stands before a person's name in that of the agent as which the page calls.
const PAGE: &str = "page-";
/// How much is kept of a name that no agent can have, in characters.
const MAX_KEPT: usize = 32;
/// How many digits of its digest follow.
const MARK: usize = 16;

/// All registered agents, in memory, by the digest of their token and by name.
#[derive(Debug, Default)]
pub struct Agents {
    known: RwLock<Known>,
    /// Held while they are read, so that what was read first does not replace what was read later.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    by_token: HashMap<Digest, AgentName>,
    by_name: HashMap<AgentName, Registered>,
    /// All names in lower case: none that differs by that alone is somebody else's.
    names: HashSet<String>,
}

#[derive(Debug)]
struct Registered {
    agent: Agent,
    /// When its token was last seen, in seconds since 1970; [`NEVER`] when it was not.
    used: AtomicI64,
}

const NEVER: i64 = i64::MIN;

/// How many agents there are, by how it stands with their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Valid for a while yet.
    pub valid: u32,
    /// Valid, but not for long.
    pub ending: u32,
    /// Ended by themselves.
    pub ended: u32,
    /// Revoked.
    pub revoked: u32,
}

impl Agents {
    /// Reads them from the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let agents = Self::default();
        agents.reload(store).await?;
        Ok(agents)
    }

    /// Reads them anew, after each change.
    ///
    /// # Errors
    /// When the store fails; what was known before stays.
    pub async fn reload(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        let mut next = Known::default();
        for agent in store.agents().await? {
            let before = agent.previous.as_ref().map(|previous| previous.token_digest);
            for token in before.into_iter().chain([agent.token_digest]) {
                next.by_token.insert(token, agent.name.clone());
            }
            next.names.insert(agent.name.as_str().to_ascii_lowercase());
            let used = AtomicI64::new(agent.last_used.map_or(NEVER, Timestamp::as_second));
            next.by_name.insert(agent.name.clone(), Registered { agent, used });
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (name, registered) in &next.by_name {
            // One that was added anew has not used its token yet.
            let before = known.by_name.get(name);
            let before = before.filter(|it| it.agent.created_at == registered.agent.created_at);
            if let Some(before) = before {
                registered.used.fetch_max(before.used.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        *known = next;
        Ok(())
    }

    /// The principal of `token` at `now`; none when it is unknown, expired or revoked.
    #[must_use]
    pub fn of_token(&self, token: &str, now: Timestamp) -> Option<Principal> {
        // Looked up by digest: how long it takes tells nothing about the token.
        let digest = Digest::of(token.as_bytes());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let registered = known.by_name.get(known.by_token.get(&digest)?)?;
        if !registered.agent.accepts(&digest, now) {
            return None;
        }
        registered.used.fetch_max(now.as_second(), Ordering::Relaxed);
        Some(principal_of(&registered.agent))
    }

    /// Whether an agent of this name, however its letters are written, is registered or was revoked.
    #[must_use]
    pub fn has_registered(&self, name: &AgentName) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.names.contains(&name.as_str().to_ascii_lowercase())
    }

    /// The groups of the registered agent of this name; none of one that is not registered.
    #[must_use]
    pub fn groups(&self, name: &AgentName) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_name.get(name).map_or_else(Vec::new, |it| it.agent.groups.clone())
    }

    /// The person that the registered agent of this name acts for, if it is one and acts for anybody.
    #[must_use]
    pub fn owner(&self, name: &AgentName) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_name.get(name)?.agent.owner.clone()
    }

    /// When the agent's token was last used, to the second.
    #[must_use]
    pub fn last_used(&self, name: &AgentName) -> Option<Timestamp> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let used = known.by_name.get(name)?.used.load(Ordering::Relaxed);
        Timestamp::from_second(used).ok().filter(|_| used != NEVER)
    }

    /// Stores when tokens were last used, where that is worth storing.
    ///
    /// # Errors
    /// When the store fails; then the next time stores it.
    pub async fn store_uses(&self, store: &dyn Store) -> Result<(), StoreError> {
        let stored = store.agents().await?;
        let later = |agent: &Agent| {
            let used = self.last_used(&agent.name)?;
            let before = agent.last_used.map_or(NEVER, Timestamp::as_second);
            let is_later = used.as_second().saturating_sub(before) >= COARSE;
            is_later.then(|| (agent.name.clone(), used))
        };
        let uses: Vec<_> = stored.iter().filter_map(later).collect();
        if uses.is_empty() { Ok(()) } else { store.note_uses(uses).await }
    }

    /// How it stands with all tokens at `now`.
    #[must_use]
    pub fn tokens(&self, now: Timestamp) -> Tokens {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = Tokens::default();
        for Registered { agent, .. } in known.by_name.values() {
            let count = match agent.expires_at {
                _ if agent.revoked_at.is_some() => &mut tokens.revoked,
                Some(end) if end <= now => &mut tokens.ended,
                Some(end) if ends_soon(agent, end, now) => &mut tokens.ending,
                Some(_) | None => &mut tokens.valid,
            };
            *count += 1;
        }
        tokens
    }

    /// The agents whose tokens end soon, by name.
    #[must_use]
    pub fn ending(&self, now: Timestamp) -> Vec<(AgentName, Timestamp)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let ending = |Registered { agent, .. }: &Registered| {
            let end = agent.expires_at.filter(|end| *end > now && agent.revoked_at.is_none())?;
            ends_soon(agent, end, now).then(|| (agent.name.clone(), end))
        };
        let mut all: Vec<_> = known.by_name.values().filter_map(ending).collect();
        all.sort();
        all
    }

    /// The agent as which the page calls for `person`, who is its owner. None where an agent of this name is
    /// registered, or was: it is somebody else's.
    #[must_use]
    pub fn of_page(&self, person: &Person) -> Option<Principal> {
        let agent = page_agent(&person.name).filter(|agent| !self.has_registered(agent))?;
        Some(Principal::authenticated(agent, Vec::new(), Some(person.name.clone())))
    }

    /// `child`, for which `orchestrator` acts: as the register says now, whatever it said when the orchestrator's
    /// session began. None when either is not registered or was revoked, no operator let the one act for the
    /// other, or another acts for the orchestrator already.
    #[must_use]
    pub fn acting(&self, orchestrator: &Principal, child: &AgentName) -> Option<Principal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let live = |name: &AgentName| {
            known.by_name.get(name).map(|it| &it.agent).filter(|it| it.revoked_at.is_none())
        };
        let granted = live(orchestrator.agent())?.acts_for.contains(child);
        let child = live(child).filter(|_| granted && orchestrator.via().is_none())?;
        let via = Via {
            agent: orchestrator.agent().clone(),
            owner: orchestrator.owner().map(str::to_owned),
            groups: orchestrator.groups().to_vec(),
        };
        Some(principal_of(child).through(Some(via)))
    }

    /// A local agent by name, for a process that the operating system let through to the data directory.
    /// A registered agent has its groups; any name acts for `user`. None when it was revoked.
    #[must_use]
    pub fn local(&self, name: &AgentName, user: &str) -> Option<Principal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.by_name.get(name) {
            Some(it) if it.agent.revoked_at.is_some() => None,
            Some(it) => Some(principal_of(&it.agent)),
            None => Some(Principal::authenticated(name.clone(), Vec::new(), Some(user.to_owned()))),
        }
    }
}

/// The agent as which the page calls for a person: `page-` and the name, where an agent can have that name,
/// else what fits of it and the beginning of its digest.
fn page_agent(name: &str) -> Option<AgentName> {
    if let Ok(agent) = format!("{PAGE}{name}").parse() {
        return Some(agent);
    }
    let fits = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let some: String = name.chars().filter(fits).take(MAX_KEPT).collect();
    let digest = Digest::of(name.as_bytes()).to_string();
    let mark: String = digest.chars().skip("sha256:".len()).take(MARK).collect();
    format!("{PAGE}{some}-{mark}").parse().ok()
}

fn principal_of(agent: &Agent) -> Principal {
    Principal::authenticated(agent.name.clone(), agent.groups.clone(), agent.owner.clone())
}

fn ends_soon(agent: &Agent, end: Timestamp, now: Timestamp) -> bool {
    let given_for = end.duration_since(agent.created_at) / 4;
    let soon = given_for.min(SOON.try_into().unwrap_or(given_for));
    end.duration_since(now) < soon
}
