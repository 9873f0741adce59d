//! README and docs say what is true: their commands are run and their output compared, their samples load.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests fail by panicking, and pass the environment on"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

/// Where a reader's gateway listens.
const DOCUMENTED: &str = "127.0.0.1:7420";
/// How long a test waits for something that takes moments.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it waits for what may have to be compiled first.
const BUILD: Duration = Duration::from_secs(1800);
/// The documents whose commands are run, in this order, against one gateway.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "docs/operating.md",
    "docs/policy.md",
    "docs/manifests.md",
    "docs/evidence.md",
    "docs/metrics.md",
    "docs/notifications.md",
    "docs/holds.md",
    "docs/halts.md",
    "docs/workflows.md",
    "docs/agents.md",
    "docs/people.md",
    "docs/api.md",
];

/// One fenced block: the words after the fence, and what is in it.
struct Block {
    place: String,
    info: Vec<String>,
    text: String,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(document: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(repository().join(document)).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block {
                    place: format!("{document}:{}", number + 1),
                    info: info.split_whitespace().map(str::to_owned).collect(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a fence is not closed");
    blocks
}

/// What a reader has after cloning: the tracked files, and a home of its own.
struct Checkout {
    dir: TempDir,
}

impl Checkout {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cs").tempdir().unwrap();
        let checkout = Self { dir };
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(repository())
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        for name in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
            let from = repository().join(name);
            // Listed, but deleted in the working tree.
            let Ok(meta) = from.metadata() else { continue };
            let to = checkout.root().join(name);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&from, &to).unwrap();
            // With its time, so that what is built from it already is not built again.
            let file = std::fs::File::options().append(true).open(&to).unwrap();
            file.set_modified(meta.modified().unwrap()).unwrap();
        }
        std::os::unix::fs::symlink(target(), checkout.root().join("target")).unwrap();
        std::fs::create_dir_all(checkout.home()).unwrap();
        checkout
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("countersign")
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A command in the checkout, with nothing of the developer's own settings.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let real = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let kept = |name: &str, default: &str| {
            std::env::var_os(name).map_or_else(|| real.join(default), PathBuf::from)
        };
        for (name, _) in std::env::vars_os() {
            let name = name.into_string().unwrap();
            if name.starts_with("COUNTERSIGN_") || name.starts_with("CARGO_PKG_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.root())
            .env("HOME", self.home())
            .env_remove("XDG_DATA_HOME")
            .env("CARGO_HOME", kept("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"))
            .env("CARGO_TARGET_DIR", target())
            .stdin(Stdio::null());
        command
    }

    /// Runs the built program to its end.
    fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let out = self.command(BINARY).args(arguments).output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status, String::from_utf8(text).unwrap())
    }

    fn serve(&self, mut command: Command, patience: Duration) -> Server {
        let log = self.dir.path().join("serve.log");
        let file = std::fs::File::create(&log).unwrap();
        let child = command
            .env("COUNTERSIGN_LISTEN", "127.0.0.1:0")
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let socket = self.home().join(".local/share/countersign/countersign.sock");
        let mut server = Server { child, log, address: String::new(), socket };
        server.address = until("the gateway listens", patience, || {
            let told = server.told();
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}: {told}");
            }
            let (_, rest) = told.split_once("listening on http://")?;
            Some(rest.lines().next().filter(|_| rest.contains('\n'))?.to_owned())
        });
        server
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

/// The directory that this test was built in.
fn target() -> &'static Path {
    Path::new(BINARY).parent().unwrap().parent().unwrap()
}

/// Asks until `look` has an answer.
fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..patience.as_millis() / PAUSE.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("not within {patience:?}: {what}");
}

/// A running gateway; killed when dropped, should a test fail before it is stopped.
struct Server {
    child: Child,
    log: PathBuf,
    address: String,
    socket: PathBuf,
}

impl Server {
    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Stops it as an operator does.
    fn stop(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = until("the gateway stops", PATIENCE, || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.told());
        self.told()
    }

    fn request(&self, what: &str, header: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = &self.address;
        let length = body.len();
        write!(
            stream,
            "{what} HTTP/1.1\r\nHost: {address}\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn metrics(&self) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command of a console block, and the lines that follow it.
struct Step {
    place: String,
    command: String,
    expected: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                place: block.place.clone(),
                command: command.to_owned(),
                expected: Vec::new(),
            }),
            (None, Some(step)) => step.expected.push(line.to_owned()),
            (None, None) => panic!("{}: output before a command", block.place),
        }
    }
    steps
}

/// Output with what differs from run to run replaced: ids, digests, times, ports, widths of columns.
fn plain(line: &str) -> String {
    let replace = [
        (r"\u{1b}\[[0-9;]*m", ""),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{32}\b", "HOLD"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "CALL"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\bin \d+ (s|min|h|d)\b", "SOON"),
        (r"\b127\.0\.0\.1:\d+", "ADDRESS"),
        (r"\s+", " "),
    ];
    replace
        .iter()
        .fold(line.to_owned(), |text, (from, to)| {
            Regex::new(from).unwrap().replace_all(&text, *to).into_owned()
        })
        .trim()
        .to_owned()
}

