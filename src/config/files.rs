//! Policies and manifests as files.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::source::{self, Place, Problem, Problems, SourceFile};

/// How many files one directory of policies or manifests may hold.
const MAX_FILES: usize = 10_000;
/// How the names of files end that hold cases for rules, and no rules.
const CASES: &str = ".test.yaml";

pub(super) fn read_file(path: &Path) -> Result<SourceFile, Problems> {
    let name = path.display().to_string();
    let wrong = |message: String| -> Problems {
        let file = SourceFile { name: name.clone(), text: "".into() };
        Problem::new(&file, Place::default(), message).into()
    };
    let failed = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    // A pipe or a device would never end, and has no length that says so.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(wrong("cannot be read: not a regular file".to_owned()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(source::MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > source::MAX_FILE_BYTES {
        return Err(wrong(format!("the file is larger than {} bytes", source::MAX_FILE_BYTES)));
    }
    Ok(SourceFile { name, text: text.into() })
}

/// The `.yaml` and `.yml` files of a directory, by name. Files whose name ends in `.test.yaml` are
/// cases for rules, not rules.
///
/// # Errors
/// When the directory or a file cannot be read, or there are too many.
pub fn read_directory(path: &Path) -> Result<Vec<SourceFile>, Problems> {
    let files = listed(path).map_err(|told| {
        let file = SourceFile { name: path.display().to_string(), text: "".into() };
        let hint = if path.exists() {
            "say where it is with `--policies DIR` or `--tool-manifests DIR`"
        } else {
            "`countersign init` writes some to start with; or say where it is with `--policies DIR` or \
             `--tool-manifests DIR`"
        };
        Problem::new(&file, Place::default(), told).hint(hint)
    })?;
    files.iter().map(|path| read_file(path)).collect()
}

/// The `.test.yaml` files of a directory, by name: the cases for the rules that stand beside them.
///
/// # Errors
/// When the directory or a file cannot be read, or there are too many.
pub fn read_cases(path: &Path) -> Result<Vec<SourceFile>, Problems> {
    let files = those_of(path, |name| name.ends_with(CASES) && !name.starts_with('.'));
    let files = files.map_err(|told| {
        let file = SourceFile { name: path.display().to_string(), text: "".into() };
        Problem::new(&file, Place::default(), told).hint("say where it is with `--policies DIR`")
    })?;
    files.iter().map(|path| read_file(path)).collect()
}

/// What tells whether a file is another than it was, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// What was seen of the directories of policies and of manifests: the stamps of their files, or nothing where
/// that could not be looked at.
pub type Looked = [Option<Vec<Stamp>>; 2];

/// Looks at the files that [`read_directory`] reads of both directories.
#[must_use]
pub fn look(config: &super::Config) -> Looked {
    [&config.policies, &config.tool_manifests].map(|directory| stamps(directory).ok())
}

fn stamps(directory: &Path) -> std::io::Result<Vec<Stamp>> {
    let files = listed(directory).map_err(std::io::Error::other)?;
    let stamp = |path: PathBuf| {
        let file = std::fs::metadata(&path)?;
        let changed = (file.ctime(), file.ctime_nsec());
        Ok(Stamp { path, inode: file.ino(), length: file.len(), changed })
    };
    files.into_iter().map(stamp).collect()
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, String> {
    those_of(directory, |name| {
        let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        is_yaml && !name.ends_with(CASES) && !name.starts_with('.')
    })
}

/// The files of a directory whose names are `wanted`, by name.
fn those_of(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("the directory cannot be read: {error}"))?;
    // A list that ends early for an error would be rules that are left out.
    let paths: Result<Vec<PathBuf>, _> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files: Vec<PathBuf> = paths
        .map_err(|error| format!("the directory cannot be read: {error}"))?
        .into_iter()
        .filter(|path| wanted(path.file_name().and_then(|name| name.to_str()).unwrap_or_default()))
        .collect();
    if files.len() > MAX_FILES {
        return Err(format!("more than {MAX_FILES} files"));
    }
    files.sort();
    Ok(files)
}
