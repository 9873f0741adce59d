//! `countersign init`: from nothing to a gateway that runs, and never over what is there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Output, PROGRAM, run};

/// An empty directory of a new user, whose home is empty too.
pub(crate) struct NewUser {
    dir: TempDir,
}

impl NewUser {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cs new user").tempdir().unwrap();
        for name in ["home", "my work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Where the user is.
    pub(crate) fn here(&self) -> PathBuf {
        self.dir.path().join("my work")
    }

    /// A place below the directory that holds both.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.here()).env_clear().env("HOME", self.home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        run(self.command(arguments))
    }
}

/// Every file below `place`, and what is in it.
pub(crate) fn files(place: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn what_init_writes_loads_without_a_finding() {
    let user = NewUser::new();
    let failed = user.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("`countersign init` writes some"), "{failed:?}");
    let failed = user.cli(&["stdio", "--agent", "a"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("`countersign init` writes some"), "{failed:?}");

    let told = user.cli(&["init"]);
    assert_eq!(told.stderr, "next: countersign serve\n", "{told:?}");
    assert_eq!(
        told.done(),
        "made   policies/\nwrote  policies/defaults.test.yaml\nwrote  policies/defaults.yaml\n\
         made   tool-manifests/\nwrote  tool-manifests/files.yaml\nwrote  tool-manifests/system.yaml\nmade   workspace/\n\
         wrote  countersign.yaml\n"
    );
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["policies/defaults.yaml", "tool-manifests/files.yaml"] {
        assert_eq!(
            fs::read(user.here().join(name)).unwrap(),
            fs::read(repository.join(name)).unwrap()
        );
    }
    let checked = user.cli(&["policy", "check", "--output", "json"]).json();
    assert_eq!(checked["warnings"], serde_json::json!([]), "{checked}");
    user.cli(&["policy", "test", "--min-coverage", "100"]).done();
    // Others cannot change the rules, whatever the umask.
    for (path, _) in files(&user.here()) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o022, 0, "{path:?}");
    }
    let call = |tool: &str, arguments: &str| user.cli(&["call", tool, arguments, "--no-wait"]);
    call("write_file", r#"{"path": "a", "content": "b"}"#).done();
    assert_eq!(fs::read(user.here().join("workspace/a")).unwrap(), b"b");
    assert_eq!(call("delete_file", r#"{"path": "a"}"#).code, 5, "deleting is not held");
    let tools = user.cli(&["catalog", "list", "--output", "json"]).json();
    for tool in tools.as_array().unwrap() {
        assert!(tool["unavailable"].is_null(), "{tool}");
    }
}

#[test]
fn init_writes_over_nothing_and_completes_what_is_missing() {
    let user = NewUser::new();
    let here = user.here();
    user.cli(&["init"]).done();
    fs::write(here.join("policies/defaults.yaml"), "rules: []\n").unwrap();
    fs::remove_file(here.join("tool-manifests/system.yaml")).unwrap();
    fs::remove_file(here.join("countersign.yaml")).unwrap();
    symlink("/nowhere/at/all", here.join("countersign.yaml")).unwrap();
    let told = user.cli(&["init"]).done();
    assert_eq!(
        told,
        "kept   policies/defaults.test.yaml\nkept   policies/defaults.yaml, which is yours\nkept   tool-manifests/files.yaml\n\
         wrote  tool-manifests/system.yaml\nkept   countersign.yaml, which is yours\n"
    );
    assert_eq!(fs::read(here.join("policies/defaults.yaml")).unwrap(), b"rules: []\n");
    let before = fs::read_link(here.join("countersign.yaml")).unwrap();
    assert_eq!(before, Path::new("/nowhere/at/all"));
    let again = user.cli(&["init"]).done();
    assert!(!again.contains("wrote"), "{again}");
}

#[test]
fn init_adds_no_rules_to_those_of_somebody() {
    let user = NewUser::new();
    let policies = user.here().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("mine.yaml"), "rules: []\n").unwrap();
    let told = user.cli(&["init"]).done();
    assert!(
        told.contains("left   policies/: it has files of its own, such as mine.yaml"),
        "{told}"
    );
    let names: Vec<_> = files(&policies).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, [policies.join("mine.yaml")]);
}

#[test]
fn init_says_why_it_cannot() {
    let user = NewUser::new();
    let told = user.cli(&["init", "../new place/it's"]);
    assert!(
        told.stderr.ends_with("next: cd '../new place/it'\\''s' && countersign serve\n"),
        "{told:?}"
    );
    told.done();
    fs::write(user.here().join("file"), "").unwrap();
    let failed = user.cli(&["init", "file"]);
    assert_eq!(
        (failed.code, failed.stderr.as_str()),
        (2, "error: `file` is no directory; name another\n")
    );
    let failed = user.cli(&["init", "/proc/nowhere"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.starts_with("error: `/proc/nowhere` cannot be made: "), "{failed:?}");
}

#[test]
fn a_command_runs_as_if_started_elsewhere() {
    let user = NewUser::new();
    user.cli(&["init", "there"]).done();
    let checked = user.cli(&["-C", "there", "policy", "check"]).done();
    assert!(checked.contains("guests-look-only"), "{checked}");
    let failed = user.cli(&["--directory", "nowhere", "policy", "check"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.starts_with("error: `nowhere` cannot be entered"), "{failed:?}");
}
