//! The gateway as clients see it that nobody here wrote: the official SDKs, over both transports.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio as Pipe};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Builder, HOLD_ALL, PATIENCE, TestGateway, text, until};

/// Where the scripts of the clients are, and the packages that they use.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A file of `tests/clients` that `tests/run` installs.
#[track_caller]
pub(crate) fn installed(path: &str) -> PathBuf {
    let found = Path::new(HERE).join(path);
    assert!(found.exists(), "{} is missing: run `tests/run`, which installs it", found.display());
    found
}

/// A program on this process's `PATH`.
#[track_caller]
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("`{name}` is missing: run `tests/run`, which installs it"))
}

/// A client, and how it opens its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TypeScript SDK 1.x: a handshake.
    TypeScript,
    /// TypeScript SDK 2.x, told to make a handshake.
    TypeScript2Legacy,
    /// TypeScript SDK 2.x, which asks first what the server speaks.
    TypeScript2,
    /// Python SDK, told to make a handshake.
    PythonLegacy,
    /// Python SDK as it comes.
    Python,
}

impl Kind {
    const fn mode(self) -> &'static str {
        match self {
            Self::TypeScript | Self::TypeScript2Legacy | Self::PythonLegacy => "legacy",
            Self::TypeScript2 | Self::Python => "auto",
        }
    }

    const fn protocol(self) -> &'static str {
        match self {
            Self::TypeScript | Self::TypeScript2Legacy | Self::PythonLegacy => "2025-11-25",
            Self::TypeScript2 | Self::Python => "2026-07-28",
        }
    }

    fn script(self) -> Command {
        let (program, script) = match self {
            Self::TypeScript => {
                installed("node_modules/@modelcontextprotocol/sdk");
                (program("node"), "ts_sdk.mjs")
            }
            Self::TypeScript2Legacy | Self::TypeScript2 => {
                installed("node_modules/@modelcontextprotocol/client");
                (program("node"), "ts_client2.mjs")
            }
            Self::PythonLegacy | Self::Python => (installed("venv/bin/python"), "py_sdk.py"),
        };
        let mut command = Command::new(program);
        command.arg(Path::new(HERE).join(script));
        command
    }
}

/// How a client reaches the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It starts the gateway itself.
    Stdio,
    /// The gateway listens.
    Http,
}

/// A client that follows the test's steps.
pub(crate) struct Client {
    child: Child,
    steps: Option<ChildStdin>,
    answers: Receiver<Value>,
    chatter: Arc<Mutex<String>>,
    /// What it said when it was connected.
    pub(crate) connected: Value,
}

impl Client {
    /// A client of `gateway`, which listens.
    pub(crate) fn over_http(kind: Kind, gateway: &TestGateway, agent: &str) -> Self {
        Self::with_token(kind, gateway, &gateway.agent(agent))
    }

    /// The same for an agent that has its token.
    pub(crate) fn with_token(kind: Kind, gateway: &TestGateway, token: &str) -> Self {
        let url = format!("{}/mcp", gateway.url());
        Self::connect(kind, &json!({ "url": url, "token": token }))
    }

    /// A client that can be asked for everything.
    pub(crate) fn answering(kind: Kind, gateway: &TestGateway, agent: &str) -> Self {
        let target =
            json!({ "url": format!("{}/mcp", gateway.url()), "token": gateway.agent(agent) });
        Self::connect_with(kind, &target, &json!({ "mode": kind.mode(), "asks": true }))
    }

    /// A client that starts the gateway of these directories.
    pub(crate) fn over_stdio(kind: Kind, gateway: &TestGateway, agent: &str) -> Self {
        let command = gateway.command(&["stdio", "--agent", agent]);
        let shown = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
        let arguments: Vec<String> = command.get_args().map(shown).collect();
        let environment: BTreeMap<String, String> = command
            .get_envs()
            .filter_map(|(name, value)| Some((shown(name), shown(value?))))
            .collect();
        let target = json!({
            "command": shown(command.get_program()),
            "args": arguments,
            "cwd": gateway.dir(),
            "env": environment,
        });
        Self::connect(kind, &target)
    }

    fn connect(kind: Kind, target: &Value) -> Self {
        Self::connect_with(kind, target, &json!({ "mode": kind.mode() }))
    }

    fn connect_with(kind: Kind, target: &Value, options: &Value) -> Self {
        let mut command = kind.script();
        command.arg(target.to_string()).arg(options.to_string());
        command.stdin(Pipe::piped()).stdout(Pipe::piped()).stderr(Pipe::piped());
        let mut child = command.spawn().unwrap();
        let (sender, answers) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str(&line) else { continue };
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let chatter = Arc::new(Mutex::new(String::new()));
        let (heard, errors) = (Arc::clone(&chatter), BufReader::new(child.stderr.take().unwrap()));
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        let steps = child.stdin.take();
        let mut client = Self { child, steps, answers, chatter, connected: Value::Null };
        client.connected = client.answer()["connected"].take();
        assert!(client.connected.is_object(), "{kind:?} did not connect: {}", client.chatter());
        client
    }

