//! Which resources of an upstream server somebody here watches, and how the server is brought to tell of
//! them: one subscription each, however many watch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::backend::BackendError;

/// How many resources of one server may be watched at once, in resources.
const MAX_WATCHED: usize = 4096;
/// How long a server may take to confirm that it will tell of a resource, in seconds.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// A resource whose server said that it changed.
#[derive(Clone, Debug)]
pub struct Update {
    /// The backend.
    pub backend: Arc<str>,
    /// The URI.
    pub uri: Arc<str>,
}

/// What is watched at one server. It outlives connections, and links.
pub struct Subscriptions {
    backend: Arc<str>,
    /// By URI: how many watch.
    wanted: watch::Sender<BTreeMap<Arc<str>, usize>>,
    /// By URI: whether the server said that it will tell.
    answered: watch::Sender<BTreeMap<Arc<str>, bool>>,
    updates: broadcast::Sender<Update>,
}

/// One watcher of one resource, until it is dropped.
pub struct Watching {
    subscriptions: Arc<Subscriptions>,
    uri: Arc<str>,
}

impl Watching {
    /// Whether `update` is of this resource.
    #[must_use]
    pub fn is_of(&self, update: &Update) -> bool {
        self.uri == update.uri && self.subscriptions.backend == update.backend
    }

    /// The URI.
    #[must_use]
    pub const fn uri(&self) -> &Arc<str> {
        &self.uri
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.subscriptions.wanted.send_modify(|wanted| {
            let left = wanted.get(&self.uri).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                wanted.remove(&self.uri);
            } else {
                wanted.insert(Arc::clone(&self.uri), left);
            }
        });
    }
}

impl Subscriptions {
    /// Nothing is watched yet at `backend`; what it tells goes to `updates`.
    #[must_use]
    pub fn new(backend: &str, updates: broadcast::Sender<Update>) -> Arc<Self> {
        let (wanted, answered) = (watch::Sender::default(), watch::Sender::default());
        Arc::new(Self { backend: backend.into(), wanted, answered, updates })
    }

    /// The name of the backend.
    pub(super) const fn backend(&self) -> &Arc<str> {
        &self.backend
    }

    /// Watches `uri`; returns when the server has confirmed it, so that no update after that is missed.
    ///
    /// # Errors
    /// When too much is watched already, or the server does not confirm.
    pub async fn watch(self: &Arc<Self>, uri: &str) -> Result<Watching, BackendError> {
        let uri: Arc<str> = uri.into();
        let mut answered = self.answered.subscribe();
        let watching = self.enter(&uri)?;
        let confirmed = answered.wait_for(|answered| answered.contains_key(&uri));
        let confirmed = match tokio::time::timeout(CONFIRM_TIMEOUT, confirmed).await {
            Ok(Ok(answered)) => answered.get(&uri).copied().unwrap_or_default(),
            Ok(Err(_)) => false,
            Err(_) => {
                let why = format!("no subscription within {CONFIRM_TIMEOUT:?}");
                return Err(BackendError::Unavailable(why));
            }
        };
        if confirmed {
            return Ok(watching);
        }
        Err(BackendError::Unavailable("its server takes no subscription".to_owned()))
    }

    fn enter(self: &Arc<Self>, uri: &Arc<str>) -> Result<Watching, BackendError> {
        let entered = self.wanted.send_if_modified(|wanted| {
            let has_room = wanted.len() < MAX_WATCHED || wanted.contains_key(uri);
            if has_room {
                let count = wanted.entry(Arc::clone(uri)).or_default();
                *count = count.saturating_add(1);
            }
            has_room
        });
        if entered {
            return Ok(Watching { subscriptions: Arc::clone(self), uri: Arc::clone(uri) });
        }
        Err(BackendError::Busy { waiting: MAX_WATCHED })
    }

    /// The server said that `uri` changed.
    pub(super) fn updated(&self, uri: &str) {
        let known = self.wanted.borrow().get_key_value(uri).map(|(uri, _)| Arc::clone(uri));
        if let Some(uri) = known {
            // Nobody listens: then nobody has to be told.
            drop(self.updates.send(Update { backend: Arc::clone(&self.backend), uri }));
        }
    }

    /// What is watched, as it changes.
    pub(super) fn changes(&self) -> watch::Receiver<BTreeMap<Arc<str>, usize>> {
        self.wanted.subscribe()
    }

    /// What is watched now.
    pub(super) fn wanted(&self) -> BTreeSet<Arc<str>> {
        self.wanted.borrow().keys().cloned().collect()
    }

    /// The server said whether it will tell of `uri`.
    pub(super) fn answer(&self, uri: &Arc<str>, confirmed: bool) {
        self.answered.send_modify(|answered| {
            answered.insert(Arc::clone(uri), confirmed);
        });
    }

    /// The server tells of `uri` no more.
    pub(super) fn forget(&self, uri: &Arc<str>) {
        self.answered.send_modify(|answered| {
            answered.remove(uri);
        });
    }

    /// The server tells of nothing any more.
    pub(super) fn forget_all(&self) {
        self.answered.send_modify(BTreeMap::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_is_asked_once_for_all_who_watch() {
        let (updates, mut told) = broadcast::channel(4);
        let subscriptions = Subscriptions::new("b", updates);
        subscriptions.answer(&"doc://a".into(), true);
        subscriptions.answer(&"doc://b".into(), false);
        let one = subscriptions.watch("doc://a").await.unwrap();
        let two = subscriptions.watch("doc://a").await.unwrap();
        assert!(subscriptions.watch("doc://b").await.is_err());
        assert_eq!(subscriptions.wanted().len(), 1);
        subscriptions.updated("doc://a");
        let update = told.recv().await.unwrap();
        assert!(one.is_of(&update) && two.is_of(&update));
        drop(one);
        assert_eq!(subscriptions.wanted().len(), 1);
        drop(two);
        assert!(subscriptions.wanted().is_empty());
        // What nobody watches is nobody's news.
        subscriptions.updated("doc://a");
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn as_much_is_watched_as_the_limit_says() {
        let subscriptions = Subscriptions::new("b", broadcast::channel(1).0);
        let entered: Vec<Watching> = (0..MAX_WATCHED)
            .map(|number| subscriptions.enter(&format!("doc://{number}").into()).unwrap())
            .collect();
        assert!(subscriptions.enter(&"doc://more".into()).is_err());
        assert!(subscriptions.enter(&"doc://7".into()).is_ok());
        drop(entered);
        assert!(subscriptions.wanted().is_empty());
    }
}
