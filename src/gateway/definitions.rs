//! What servers say, held to what operators accepted.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Gateway, OpenError};
use crate::catalog::{Changed, DefinitionKey, Offered, Pins, Tool, Vetted};
use crate::digest::Digest;
use crate::evidence::Loading;
use crate::principal::Person;
use crate::storage::history::Pin;
use crate::storage::{KeptDefinitions, Store, StoreError};

/// An item of the catalog that waits for an operator, because its server says something else of it.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Its name in the catalog.
    pub tool: String,
    /// What it was, and what it is now.
    pub changed: Changed,
}

/// Why a definition was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// Nothing of this name waits.
    #[error("nothing called `{0}` waits to be accepted; see `countersign catalog diff`")]
    NotQuarantined(String),
    /// It changed again.
    #[error("its definition changed again; it is {now} now: look at it once more")]
    ChangedAgain {
        /// The digest of what it is.
        now: Digest,
    },
    /// The catalog that it would make is refused, or the store failed.
    #[error(transparent)]
    Refused(#[from] OpenError),
}

impl From<StoreError> for NotAccepted {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// What was accepted so far.
pub(super) async fn accepted(store: &dyn Store) -> Result<Mutex<Pins>, StoreError> {
    let KeptDefinitions { accepted, noted } = store.definitions().await?;
    Ok(Mutex::new(Pins::new(accepted, noted)))
}

impl Gateway {
    /// What the server of `backend` offers, as far as it is accepted; what is new is recorded before anything of
    /// it is offered on.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn vetted(
        &self,
        backend: &str,
        offered: Offered,
    ) -> Result<Offered, StoreError> {
        let first = self.config.definitions.first;
        let now = self.clock.now();
        let Vetted { offered, news } = {
            let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
            pins.vet(backend, offered, first, now)
        };
        if news.is_empty() {
            return Ok(offered);
        }
        for changed in &news.changed {
            let (name, of) = (&changed.now.key.name, changed.now.key.of.as_str());
            tracing::warn!(%backend, %name, of, "a definition changed: it waits for an operator");
        }
        self.store.note_definitions(news.clone()).await?;
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).note(news);
        Ok(offered)
    }

    /// The items of the catalog in force that wait for an operator, by name.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Quarantined> {
        let revision = self.revision();
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |tool: &Arc<Tool>| {
            let Ok(offered) = learned.get(&**tool.backend())? else { return None };
            let changed = offered.waiting(tool)?.clone();
            Some(Quarantined { tool: tool.name().to_owned(), changed })
        };
        revision.catalog.tools().filter_map(waits).collect()
    }

    /// Accepts the definition of `tool` that has `digest`: from then on it is in the catalog, for everybody whom
    /// rules let see it.
    ///
    /// # Errors
    /// When it does not wait, or is another by now; when the catalog that it makes is refused.
    pub async fn accept_definition(
        self: &Arc<Self>,
        tool: String,
        digest: Digest,
        by: Person,
    ) -> Result<(), NotAccepted> {
        let gateway = Arc::clone(self);
        // It goes on when whoever asked for it has gone.
        let accepting = tokio::spawn(async move { gateway.accept_once(tool, digest, by).await });
        accepting.await.map_err(|error| OpenError::Other(error.to_string()))?
    }

    async fn accept_once(
        self: &Arc<Self>,
        tool: String,
        digest: Digest,
        by: Person,
    ) -> Result<(), NotAccepted> {
        let _one_at_a_time = self.learning.lock().await;
        let waiting = self.quarantined().into_iter().find(|it| it.tool == tool);
        let Some(Quarantined { changed, .. }) = waiting else {
            return Err(NotAccepted::NotQuarantined(tool));
        };
        let said = changed.now;
        if !said.digest.is(&digest) {
            return Err(NotAccepted::ChangedAgain { now: said.digest });
        }
        let DefinitionKey { backend, .. } = &said.key;
        let learned =
            self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(backend).cloned();
        let Some(Ok(offered)) = learned else { return Err(NotAccepted::NotQuarantined(tool)) };
        // First made, then recorded, then put in force: what cannot be is not accepted.
        let next = self.with_server(backend, Ok(offered.accepting(&said))).await?;
        let (next, learned) = next.map_err(OpenError::from)?;
        self.store.accept_definition(said.clone(), by).await?;
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).accept(said);
        self.put_in_force(next, learned, Loading::Server.into(), Pin::Stays).await?;
        Ok(())
    }
}
