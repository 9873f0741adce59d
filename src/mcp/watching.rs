//! Who is told that a resource changed: sessions that subscribed, and streams that listen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rmcp::model::{
    ErrorCode, ErrorData, ResourceUpdatedNotification, ResourceUpdatedNotificationParam,
    ServerNotification, SubscriptionFilter,
};
use rmcp::{Peer, RoleServer};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::arriving::CLIENT_KEY;
use super::wire::{INVALID_PARAMS, Incoming, REFUSED, RESOURCE_NOT_FOUND};
use crate::backend::mcp::{Update, Watching};
use crate::call::halting;
use crate::call::refusal::Refusal;
use crate::catalog::Kind;
use crate::gateway::Gateway;
use crate::policy::{Decision, Facts};
use crate::principal::Principal;

/// How many resources one session, or one stream, may watch, in resources.
const MAX_WATCHED: usize = 256;
/// How long a subscription waits until its server was asked what it offers, in seconds.
const ASK_PATIENCE: Duration = Duration::from_secs(10);

/// Who wants to be told.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) gateway: Arc<Gateway>,
    pub(super) principal: Principal,
    pub(super) client: Option<String>,
}

impl Watcher {
    /// The backend of a resource that this agent may read now, without asking people and with no halt in the way.
    fn backend_of(&self, uri: &str) -> Result<Arc<str>, ErrorData> {
        let revision = self.gateway.revision();
        let unknown = || {
            let told = Refusal::unknown_tool(&Kind::Resource.named(uri)).told;
            error(RESOURCE_NOT_FOUND, told, uri)
        };
        let (name, arguments) = revision.catalog.resource(uri).ok_or_else(unknown)?;
        let tool = revision.catalog.available(&name).ok_or_else(unknown)?;
        let checked = tool.check(arguments).map_err(|faults| {
            error(INVALID_PARAMS, Refusal::invalid_arguments(&name, &faults).told, uri)
        })?;
        let subject = halting::of_call(&self.principal, None, &checked);
        if let Some(halt) = self.gateway.store.halts().covering(&subject) {
            return Err(error(REFUSED, Refusal::halted(&halt, false).told, uri));
        }
        let holds = self.gateway.held.of(&self.principal);
        let facts = Facts {
            principal: &self.principal,
            client: self.client.as_deref(),
            workflow: None,
            checked,
            approval: None,
            standing: &[],
            spent: &[],
            holds: &holds,
            now: self.gateway.clock.now(),
        };
        match revision.policy.decide(facts) {
            Decision::Permit(permit) if permit.edits().is_empty() => Ok(Arc::clone(tool.backend())),
            Decision::Deny(denial) => Err(error(REFUSED, denial.reason, uri)),
            Decision::Permit(_) | Decision::Hold(_) | Decision::NotCovered { .. } => {
                let told = "Refused: only a resource that may be read as it is, without asking \
                            people, can be subscribed to.";
                Err(error(REFUSED, told.to_owned(), uri))
            }
        }
    }

    /// The same; where its server was not asked yet what it offers, after it was. So a client keeps what it
    /// was subscribed to when another gateway takes over, which has just begun.
    async fn backend_once_asked(&self, uri: &str) -> Result<Arc<str>, ErrorData> {
        let mut changes = self.gateway.revision_changes();
        let asked = async { while self.is_yet_to_come(uri) && changes.changed().await.is_ok() {} };
        // Too late is like never: then it is not there.
        drop(tokio::time::timeout(ASK_PATIENCE, asked).await);
        self.backend_of(uri)
    }

    /// Whether the resource is listed for this agent and only its server has not been asked for it.
    fn is_yet_to_come(&self, uri: &str) -> bool {
        let revision = self.gateway.revision();
        let named = revision.catalog.resource(uri);
        let Some(tool) = named.and_then(|(name, _)| revision.catalog.tool(&name).cloned()) else {
            return false;
        };
        tool.unavailable().is_some()
            && !self.gateway.has_asked(tool.backend())
            && revision.policy.lists(&self.principal, self.client.as_deref(), &tool)
    }

    async fn watch(&self, uri: &str) -> Result<Watching, ErrorData> {
        let backend = self.backend_once_asked(uri).await?;
        let watching = self.gateway.revision().backends.watch(&backend, uri).await;
        watching.map_err(|failure| {
            tracing::warn!(%backend, error = %failure, "a resource could not be subscribed to");
            error(REFUSED, Refusal::from(failure).told, uri)
        })
    }

    /// Watches those of the resources that a filter names which can be, and takes the others out of it: the
    /// acknowledgement says what is left.
    pub(super) async fn narrow(&self, filter: &mut SubscriptionFilter) -> Watched {
        let mut uris = filter.resource_subscriptions.take().unwrap_or_default();
        uris.sort_unstable();
        uris.dedup();
        uris.truncate(MAX_WATCHED);
        let watched = futures::future::join_all(uris.iter().map(|uri| self.watch(uri))).await;
        let watched: Vec<Watching> = watched.into_iter().filter_map(Result::ok).collect();
        let uris: Vec<String> = watched.iter().map(|it| it.uri().to_string()).collect();
        filter.resource_subscriptions = (!uris.is_empty()).then_some(uris);
        Watched(Arc::new(watched))
    }

