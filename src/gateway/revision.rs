//! Catalog and policy as one, and with what runs the tools.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::{self, Backends};
use crate::catalog::{Catalog, Environment, Manifests, Offered};
use crate::config::{self, Config};
use crate::digest::{self, Digest};
use crate::policy::Policy;
use crate::source::{Problems, SourceFile};

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
