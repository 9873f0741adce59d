//! How another revision comes into force: files are read again, and servers say what they offer.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::aside::aside;
use super::history::Source;
use super::revision::{Files, InForce, Learned, Revision};
use super::{Gateway, OpenError};
use crate::backend::{self, One};
use crate::catalog::{Manifests, Offered};
use crate::config::{self, Looked};
use crate::digest::Digest;
use crate::evidence::{Cause, Loading};
use crate::source::{Problems, SourceFile};
use crate::storage::StoreError;
use crate::storage::history::Pin;

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
        let (offered, unrecorded) = match offered {
            Ok(offered) => match self.vetted(backend, offered).await {
                Ok(offered) => (Ok(offered), None),
                Err(error) => {
                    (Err(format!("what it offers was not recorded: {error}")), Some(error))
                }
            },
            Err(why) => (Err(why), None),
        };
        self.take_in(backend, offered).await?;
        unrecorded.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Makes a new revision of the files in force, with what a server offers.
    pub(super) async fn take_in(
        self: &Arc<Self>,
        backend: &str,
        offered: Result<Offered, String>,
    ) -> Result<(), OpenError> {
        let (next, learned) = match self.with_server(backend, offered).await? {
            Ok(next) => next,
            // Nothing that a server says may keep the rest of the catalog from being what it is.
            Err(problems) => {
                let why = "what its server offers does not fit the policy; see the log".to_owned();
                tracing::error!(%backend, %problems, "a server's definitions are refused");
                self.with_server(backend, Err(why)).await??
            }
        };
        self.put_in_force(next, learned, Loading::Server.into(), Pin::Stays).await?;
        Ok(())
    }

    /// What the files in force make with what a server offers.
    pub(super) async fn with_server(
        self: &Arc<Self>,
        backend: &str,
        offered: Result<Offered, String>,
    ) -> Result<Result<(InForce, Learned), Problems>, OpenError> {
        let now = self.revision();
        let mut learned = self.learned();
        learned.insert(backend.to_owned(), offered);
        let policies: Vec<_> = now.policy.sources().cloned().collect();
        let built = self.built(&now.manifests, policies, learned.clone()).await?;
        Ok(built.map(|revision| {
            let (backends, manifests) = (Arc::clone(&now.backends), Arc::clone(&now.manifests));
            (InForce { revision, backends, manifests, files: now.files.clone() }, learned)
        }))
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
    /// Where an operator went back to an earlier revision, that ends with it; but only a person ends it, and
    /// otherwise the files wait.
    ///
    /// # Errors
    /// With everything that is wrong with the files; when a backend cannot be opened; when the store fails.
    pub async fn reload(self: &Arc<Self>, cause: Cause) -> Result<Reloaded, OpenError> {
        let gateway = Arc::clone(self);
        // It goes on when whoever asked for it has gone.
        let reloading = tokio::spawn(async move { gateway.reload_once(cause).await });
        reloading.await.map_err(|error| OpenError::Other(error.to_string()))?
    }

    async fn reload_once(self: &Arc<Self>, cause: Cause) -> Result<Reloaded, OpenError> {
        let _one_at_a_time = self.learning.lock().await;
        let looked = config::look(&self.config);
        if cause.by.is_none() && self.leaves_waiting(&looked) {
            return Ok(Reloaded { revision: self.revision().digest, before: None });
        }
        let pin = if self.went_back().is_some() { Pin::Ends } else { Pin::Stays };
        let reloaded = self.take_up(Source::Directories, cause, pin).await;
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

    pub(super) async fn take_up(
        self: &Arc<Self>,
        source: Source,
        cause: Cause,
        pin: Pin,
    ) -> Result<Reloaded, OpenError> {
        let now = self.revision();
        let (next, learned) = self.read_files(source).await?;
        let (before, digest) = (now.digest, next.digest);
        let left = now.backends.left_by(&next.backends);
        let is_another = self.put_in_force(next, learned, cause, pin).await?;
        let clock = Arc::clone(&self.clock);
        tokio::spawn(async move { left.end(clock.as_ref()).await });
        Ok(Reloaded { revision: digest, before: is_another.then_some(before) })
    }

    async fn read_files(self: &Arc<Self>, source: Source) -> Result<(InForce, Learned), OpenError> {
        let gateway = Arc::clone(self);
        let reading = aside(move || {
            let exposed = backend::confinement::exposed(&gateway.config);
            if let Some(exposed) = exposed.iter().find(|it| it.to_all) {
                return Err(OpenError::Other(exposed.to_string()));
            }
            let Files { looked, manifests, policies } = source.files(&gateway.config)?;
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
    pub(super) async fn put_in_force(
        &self,
        next: InForce,
        learned: Learned,
        cause: Cause,
        pin: Pin,
    ) -> Result<bool, StoreError> {
        let is_another = next.digest != self.revision().digest;
        if is_another || pin != Pin::Stays {
            self.comes_in_force(&next, cause, pin.clone()).await?;
        }
        match pin {
            Pin::Stays => {}
            Pin::Becomes(to) => self.went_back.store(Some(Arc::new(to.into()))),
            Pin::Ends => self.went_back.store(None),
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
            || self.went_back().is_some_and(|it| it.looked.as_ref() == Some(files))
    }

    /// Whether the server of `backend` has been asked what it offers, since this gateway was opened.
    #[must_use]
    pub fn has_asked(&self, backend: &str) -> bool {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).contains_key(backend)
    }

    pub(super) fn learned(&self) -> Learned {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
