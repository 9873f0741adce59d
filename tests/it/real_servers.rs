//! MCP servers that nobody here wrote, behind the gateway: their tools reach a client unchanged, and only
//! those that a manifest lists.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio as Pipe};
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::clients::{Client as _, VERSIONS, next_id};
use crate::harness::{ALLOW_ALL, Builder, PATIENCE, TestGateway, until};
use crate::real_clients::{Client, Kind, done, installed, program, refused};

pub(crate) const EVERYTHING: &str =
    "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
const FILESYSTEM: &str = "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js";

/// The tools of `server-everything` that are offered; `nowhere` is none of its tools.
const OFFERED: &str = "
attributes: { capability: everything, action_type: read }
tools:
  - { name: echo }
  - { name: sum, from: get-sum }
  - { name: long, from: trigger-long-running-operation }
  - { name: image, from: get-tiny-image }
  - { name: weather, from: get-structured-content }
  - { name: nowhere }
";

pub(crate) fn everything(server: &str) -> Builder {
    let manifest = format!("backend:\n  name: everything\n  mcp: {server}\n{OFFERED}");
    TestGateway::builder().manifest("everything.yaml", &manifest).policy("all.yaml", ALLOW_ALL)
}

/// `server-everything` as a child of the gateway. It takes no notice of its last argument, by which the
/// test finds it.
fn child() -> Value {
    json!({ "program": program("node"), "args": [installed(EVERYTHING), "stdio", "@DIR@"] })
}

fn everything_as_child() -> TestGateway {
    let gateway = everything(&child().to_string()).start();
    offered(&gateway, "echo");
    gateway
}

/// Waits until the gateway has learned what the server of `tool` offers.
pub(crate) fn offered(gateway: &TestGateway, tool: &str) {
    until(&format!("`{tool}` to be available"), || {
        let tools = gateway.cli(&["catalog", "list", "--output", "json"]).json();
        let found = tools.as_array().unwrap().iter().find(|it| it["name"] == tool).cloned();
        found.is_some_and(|tool| tool["unavailable"].is_null()).then_some(())
    });
}

/// A server that listens by itself; it ends with the test.
pub(crate) struct Listening {
    child: Child,
    url: String,
}

impl Listening {
    pub(crate) fn everything() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(program("node"))
            .args([installed(EVERYTHING).to_str().unwrap(), "streamableHttp"])
            .env("PORT", port.to_string())
            .stdin(Pipe::null())
            .stdout(Pipe::null())
            .stderr(Pipe::piped())
            .spawn()
            .unwrap();
        let (sender, heard) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if line.contains("listening on port") {
                    let _ = sender.send(());
                }
            }
        });
        let server = Self { child, url: format!("http://127.0.0.1:{port}/mcp") };
        heard.recv_timeout(PATIENCE).expect("the server listens");
        server
    }
}

