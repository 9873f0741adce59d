//! A credential becomes a `Principal` or a `Person`: gateway tokens, sessions of people, and the local operating-system user.

pub mod attempts;
pub mod browser;
pub mod passkeys;
pub mod passwords;
mod people;
mod sessions;
mod settings;
mod sign_in;

use std::collections::HashMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use rmcp::model::RequestStateCodec;

use crate::digest::Digest;
use crate::hold::Hold;
use crate::ids::AgentName;
use crate::principal::Principal;
use crate::storage::{Agent, Store, StoreError};

pub use people::{PERSON_TOKEN_PREFIX, People};
pub use settings::Settings;
pub use sign_in::{From, LINK_FOR, SignIn, SignInError, Visitor, new_secret, registered};

/// What an agent's token starts with, so that scanners for leaked secrets can find one.
const TOKEN_PREFIX: &str = "cs_";

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
    by_name: HashMap<AgentName, Agent>,
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
        let mut known = Known::default();
        for agent in store.agents().await? {
            let before = agent.previous.as_ref().map(|previous| previous.token_digest);
            for token in before.into_iter().chain([agent.token_digest]) {
                known.by_token.insert(token, agent.name.clone());
            }
            known.by_name.insert(agent.name.clone(), agent);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// The principal of `token` at `now`; none when it is unknown, expired or revoked.
    #[must_use]
    pub fn of_token(&self, token: &str, now: Timestamp) -> Option<Principal> {
        // Looked up by digest: how long it takes tells nothing about the token.
        let digest = Digest::of(token.as_bytes());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let agent = known.by_name.get(known.by_token.get(&digest)?)?;
        agent.accepts(&digest, now).then(|| principal_of(agent))
    }

    /// A local agent by name, for a process that the operating system let through to the data directory.
    /// A registered agent has its groups; any name acts for `user`. None when it was revoked.
    #[must_use]
    pub fn local(&self, name: &AgentName, user: &str) -> Option<Principal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.by_name.get(name) {
            Some(agent) if agent.revoked_at.is_some() => None,
            Some(agent) => Some(principal_of(agent)),
            None => Some(Principal::authenticated(name.clone(), Vec::new(), Some(user.to_owned()))),
        }
    }
}

fn principal_of(agent: &Agent) -> Principal {
    Principal::authenticated(agent.name.clone(), agent.groups.clone(), agent.owner.clone())
}

/// The principal that opened `hold`, as it was verified then.
#[must_use]
pub fn of_hold(hold: &Hold) -> Principal {
    Principal::authenticated(hold.agent.clone(), hold.groups.clone(), hold.owner.clone())
}

/// A new token of an agent (256 random bits) and the digest that is stored of it.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_token() -> Result<(String, Digest), StoreError> {
    random_token(TOKEN_PREFIX)
}

/// A new token of a person, likewise.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_person_token() -> Result<(String, Digest), StoreError> {
    random_token(PERSON_TOKEN_PREFIX)
}

fn random_token(prefix: &str) -> Result<(String, Digest), StoreError> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StoreError::Engine("no random bytes from the system".into()))?;
    let token = format!("{prefix}{}", hex::encode(bytes));
    let digest = Digest::of(token.as_bytes());
    Ok((token, digest))
}

/// The key that seals `requestState`, made on first use and kept in the data directory (mode 0600).
///
/// # Errors
/// When it cannot be read or made.
pub fn seal_key(data: &Path) -> Result<RequestStateCodec, String> {
    let path = data.join("request-state.key");
    let key = match std::fs::read(&path) {
        Ok(key) => key,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = vec![0; 32];
            SystemRandom::new().fill(&mut key).map_err(|_| "no random bytes from the system")?;
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| std::io::Write::write_all(&mut file, &key))
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            key
        }
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    RequestStateCodec::try_new(key).map_err(|error| format!("{}: {error}", path.display()))
}
