//! A secret reaches the tool that needs it, and nothing else.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::clients::{Client, said};
use crate::harness::{ALLOW_ALL, TestGateway};

const FROM_ENV: &str = "canary-env-4b1f9c7e2a";
const FROM_FILE: &str = "canary-file-93d0aa51ef";
const ROTATED: &str = "canary-file-c0ffee1234";

const MANIFEST: &str = r#"
backend:
  name: keeper
  command: { program: "@DIR@/bin/keeper" }
  secrets: { FIRST: { env: CANARY }, SECOND: { file: "@DIR@/secret" } }
tools:
  - name: tell
    description: Says everything it knows.
    attributes: { action: tell, action_type: write }
    input_schema: { type: object, additionalProperties: false, properties: { how: { type: string } } }
    run: [{ when: how, args: ["${how}"] }]
"#;

const SCRIPT: &str = r#"#!/bin/sh
env > '@DIR@/seen'
echo "first=$FIRST second=$SECOND both=$FIRST$SECOND"
echo "first=$FIRST second=$SECOND" >&2
[ "$1" = fail ] && exit 3
exit 0
"#;

fn gateway() -> TestGateway {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("keeper.yaml", MANIFEST)
        .script("keeper", SCRIPT)
        .env("CANARY", FROM_ENV)
        .env("COUNTERSIGN_LOG", "debug");
    let mut gateway = gateway.prepare();
    gateway.put("secret", &format!("{FROM_FILE}\n"));
    gateway.launch();
    gateway
}

fn contains(path: &Path, secret: &str) -> bool {
    if path.is_dir() {
        let mut files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
        return files.any(|file| contains(&file, secret));
    }
    let Ok(bytes) = fs::read(path) else { return false };
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn a_secret_reaches_the_tool_and_nothing_else() {
    let mut gateway = gateway();
    let client = gateway.modern("a");
    let mut answers = String::new();
    for how in [json!({}), json!({ "how": "fail" })] {
        answers +=
            &client.request("tools/call", json!({ "name": "tell", "arguments": how })).to_string();
    }
    let seen = fs::read_to_string(gateway.dir().join("seen")).unwrap();
    assert!(seen.contains(&format!("FIRST={FROM_ENV}\n")), "the tool did not get it: {seen}");
    assert!(seen.contains(&format!("SECOND={FROM_FILE}\n")), "the tool did not get it: {seen}");
    // Nothing else of the gateway's environment reaches it.
    assert!(!seen.contains("COUNTERSIGN_DATA") && !seen.contains("CANARY="), "{seen}");
    assert!(answers.contains("first="), "{answers}");

    let metrics = gateway.metrics();
    let entries = gateway.cli(&["audit", "list", "--limit", "1000", "--output", "json"]).done();
    assert!(contains(&gateway.data(), "tell"), "the search finds nothing at all");
    gateway.stop();
    for secret in [FROM_ENV, FROM_FILE] {
        assert!(!answers.contains(secret), "in a result: {answers}");
        assert!(!metrics.contains(secret), "in the metrics");
        assert!(!entries.contains(secret), "in an entry: {entries}");
        assert!(!gateway.log().contains(secret), "in the log:\n{}", gateway.log());
        assert!(!contains(&gateway.data(), secret), "in the data directory");
    }
}

#[test]
fn a_changed_file_is_read_again() {
    let gateway = gateway();
    let client = gateway.modern("a");
    client.call("tell", json!({}));
    gateway.put("secret", &format!("{ROTATED}\n"));
    let result = client.call("tell", json!({}));
    let seen = fs::read_to_string(gateway.dir().join("seen")).unwrap();
    assert!(seen.contains(&format!("SECOND={ROTATED}\n")), "{seen}");
    assert!(!said(&result).contains(ROTATED), "{result}");
}

#[test]
fn a_tool_without_its_secret_is_unavailable() {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("keeper.yaml", MANIFEST)
        .script("keeper", SCRIPT)
        .start();
    assert!(gateway.modern("a").tools().is_empty());
    let listed = gateway.cli(&["catalog", "list"]).done();
    assert!(listed.contains("CANARY"), "{listed}");
}

#[test]
fn a_token_is_stored_only_as_a_digest() {
    let mut gateway = gateway();
    let client = gateway.modern("a");
    client.call("tell", json!({}));
    gateway.stop();
    assert!(!contains(&gateway.data(), &client.token), "in the data directory");
    assert!(!gateway.log().contains(&client.token), "in the log");
}
