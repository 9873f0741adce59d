//! A gateway for one test: its own directories, the built binary, and people's commands.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio as Pipe};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::clients::{Legacy, Modern, Reply, Stdio};

/// How long anything that a test waits for may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// What drives the HTTP clients of all tests.
pub(crate) static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// Everything is allowed.
pub(crate) const ALLOW_ALL: &str = "rules:\n  - { name: everything, match: {}, decision: ALLOW }\n";

/// Everything is held.
pub(crate) const HOLD_ALL: &str =
    "rules:\n  - { name: everything-held, match: {}, decision: REQUIRE_APPROVAL }\n";

/// Tools that append a line to `ran` for each run; see [`TestGateway::ran`].
const COUNTING: &str = r#"
backend:
  name: counting
  command: { program: "@DIR@/bin/count" }
  concurrency: 16
  queue: 256
  timeout: 20s
attributes: { capability: counting, environment: test }
tools:
  - name: count
    description: Append a line.
    attributes: { action: count, action_type: write }
    input_schema:
      type: object
      additionalProperties: false
      required: [line]
      properties: { line: { type: string } }
    run: ["${line}"]
  - name: count_slowly
    description: Append a line and take as many seconds as asked.
    attributes: { action: count, action_type: write }
    input_schema:
      type: object
      additionalProperties: false
      required: [line, seconds]
      properties: { line: { type: string }, seconds: { type: number } }
    run: ["${line}", "${seconds}"]
  - name: look
    description: Append a line, but say that it only looks.
    attributes: { action: look, action_type: read }
    input_schema:
      type: object
      additionalProperties: false
      required: [line]
      properties: { line: { type: string } }
    run: ["${line}"]
"#;

const COUNT_SCRIPT: &str = "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '@DIR@/ran'\nif [ -n \"$2\" ]; then sleep \"$2\"; fi\nprintf 'ran %s\\n' \"$1\"\n";

/// Records its argument vector, one element per line between two marks, and says so.
const KUBECTL_SCRIPT: &str = "#!/bin/sh\n{ echo '['; for part in \"$@\"; do printf '%s\\n' \"$part\"; done; echo ']'; } >> '@DIR@/kubectl-ran'\necho scaled\n";

/// What a gateway is started with.
#[derive(Clone, Default)]
pub(crate) struct Builder {
    policies: Vec<(String, String)>,
    manifests: Vec<(String, String)>,
    scripts: Vec<(String, String)>,
    config: Option<String>,
    env: Vec<(String, String)>,
    path_dirs: Vec<PathBuf>,
    unverified: bool,
    manual_clock: bool,
    listen: Option<String>,
    program: Option<PathBuf>,
}

impl Builder {
    /// Another binary than the one the tests were built with.
    pub(crate) fn program(self, program: PathBuf) -> Self {
        Self { program: Some(program), ..self }
    }

