//! Earlier revisions: how an operator goes back to one, and how long it stays in force.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::revision::{Files, InForce, Revision};
use super::{Gateway, OpenError, Reloaded};
use crate::catalog::{Kind, Manifests};
use crate::config::{self, Config, Looked};
use crate::digest::Digest;
use crate::evidence::{Cause, Loading};
use crate::principal::Person;
use crate::source::{Problems, SourceFile};
use crate::storage::history::{ComesInForce, FileKind, KeptFile, Pin, RolledBack};
use crate::storage::{Store, StoreError};

/// That an earlier revision is in force because an operator went back to it.
#[derive(Debug)]
pub struct WentBack {
    /// To which, and why.
    pub to: RolledBack,
    /// When the files of the directories were last seen to change since: they wait until an operator has them
    /// read again.
    pub waiting: Option<Timestamp>,
    /// What was seen of them then.
    pub(super) looked: Option<Looked>,
}

impl From<RolledBack> for WentBack {
    fn from(to: RolledBack) -> Self {
        Self { to, waiting: None, looked: None }
    }
}

/// Where files of a revision come from.
pub(super) enum Source {
    /// The directories of the configuration.
    Directories,
    /// What was kept of a revision.
    Kept(Vec<KeptFile>),
}

impl Source {
    pub(super) fn files(self, config: &Config) -> Result<Files, OpenError> {
        let kept = match self {
            Self::Directories => return Files::read(config),
            Self::Kept(kept) => kept,
        };
        let (manifests, policies) = parted(kept);
        // As they look now: a change of theirs from now on is a change.
        Ok(Files { looked: config::look(config), manifests, policies })
    }
}

/// The manifests among the files of a revision, and the policies.
fn parted(kept: Vec<KeptFile>) -> (Vec<SourceFile>, Vec<SourceFile>) {
    let (mut manifests, mut policies) = (Vec::new(), Vec::new());
    for KeptFile { kind, name, text } in kept {
        match kind {
            FileKind::Policy => policies.push(SourceFile { name, text }),
            FileKind::Manifest => manifests.push(SourceFile { name, text }),
        }
    }
    (manifests, policies)
}

impl Revision {
    /// The revision that these files make, as far as files tell: what MCP servers offer is not known.
    ///
    /// # Errors
    /// With everything that is wrong with them.
    pub fn of_kept(kept: Vec<KeptFile>, config: &Config) -> Result<Self, Problems> {
        let (manifests, policies) = parted(kept);
        Self::build(&Manifests::read(manifests)?, policies, &HashMap::new(), config)
    }
}

/// What a start begins with: the files of the directories, or those of the revision that was gone back to.
pub(super) async fn at_start(
    config: &Config,
    store: &dyn Store,
) -> Result<(Files, Option<WentBack>), OpenError> {
    let Some(pinned) = store.rolled_back().await? else {
        return Ok((Source::Directories.files(config)?, None));
    };
    let (revision, by) = (pinned.revision, &pinned.by);
    tracing::warn!(
        %revision, %by,
        "rolled back: an earlier revision is in force, not the files; `countersign policy rollback --end` ends it"
    );
    // The directories hold what the operator turned away from, so nothing else can stand in.
    let kept = store.revision_files(pinned.revision).await?.ok_or_else(|| {
        let told =
            format!("the files of revision {}, which is in force, are gone", pinned.revision);
        OpenError::Other(told)
    })?;
    Ok((Source::Kept(kept).files(config)?, Some(pinned.into())))
}

/// Ends, where no gateway runs, that an earlier revision is in force: the next start begins with the files of the
/// directories, which are looked at now. It is the way out where the kept files cannot be loaded any more.
///
/// # Errors
/// When the files are wrong, which ends nothing; when the store fails.
pub async fn end_rollback(config: &Config, store: &dyn Store) -> Result<Digest, OpenError> {
    let Files { manifests, policies, .. } = Files::read(config)?;
    let manifests = Manifests::read(manifests)?;
    let revision = Revision::build(&manifests, policies, &HashMap::new(), config)?;
    let by = Some(Person::local(config.user.clone()));
    let cause = Cause { how: Some(Loading::Reload), by, reason: None };
    store.put_in_force(to_keep(&revision, &manifests, cause, Pin::Ends)).await?;
    Ok(revision.digest)
}