impl Listening {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What each tool of `server-everything` does for this client.
fn works(gateway: &TestGateway, kind: Kind) {
    let mut client = Client::over_http(kind, gateway, &format!("{kind:?}"));
    let tools = client.tools();
    let names: Vec<&str> = tools.keys().map(String::as_str).collect();
    assert_eq!(names, ["echo", "image", "long", "sum", "weather"]);
    assert_eq!(tools["sum"]["description"], "Returns the sum of two numbers");
    assert_eq!(tools["sum"]["inputSchema"]["required"], json!(["a", "b"]));
    assert_eq!(tools["weather"]["outputSchema"]["properties"]["humidity"]["type"], "number");
    assert_eq!(
        done(&client.call("echo", &json!({ "message": "Grüße \u{1f30d}" }))),
        "Echo: Grüße \u{1f30d}"
    );
    let sum = done(&client.call("sum", &json!({ "a": 2, "b": 40.5 })));
    assert_eq!(sum, "The sum of 2 and 40.5 is 42.5.");
    let invalid = refused(&client.call("sum", &json!({ "a": "two" })));
    assert!(invalid.contains("`/a`") && invalid.contains('b'), "{invalid}");
    image(&client.call("image", &json!({})));
    let weather = client.call("weather", &json!({ "location": "Chicago" }));
    let expected =
        json!({ "temperature": 36, "conditions": "Light rain / drizzle", "humidity": 82 });
    assert_eq!(weather["result"]["structuredContent"], expected);
    assert_eq!(serde_json::from_str::<Value>(&done(&weather)).unwrap(), expected);
    progress(&mut client);
    // Neither what no manifest lists nor the server's own name of a renamed tool.
    for name in ["get-env", "get-sum", "nowhere"] {
        let answer = client.call(name, &json!({ "a": 1, "b": 2 }));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    client.close();
}

fn image(answer: &Value) {
    let content = answer["result"]["content"].as_array().unwrap();
    let image = content.iter().find(|block| block["type"] == "image").unwrap();
    assert_eq!(image["mimeType"], "image/png");
    // The first bytes of every PNG file.
    assert!(image["data"].as_str().unwrap().starts_with("iVBORw0KGgo"), "{image}");
    assert!(content.iter().any(|block| block["type"] == "text"));
}

/// All progress arrives, in order and before the result: an SDK takes none for a call that has ended.
fn progress(client: &mut Client) {
    let arguments = json!({ "duration": 1, "steps": 10 });
    client.begin(&json!({ "call": "long", "arguments": arguments, "progress": true }));
    let answer = client.answer();
    assert!(done(&answer).contains("completed"), "{answer}");
    let steps = answer["progress"].as_array().unwrap();
    let done: Vec<f64> = steps.iter().map(|step| step["progress"].as_f64().unwrap()).collect();
    assert_eq!(done, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
    assert!(steps.iter().all(|step| step["total"].as_f64() == Some(10.0)), "{steps:?}");
}

// The TypeScript SDKs are left out: over stdio they lose progress that they read together with the result.
#[test]
fn progress_reaches_clients_over_stdio() {
    for kind in [Kind::PythonLegacy, Kind::Python] {
        let gateway = everything(&child().to_string()).prepare();
        let mut client = Client::over_stdio(kind, &gateway, "worker");
        until("the server's tools to be listed", || {
            client.tools().contains_key("long").then_some(())
        });
        progress(&mut client);
        client.close();
    }
}

#[test]
fn progress_comes_before_the_result_over_stdio() {
    for version in [VERSIONS[3], VERSIONS[4]] {
        let gateway = everything(&child().to_string()).prepare();
        let client = gateway.stdio("worker").begin(version);
        until("the server's tools to be listed", || {
            client.tools().contains(&"long".to_owned()).then_some(())
        });
        let next = || loop {
            let message = client.next();
            if message["method"] != "notifications/tools/list_changed" {
                return message;
            }
        };
        for round in 0..30 {
            let id = json!(next_id());
            let params = json!({
                "name": "long",
                "arguments": { "duration": 0.01, "steps": 5 },
                "_meta": { "progressToken": round },
            });
            client.send(&id, "tools/call", params);
            for step in 1..=5 {
                let note = next();
                assert_eq!(note["method"], "notifications/progress", "{note}");
                assert_eq!(note["params"]["progressToken"], round, "{note}");
                assert_eq!(note["params"]["progress"].as_f64(), Some(f64::from(step)), "{note}");
            }
            assert_eq!(next()["id"], id);
        }
    }
}

#[test]
fn everything_works_as_a_child() {
    let gateway = everything_as_child();
    for kind in [Kind::TypeScript, Kind::TypeScript2, Kind::Python] {
        works(&gateway, kind);
    }
}

#[test]
fn everything_works_over_http() {
    let server = Listening::everything();
    let gateway = everything(&json!({ "url": server.url }).to_string()).start();
    offered(&gateway, "echo");
    for kind in [Kind::TypeScript, Kind::Python] {
        works(&gateway, kind);
    }
}

#[test]
fn a_constraint_binds_to_a_schema_that_was_learned() {
    let gateway = everything_as_child();
    gateway.put_policy("all.yaml", "rules:\n  - { name: small, match: { tool: sum }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { max_a: 10 } }\n");
    let mut gateway = gateway;
    gateway.restart();
    offered(&gateway, "sum");
    let mut client = Client::over_http(Kind::TypeScript, &gateway, "worker");
    let answer = client.call("sum", &json!({ "a": 50, "b": 1 }));
    let told = done(&answer);
    assert!(told.starts_with("The sum of 10 and 1 is 11."), "{told}");
    assert!(told.contains("you asked for 50; rule `small`"), "{told}");
    let denied = refused(&client.call("echo", &json!({ "message": "x" })));
    assert!(denied.contains("no rule"), "{denied}");
    client.close();
}

#[test]
fn a_server_that_was_killed_is_started_again() {
    let gateway = everything_as_child();
    let mut client = Client::over_http(Kind::TypeScript, &gateway, "worker");
    assert_eq!(done(&client.call("echo", &json!({ "message": "before" }))), "Echo: before");
    let first = child_of(&gateway);
    let arguments = json!({ "duration": 60, "steps": 60 });
    client.begin(&json!({ "call": "long", "arguments": arguments }));
    until("the call to be under way", || {
        let entries = gateway.entries();
        let begun = entries.iter().any(|entry| {
            let entry = entry.to_string();
            entry.contains("\"intent\"") && entry.contains("\"long\"")
        });
        begun.then_some(())
    });
    kill(first, Signal::SIGKILL).unwrap();
    let told = refused(&client.answer());
    assert!(told.contains("ended before it answered"), "{told}");
    let message = json!({ "message": "after" });
    let answer = until("the server to be back", || {
        let answer = client.call("echo", &message);
        (answer["result"]["isError"] != true).then_some(answer)
    });
    assert_eq!(done(&answer), "Echo: after");
    assert_ne!(child_of(&gateway), first);
    assert_eq!(client.tools().len(), 5);
    client.close();
}

/// The server that this test's gateway started: nobody else's has the test's directory as an argument.
fn child_of(gateway: &TestGateway) -> Pid {
    let directory = gateway.dir().to_str().unwrap();
    until("the server to run", || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut found = processes.filter_map(|process| {
            let id: i32 = process.file_name().to_str()?.parse().ok()?;
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            (line.contains(EVERYTHING) && line.contains(directory)).then_some(Pid::from_raw(id))
        });
        found.next()
    })
}

const FILES: &str = "
attributes: { capability: files }
tools:
  - { name: read_text_file, attributes: { action_type: read } }
  - { name: write_file, attributes: { action_type: write } }
  - { name: list_directory, attributes: { action_type: read } }
  - { name: move_file, attributes: { action_type: write } }
";

const FILE_RULES: &str = "
rules:
  - { name: files, match: { capability: files }, decision: ALLOW }
  - { name: moves, match: { tool: move_file }, decision: REQUIRE_APPROVAL }
";

#[test]
fn filesystem_reads_and_writes_within_its_root() {
    let server =
        json!({ "program": program("node"), "args": [installed(FILESYSTEM), "@DIR@/root"] });
    let manifest = format!("backend:\n  name: filesystem\n  mcp: {server}\n{FILES}");
    let builder = TestGateway::builder().manifest("filesystem.yaml", &manifest);
    let mut gateway = builder.policy("files.yaml", FILE_RULES).prepare();
    let root = gateway.dir().join("root");
    fs::create_dir(&root).unwrap();
    gateway.launch();
    offered(&gateway, "write_file");
    for kind in [Kind::TypeScript, Kind::Python] {
        let mut client = Client::over_http(kind, &gateway, &format!("{kind:?}"));
        let mut names: Vec<String> = client.tools().into_keys().collect();
        names.retain(|name| name != "countersign_wait");
        assert_eq!(names, ["list_directory", "move_file", "read_text_file", "write_file"]);
        let file = root.join(format!("{kind:?}.txt"));
        let content = "first\nзачем\n";
        done(&client.call("write_file", &json!({ "path": file, "content": content })));
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
        assert_eq!(done(&client.call("read_text_file", &json!({ "path": file }))), content);
        let listed = done(&client.call("list_directory", &json!({ "path": root })));
        assert!(listed.contains(&format!("[FILE] {kind:?}.txt")), "{listed}");
        // The server itself keeps to its root; what it says reaches the model.
        let beyond = gateway.dir().join("countersign.yaml");
        let told = refused(&client.call("read_text_file", &json!({ "path": beyond })));
        assert!(told.contains("Access denied"), "{told}");
        moved_when_approved(&gateway, &mut client, &file);
        let hidden = client.call("create_directory", &json!({ "path": root.join("d") }));
        assert_eq!(hidden["error"]["code"], -32602, "{hidden}");
        assert!(!root.join("d").exists());
        client.close();
    }
}

fn moved_when_approved(gateway: &TestGateway, client: &mut Client, file: &std::path::Path) {
    let moved = file.with_extension("moved");
    let arguments = json!({ "source": file, "destination": moved });
    client.begin(&json!({ "call": "move_file", "arguments": arguments }));
    let hold = gateway.pending();
    assert!(file.exists() && !moved.exists(), "it ran before it was approved");
    gateway.approve(&hold);
    done(&client.answer());
    assert!(!file.exists() && moved.exists());
}