/// Whether `text` is as `expected` says, where `…` stands for anything.
fn is_like(expected: &str, text: &str) -> bool {
    let parts: Vec<String> = plain(expected).split('…').map(regex::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".*"))).unwrap().is_match(&plain(text))
}

/// Whether the lines are as expected, where a line `…` stands for any number of lines.
fn are_like(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| are_like(rest, &lines[skipped..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, lines)| is_like(first, line) && are_like(rest, lines)),
    }
}

/// What a step printed that its document does not say.
fn differs(step: &Step, output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    let expected = step.expected.join("\n");
    (!are_like(&step.expected, &lines)).then(|| {
        format!("{}: `{}` printed\n{output}\nand not\n{expected}", step.place, step.command)
    })
}

#[test]
fn the_commands_of_the_documents_print_what_they_say() {
    let checkout = Checkout::new();
    let all: Vec<Block> = DOCUMENTS.iter().flat_map(|document| blocks(document)).collect();
    let consoles: Vec<&Block> = all.iter().filter(|block| block.info[0] == "console").collect();
    let (servers, others): (Vec<&Block>, Vec<&Block>) =
        consoles.into_iter().partition(|block| block.info.iter().any(|word| word == "server"));
    let [block] = servers.as_slice() else { panic!("one block starts the server") };
    let serve = steps(block).remove(0);
    assert_eq!(serve.command, "cargo run --release -- serve");

    let mut command = checkout.command("bash");
    command.arg("-c").arg(format!("exec {}", serve.command));
    let server = checkout.serve(command, BUILD);
    assert_eq!(differs(&serve, &server.told()), None);
    let database = checkout.home().join(".local/share/countersign/countersign.db");
    assert!(database.exists(), "the README says where the state is kept");

    let steps: Vec<Step> = others.into_iter().flat_map(steps).collect();
    assert!(steps.len() > 10, "the documents have commands");
    let mut script = "exec 2>&1\n".to_owned();
    for step in &steps {
        let command = step.command.replace(DOCUMENTED, &server.address);
        script.push_str(&format!("printf '\\001'\n{command}\n"));
    }
    let out = checkout.command("bash").arg("-c").arg(script).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let outputs: Vec<&str> = text.split('\u{1}').skip(1).collect();
    let wrong: Vec<String> =
        steps.iter().zip(&outputs).filter_map(|(step, output)| differs(step, output)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(steps.len(), outputs.len(), "{text}");
    server.stop();
    let (status, told) = checkout.run(&["audit", "verify"]);
    assert!(status.success(), "{told}");
}

#[test]
fn the_clients_that_the_readme_configures_connect() {
    let checkout = Checkout::new();
    let mut command = checkout.command(BINARY);
    command.arg("serve");
    let server = checkout.serve(command, PATIENCE);
    let (status, token) = checkout.run(&["agents", "add", "claude-code"]);
    assert!(status.success(), "{token}");
    let initialize =
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
        "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#
            .replace('\n', "");
    let mut tried = Vec::new();
    let mut spawned = Vec::new();
    for block in blocks("README.md").iter().filter(|block| block.info[0] == "json") {
        let sample: Value = serde_json::from_str(&block.text).unwrap();
        let client = &sample["mcpServers"]["countersign"];
        if let Some(url) = client["url"].as_str() {
            assert_eq!(url, format!("http://{DOCUMENTED}/mcp"));
            let given = client["headers"]["Authorization"].as_str().unwrap();
            let header = given.replace("${COUNTERSIGN_TOKEN}", token.trim());
            let ask = |value: &str| {
                server.request("POST /mcp", &format!("Authorization: {value}"), &initialize)
            };
            let answer = ask(&header);
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains("serverInfo"),
                "{answer}"
            );
            let answer = ask("Bearer cs_of-nobody");
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            let url = format!("http://{}/mcp", server.address);
            let (status, told) =
                checkout.run(&["call", "list_files", "--url", &url, "--token-file", "/dev/null"]);
            assert_eq!(status.code(), Some(4), "{told}");
            assert!(told.starts_with("error: the gateway does not accept this token"), "{told}");
            tried.push("http");
        } else {
            spawned.push(client.clone());
        }
    }
    server.stop();
    for client in spawned {
        let root = checkout.root().display().to_string();
        let here = |text: &Value| text.as_str().unwrap().replace("/path/to/countersign", &root);
        let documented = here(&client["command"]);
        assert!(documented.ends_with("/target/release/countersign"), "{documented}");
        let arguments = client["args"].as_array().unwrap().iter().map(here);
        let mut child = checkout
            .command(BINARY)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The end of its input ends it.
        writeln!(child.stdin.take().unwrap(), "{initialize}").unwrap();
        let mut answer = String::new();
        child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        assert!(answer.contains("serverInfo"), "{answer}");
        assert!(child.wait().unwrap().success());
        tried.push("stdio");
    }
    assert_eq!(tried, ["http", "stdio"]);
}

