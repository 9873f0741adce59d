//! Who else on this machine could write what says what may be done.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// How many files of one directory are looked at; as many as it may hold policies or manifests.
const MAX_FILES: usize = 10_000;

/// A file or directory of the gateway's that others may write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Which.
    pub path: PathBuf,
    /// Whether anybody may, and not only a group.
    pub to_all: bool,
}

impl std::fmt::Display for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (who, mode) = if self.to_all { ("anybody", "o-w") } else { ("a whole group", "g-w") };
        let path = self.path.display();
        write!(
            f,
            "{who} on this machine may write to {path}, and so decide what is allowed: `chmod {mode} {path}`"
        )
    }
}

/// What of `config` others may write to: the configuration, the directories and files of policies and
/// manifests, the data directory, and every directory above them. A group that is the gateway's own does not count.
#[must_use]
pub fn exposed(config: &Config) -> Vec<Exposed> {
    let file = config.file.clone().unwrap_or_else(|| "countersign.yaml".into());
    let directories = [&config.policies, &config.tool_manifests];
    let inside = directories.into_iter().flat_map(|directory| {
        let files = fs::read_dir(directory).into_iter().flatten().take(MAX_FILES);
        files.filter_map(|file| Some(file.ok()?.path()))
    });
    let inside =
        inside.filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"));
    let all = [file, config.policies.clone(), config.tool_manifests.clone(), config.data.clone()];
    let mut found: Vec<Exposed> = all.iter().filter_map(|path| above(path)).collect();
    found.dedup();
    found.extend(all.into_iter().chain(inside.collect::<Vec<_>>()).filter_map(look));
    found
}

fn look(path: PathBuf) -> Option<Exposed> {
    let meta = fs::metadata(&path).ok()?;
    let to_all = meta.mode() & 0o002 != 0;
    let to_group = meta.mode() & 0o020 != 0 && meta.gid() != nix::unistd::getegid().as_raw();
    (to_all || to_group).then_some(Exposed { path, to_all })
}

/// The nearest directory above `path` in which anybody may put another thing in its place. In a sticky one, such as
/// `/tmp`, only its owner may.
fn above(path: &Path) -> Option<Exposed> {
    const STICKY: u32 = 0o1000;
    let open = |directory: &&Path| {
        fs::metadata(directory).is_ok_and(|meta| meta.mode() & (STICKY | 0o002) == 0o002)
    };
    let found = match fs::canonicalize(path) {
        Ok(real) => real.ancestors().skip(1).find(open)?.to_owned(),
        // What is not there yet can be put there.
        Err(_) => {
            let above = fs::canonicalize(Path::new(".").join(path).parent()?).ok()?;
            above.ancestors().find(open)?.to_owned()
        }
    };
    Some(Exposed { path: found, to_all: true })
}
