//! Backends that are missing, hang, die, flood or answer nonsense: a refusal within the limit, others unharmed.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused, said};
use crate::harness::{ALLOW_ALL, TestGateway, until};

const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
  hang) printf 'begun\n' >> '@DIR@/ran'; sleep 600 ;;
  grandchild) (sleep 600 & echo $! > '@DIR@/grandchild'); sleep 600 ;;
  die) kill -9 $$ ;;
  flood) while :; do printf '%0999d\n' 0; done ;;
  nonsense) printf 'no JSON {' ;;
  fail) echo 'it went wrong' >&2; exit 3 ;;
esac
"#;

fn commands() -> String {
    let tool = |name: &str, more: &str| {
        format!(
            "  - {{ name: {name}, description: d, attributes: {{ action_type: write }}, input_schema: {{ type: object, additionalProperties: false, properties: {{}} }}, run: [{name}]{more} }}\n"
        )
    };
    let mut text = "backend: { name: bad, command: { program: \"@DIR@/bin/bad\" }, timeout: 3s, max_output_bytes: 10000 }\ntools:\n".to_owned();
    for name in ["hang", "grandchild", "die", "flood", "fail"] {
        text += &tool(name, "");
    }
    text + &tool("nonsense", ", output: json")
}

const MISSING: &str = r#"
backend: { name: missing, command: { program: no-such-program-anywhere } }
tools:
  - { name: missing, description: d, attributes: { action_type: write }, input_schema: { type: object, properties: {} }, run: [] }
"#;

/// An MCP server that misbehaves by the name of the tool.
const SERVER: &str = r#"
import json, os, sys, time
NAMES = ["mcp_hang", "mcp_die", "mcp_flood", "mcp_null", "mcp_garbage", "mcp_error", "mcp_fine"]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    id, method = message["id"], message["method"]
    def answer(result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
    if method == "initialize":
        answer({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "bad", "version": "1"}})
    elif method == "tools/list":
        answer({"tools": [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in NAMES]})
    elif method == "tools/call":
        name = message["params"]["name"]
        open(sys.argv[1], "a").write(name + "\n")
        if name == "mcp_hang": pass
        elif name == "mcp_die": os._exit(3)
        elif name == "mcp_flood": answer({"content": [{"type": "text", "text": "x" * 100000}]})
        elif name == "mcp_null": answer(None)
        elif name == "mcp_garbage": print("garbage\n[1]\n{", flush=True); answer({"content": [{"type": "text", "text": "after garbage"}]})
        elif name == "mcp_error": print(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "secret detail"}}), flush=True)
        else: answer({"content": [{"type": "text", "text": "fine"}]})
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}}), flush=True)
"#;

fn upstream() -> String {
    let mut text = "backend: { name: upstream, mcp: { program: /usr/bin/python3, args: [\"@DIR@/bin/server.py\", \"@DIR@/ran\"] }, timeout: 2s, max_output_bytes: 10000 }\ntools:\n".to_owned();
    for name in ["hang", "die", "flood", "null", "garbage", "error", "fine"] {
        text += &format!("  - {{ name: mcp_{name}, attributes: {{ action_type: write }} }}\n");
    }
    text
}

fn gateway() -> TestGateway {
    TestGateway::builder()
        .counting()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("missing.yaml", MISSING)
        .manifest("bad.yaml", &commands())
        .script("bad", SCRIPT)
        .start()
}

/// A call that must be answered within `limit`.
#[track_caller]
fn call_within(client: &Modern, tool: &str, limit: Duration) -> Value {
    let begun = Instant::now();
    let result = client.call(tool, json!({}));
    assert!(begun.elapsed() < limit, "{tool} took {:?}", begun.elapsed());
    result
}