    fn chatter(&self) -> String {
        self.chatter.lock().unwrap().clone()
    }

    /// Gives the client a step; [`Self::answer`] has what came of it.
    pub(crate) fn begin(&mut self, step: &Value) {
        let steps = self.steps.as_mut().unwrap();
        writeln!(steps, "{step}").unwrap();
        steps.flush().unwrap();
    }

    /// What came of the step that was begun. No step may make the SDK complain about the protocol.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Value {
        let answer = self.answers.recv_timeout(PATIENCE * 2);
        let answer = answer.unwrap_or_else(|_| panic!("no answer: {}", self.chatter()));
        assert_eq!(answer["errors"], json!([]), "the SDK complains: {answer}");
        answer
    }

    /// The same, if it has come.
    #[track_caller]
    pub(crate) fn answered(&self) -> Option<Value> {
        let answer = self.answers.try_recv().ok()?;
        assert_eq!(answer["errors"], json!([]), "the SDK complains: {answer}");
        Some(answer)
    }

    /// All tools, by name.
    #[track_caller]
    pub(crate) fn tools(&mut self) -> BTreeMap<String, Value> {
        self.begin(&json!({ "list": true }));
        let mut answer = self.answer();
        let Value::Array(tools) = answer["tools"].take() else { panic!("no tools: {answer}") };
        tools.into_iter().map(|tool| (text(&tool["name"]), tool)).collect()
    }

    /// Calls a tool and gives the whole answer.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.begin(&json!({ "call": tool, "arguments": arguments }));
        self.answer()
    }

    /// Ends the client, which must end well by itself.
    pub(crate) fn close(mut self) {
        drop(self.steps.take());
        let status = until("the client to end", || self.child.try_wait().unwrap());
        assert!(status.success(), "the client ended with {status}: {}", self.chatter());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what the client said ---\n{}", self.chatter());
        }
    }
}

/// The text of a result that is no error.
#[track_caller]
pub(crate) fn done(answer: &Value) -> String {
    assert_ne!(answer["result"]["isError"], true, "refused: {answer}");
    texts(answer)
}

/// The text of a result that is an error.
#[track_caller]
pub(crate) fn refused(answer: &Value) -> String {
    assert_eq!(answer["result"]["isError"], true, "not refused: {answer}");
    texts(answer)
}

#[track_caller]
fn texts(answer: &Value) -> String {
    let content = answer["result"]["content"].as_array();
    let content = content.unwrap_or_else(|| panic!("no content: {answer}"));
    content.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// The policies and manifests that come with Countersign.
fn shipped() -> Builder {
    let files = |directory: &str| -> Vec<(String, String)> {
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_str().unwrap().ends_with(".yaml"))
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect()
    };
    let mut builder = TestGateway::builder();
    for (name, text) in files("policies") {
        builder = builder.policy(&name, &text);
    }
    for (name, text) in files("tool-manifests") {
        builder = builder.manifest(&name, &text);
    }
    builder
}

fn connected(kind: Kind, way: Way, builder: Builder) -> (TestGateway, Client) {
    match way {
        Way::Http => {
            let gateway = builder.start();
            let client = Client::over_http(kind, &gateway, "worker");
            (gateway, client)
        }
        Way::Stdio => {
            let gateway = builder.prepare();
            let client = Client::over_stdio(kind, &gateway, "worker");
            (gateway, client)
        }
    }
}

/// A repository with one commit in the workspace.
fn git_workspace(gateway: &TestGateway) {
    let workspace = gateway.dir().join("workspace");
    fs::create_dir_all(&workspace).unwrap();
    fs::write(workspace.join("kept.txt"), "kept\n").unwrap();
    for arguments in [
        &["init", "-q"][..],
        &["add", "."],
        &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "first commit"],
    ] {
        let mut git = Command::new(program("git"));
        assert!(git.args(arguments).current_dir(&workspace).status().unwrap().success());
    }
}

/// Everything that a governed call can come to, as this client sees it.
fn governed(kind: Kind, way: Way) {
    let (gateway, mut client) = connected(kind, way, shipped());
    git_workspace(&gateway);
    assert_eq!(client.connected["server"]["name"], "countersign");
    // The 1.x SDK does not say over stdio which version it agreed on.
    if kind != Kind::TypeScript || way == Way::Http {
        assert_eq!(client.connected["protocol"], kind.protocol());
    }
    lists(&mut client);
    allowed(&gateway, &mut client);
    constrained(&mut client);
    turned_away(&mut client);
    held(&gateway, &mut client);
    client.close();
}