fn to_keep(revision: &Revision, manifests: &Manifests, cause: Cause, pin: Pin) -> ComesInForce {
    let kept = |kind| {
        move |file: &SourceFile| KeptFile {
            kind,
            name: file.name.clone(),
            text: Arc::clone(&file.text),
        }
    };
    let policies = revision.policy.sources().map(kept(FileKind::Policy));
    let files = policies.chain(manifests.sources().map(kept(FileKind::Manifest)));
    ComesInForce {
        revision: revision.digest,
        rules: revision.policy.rule_count() as u64,
        tools: revision.catalog.tools().filter(|it| it.kind() == Kind::Tool).count() as u64,
        cause,
        files: files.collect(),
        pin,
    }
}

impl Gateway {
    /// That an earlier revision is in force, if an operator went back to one.
    #[must_use]
    pub fn went_back(&self) -> Option<Arc<WentBack>> {
        self.went_back.load_full()
    }

    /// Puts the files of an earlier revision in force. They stay so over restarts, whatever becomes of the files in
    /// the directories, until an operator has those read again ([`Gateway::reload`]).
    ///
    /// # Errors
    /// As [`Gateway::reload`]; what is in force stays so then.
    pub async fn roll_back(
        self: &Arc<Self>,
        files: Vec<KeptFile>,
        to: RolledBack,
        person: Person,
    ) -> Result<Reloaded, OpenError> {
        let gateway = Arc::clone(self);
        // It goes on when whoever asked for it has gone.
        let going = tokio::spawn(async move {
            let _one_at_a_time = gateway.learning.lock().await;
            let reason = Some(to.reason.clone());
            let cause = Cause { how: Some(Loading::Rollback), by: Some(person), reason };
            let reloaded = gateway.take_up(Source::Kept(files), cause, Pin::Becomes(to)).await?;
            // Nothing is wrong with what is in force.
            gateway.refused.store(None);
            Ok(reloaded)
        });
        going.await.map_err(|error| OpenError::Other(error.to_string()))?
    }

    /// The revision that files would make, with what MCP servers offer now; `manifests` are those in force when
    /// absent. It is for asking only: nothing of it runs.
    ///
    /// # Errors
    /// With everything that is wrong with the files.
    pub fn candidate(
        &self,
        policies: Vec<SourceFile>,
        manifests: Option<Vec<SourceFile>>,
    ) -> Result<Revision, Problems> {
        let now = self.revision();
        let read = manifests.map(Manifests::read).transpose()?;
        let manifests = read.as_ref().unwrap_or(&now.manifests);
        Revision::build(manifests, policies, &self.learned(), &self.config)
    }

    /// Notes that the files of the directories changed while an earlier revision is in force; false where none is.
    pub(super) fn leaves_waiting(&self, looked: &Looked) -> bool {
        let Some(now) = self.went_back() else { return false };
        tracing::warn!("files changed, but an earlier revision is in force: they wait");
        self.went_back.store(Some(Arc::new(WentBack {
            to: now.to.clone(),
            waiting: Some(self.clock.now()),
            looked: Some(looked.clone()),
        })));
        true
    }

    /// Records that a revision comes into force, with its files.
    pub(super) async fn comes_in_force(
        &self,
        next: &InForce,
        cause: Cause,
        pin: Pin,
    ) -> Result<(), StoreError> {
        let revision = to_keep(next, &next.manifests, cause, pin);
        self.store.put_in_force(revision).await?;
        self.metrics.revisions.in_force(&next.digest);
        self.results.clear();
        Ok(())
    }
}
