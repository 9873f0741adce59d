//! A session's secret becomes a `Session`, while it has not ended.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::digest::Digest;
use crate::principal::Person;
use crate::storage::{Session, Store, StoreError};

/// How exactly it is known when a session was last used.
const SEEN: SignedDuration = SignedDuration::from_secs(60);

/// All sessions, in memory, by the digest of their secret.
#[derive(Debug, Default)]
pub struct Sessions {
    known: RwLock<HashMap<Digest, Session>>,
    /// Held while they are read, so that what was read first does not replace what was read later.
    reading: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// Reads them from the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &dyn Store, now: Timestamp) -> Result<Self, StoreError> {
        let sessions = Self::default();
        sessions.reload(store, now).await?;
        Ok(sessions)
    }

    /// Reads them anew, after each change.
    ///
    /// # Errors
    /// When the store fails; what was known before stays.
    pub async fn reload(&self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        let all = store.sessions(now).await?;
        let known = all.into_iter().map(|session| (session.digest, session)).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// The session of `secret` at `now`; none when it is unknown, ended, or was not used for `idle`.
    #[must_use]
    pub fn find(&self, secret: &str, now: Timestamp, idle: Duration) -> Option<Session> {
        // Looked up by digest: how long it takes tells nothing about the secret.
        let digest = Digest::of(secret.as_bytes());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&digest).filter(|session| is_open(session, now, idle)).cloned()
    }

    /// The open sessions of a person, newest first.
    #[must_use]
    pub fn of(&self, person: &Person, now: Timestamp, idle: Duration) -> Vec<Session> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let theirs = |it: &&Session| it.person == *person && is_open(it, now, idle);
        let mut all: Vec<Session> = known.values().filter(theirs).cloned().collect();
        all.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        all
    }

    /// Notes that `session` was used at `now`, at most once a minute.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn used(
        &self,
        store: &dyn Store,
        session: &Session,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if now.duration_since(session.seen_at) < SEEN {
            return Ok(());
        }
        if let Some(known) =
            self.known.write().unwrap_or_else(PoisonError::into_inner).get_mut(&session.digest)
        {
            known.seen_at = known.seen_at.max(now);
        }
        store.touch_session(&session.digest, now).await
    }
}

fn is_open(session: &Session, now: Timestamp, idle: Duration) -> bool {
    let idle = SignedDuration::try_from(idle).unwrap_or(SignedDuration::MAX);
    now < session.expires_at && now.duration_since(session.seen_at) < idle
}