fn lists(client: &mut Client) {
    let tools = client.tools();
    for name in ["delete_file", "git_log", "list_files", "list_processes", "read_file"] {
        let tool = tools.get(name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert_ne!(tool["description"], "", "{tool}");
    }
    assert_eq!(tools["read_file"]["annotations"]["readOnlyHint"], true);
    assert_eq!(tools["delete_file"]["annotations"]["destructiveHint"], true);
    assert!(!tools.contains_key("database_drop_table"), "what is always denied is not listed");
}

fn allowed(gateway: &TestGateway, client: &mut Client) {
    let content = "Grüße, 世界 \u{1f30d}\nsecond line\n";
    let written = json!({ "path": "notes/a.txt", "content": content });
    done(&client.call("write_file", &written));
    let file = gateway.dir().join("workspace/notes/a.txt");
    assert_eq!(fs::read_to_string(file).unwrap(), content);
    assert_eq!(done(&client.call("read_file", &json!({ "path": "notes/a.txt" }))), content);
    let listed = done(&client.call("list_files", &json!({})));
    assert!(listed.contains("notes/a.txt") && listed.contains("kept.txt"), "{listed}");
}

fn constrained(client: &mut Client) {
    let answer = client.call("git_log", &json!({ "count": 200 }));
    let told = done(&answer);
    assert!(told.contains("first commit"), "{told}");
    assert!(told.contains("`/count` was 50 (you asked for 200; rule `short-histories`)"), "{told}");
    let edit = &answer["result"]["_meta"]["countersign/decision"]["edits"][0];
    assert_eq!((&edit["from"], &edit["to"]), (&json!(200), &json!(50)));
}

fn turned_away(client: &mut Client) {
    let denied = refused(&client.call("database_drop_table", &json!({ "table": "users" })));
    assert!(denied.contains("no-delete-databases"), "{denied}");
    let invalid = refused(&client.call("read_file", &json!({ "path": "../../etc/passwd" })));
    assert!(invalid.contains("/path"), "{invalid}");
    let unknown = client.call("no_such_tool", &json!({}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
}

fn held(gateway: &TestGateway, client: &mut Client) {
    let arguments = json!({ "path": "notes/a.txt" });
    client.begin(&json!({ "call": "delete_file", "arguments": arguments, "progress": true }));
    let hold = gateway.pending();
    let file = gateway.dir().join("workspace/notes/a.txt");
    assert!(file.exists(), "it ran before it was approved");
    gateway.approve(&hold);
    let answer = client.answer();
    done(&answer);
    assert!(!file.exists());
    assert_eq!(answer["result"]["_meta"]["countersign/hold"]["id"], json!(hold));
    let message = text(&answer["progress"][0]["message"]);
    assert!(message.contains("waiting for a person"), "{message}");
}

/// One test per client and transport.
macro_rules! for_each_client {
    ($($name:ident: $kind:ident $way:ident;)*) => {$(
        #[test]
        fn $name() {
            governed(Kind::$kind, Way::$way);
        }
    )*};
}

for_each_client! {
    typescript_over_stdio: TypeScript Stdio;
    typescript_over_http: TypeScript Http;
    typescript2_by_handshake_over_stdio: TypeScript2Legacy Stdio;
    typescript2_by_handshake_over_http: TypeScript2Legacy Http;
    typescript2_over_stdio: TypeScript2 Stdio;
    typescript2_over_http: TypeScript2 Http;
    python_by_handshake_over_stdio: PythonLegacy Stdio;
    python_by_handshake_over_http: PythonLegacy Http;
    python_over_stdio: Python Stdio;
    python_over_http: Python Http;
}

/// More tools than one page shows.
fn many_tools() -> Builder {
    let tools: String = (0..450)
        .map(|number| {
            format!(
                "  - {{ name: tool_{number:03}, description: Number {number}., attributes: {{ action_type: read }}, \
                 input_schema: {{ type: object }}, run: [\"{number}\"] }}\n"
            )
        })
        .collect();
    let manifest =
        format!("backend: {{ name: many, command: {{ program: echo }} }}\ntools:\n{tools}");
    TestGateway::builder()
        .manifest("many.yaml", &manifest)
        .policy("all.yaml", crate::harness::ALLOW_ALL)
}

#[test]
fn all_pages_of_a_long_catalog_are_listed() {
    let gateway = many_tools().start();
    for kind in [Kind::TypeScript, Kind::TypeScript2, Kind::PythonLegacy, Kind::Python] {
        let mut client = Client::over_http(kind, &gateway, &format!("{kind:?}"));
        client.begin(&json!({ "list": true }));
        let answer = client.answer();
        let mut names: Vec<_> =
            answer["tools"].as_array().unwrap().iter().map(|tool| text(&tool["name"])).collect();
        assert_eq!(names.len(), 450);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 450, "a tool was listed twice");
        // This SDK walks the pages by itself and does not say how many there were.
        if kind != Kind::TypeScript2 {
            assert_eq!(answer["pages"], 3);
        }
        assert_eq!(done(&client.call("tool_449", &json!({}))).trim(), "449");
        client.close();
    }
}

const SHORT_WINDOW: &str = "holds: { window: 2s }\n";

fn holding() -> Builder {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).config(SHORT_WINDOW)
}

/// A client that waits three seconds hears *pending* after two, and collects the result when it asks again.
fn pending_then_collected(kind: Kind, way: Way) {
    let (gateway, mut client) = connected(kind, way, holding());
    let step = json!({ "call": "count", "arguments": { "line": "once" }, "timeout_ms": 3000 });
    client.begin(&step);
    let first = client.answer();
    let told = refused(&first);
    assert!(told.starts_with("PENDING, not failed"), "{told}");
    let hold = gateway.pending();
    assert_eq!(first["result"]["_meta"]["countersign/hold"]["id"], json!(hold));
    client.begin(&step);
    let again = client.answer();
    assert!(refused(&again).starts_with("PENDING, not failed"), "{again}");
    assert_eq!(gateway.pending(), hold, "asking again joins the hold");
    gateway.approve(&hold);
    client.begin(&step);
    assert_eq!(done(&client.answer()).trim(), "ran once");
    assert_eq!(gateway.ran(), ["once"]);
    // What was collected is over: the same call is a new one.
    client.begin(&step);
    assert!(refused(&client.answer()).starts_with("PENDING, not failed"));
    assert_ne!(gateway.pending(), hold);
    assert_eq!(gateway.ran(), ["once"]);
    client.close();
}

#[test]
fn typescript_collects_a_pending_call_over_stdio() {
    pending_then_collected(Kind::TypeScript, Way::Stdio);
}

#[test]
fn typescript_collects_a_pending_call_over_http() {
    pending_then_collected(Kind::TypeScript, Way::Http);
}

#[test]
fn python_collects_a_pending_call_over_http() {
    pending_then_collected(Kind::PythonLegacy, Way::Http);
}

/// A client of 2026-07-28 comes back by itself with the sealed state, so that one call outlives many windows.
fn comes_back_by_itself(kind: Kind, way: Way) {
    let (gateway, mut client) = connected(kind, way, holding());
    client
        .begin(&json!({ "call": "count", "arguments": { "line": "once" }, "timeout_ms": 30_000 }));
    let hold = gateway.pending();
    // Longer than two windows; all the while there is one hold, which is joined each time.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(gateway.pending(), hold);
        assert_eq!(gateway.holds("all").len(), 1);
    }
    gateway.approve(&hold);
    assert_eq!(done(&client.answer()).trim(), "ran once");
    assert_eq!(gateway.ran(), ["once"]);
    client.close();
}

