//! Catalog and policy as one, and with what runs the tools.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::OpenError;
use crate::backend::{self, Backends};
use crate::catalog::{Catalog, Environment, Manifests, Offered};
use crate::config::{self, Config, Looked};
use crate::digest::{self, Digest};
use crate::policy::Policy;
use crate::source::{Problems, SourceFile};

/// How often files that change while they are read are read again.
const READ_AGAIN: u32 = 5;

/// By backend: what its server offers, or why it has not said.
pub(super) type Learned = HashMap<String, Result<Offered, String>>;

/// The revision in force, with what runs its tools. A call keeps it from beginning to end, so that a reload
/// takes nothing from under it.
pub struct InForce {
    /// Catalog and policy.
    pub revision: Revision,
    /// What runs its tools.
    pub backends: Arc<Backends>,
    pub(super) manifests: Arc<Manifests>,
    /// What was seen of the files when they were read.
    pub(super) files: Looked,
}

/// Manifests and policies as they stood at one moment.
pub(super) struct Files {
    pub(super) looked: Looked,
    pub(super) manifests: Vec<SourceFile>,
    pub(super) policies: Vec<SourceFile>,
}

impl Files {
    /// Reads them, and again when they change meanwhile: what is moved from one file to another while they are
    /// read would be in neither.
    pub(super) fn read(config: &Config) -> Result<Self, OpenError> {
        for _ in 0..READ_AGAIN {
            let looked = config::look(config);
            let manifests = config::read_directory(&config.tool_manifests)?;
            let policies = config::read_directory(&config.policies)?;
            if config::look(config) == looked {
                return Ok(Self { looked, manifests, policies });
            }
        }
        Err(OpenError::Other("the files change all the time while they are read".to_owned()))
    }
}

impl Deref for InForce {
    type Target = Revision;

    fn deref(&self) -> &Revision {
        &self.revision
    }
}

/// Catalog and policy as one: a call sees one revision from beginning to end.
#[derive(Debug)]
pub struct Revision {
    /// SHA-256 over the names and texts of all policy and manifest files and what servers offered.
    pub digest: Digest,
    /// The tools.
    pub catalog: Catalog,
    /// The rules.
    pub policy: Policy,
}

impl Revision {
    /// No tools and no rules: nothing could be called.
    pub(super) fn nothing() -> Self {
        let (catalog, policy) = (Catalog::default(), Policy::default());
        Self { digest: Digest::of(b""), catalog, policy }
    }

    /// Reads the files that `config` names and builds the revision they make.
    ///
    /// # Errors
    /// With everything that is wrong with them.
    pub fn read(config: &Config, learned: &Learned) -> Result<Self, Problems> {
        let manifests = Manifests::read(config::read_directory(&config.tool_manifests)?)?;
        Self::build(&manifests, config::read_directory(&config.policies)?, learned, config)
    }

    pub(super) fn build(
        manifests: &Manifests,
        policies: Vec<SourceFile>,
        learned: &Learned,
        config: &Config,
    ) -> Result<Self, Problems> {
        let find_program = |name: &str| -> Option<PathBuf> {
            backend::command::find_program(name, config.path.as_ref())
        };
        let missing_secret =
            |source: &_| backend::secrets::missing(source, &|name| config::variable(name));
        let unconfinable =
            |spec: &_, sandbox: &_| backend::confinement::problem(spec, sandbox, config);
        let environment = Environment {
            find_program: &find_program,
            missing_secret: &missing_secret,
            unconfinable: &unconfinable,
            learned,
        };
        let catalog = manifests.catalog(&environment)?;
        let policy = Policy::load(policies, &catalog)?;
        let files: Vec<_> = policy
            .sources()
            .chain(manifests.sources())
            .map(|source| (&source.name, Digest::of(source.text.as_bytes())))
            .collect();
        let tools: Vec<_> = catalog
            .tools()
            .map(|tool| (tool.name(), tool.fingerprint(), tool.unavailable().is_none()))
            .collect();
        let digest = digest::canonical(&(files, tools)).map(|bytes| Digest::of(&bytes));
        let digest = digest.unwrap_or_else(|_| Digest::of(b""));
        Ok(Self { digest, catalog, policy })
    }
}
