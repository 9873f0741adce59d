//! A call whose outcome nobody recorded: people say what became of it, and its agent is told.

use serde_json::Value;

use crate::clients::{Client, refused, said};
use crate::crash::{died_at, held};
use crate::harness::{Output, TestGateway, text};
use crate::verdicts::entries;

/// A gateway whose one call ran, and which died before that was recorded.
fn unknown() -> (TestGateway, String) {
    let gateway = died_at(held(), "finish_hold.before");
    let id = text(&gateway.holds_when("unknown", 1)[0]["id"]);
    (gateway, id)
}

fn resolve(gateway: &TestGateway, id: &str, how: &str) -> Output {
    gateway.cli(&["approvals", "resolve", id, how, "--reason", "looked at the file"])
}

/// What the agent gets when it asks again.
fn collected(gateway: &TestGateway) -> Output {
    gateway.cli(&["call", "count", r#"{"line":"one"}"#, "--agent", "a", "--no-wait"])
}

fn resolved(gateway: &TestGateway) -> Value {
    let mut all = entries(gateway, "hold_resolved");
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn people_say_that_it_was_done_and_the_agent_is_told() {
    let (gateway, id) = unknown();
    assert_eq!(gateway.cli(&["approvals", "resolve", &id]).code, 2);
    assert_eq!(gateway.cli(&["approvals", "resolve", &id, "--done", "--failed"]).code, 2);
    let said = resolve(&gateway, &id, "--done").done();
    assert!(said.contains("finished"), "{said}");
    let told = collected(&gateway);
    assert!(told.stdout.contains("DONE, as a person says"), "{told:?}");
    assert!(told.stdout.contains("looked at the file"), "{told:?}");
    told.done();
    assert_eq!(gateway.ran(), ["one"]);
    assert_eq!(resolved(&gateway)["resolution"], "done");
    assert_eq!(resolve(&gateway, &id, "--run-again").code, 5);
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(shown.contains("says that it was done: looked at the file"), "{shown}");
}

#[test]
fn people_say_that_it_failed_and_the_agent_is_told() {
    let (gateway, id) = unknown();
    resolve(&gateway, &id, "--failed").done();
    let told = collected(&gateway);
    assert!(told.code == 1 && told.stdout.contains("FAILED, as a person says"), "{told:?}");
    assert_eq!(resolved(&gateway)["resolution"], "failed");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn people_let_it_run_again_and_it_runs_once_more() {
    let (mut gateway, id) = unknown();
    let told = resolve(&gateway, &id, "--run-again").done();
    assert!(told.contains("finished: success"), "{told}");
    assert_eq!(gateway.ran(), ["one", "one"]);
    gateway.restart();
    assert_eq!(resolve(&gateway, &id, "--run-again").code, 5);
    assert!(collected(&gateway).done().contains("ran one"));
    assert_eq!(gateway.ran(), ["one", "one"]);
    assert_eq!(resolved(&gateway)["resolution"], "run_again");
}

#[test]
fn whoever_may_not_approve_may_not_say_what_became_of_it() {
    let (gateway, id) = unknown();
    crate::people::reviewer(&gateway, "eve", &["--role", "viewer"]);
    let said = crate::people::by(&gateway, "eve", &["approvals", "resolve", &id, "--done"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(gateway.hold(&id)["state"], "unknown");
}

#[test]
fn a_task_of_an_unknown_call_ends_with_what_people_say() {
    let (gateway, id) = unknown();
    let token = gateway.cli(&["agents", "rotate", "a"]).done();
    let agent = crate::clients::Modern::new(gateway.url(), token.trim());
    let agent = crate::clients::Modern { tasks: true, ..agent };
    let before = agent.request("tasks/get", serde_json::json!({ "taskId": id }));
    assert!(before["result"]["status"] != "working", "{before}");
    resolve(&gateway, &id, "--failed").done();
    let after = agent.task_when_done(&id);
    assert!(refused(&after["result"]).contains("as a person says"), "{after}");
    assert!(said(&after["result"]).contains("looked at the file"), "{after}");
}
