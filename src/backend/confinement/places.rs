//! Where the grants of a manifest lead, and which places no program may be granted.

use std::path::{Path, PathBuf};

use super::files::SYSTEM;
use super::kernel::Kernel;
use crate::catalog::Sandbox;
use crate::catalog::manifest::{BackendSpec, SecretSource};
use crate::catalog::sandbox::Grants;
use crate::config::Config;

/// The paths of grants, absolute and free of links as they were when the gateway started.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    pub(super) execute: Vec<PathBuf>,
}

impl Places {
    /// Those of `grants`, of the directory that the backend's programs run in, and of files that they are
    /// given as secrets.
    #[must_use]
    pub fn of(grants: &Grants, backend: &BackendSpec) -> Self {
        let real = |paths: &[PathBuf]| paths.iter().map(|path| real(path)).collect::<Vec<_>>();
        let mut read = real(&grants.read);
        read.extend(backend.working_directory.as_deref().map(self::real));
        read.extend(backend.secrets.values().filter_map(|source| match source {
            SecretSource::Path(path) => Some(self::real(path)),
            SecretSource::Env(_) | SecretSource::File(_) => None,
        }));
        Self { read, write: real(&grants.write), execute: real(&grants.execute) }
    }
}

/// Why a program of `backend` cannot be confined as `sandbox` says, if it cannot.
#[must_use]
pub fn problem(backend: &BackendSpec, sandbox: &Sandbox, config: &Config) -> Option<String> {
    let grants = sandbox.grants()?;
    if let Some(why) = Kernel::look().lacks() {
        return Some(format!("it cannot be confined: {why}"));
    }
    let places = Places::of(grants, backend);
    let data = real(&config.data);
    // What is in the data directory lets its reader act for people.
    let readable = [&places.read, &places.write, &places.execute].into_iter().flatten();
    let mut readable = readable.cloned().chain(SYSTEM.iter().map(|path| real(Path::new(path))));
    if let Some(path) = readable.find(|path| meet(path, &data)) {
        let (path, data) = (path.display(), data.display());
        return Some(format!("its sandbox gives it `{path}`, where the data directory {data} is"));
    }
    for own in own(config) {
        if let Some(path) = places.write.iter().find(|path| meet(path, &own)) {
            let (path, own) = (path.display(), own.display());
            return Some(format!(
                "its sandbox lets it write to `{path}`, where the gateway's {own} is"
            ));
        }
    }
    None
}

/// What says what may be done: whoever writes there decides.
fn own(config: &Config) -> Vec<PathBuf> {
    let file = config.file.clone().unwrap_or_else(|| "countersign.yaml".into());
    [config.policies.clone(), config.tool_manifests.clone(), file]
        .into_iter()
        .map(|path| real(&path))
        .chain(std::env::current_exe())
        .collect()
}

/// Whether one of the two lies in the other.
fn meet(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The path without links, as far as it exists.
pub(super) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for known in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (known.canonicalize(), path.strip_prefix(known)) {
            // Joining nothing would add a slash, which only a directory may have.
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path
}