    /// Whether the agent may still read it: what it may do can have changed since it began to watch.
    fn may_know(&self, uri: &str) -> bool {
        self.backend_of(uri).is_ok()
    }
}

fn error(code: i64, told: String, uri: &str) -> ErrorData {
    let code = i32::try_from(code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    ErrorData::new(code, told, Some(serde_json::json!({ "uri": uri })))
}

/// The URIs to tell of after `news`.
fn told<'a>(
    watched: impl Iterator<Item = &'a Watching>,
    news: &Result<Update, RecvError>,
) -> Vec<Arc<str>> {
    watched
        .filter(|watching| match news {
            Ok(update) => watching.is_of(update),
            // Some were missed, and any may be among them.
            Err(_) => true,
        })
        .map(|watching| Arc::clone(watching.uri()))
        .collect()
}

/// What one stream watches; travels with its request.
#[derive(Clone, Default)]
pub(super) struct Watched(Arc<Vec<Watching>>);

impl Watched {
    /// What to tell `watcher` after `news`.
    pub(super) fn notes(
        &self,
        watcher: &Watcher,
        news: &Result<Update, RecvError>,
    ) -> Vec<ServerNotification> {
        told(self.0.iter(), news)
            .iter()
            .filter(|uri| watcher.may_know(uri))
            .map(|uri| {
                let params = ResourceUpdatedNotificationParam::new(uri.to_string());
                ResourceUpdatedNotification::new(params).into()
            })
            .collect()
    }
}

/// Watches what a `subscriptions/listen` that came over HTTP asks for, and takes out of it what cannot be
/// watched. What is malformed is left for rmcp to refuse.
pub(super) async fn arrive(
    gateway: &Arc<Gateway>,
    principal: Principal,
    incoming: &mut Incoming,
) -> Watched {
    let name = incoming.message.get("params").and_then(|params| params.get("_meta"));
    let name = name.and_then(|meta| meta.get(CLIENT_KEY)).and_then(|client| client.get("name"));
    let client = name.and_then(Value::as_str).map(|name| name.chars().take(128).collect());
    let watcher = Watcher { gateway: Arc::clone(gateway), principal, client };
    let asked = incoming.message.get_mut("params").and_then(|it| it.get_mut("notifications"));
    let Some(Value::Object(asked)) = asked else { return Watched::default() };
    let Ok(mut filter) = serde_json::from_value(Value::Object(asked.clone())) else {
        return Watched::default();
    };
    let watched = watcher.narrow(&mut filter).await;
    asked.remove("resourceSubscriptions");
    if let Some(uris) = filter.resource_subscriptions {
        asked.insert("resourceSubscriptions".into(), uris.into());
    }
    watched
}

/// What one session of an earlier protocol watches. It ends with the session.
#[derive(Default)]
pub(super) struct Watches {
    open: Mutex<HashMap<String, Watching>>,
    telling: Mutex<Option<CancellationToken>>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(telling) = self.lock_telling().take() {
            telling.cancel();
        }
    }
}

impl Watches {
    /// Begins to tell the client of `peer` when `uri` changes.
    ///
    /// # Errors
    /// With what the agent is told.
    pub(super) async fn add(
        self: &Arc<Self>,
        watcher: Watcher,
        uri: String,
        peer: Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        // Listened to before it is asked for, so that its first update is not missed.
        self.tell(&watcher, peer);
        let watching = watcher.watch(&uri).await?;
        let mut open = self.lock();
        if open.len() >= MAX_WATCHED && !open.contains_key(&uri) {
            let told = format!("Refused: a session subscribes to at most {MAX_WATCHED} resources.");
            return Err(error(REFUSED, told, &uri));
        }
        open.insert(uri, watching);
        Ok(())
    }

    /// Tells of it no more.
    pub(super) fn remove(&self, uri: &str) {
        let gone = self.lock().remove(uri);
        drop(gone);
    }

    fn tell(self: &Arc<Self>, watcher: &Watcher, peer: Peer<RoleServer>) {
        let mut telling = self.lock_telling();
        if telling.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        *telling = Some(stop.clone());
        let updates = watcher.gateway.revision().backends.updates();
        let telling = Telling { watches: Arc::downgrade(self), watcher: watcher.clone(), peer };
        tokio::spawn(telling.run(updates, stop));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watching>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_telling(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one session.
struct Telling {
    watches: Weak<Watches>,
    watcher: Watcher,
    peer: Peer<RoleServer>,
}

impl Telling {
    async fn run(self, mut updates: broadcast::Receiver<Update>, stop: CancellationToken) {
        loop {
            let news = tokio::select! {
                () = stop.cancelled() => return,
                news = updates.recv() => news,
            };
            if matches!(news, Err(RecvError::Closed)) {
                return;
            }
            let Some(watches) = self.watches.upgrade() else { return };
            let uris = told(watches.lock().values(), &news);
            drop(watches);
            for uri in uris.iter().filter(|uri| self.watcher.may_know(uri)) {
                let note = ResourceUpdatedNotificationParam::new(uri.to_string());
                if self.peer.notify_resource_updated(note).await.is_err() {
                    return;
                }
            }
        }
    }
}
