//! The data directory: private to its user, and owned by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::schema;
use crate::storage::StoreError;

/// The file whose lock says who owns the directory, and which is empty until it has held a record.
const LOCK: &str = "lock";

/// What that file says then.
const USED: &[u8] = b"this directory holds a record\n";

/// Who may enter the directory: its user.
const DIR_MODE: u32 = 0o700;

/// Who may read and write its files: their user.
const FILE_MODE: u32 = 0o600;

/// Makes `dir` and its database file if they are missing, and owns `dir` while the lock is held.
pub(super) fn own(dir: &Path) -> Result<Flock<File>, StoreError> {
    let failed = |error: io::Error| StoreError::Engine(format!("`{}`: {error}", dir.display()));
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(failed)?;
    let lock = private_file(&dir.join(LOCK)).map_err(failed)?;
    let owned = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            StoreError::Owned(dir.to_owned())
        } else {
            failed(errno.into())
        }
    })?;
    let database = std::fs::metadata(dir.join(schema::FILE)).map_or(0, |file| file.len());
    if database == 0 && owned.metadata().map_err(failed)?.len() > 0 {
        let what = format!(
            "`{}` is empty or gone, but `{}` held a record; restore a backup, or use another --data",
            schema::FILE,
            dir.display()
        );
        return Err(StoreError::Corrupt(what));
    }
    // SQLite would make it readable to others, and gives its companions the mode of this one.
    private_file(&dir.join(schema::FILE)).map_err(failed)?;
    Ok(owned)
}

/// Leaves a mark that the directory holds a record from now on: a database that is empty later was lost.
pub(super) fn mark_used(owned: &Flock<File>) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::Engine(format!("`{LOCK}`: {error}"));
    let mut file: &File = owned;
    if file.metadata().map_err(failed)?.len() == 0 {
        file.write_all(USED).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
}