#[test]
fn the_samples_of_the_documents_load() {
    let checkout = Checkout::new();
    let mut counted = 0;
    for document in DOCUMENTS.into_iter().chain(["ARCHITECTURE.md"]) {
        for block in blocks(document) {
            let place = &block.place;
            let kind: Vec<&str> = block.info.iter().map(String::as_str).collect();
            if let ["text" | "console", ..] = kind.as_slice() {
                continue;
            }
            let samples = checkout.dir.path().join(format!("sample-{counted}"));
            counted += 1;
            std::fs::create_dir(&samples).unwrap();
            let file = samples.join("sample.yaml");
            std::fs::write(&file, &block.text).unwrap();
            let (samples, file) = (samples.to_str().unwrap(), file.to_str().unwrap());
            let (status, told) = match kind.as_slice() {
                ["json"] => {
                    serde_json::from_str::<Value>(&block.text)
                        .unwrap_or_else(|error| panic!("{place}: {error}"));
                    continue;
                }
                ["yaml", "policy"] => checkout.run(&["policy", "check", "--policies", samples]),
                ["yaml", "manifest"] => {
                    let empty = checkout.dir.path().join("no-policies");
                    std::fs::create_dir_all(&empty).unwrap();
                    let empty = empty.to_str().unwrap();
                    checkout.run(&[
                        "policy",
                        "check",
                        "--policies",
                        empty,
                        "--tool-manifests",
                        samples,
                    ])
                }
                ["yaml", "cases"] => {
                    std::fs::rename(file, format!("{samples}/sample.test.yaml")).unwrap();
                    let rules = checkout.root().join("policies/defaults.yaml");
                    std::fs::copy(rules, format!("{samples}/defaults.yaml")).unwrap();
                    checkout.run(&["policy", "test", "--policies", samples])
                }
                ["yaml", "config"] => checkout.run(&["policy", "check", "--config", file]),
                other => panic!("{place}: a sample must say what it is, not {other:?}"),
            };
            assert!(status.success(), "{place}: {told}");
        }
    }
    assert!(counted > 3, "the documents have samples");
}

/// The metrics that a text names, in order, none twice.
fn metric_names(text: &str, pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let mut names: Vec<String> =
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn metrics_and_their_document_name_the_same_things() {
    let checkout = Checkout::new();
    let policies = checkout.dir.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let rules = "rules:
  - { name: looking, match: { action_type: read }, decision: ALLOW }
  - { name: removing, match: { action_type: delete }, decision: REQUIRE_APPROVAL }
limits: [{ name: once, match: { tool: list_files }, per: agent, rate: 1/day }]
";
    std::fs::write(policies.join("rules.yaml"), rules).unwrap();
    let config = checkout.dir.path().join("notices.yaml");
    let channel =
        "notifications: { channels: [{ name: x, form: slack, url: 'http://127.0.0.1:9' }] }";
    std::fs::write(&config, channel).unwrap();
    let serve = || {
        let mut command = checkout.command(BINARY);
        command.arg("serve").arg("--policies").arg(&policies).arg("--config").arg(&config);
        checkout.serve(command, PATIENCE)
    };
    let pending = |count: u64| format!("countersign_holds_pending{{rule=\"removing\"}} {count}\n");
    let server = serve();
    let hold = |path: &str| {
        let arguments = format!("{{\"path\": \"{path}\"}}");
        let (status, told) = checkout.run(&["call", "delete_file", &arguments, "--no-wait"]);
        assert_eq!(status.code(), Some(5), "{told}");
        told.lines().next().unwrap().to_owned()
    };
    let first = hold("a");
    hold("b");
    assert!(checkout.run(&["call", "list_files"]).0.success());
    let (status, told) = checkout.run(&["call", "list_files"]);
    assert!(!status.success() && told.contains("rate limit `once`"), "{told}");
    assert!(server.metrics().contains(&pending(2)), "{}", server.metrics());
    server.stop();

    // How many holds wait is known after a restart too.
    let server = serve();
    assert!(server.metrics().contains(&pending(2)), "{}", server.metrics());
    assert!(checkout.run(&["approvals", "reject", &first]).0.success());
    let shown = server.metrics();
    assert!(shown.contains(&pending(1)), "{shown}");
    assert!(shown.contains("countersign_hold_decisions_total{result=\"rejected\"} 1"), "{shown}");
    let _ = checkout.run(&["call", "list_files"]);
    let _ = checkout.run(&["call", "list_files"]);

    let shown = metric_names(&server.metrics(), r"(?m)^# TYPE (\S+) ");
    let document = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let documented = metric_names(&document, r"(?m)^\| `(countersign_\w+)");
    let documented: Vec<String> = documented
        .into_iter()
        // Shown for each MCP server, and this gateway has none.
        .filter(|name| name != "countersign_upstream_healthy")
        .map(|name| {
            let base = name.strip_suffix("_total").map(str::to_owned);
            base.unwrap_or_else(|| name.replace("countersign_build_info", "countersign_build"))
        })
        .collect();
    assert_eq!(documented, shown);
    server.stop();
}
