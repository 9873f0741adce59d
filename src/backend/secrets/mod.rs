//! A backend's credentials: where they come from, resolved when a call is dispatched.

mod redact;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use secrecy::SecretString;

use zeroize::Zeroizing;

pub use self::redact::{MIN_SECRET_BYTES, Redactor};

/// How large a secret may be, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

/// A secret with the name under which the backend gets it.
pub type Named = (String, SecretString);

pub use crate::catalog::manifest::SecretSource;

/// Why a secret cannot be had. The text names the secret and never holds its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}`: {why}")]
pub struct SecretError {
    /// The secret's name.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// The secrets of one backend.
#[derive(Debug)]
pub struct Secrets {
    sources: BTreeMap<String, SecretSource>,
    files: Mutex<BTreeMap<PathBuf, (Version, SecretString)>>,
}

impl Secrets {
    /// The secrets that `sources` gives, each under the name of the variable it becomes.
    ///
    /// # Errors
    /// When a name cannot name an environment variable.
    pub fn new(sources: BTreeMap<String, SecretSource>) -> Result<Self, SecretError> {
        let names_variable = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(name) = sources.keys().find(|name| !names_variable(name)) {
            let why = "is not the name of an environment variable".to_owned();
            return Err(SecretError { name: name.clone(), why });
        }
        Ok(Self { sources, files: Mutex::new(BTreeMap::new()) })
    }

    /// The values as they are now. Reads small files, so it may block for a moment.
    ///
    /// # Errors
    /// With the first that cannot be had; a backend does not run with a part of its credentials.
    pub fn resolve(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<Named>, SecretError> {
        self.sources
            .iter()
            .map(|(name, source)| {
                let value = match source {
                    SecretSource::Env(variable) => from_environment(variable, environment),
                    SecretSource::File(path) => self.read(path),
                    SecretSource::Path(path) => readable(path),
                };
                value
                    .map(|value| (name.clone(), value))
                    .map_err(|why| SecretError { name: name.clone(), why })
            })
            .collect()
    }

    fn read(&self, path: &Path) -> Result<SecretString, String> {
        let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
        let version = Version::of(&path.metadata().map_err(failed)?);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, value)) = files.get(path)
            && *known == version
        {
            return Ok(value.clone());
        }
        // A pipe or device would block for as long as its other end likes.
        if !version.regular {
            return Err(format!("`{}` is not a regular file", path.display()));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
        let file = File::open(path).map_err(failed)?;
        let read = Version::of(&file.metadata().map_err(failed)?);
        file.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| format!("`{}` is not UTF-8", path.display()))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let value = checked(text.strip_suffix('\r').unwrap_or(text))?;
        files.insert(path.to_owned(), (read, value.clone()));
        Ok(value)
    }
}

/// The path itself, if what stands there can be read.
fn readable(path: &Path) -> Result<SecretString, String> {
    File::open(path)
        .map(|_| SecretString::from(path.display().to_string()))
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

/// Why `source` cannot be had now, if it cannot.
#[must_use]
pub fn missing(
    source: &SecretSource,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    match source {
        SecretSource::Env(variable) => {
            environment(variable).is_none().then(|| format!("the variable `{variable}` is not set"))
        }
        SecretSource::File(path) | SecretSource::Path(path) => readable(path).err(),
    }
}

fn from_environment(
    variable: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<SecretString, String> {
    let value = environment(variable).map(Zeroizing::new);
    checked(&value.ok_or_else(|| format!("the variable `{variable}` is not set"))?)
}

fn checked(value: &str) -> Result<SecretString, String> {
    if value.is_empty() {
        Err("is empty".to_owned())
    } else if value.len() > MAX_SECRET_BYTES {
        Err(format!("is larger than {MAX_SECRET_BYTES} bytes"))
    } else if value.contains('\0') {
        Err("holds a NUL byte".to_owned())
    } else {
        Ok(SecretString::from(value))
    }
}

/// What tells one content of a file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    regular: bool,
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            regular: metadata.is_file(),
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