    /// A policy file.
    pub(crate) fn policy(mut self, name: &str, text: &str) -> Self {
        self.policies.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A tool manifest; `@DIR@` stands for the test's directory.
    pub(crate) fn manifest(mut self, name: &str, text: &str) -> Self {
        self.manifests.push((name.to_owned(), text.to_owned()));
        self
    }

    /// The manifest of the tools that count how often they ran.
    pub(crate) fn counting(self) -> Self {
        self.script("count", COUNT_SCRIPT).manifest("counting.yaml", COUNTING)
    }

    /// A program in `bin/`, which stands first on `PATH`; `@DIR@` stands for the test's directory.
    pub(crate) fn script(mut self, name: &str, text: &str) -> Self {
        self.scripts.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A stand-in `kubectl` that records its argument vector; see [`TestGateway::kubectl_ran`].
    pub(crate) fn kubectl(self) -> Self {
        self.script("kubectl", KUBECTL_SCRIPT)
    }

    /// The text of `countersign.yaml`.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// A variable of the gateway's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A directory before the usual ones on the gateway's `PATH`.
    #[expect(dead_code, reason = "tests of programs that come from elsewhere use it")]
    pub(crate) fn path_dir(mut self, dir: &Path) -> Self {
        self.path_dirs.push(dir.to_owned());
        self
    }

    /// The record is damaged on purpose: it is not verified at the end.
    pub(crate) fn unverified(mut self) -> Self {
        self.unverified = true;
        self
    }

    /// Where it listens, instead of on a free port of 127.0.0.1.
    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// The gateway's clock can be moved; see [`TestGateway::advance`] and [`TestGateway::jump`].
    pub(crate) fn manual_clock(mut self) -> Self {
        self.manual_clock = true;
        self
    }

    /// The directories, and no process yet.
    pub(crate) fn prepare(self) -> TestGateway {
        let dir = tempfile::Builder::new().prefix("cs-").tempdir().unwrap();
        for name in ["policies", "tool-manifests", "bin"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let verified = !self.unverified;
        let gateway = TestGateway {
            dir,
            env: self.env,
            path_dirs: self.path_dirs,
            program: self.program.unwrap_or_else(|| PROGRAM.into()),
            process: None,
            url: String::new(),
            log: Arc::default(),
            verified,
            listen: self.listen.unwrap_or_else(|| "127.0.0.1:0".to_owned()),
            clock: self.manual_clock.then(AtomicI64::default),
        };
        for (name, text) in &self.policies {
            gateway.put_policy(name, text);
        }
        for (name, text) in &self.manifests {
            gateway.put_manifest(name, text);
        }
        for (name, text) in &self.scripts {
            gateway.put_script(name, text);
        }
        gateway.put("countersign.yaml", self.config.as_deref().unwrap_or("{}\n"));
        gateway
    }

    /// A gateway that listens.
    pub(crate) fn start(self) -> TestGateway {
        let mut gateway = self.prepare();
        gateway.launch();
        gateway
    }

    /// What `serve` says when it does not start.
    pub(crate) fn expect_start_failure(self) -> Output {
        let gateway = self.prepare();
        let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
        assert_ne!(failed.code, 0, "the gateway ended well: {failed:?}");
        failed
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    /// Its data.
    pub(crate) stdout: String,
    /// Its chatter.
    pub(crate) stderr: String,
}

impl Output {
    /// The data of a command that succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "the command failed: {self:?}");
        self.stdout
    }

    /// The JSON document of a command that succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }
}

/// A gateway for one test.
pub(crate) struct TestGateway {
    dir: TempDir,
    env: Vec<(String, String)>,
    path_dirs: Vec<PathBuf>,
    program: PathBuf,
    process: Option<Child>,
    url: String,
    log: Arc<Mutex<String>>,
    verified: bool,
    listen: String,
    /// By how many milliseconds the wall clock has been moved, which a restart does not undo.
    clock: Option<AtomicI64>,
}

impl TestGateway {
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// The test's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Where agents reach it, `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Reaches a gateway that listens everywhere under the loopback address of its port.
    pub(crate) fn reach_on_loopback(&mut self) {
        self.url = self.url.replace("0.0.0.0", "127.0.0.1");
    }

    /// What the gateway has written to standard error, over all its starts.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Where processes of this gateway write what [`Self::log`] tells.
    pub(crate) fn log_of_all(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.log)
    }

    /// Writes a file of the test's directory; `@DIR@` stands for that directory.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let text = text.replace("@DIR@", self.dir().to_str().unwrap());
        fs::write(self.dir().join(name), text).unwrap();
    }

    /// Writes a policy file.
    pub(crate) fn put_policy(&self, name: &str, text: &str) {
        self.put(&format!("policies/{name}"), text);
    }

    /// Writes a manifest. Programs of the test's directory leave their traces in it, beside the data directory,
    /// so they are not confined unless the manifest says how.
    pub(crate) fn put_manifest(&self, name: &str, text: &str) {
        let ours = ["@DIR@", "program: count", "program: kubectl", PROGRAM];
        let ours = ours.iter().any(|mark| text.contains(mark));
        let says = ["sandbox", "url:"].iter().any(|key| text.contains(key));
        let text = match text.contains("backend: {") {
            _ if says || !ours => text.to_owned(),
            true => text.replacen("backend: {", "backend: { sandbox: unconfined,", 1),
            false => text.replacen("backend:\n", "backend:\n  sandbox: unconfined\n", 1),
        };
        self.put(&format!("tool-manifests/{name}"), &text);
    }

    fn put_script(&self, name: &str, text: &str) {
        let name = format!("bin/{name}");
        self.put(&name, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir().join(name), mode).unwrap();
    }

    /// Sets or takes away a variable for later starts and commands.
    pub(crate) fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.env.retain(|(known, _)| known != name);
        self.env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// The binary, in the test's directory and with a clean environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut path = OsString::from(self.dir().join("bin"));
        for dir in &self.path_dirs {
            path.push(":");
            path.push(dir);
        }
        path.push(":/usr/local/bin:/usr/bin:/bin");
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", path)
            .env("NO_COLOR", "1")
            .env("COUNTERSIGN_DATA", self.data())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Pipe::null())
            .stdout(Pipe::piped())
            .stderr(Pipe::piped());
        if let Some(moved) = &self.clock {
            let moved = moved.load(Ordering::SeqCst);
            command.env("COUNTERSIGN_CLOCK", format!("manual:{moved}"));
        }
        command
    }

    /// Lets time pass for the gateway. While none runs, only the wall clock goes on.
    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.move_clock("advance_ms", by);
    }

    /// Sets the wall clock of the gateway's machine, forward or back, and no other clock.
    pub(crate) fn jump(&self, ms: i64) {
        self.move_clock("jump_ms", ms);
    }

    /// Suspends the gateway's machine and wakes it again.
    pub(crate) fn suspend(&self, by: Duration) {
        self.move_clock("suspend_ms", i64::try_from(by.as_millis()).unwrap());
    }

    fn move_clock(&self, how: &str, ms: i64) {
        let moved = self.clock.as_ref().expect("a manual clock");
        moved.fetch_add(ms, Ordering::SeqCst);
        if self.process.is_some() {
            let reply = self.api_post("/testing/clock", &serde_json::json!({ how: ms }));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }

    /// Starts the process and waits until it listens.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "the gateway runs already");
        let mut child = self.command(&["serve", "--listen", &self.listen]).spawn().unwrap();
        let (sender, heard) = std::sync::mpsc::channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::clone(&self.log);
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    let _ = sender.send(url.to_owned());
                }
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        self.process = Some(child);
        self.url = heard
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("the gateway does not listen:\n{}", self.log()));
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.process.as_ref().expect("the gateway runs").id()).unwrap()
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// The process of the gateway.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the gateway runs").id()
    }

    /// Asks the process to end and gives its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.process.take().expect("the gateway runs");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        exit_code(&mut child, "the gateway to stop")
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait_for_death(&mut self) {
        let mut child = self.process.take().expect("the gateway runs");
        exit_code(&mut child, "the gateway to die");
    }

    /// Kills what runs and starts again in the same directories.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// The most memory that the process has had at one time, in MB.
    pub(crate) fn peak_memory(&self) -> u64 {
        peak_memory(self.process_id())
    }

    /// Runs one command of a person on this gateway.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        run(self.command(arguments))
    }

    /// The token of a new agent.
    pub(crate) fn agent(&self, name: &str) -> String {
        let token = self.cli(&["agents", "add", name]).done();
        token.trim().to_owned()
    }

    /// A client of protocol 2026-07-28 for a new agent.
    pub(crate) fn modern(&self, agent: &str) -> Modern {
        Modern::new(&self.url, &self.agent(agent))
    }

    /// The same with the tasks extension.
    pub(crate) fn modern_with_tasks(&self, agent: &str) -> Modern {
        Modern { tasks: true, ..self.modern(agent) }
    }

    /// A client of an earlier protocol for a new agent.
    pub(crate) fn legacy(&self, agent: &str) -> Legacy {
        Legacy::open(&self.url, &self.agent(agent), "2025-11-25")
    }

    /// A client that spawned the gateway itself. Its process owns the data directory.
    pub(crate) fn stdio(&self, agent: &str) -> Stdio {
        Stdio::spawn(self.command(&["stdio", "--agent", agent]), Arc::clone(&self.log))
    }

    /// What the JSON API answers to a person on the local socket.
    pub(crate) fn api_get(&self, path: &str) -> Reply {
        let request = self.local().get(format!("http://localhost{path}"));
        RUNTIME.block_on(Reply::of(request))
    }

    /// The same for a request that changes something.
    pub(crate) fn api_post(&self, path: &str, body: &Value) -> Reply {
        let request = self.local().post(format!("http://localhost{path}")).json(body);
        RUNTIME.block_on(Reply::of(request))
    }

    /// The same of a gateway that may die over it; none when it gave no whole answer.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Option<Value> {
        let request = self.local().post(format!("http://localhost{path}")).json(body);
        RUNTIME.block_on(async { request.send().await.ok()?.json().await.ok() })
    }

    fn local(&self) -> reqwest::Client {
        let socket = self.data().join("countersign.sock");
        reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap()
    }

    /// All holds in `state`.
    pub(crate) fn holds(&self, state: &str) -> Vec<Value> {
        let list = ["approvals", "list", "--state", state, "--each", "--limit", "1000"];
        let list = [&list[..], &["--output", "json"]].concat();
        let Value::Array(holds) = self.cli(&list).json() else { panic!("no list") };
        holds
    }

    /// Waits until exactly `count` holds are in `state`.
    pub(crate) fn holds_when(&self, state: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} holds to be {state}"), || {
            let holds = self.holds(state);
            (holds.len() == count).then_some(holds)
        })
    }

    /// The one hold that is pending, by its id, once there is one.
    pub(crate) fn pending(&self) -> String {
        text(&self.holds_when("pending", 1)[0]["id"])
    }

    /// What `approvals show` says of a hold.
    pub(crate) fn hold(&self, id: &str) -> Value {
        self.cli(&["approvals", "show", id, "--output", "json"]).json()
    }

    /// Waits until a hold is in `state`, and gives it.
    pub(crate) fn hold_when(&self, id: &str, state: &str) -> Value {
        until(&format!("hold {id} to be {state}"), || {
            let hold = self.hold(id);
            (hold["state"] == state).then_some(hold)
        })
    }

    /// Approves a hold and waits until it has run.
    pub(crate) fn approve(&self, id: &str) {
        self.cli(&["approvals", "approve", id]).done();
    }

    /// All entries of the record, oldest first.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let mut entries = Vec::new();
        loop {
            let after = entries.last().map_or(0, |last: &Value| last["index"].as_u64().unwrap());
            let after = after.to_string();
            let list = ["audit", "list", "--after", &after, "--limit", "1000", "--output", "json"];
            let Value::Array(page) = self.cli(&list).json() else { panic!("no list") };
            let last = page.len() < 1000;
            entries.extend(page);
            if last {
                return entries;
            }
        }
    }

    /// The lines that the counting tools wrote, in order: what really ran.
    pub(crate) fn ran(&self) -> Vec<String> {
        lines(&self.dir().join("ran"))
    }

    /// The argument vectors that the stand-in `kubectl` was run with.
    pub(crate) fn kubectl_ran(&self) -> Vec<Vec<String>> {
        let lines = lines(&self.dir().join("kubectl-ran"));
        let runs = lines.split(|line| line == "]").filter(|run| !run.is_empty());
        runs.map(|run| run[1..].to_vec()).collect()
    }

    /// A metric's value by the start of its line, like `name{label="x"`; none when there is no such line.
    pub(crate) fn metric(&self, start: &str) -> Option<f64> {
        let metrics = self.metrics();
        let line = metrics.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// The whole text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        self.api_get("/metrics").body
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- what the gateway said ---\n{}", self.log());
        } else if self.verified && self.data().join("countersign.db").exists() {
            let verified = self.cli(&["audit", "verify"]);
            assert_eq!(verified.code, 0, "the record does not verify: {verified:?}");
        }
    }
}

/// Runs a command to its end, within the deadline.
pub(crate) fn run(mut command: Command) -> Output {
    let mut child = command.spawn().unwrap();
    let out = read_all(child.stdout.take().unwrap());
    let err = read_all(child.stderr.take().unwrap());
    let code = exit_code(&mut child, "a command to end");
    Output { code, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn exit_code(child: &mut Child, what: &str) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("waited in vain for {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The most memory that a process has had at one time, in MB.
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Polls until `ready` gives something, within the deadline.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A JSON text as a string.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
