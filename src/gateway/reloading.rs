//! How another revision comes into force: files are read again, and servers say what they offer.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::aside::aside;
use super::revision::{Files, InForce, Learned, Revision};
use super::{Gateway, OpenError};
use crate::backend::{self, One};
use crate::catalog::{Kind, Manifests, Offered};
use crate::config::{self, Looked};
use crate::digest::Digest;
use crate::evidence::Event;
use crate::source::{Problems, SourceFile};
use crate::storage::StoreError;

/// Files that were taken up.
#[derive(Clone, Copy, Debug)]
pub struct Reloaded {
    /// The revision that is in force now.
    pub revision: Digest,
    /// The one before, if that was another.
    pub before: Option<Digest>,
}

/// Files that were not taken up.
#[derive(Clone, Debug)]
pub struct RefusedReload {
    /// When.
    pub at: Timestamp,
    /// Why, for operators: each fault with its place.
    pub why: String,
    /// What was seen of the files just before, where they are to blame: they are wrong until they change.
    files: Option<Looked>,
}

impl Gateway {
    /// Takes what the server of `backend`, as `from` has it, offers into the catalog, as a new revision; nothing
    /// happens where a reload has put another in its place.
    ///
    /// # Errors
    /// When the policy cannot be bound to the new catalog: the revision in force stays.
    pub async fn learn(
        self: &Arc<Self>,
        (backend, from): (&str, &One),
        offered: Result<Offered, String>,
    ) -> Result<(), OpenError> {
        let _one_at_a_time = self.learning.lock().await;
        let now = self.revision();
        if !now.backends.one(backend).is_some_and(|now| now.is(from)) {
            return Ok(());
        }
        let mut learned = self.learned();
        learned.insert(backend.to_owned(), offered);
        let policies: Vec<_> = now.policy.sources().cloned().collect();
        let next = match self.built(&now.manifests, policies.clone(), learned.clone()).await? {
            Ok(next) => next,
            // Nothing that a server says may keep the rest of the catalog from being what it is.
            Err(problems) => {
                let why = "what its server offers does not fit the policy; see the log".to_owned();
                tracing::error!(%backend, %problems, "a server's definitions are refused");
                learned.insert(backend.to_owned(), Err(why));
                self.built(&now.manifests, policies, learned.clone()).await??
            }
        };
        let next = InForce {
            revision: next,
            backends: Arc::clone(&now.backends),
            manifests: Arc::clone(&now.manifests),
            files: now.files.clone(),
        };
        self.put_in_force(next, learned).await?;
        Ok(())
    }

    /// The revision that files make with what servers offer. Compiling very many rules takes its time, which calls
    /// must not wait for.
    async fn built(
        self: &Arc<Self>,
        manifests: &Arc<Manifests>,
        policies: Vec<SourceFile>,
        learned: Learned,
    ) -> Result<Result<Revision, Problems>, OpenError> {
        let (gateway, manifests) = (Arc::clone(self), Arc::clone(manifests));
        aside(move || Revision::build(&manifests, policies, &learned, &gateway.config)).await
    }

