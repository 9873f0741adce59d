//! The page, as people see it: a real browser, driven like one.

mod budgets;
mod halting;
mod hostile;
mod many;
mod policy;
mod quarantine;
mod reports;
mod rollback;
mod signing;
mod unknown;
mod workflows;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::clients::{Client as _, Modern};
use crate::harness::{TestGateway, until};
use crate::real_clients::{installed, program};

/// A tool that takes anything, and says each time that it ran.
const ANYTHING: &str = r#"
backend:
  name: anything
  command: { program: "@DIR@/bin/anything" }
  concurrency: 8
  queue: 256
  timeout: 20s
attributes: { capability: anything, environment: test }
tools:
  - name: note
    description: Take a note.
    attributes: { action: note, action_type: write, risk: low }
    input_schema: { type: object, additionalProperties: true, required: [text], properties: { text: { type: string } } }
    run: ["${text}"]
"#;
const SCRIPT: &str = "#!/bin/sh\nprintf '%s\\n' \"$1\" | head -c 100 >> '@DIR@/ran'\necho noted\n";
/// Everything is held, and people may change it.
const HELD: &str = "rules:\n  - name: notes-are-read\n    match: {}\n    decision: REQUIRE_APPROVAL\n    reason: notes are read first\n    approval: { allow_edit: true }\n";

/// A gateway whose calls of `note` wait for people, and an agent that leaves tasks behind.
fn desk() -> (TestGateway, Modern) {
    let gateway = TestGateway::builder()
        .manifest("anything.yaml", ANYTHING)
        .script("anything", SCRIPT)
        .policy("held.yaml", HELD)
        .config("holds: { pending_max: 1000 }\n")
        .policy("limits.yaml", "limits:\n  - { name: notes-a-minute, match: {}, per: agent, rate: 2000/minute, burst: 1000 }\n")
        .start();
    let agent = gateway.modern_with_tasks("writer");
    (gateway, agent)
}

/// What a person saw who did what `scenario` of `tests/clients/page.mjs` says.
#[track_caller]
fn visit(gateway: &TestGateway, scenario: &str, given: Value) -> Value {
    visit_at(gateway, scenario, given, gateway.url())
}

