//! Directories for the temporary files of one call, and how they go, whatever a program left in them.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The name of the directory that holds them, in the data directory.
const NAME: &str = "temporary";

/// Where the directories of a gateway with this data directory are.
#[must_use]
pub fn home(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Removes what an earlier gateway left there.
///
/// # Errors
/// When something cannot be removed.
pub fn clear(home: &Path) -> io::Result<()> {
    match fs::symlink_metadata(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => remove(home),
    }
}

/// A directory of one call, gone when it is dropped. Dropping it blocks, for as long as its files take.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// A new directory in `home` that only this user may enter.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(home: &Path, name: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
        let path = home.canonicalize()?.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            let path = self.path.display();
            tracing::warn!(%error, %path, "temporary files of a tool could not be removed");
        }
    }
}

/// Removes a directory that nobody changes any more. A program may have left directories deeper than a
/// stack or a path can be, so each level is brought up beside the first before it is emptied.
fn remove(top: &Path) -> io::Result<()> {
    let mut brought = 0_u64;
    open(top)?;
    loop {
        let mut found = false;
        for entry in fs::read_dir(top)? {
            found = true;
            let path = entry?.path();
            if !fs::symlink_metadata(&path)?.is_dir() {
                fs::remove_file(&path)?;
                continue;
            }
            open(&path)?;
            for inner in fs::read_dir(&path)? {
                let inner = inner?.path();
                if fs::symlink_metadata(&inner)?.is_dir() {
                    open(&inner)?;
                    brought += 1;
                    fs::rename(&inner, fresh(top, &mut brought))?;
                } else {
                    fs::remove_file(&inner)?;
                }
            }
            fs::remove_dir(&path)?;
        }
        if !found {
            return fs::remove_dir(top);
        }
    }
}

/// A name that is free in `top`.
fn fresh(top: &Path, brought: &mut u64) -> PathBuf {
    loop {
        let path = top.join(format!(".{brought}"));
        if fs::symlink_metadata(&path).is_err() {
            return path;
        }
        *brought += 1;
    }
}

/// A directory that its owner locked is opened again.
fn open(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_goes_however_deep_and_locked_and_nothing_behind_a_link() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let base = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(&home(base.path()), "call").unwrap();
        let top = temporary.path().to_owned();
        std::os::unix::fs::symlink(outside.path(), top.join("link")).unwrap();
        fs::write(top.join("file"), "x").unwrap();
        // Deeper than a path may be long, from the inside out.
        let deep = top.join("deep");
        fs::create_dir(&deep).unwrap();
        for _ in 0..3000 {
            let outer = top.join("outer");
            fs::create_dir(&outer).unwrap();
            fs::rename(&deep, outer.join("deep")).unwrap();
            fs::rename(&outer, &deep).unwrap();
        }
        fs::create_dir(top.join(".1")).unwrap();
        fs::create_dir_all(top.join("locked/inner")).unwrap();
        fs::set_permissions(top.join("locked"), fs::Permissions::from_mode(0o0)).unwrap();
        drop(temporary);
        assert!(!top.exists());
        assert!(outside.path().join("kept").exists());
        clear(&home(base.path())).unwrap();
        clear(&home(base.path())).unwrap();
        assert!(!home(base.path()).exists());
    }
}