#[test]
fn typescript2_comes_back_by_itself_over_stdio() {
    comes_back_by_itself(Kind::TypeScript2, Way::Stdio);
}

#[test]
fn typescript2_comes_back_by_itself_over_http() {
    comes_back_by_itself(Kind::TypeScript2, Way::Http);
}

#[test]
fn python_comes_back_by_itself_over_stdio() {
    comes_back_by_itself(Kind::Python, Way::Stdio);
}

#[test]
fn python_comes_back_by_itself_over_http() {
    comes_back_by_itself(Kind::Python, Way::Http);
}

/// A client whose patience is shorter than the window takes its call back, and nothing runs.
fn gives_up(kind: Kind, way: Way) {
    let builder = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL);
    let (gateway, mut client) = connected(kind, way, builder);
    for (round, progress) in [(1, false), (2, true)] {
        let step = json!({
            "call": "count",
            "arguments": { "line": "never" },
            "progress": progress,
            "timeout_ms": 1000,
        });
        client.begin(&step);
        // In whatever state: on a loaded machine the client may have given up before anybody looks.
        let hold = text(&gateway.holds_when("all", round)[0]["id"]);
        let answer = client.answer();
        assert!(answer["error"].is_object(), "{answer}");
        gateway.hold_when(&hold, "withdrawn");
        let late = gateway.cli(&["approvals", "approve", &hold]);
        assert_eq!(late.code, 5, "{late:?}");
    }
    assert!(gateway.ran().is_empty());
    // The connection is as good as before.
    assert!(client.tools().contains_key("count"));
    client.close();
}

#[test]
fn typescript_gives_up_over_stdio() {
    gives_up(Kind::TypeScript, Way::Stdio);
}

#[test]
fn typescript_gives_up_over_http() {
    gives_up(Kind::TypeScript, Way::Http);
}

#[test]
fn python_gives_up_over_http() {
    gives_up(Kind::PythonLegacy, Way::Http);
}