/// The same, where the gateway is reached at `url`.
#[track_caller]
fn visit_at(gateway: &TestGateway, scenario: &str, mut given: Value, url: &str) -> Value {
    installed("node_modules/playwright-core");
    let link = gateway.cli(&["reviewers", "sign-in-link"]).done();
    given["link"] = link.split_whitespace().find(|it| it.starts_with("http")).unwrap().into();
    given["url"] = url.into();
    given["chromium"] = program("chromium").to_str().unwrap().into();
    let output = Command::new(program("node"))
        .arg(installed("page.mjs"))
        .args([scenario, &given.to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {told}");
    let saw: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(saw["wrong"], json!([]), "{scenario}: the browser complained");
    assert_eq!(saw["elsewhere"], json!([]), "{scenario}: something was loaded from elsewhere");
    saw
}

#[test]
fn twenty_calls_are_decided_with_the_keyboard_alone() {
    let (gateway, agent) = desk();
    for number in 0..20 {
        agent.call("note", json!({ "text": format!("number {number}") }));
    }
    let saw = visit(&gateway, "keyboard", json!({ "count": 20 }));
    assert!(saw["empty"].as_str().unwrap().contains("Nothing waits."), "{saw}");
    assert!(saw["outcome"].as_str().unwrap().contains("Outcome: success"), "{saw}");
    gateway.holds_when("finished", 10);
    let rejected = gateway.holds_when("rejected", 10);
    let reasons: HashSet<_> =
        rejected.iter().map(|hold| hold["verdicts"][0]["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains("not this one, 19") && reasons.len() == 10, "{reasons:?}");
    assert_eq!(gateway.ran().len(), 10);
    // What the person looked at is on record, and that they did so in a session.
    let approved = gateway.holds("finished").remove(0);
    let verdict = &approved["verdicts"][0];
    assert_eq!(verdict["rendered"]["by"], "page", "{verdict}");
    assert_eq!(verdict["authenticated"], "link", "{verdict}");
}

#[test]
fn an_edit_shows_what_changes_and_runs_with_it() {
    let (gateway, agent) = desk();
    agent.call("note", json!({ "text": "as asked", "big": 1 }));
    let edited = r#"{"text":"as changed","big":9007199254740991}"#;
    let saw = visit(&gateway, "edit", json!({ "wrong": "{", "edited": edited }));
    assert!(saw["refused"].as_str().unwrap().contains("Not JSON"), "{saw}");
    let changes = saw["changes"].as_str().unwrap();
    assert!(changes.contains("/text") && changes.contains("as changed"), "{saw}");
    assert_eq!(gateway.ran(), ["as changed"]);
    let hold = gateway.holds("finished").remove(0);
    assert_eq!(hold["arguments"]["big"], 9_007_199_254_740_991_u64);
}

#[test]
fn a_standing_approval_is_granted_once_its_rule_was_shown() {
    let (gateway, agent) = desk();
    agent.call("note", json!({ "text": "again and again" }));
    let saw = visit(&gateway, "standing", json!({ "bounds": "{}" }));
    assert!(saw["rule"].as_str().unwrap().contains("waives: [\"notes-are-read\"]"), "{saw}");
    agent.call("note", json!({ "text": "another" }));
    until("the second call to run", || gateway.ran().contains(&"another".to_owned()).then_some(()));
}

#[test]
fn what_is_long_is_read_to_its_end_before_it_is_approved() {
    let (gateway, agent) = desk();
    let text = format!("{}; rm -rf /", "all is well ".repeat(2_000));
    agent.call("note", json!({ "text": text }));
    let saw = visit(&gateway, "long", json!({}));
    assert_eq!(saw["before"], false, "it could be approved unread");
}

#[test]
fn a_call_is_decided_on_a_phone() {
    let (gateway, agent) = desk();
    agent.call("note", json!({ "text": "a".repeat(300) }));
    let saw = visit(&gateway, "phone", json!({}));
    assert_eq!((&saw["list"], &saw["detail"]), (&json!(0), &json!(0)), "it scrolls sideways");
}

/// Takes a note in a workflow.
fn note_in(agent: &Modern, workflow: &str, text: &str) -> Value {
    let meta = json!({ "countersign/workflow": workflow });
    let params = json!({ "name": "note", "arguments": { "text": text }, "_meta": meta });
    agent.result("tools/call", params)
}

#[test]
fn axe_finds_nothing_on_any_page() {
    let (gateway, agent) = desk();
    note_in(&agent, "shopping", "plain");
    agent
        .call("note", json!({ "text": "hid\u{202e}den p\u{430}ypal", "list": [1, { "a": null }] }));
    let saw = visit(&gateway, "axe", json!({ "count": 2 }));
    assert_eq!(saw["found"], json!([]));
}

#[test]
fn agents_and_people_are_added_renewed_and_revoked() {
    let (gateway, _) = desk();
    let leaver = gateway.modern("leaver");
    let saw = visit(&gateway, "operate", json!({}));
    let token = |name: &str| saw[name].as_str().unwrap().trim().to_owned();
    assert!(saw["facts"].as_str().unwrap().contains("guests, night"), "{saw}");
    Modern::new(gateway.url(), &token("second")).tools();
    for ended in [Modern::new(gateway.url(), &token("first")), leaver] {
        assert_eq!(ended.reply("tools/list", json!({})).status, 401);
    }
    assert!(token("invitation").contains("/invitation/"), "{saw}");
    let people = gateway.cli(&["reviewers", "list", "--output", "json"]).json();
    assert_eq!(people[0]["name"], "dee", "{people}");
}

/// Where the pictures go: `COUNTERSIGN_PICTURES`, which `tests/pictures` names.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("COUNTERSIGN_PICTURES").map(PathBuf::from)
}

#[test]
fn every_page_has_its_picture() {
    let scratch = tempfile::tempdir().unwrap();
    let into = pictures().unwrap_or_else(|| scratch.path().to_owned());
    let (gateway, agent) = desk();
    for number in 1..=5 {
        note_in(&agent, "shopping", &format!("Milk, {number} l"));
        gateway.approve(&gateway.pending());
        gateway.holds_when("finished", number);
    }
    for (text, to) in [
        ("Dinner at eight?", "ana"),
        ("The report is late; please send it today.", "bo"),
        ("invoice_\u{202e}gpj.exe is attached, p\u{430}ypal waits", "everyone"),
    ] {
        agent.call("note", json!({ "text": text, "to": to }));
    }
    let hold = gateway.holds_when("pending", 3).remove(0);
    let given = json!({ "count": 3, "hold": hold["id"], "into": into });
    let saw = visit(&gateway, "pictures", given);
    for name in saw["names"].as_array().unwrap() {
        let picture = fs::read(Path::new(&into).join(name.as_str().unwrap())).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 4_000, "{name}");
    }
}
