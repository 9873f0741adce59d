//! The kill switch on the pages.

use serde_json::{Value, json};

use super::{ANYTHING, SCRIPT, desk, pictures, visit};
use crate::clients::Client as _;
use crate::harness::{ALLOW_ALL, TestGateway};

#[test]
fn halt_and_resume() {
    let gateway = TestGateway::builder()
        .manifest("anything.yaml", ANYTHING)
        .script("anything", SCRIPT)
        .policy("all.yaml", ALLOW_ALL)
        .start();
    let agent = gateway.modern("writer");
    assert!(agent.call("note", json!({ "text": "before" })).to_string().contains("noted"));
    gateway.cli(&["reviewers", "add", "vi", "--role", "viewer"]).done();
    let invited = gateway.cli(&["reviewers", "invite", "vi"]).done();
    let invitation = invited.split_whitespace().find(|it| it.starts_with("http")).unwrap();
    let params = agent.params(json!({ "name": "note", "arguments": { "text": "asked" } }));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let given = json!({ "invitation": invitation, "token": agent.token, "body": body.to_string() });
    let saw = visit(&gateway, "halt and resume", given);
    let told = |name: &str| saw[name].as_str().unwrap().to_owned();
    // Who only looks is offered nothing, and sees the same.
    assert_eq!(
        (&saw["offers"], &saw["buttons"], &saw["hidden"]),
        (&json!(0), &json!(0), &json!(true))
    );
    assert!(told("preview").contains("1 agent and 1 tool are in reach"), "{saw}");
    assert!(told("preview").contains("Halt all calls of note"), "{saw}");
    for part in ["all calls of", "note", "an incident", "until it is resumed"] {
        assert!(told("seen").contains(part), "{saw}");
    }
    let names = [
        "",
        "calls",
        "workflows",
        "audit",
        "policy",
        "catalog",
        "people",
        "limits",
        "statistics",
        "account",
    ];
    assert_eq!(saw["everywhere"], json!(names), "{saw}");
    assert!(saw["after"].as_u64().unwrap() < 5_000, "{saw}");
    assert!(told("refused").contains("HALTED"), "{saw}");
    assert!(told("ran").contains("noted"), "{saw}");
    assert_eq!(gateway.ran(), ["before", "asked"]);
    let entries = gateway.entries();
    let of = |kind: &str| entries.iter().filter(|it| it["entry"]["kind"] == kind).count();
    assert_eq!((of("halt"), of("resume")), (1, 1));
}

#[test]
fn axe_finds_nothing_in_the_banner_and_its_dialogs() {
    let (gateway, agent) = desk();
    agent.call("note", json!({ "text": "plain" }));
    for scope in [&["--agent", "other"][..], &["--group", "night"], &["--workflow", "release-7"]] {
        let why = "An agent deletes what it should only read; see the incident channel.";
        gateway.cli(&[&["halt", "--reason", why, "--until", "8h"], scope].concat()).done();
    }
    let into = pictures().map_or(Value::Null, |into| json!(into));
    let saw = visit(&gateway, "halts looked at", json!({ "into": into }));
    assert_eq!(saw["found"], json!([]));
    assert_eq!(saw["sideways"], json!(0), "a phone scrolls sideways");
}
