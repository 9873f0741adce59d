//! A client's file: read whole, kept beside itself, and replaced at once or not at all.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::Builder;

use super::super::{Failed, output};

/// The largest configuration that is read, in bytes; Claude Code keeps much else in its own.
const MAX_BYTES: u64 = 32 << 20;
/// How many backups of one second there may be.
const MAX_BACKUPS: u32 = 100;
/// A file that is made: readable for others in a project, for nobody else at home.
pub(super) const OF_PROJECT: u32 = 0o644;
pub(super) const OF_USER: u32 = 0o600;

/// A file as it was read.
pub(super) struct Present {
    /// Where it really is: what a symbolic link leads to is changed, not the link.
    path: PathBuf,
    pub(super) text: String,
    /// None if there was none.
    meta: Option<Metadata>,
}

impl Present {
    pub(super) fn read(named: &Path) -> Result<Self, Failed> {
        let refuse = |why: &str| Err(Failed::new(2, format!("`{}` {why}", shown(named))));
        let failed = |error: io::Error| wrong(named, "be read", &error);
        let path = match named.canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Err(_) if fs::symlink_metadata(named).is_ok() => {
                return refuse("is a symbolic link that leads nowhere");
            }
            Err(_) => return Ok(Self { path: named.to_owned(), text: String::new(), meta: None }),
        };
        // A pipe would never end.
        if !fs::metadata(&path).map_err(failed)?.is_file() {
            return refuse("is no regular file");
        }
        let mut file = File::open(&path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return refuse(&format!("is larger than {MAX_BYTES} bytes"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path, text, meta: Some(meta) }),
            Err(_) => refuse("is not UTF-8 text"),
        }
    }

    /// Puts `text` in the place of what was read, and says where that is kept now. A crash leaves the one or
    /// the other, and perhaps a file of ours beside it whose name begins with a dot.
    pub(super) fn replace(
        &self,
        text: &str,
        new_mode: u32,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, Failed> {
        let failed = |error: io::Error| wrong(&self.path, "be written", &error);
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if self.meta.is_none() {
            let made = DirBuilder::new().recursive(true).mode(new_mode | 0o111).create(folder);
            made.map_err(failed)?;
        }
        let mode = self.meta.as_ref().map_or(new_mode, |meta| meta.mode() & 0o7777);
        let mut new = Builder::new().prefix(".countersign-").tempfile_in(folder).map_err(failed)?;
        new.write_all(text.as_bytes()).map_err(failed)?;
        if let Some(meta) = &self.meta {
            let own = new.as_file().metadata().map_err(failed)?;
            if (own.uid(), own.gid()) != (meta.uid(), meta.gid()) {
                fchown(new.as_file(), Some(meta.uid()), Some(meta.gid())).map_err(failed)?;
            }
        }
        new.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        let kept = self.meta.is_some().then(|| self.keep(now)).transpose()?;
        // Clients write their files too. Between this look and the next step one still could.
        if Self::read(&self.path)?.text != self.text {
            return Err(Failed::new(
                5,
                format!(
                    "`{}` was changed meanwhile; nothing was written, try again",
                    shown(&self.path)
                ),
            ));
        }
        match &self.meta {
            Some(_) => drop(new.persist(&self.path).map_err(|error| failed(error.error))?),
            None => drop(new.persist_noclobber(&self.path).map_err(|error| failed(error.error))?),
        }
        File::open(folder).and_then(|it| it.sync_all()).map_err(failed)?;
        Ok(kept)
    }

    /// Keeps what was read beside it, for its owner alone.
    fn keep(&self, now: Timestamp) -> Result<PathBuf, Failed> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        for count in 0..MAX_BACKUPS {
            let more = if count == 0 { String::new() } else { format!("-{count}") };
            let path = self.path.with_file_name(format!("{name}.countersign-backup-{time}{more}"));
            let opened = OpenOptions::new().write(true).create_new(true).mode(OF_USER).open(&path);
            let written = match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => Err(error),
                Ok(mut file) => file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all()),
            };
            return match written {
                Ok(()) => Ok(path),
                Err(error) => Err(wrong(&path, "be written", &error)),
            };
        }
        Err(Failed::new(
            1,
            format!("`{}` has {MAX_BACKUPS} backups of this second", shown(&self.path)),
        ))
    }
}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    output::visible(&path.strip_prefix(".").unwrap_or(path).to_string_lossy())
}

fn wrong(path: &Path, what: &str, error: &io::Error) -> Failed {
    Failed::new(1, format!("`{}` cannot {what}: {error}", shown(path)))
}
