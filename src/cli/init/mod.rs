//! `countersign init`: what a gateway needs to start, written into a directory that has none of it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::Builder;

use super::{Failed, output};
use crate::config::Flags;

/// Others may read what is written, and not change it, whatever the umask would let them.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// A directory of the starter, and its files: name and text. The repository's own files are the one source.
type Folder = (&'static str, &'static [(&'static str, &'static str)]);

/// Whatever works on a bare Linux machine.
const FOLDERS: [Folder; 3] = [
    (
        "policies",
        &[
            ("defaults.test.yaml", include_str!("../../../policies/defaults.test.yaml")),
            ("defaults.yaml", include_str!("../../../policies/defaults.yaml")),
        ],
    ),
    (
        "tool-manifests",
        &[
            ("files.yaml", include_str!("../../../tool-manifests/files.yaml")),
            ("system.yaml", include_str!("../../../tool-manifests/system.yaml")),
        ],
    ),
    ("workspace", &[]),
];
const CONFIGURATION: (&str, &str) = ("countersign.yaml", include_str!("countersign.yaml"));

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  mkdir gateway && cd gateway && countersign init && countersign serve"
)]
pub(super) struct Arguments {
    /// Where to; it is made if it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

pub(super) fn run(flags: &Flags, arguments: &Arguments) -> Result<(), Failed> {
    let root = &arguments.directory;
    make(root)?;
    let mut told = Vec::new();
    for (name, files) in FOLDERS {
        let folder = root.join(name);
        if make(&folder)? {
            told.push(format!("made   {}/", shown(&folder)));
        } else if let Some(foreign) = foreign(&folder, files)? {
            // Rules beside rules that somebody wrote would allow what those do not.
            let why = format!("it has files of its own, such as {foreign}");
            told.push(format!("left   {}/: {why}", shown(&folder)));
            continue;
        }
        for file in files {
            told.push(put(&folder, file)?);
        }
    }
    told.push(put(root, &CONFIGURATION)?);
    output::print(&told.join("\n"))?;
    if let Some(elsewhere) = flags.policies.as_ref().or(flags.tool_manifests.as_ref()) {
        eprintln!(
            "warning: `--policies`, `--tool-manifests` or their variables name {}, which a gateway reads instead",
            elsewhere.display()
        );
    }
    let there = if root == Path::new(".") {
        String::new()
    } else {
        format!("cd {} && ", quoted(root.as_os_str()))
    };
    eprintln!("next: {there}countersign serve");
    Ok(())
}

/// A path as the reader would write it.
fn shown(path: &Path) -> String {
    output::visible(&path.strip_prefix(".").unwrap_or(path).to_string_lossy())
}

/// Makes a directory; false if there is one already.
fn make(directory: &Path) -> Result<bool, Failed> {
    match fs::metadata(directory) {
        Ok(there) if there.is_dir() => return Ok(false),
        Ok(_) => {
            let told = format!("`{}` is no directory; name another", shown(directory));
            return Err(Failed::new(2, told));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(directory, &error));
        }
        Err(_) => {}
    }
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|error| failed(directory, &error))?;
    Ok(true)
}

/// A file in `folder` that a gateway would read and that is none of `ours`.
fn foreign(folder: &Path, ours: &[(&str, &str)]) -> Result<Option<String>, Failed> {
    if ours.is_empty() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let name = entry.map_err(|error| failed(folder, &error))?.file_name();
        let is_read = Path::new(&name).extension().is_some_and(|it| it == "yaml" || it == "yml");
        if is_read && !ours.iter().any(|(known, _)| name == *known) {
            return Ok(Some(output::visible(&name.to_string_lossy())));
        }
    }
    Ok(None)
}

/// Writes one file, whole or not at all, unless there is one of that name. Half a file would be rules of
/// which some are missing.
fn put(folder: &Path, (name, text): &(&str, &str)) -> Result<String, Failed> {
    let path = folder.join(name);
    let shown = shown(&path);
    if fs::symlink_metadata(&path).is_ok() {
        let same = fs::read(&path).is_ok_and(|there| there == text.as_bytes());
        let how = if same { "" } else { ", which is yours" };
        return Ok(format!("kept   {shown}{how}"));
    }
    let written = || -> io::Result<()> {
        let mode = Permissions::from_mode(FILE_MODE);
        let mut file =
            Builder::new().prefix(".countersign-").permissions(mode).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&path)?;
        fs::File::open(folder)?.sync_all()
    };
    written().map_err(|error| failed(&path, &error))?;
    Ok(format!("wrote  {shown}"))
}

fn failed(path: &Path, error: &io::Error) -> Failed {
    Failed::new(1, format!("`{}` cannot be made: {error}", shown(path)))
}

/// A word as a shell takes it for one.
pub(super) fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