    /// Reads all files again. What they say comes into force as a whole, or, when anything is wrong with it, not
    /// at all: then the revision in force stays, and [`Gateway::refused_reload`] says why until a reload succeeds.
    ///
    /// # Errors
    /// With everything that is wrong with the files; when a backend cannot be opened; when the store fails.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, OpenError> {
        let gateway = Arc::clone(self);
        // It goes on when whoever asked for it has gone.
        let reloading = tokio::spawn(async move { gateway.reload_once().await });
        reloading.await.map_err(|error| OpenError::Other(error.to_string()))?
    }

    async fn reload_once(self: &Arc<Self>) -> Result<Reloaded, OpenError> {
        let _one_at_a_time = self.learning.lock().await;
        let looked = config::look(&self.config);
        let reloaded = self.take_up_files().await;
        self.metrics.revisions.reloaded(reloaded.is_ok());
        let refused = reloaded.as_ref().err().map(|error| {
            let why = error.to_string();
            tracing::error!(%why, "the files were not taken up: the revision before stays in force");
            let files = matches!(error, OpenError::Files(_)).then_some(looked);
            Arc::new(RefusedReload { at: self.clock.now(), why, files })
        });
        self.refused.store(refused);
        reloaded
    }

    async fn take_up_files(self: &Arc<Self>) -> Result<Reloaded, OpenError> {
        let now = self.revision();
        let (next, learned) = self.read_files().await?;
        let (before, digest) = (now.digest, next.digest);
        let left = now.backends.left_by(&next.backends);
        let is_another = self.put_in_force(next, learned).await?;
        let clock = Arc::clone(&self.clock);
        tokio::spawn(async move { left.end(clock.as_ref()).await });
        Ok(Reloaded { revision: digest, before: is_another.then_some(before) })
    }

    async fn read_files(self: &Arc<Self>) -> Result<(InForce, Learned), OpenError> {
        let gateway = Arc::clone(self);
        let reading = aside(move || {
            let exposed = backend::confinement::exposed(&gateway.config);
            if let Some(exposed) = exposed.iter().find(|it| it.to_all) {
                return Err(OpenError::Other(exposed.to_string()));
            }
            let Files { looked, manifests, policies } = Files::read(&gateway.config)?;
            Ok((looked, Arc::new(Manifests::read(manifests)?), policies))
        });
        let (looked, manifests, policies) = reading.await??;
        let (gateway, now, from) = (Arc::clone(self), self.revision(), Arc::clone(&manifests));
        let opening = tokio::task::spawn_blocking(move || {
            now.backends.followed_by(&from, &gateway.config, &gateway.clock)
        });
        let backends = opening.await.map_err(|error| OpenError::Other(error.to_string()))?;
        let backends = Arc::new(backends.map_err(|error| OpenError::Other(error.to_string()))?);
        let mut learned = self.learned();
        let now = self.revision();
        learned.retain(|backend, _| backends.share(&now.backends, backend));
        let revision = self.built(&manifests, policies, learned.clone()).await??;
        Ok((InForce { revision, backends, manifests, files: looked }, learned))
    }

    /// Records that a revision comes into force, and puts it in force: what is not recorded decides nothing.
    /// Says whether it is another than before.
    async fn put_in_force(&self, next: InForce, learned: Learned) -> Result<bool, StoreError> {
        let is_another = next.digest != self.revision().digest;
        if is_another {
            self.revision_loaded(&next).await?;
        }
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = learned;
        // Why a tool cannot be called is no part of the digest, and people are shown it all the same.
        self.revision.store(Arc::new(next));
        if is_another {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(is_another)
    }

    /// Why the files as they are now were not taken up.
    #[must_use]
    pub fn refused_reload(&self) -> Option<Arc<RefusedReload>> {
        self.refused.load_full()
    }

    /// What was seen of the files that are in force.
    #[must_use]
    pub fn files_in_force(&self) -> Looked {
        self.revision().files.clone()
    }

    /// Whether files that look so are in force, or were found wrong.
    #[must_use]
    pub fn has_judged(&self, files: &Looked) -> bool {
        self.revision().files == *files
            || self.refused_reload().is_some_and(|refused| refused.files.as_ref() == Some(files))
    }

    /// Whether the server of `backend` has been asked what it offers, since this gateway was opened.
    #[must_use]
    pub fn has_asked(&self, backend: &str) -> bool {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).contains_key(backend)
    }

    fn learned(&self) -> Learned {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn revision_loaded(&self, revision: &Revision) -> Result<(), StoreError> {
        let event = Event::RevisionLoaded {
            revision: revision.digest,
            rules: revision.policy.rule_count() as u64,
            tools: revision.catalog.tools().filter(|it| it.kind() == Kind::Tool).count() as u64,
        };
        self.store.record(event).await?;
        self.metrics.revisions.in_force(&revision.digest);
        Ok(())
    }
}