#[test]
fn a_missing_program_hides_its_tools_and_operators_see_why() {
    let gateway = gateway();
    let client = gateway.modern("a");
    assert!(!client.tools().contains(&"missing".to_owned()));
    let answer = client.request("tools/call", json!({ "name": "missing", "arguments": {} }));
    let absent = client.request("tools/call", json!({ "name": "absent0", "arguments": {} }));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let plain = |answer: &Value| answer["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(plain(&answer).replace("missing", "absent0"), plain(&absent));
    let listed = gateway.cli(&["catalog", "list"]).done();
    assert!(listed.contains("no-such-program-anywhere"), "{listed}");
    let doctor = gateway.cli(&["doctor"]);
    assert!(doctor.stdout.contains("no-such-program-anywhere"), "{doctor:?}");
}

#[test]
fn a_program_that_hangs_is_stopped_and_delays_nobody() {
    let gateway = gateway();
    let client = gateway.modern("a");
    let hanging = {
        let client = client.clone();
        thread::spawn(move || call_within(&client, "hang", Duration::from_secs(10)))
    };
    until("the program to hang", || (gateway.ran() == ["begun"]).then_some(()));
    let fast = client.call("look", json!({ "line": "fast" }));
    assert!(said(&fast).contains("ran fast"));
    assert!(!hanging.is_finished(), "the hanging call was not under way any more");
    let told = refused(&hanging.join().unwrap());
    assert!(told.contains("3s") && told.contains("may have had an effect"), "{told}");
}

#[test]
fn what_a_program_left_running_is_stopped_with_it() {
    let gateway = gateway();
    let client = gateway.modern("a");
    refused(&call_within(&client, "grandchild", Duration::from_secs(10)));
    let pid = std::fs::read_to_string(gateway.dir().join("grandchild")).unwrap();
    let alive = format!("/proc/{}/comm", pid.trim());
    until("the grandchild to be gone", || {
        let comm = std::fs::read_to_string(&alive).unwrap_or_default();
        (comm.trim() != "sleep").then_some(())
    });
}

#[test]
fn a_program_that_dies_floods_or_answers_nonsense_is_a_refusal() {
    let gateway = gateway();
    let client = gateway.modern("a");
    for (tool, part) in [("die", ""), ("flood", "10000"), ("nonsense", ""), ("fail", "")] {
        let result = call_within(&client, tool, Duration::from_secs(10));
        let told = refused(&result);
        assert!(told.contains(part), "{tool}: {told}");
    }
    assert!(said(&client.call("count", json!({ "line": "ok" }))).contains("ran ok"));
    for (tool, outcome) in [("die", "success"), ("flood", "success"), ("nonsense", "success")] {
        let start = format!("countersign_tool_calls_total{{tool=\"{tool}\"");
        let line = gateway.metrics();
        let line = line.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(!line.contains(&format!("outcome=\"{outcome}\"")), "{line}");
    }
}

#[test]
fn an_mcp_server_that_misbehaves_is_a_refusal_and_comes_back() {
    let gateway = TestGateway::builder()
        .counting()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("upstream.yaml", &upstream())
        .script("server.py", SERVER)
        .start();
    let client = gateway.modern("a");
    until("the server's tools", || client.tools().contains(&"mcp_fine".to_owned()).then_some(()));
    assert_eq!(said(&client.call("mcp_fine", json!({}))), "fine");
    for tool in ["mcp_flood", "mcp_null", "mcp_error", "mcp_hang"] {
        let told = refused(&call_within(&client, tool, Duration::from_secs(10)));
        assert!(!told.contains("secret detail"), "{told}");
    }
    assert_eq!(
        said(&call_within(&client, "mcp_garbage", Duration::from_secs(10))),
        "after garbage"
    );
    refused(&call_within(&client, "mcp_die", Duration::from_secs(10)));
    assert!(said(&client.call("count", json!({ "line": "ok" }))).contains("ran ok"));
    until("the server to be back", || {
        let answer = client.request("tools/call", json!({ "name": "mcp_fine", "arguments": {} }));
        (answer["result"]["content"][0]["text"] == "fine").then_some(())
    });
    // Nothing was repeated behind the caller's back.
    let ran = gateway.ran();
    for tool in ["mcp_flood", "mcp_null", "mcp_error", "mcp_hang", "mcp_die"] {
        assert_eq!(ran.iter().filter(|name| *name == tool).count(), 1, "{tool}: {ran:?}");
    }
}

#[test]
fn a_server_that_cannot_be_started_harms_nobody() {
    let manifest = upstream().replace("/usr/bin/python3", "/bin/false");
    let gateway = TestGateway::builder()
        .counting()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("upstream.yaml", &manifest)
        .start();
    let client = gateway.modern("a");
    assert_eq!(client.tools(), ["count", "count_slowly", "look"]);
    assert!(said(&client.call("count", json!({ "line": "ok" }))).contains("ran ok"));
}
