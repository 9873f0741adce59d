//! The process dies at the worst moments: nothing runs twice, nothing is lost, and where nobody can know,
//! the gateway says so.

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{ALLOW_ALL, Builder, HOLD_ALL, TestGateway, text};

const FAIL_AT: &str = "COUNTERSIGN_FAIL_AT";

pub(crate) fn held() -> Builder {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL)
}

/// A gateway that dies at `point`, with one call on its way through it: asked for, and approved if it
/// lives that long. Afterwards it has been started again without the failpoint.
pub(crate) fn died_at(builder: Builder, point: &str) -> TestGateway {
    let mut gateway = builder.start();
    let client = gateway.modern_with_tasks("a");
    gateway.kill();
    gateway.set_env(FAIL_AT, Some(point));
    gateway.launch();
    let answer = client.again(gateway.url()).try_call("count", json!({ "line": "one" }));
    if !point.starts_with("open_hold") {
        assert!(answer.is_some(), "no answer");
        gateway.cli(&["approvals", "approve", &gateway.pending()]);
    }
    gateway.wait_for_death();
    gateway.set_env(FAIL_AT, None);
    gateway.launch();
    gateway
}

/// The one hold, once it has run.
fn finished(gateway: &TestGateway) -> Value {
    gateway.holds_when("finished", 1).remove(0)
}

/// The one hold, of which nobody can know; `doctor` and the command line show it.
fn unknown(gateway: &TestGateway) {
    let hold = gateway.holds_when("unknown", 1).remove(0);
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("1 held calls have an unknown outcome"), "{doctor:?}");
    // No verdict and no further start runs it again.
    let verdict = gateway.cli(&["approvals", "approve", &text(&hold["id"])]);
    assert_eq!(verdict.code, 5, "{verdict:?}");
}

#[test]
fn before_a_hold_is_stored_nothing_is_left() {
    let gateway = died_at(held(), "open_hold.before");
    assert!(gateway.holds("all").is_empty());
    assert!(gateway.ran().is_empty());
}

#[test]
fn after_a_hold_is_stored_it_waits_and_runs_once() {
    let gateway = died_at(held(), "open_hold.after");
    let id = gateway.pending();
    assert!(gateway.ran().is_empty());
    gateway.approve(&id);
    finished(&gateway);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn before_a_verdict_is_stored_the_hold_still_waits() {
    let gateway = died_at(held(), "decide_hold.before");
    let id = gateway.pending();
    assert!(gateway.ran().is_empty());
    gateway.approve(&id);
    finished(&gateway);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a2_after_a_verdict_is_stored_it_runs_once_by_itself() {
    let gateway = died_at(held(), "decide_hold.after");
    finished(&gateway);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a2_before_an_approval_is_spent_it_runs_once_by_itself() {
    let gateway = died_at(held(), "spend_approval.before");
    finished(&gateway);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a2_after_an_approval_is_spent_nobody_can_know() {
    let gateway = died_at(held(), "spend_approval.after");
    unknown(&gateway);
    // It did not run, but no record of the gateway could say so.
    assert!(gateway.ran().is_empty());
}

#[test]
fn a3_before_the_outcome_is_stored_nobody_can_know() {
    let mut gateway = died_at(held(), "finish_hold.before");
    unknown(&gateway);
    assert_eq!(gateway.ran(), ["one"]);
    // The record has what was meant, and of what came of it that nobody knows.
    let entries = gateway.entries();
    let of = |kind: &str| {
        let entries = entries.iter().map(|it| &it["entry"]);
        entries.filter(|entry| entry["kind"] == kind).collect::<Vec<_>>()
    };
    let [intent] = of("intent")[..] else { panic!("not one intent: {entries:?}") };
    assert!(intent["hold"].is_string(), "{intent}");
    assert!(of("outcome").is_empty(), "an outcome that nobody knows: {entries:?}");
    let changed = of("hold_changed");
    assert_eq!(changed.last().unwrap()["state"], "unknown", "{changed:?}");
    // Neither another start nor the agent's retry runs it again.
    gateway.restart();
    unknown(&gateway);
    let again = gateway.cli(&["call", "count", r#"{"line":"one"}"#, "--agent", "a", "--no-wait"]);
    assert!(again.stdout.contains("UNKNOWN"), "{again:?}");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn after_the_outcome_is_stored_it_is_kept() {
    let gateway = died_at(held(), "finish_hold.after");
    let hold = finished(&gateway);
    let hold = gateway.hold(&text(&hold["id"]));
    assert_eq!(hold["outcome"]["status"], "success", "{hold}");
    assert!(said(&hold["result"]).contains("ran one"), "{hold}");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a_retry_after_an_unknown_outcome_is_told_so() {
    let gateway = died_at(held(), "finish_hold.before");
    unknown(&gateway);
    let again = gateway.cli(&["call", "count", r#"{"line":"one"}"#, "--agent", "a", "--no-wait"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stdout.contains("UNKNOWN") && again.stdout.contains("may have run"), "{again:?}");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a3_an_idempotent_tool_is_run_again_by_itself() {
    let manifest = r#"
backend: { name: same, command: { program: "@DIR@/bin/count" } }
tools:
  - name: count
    description: Append a line; said to be idempotent.
    attributes: { action: count, action_type: write }
    idempotent: true
    input_schema: { type: object, additionalProperties: false, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
"#;
    let builder = held().manifest("counting.yaml", manifest);
    let gateway = died_at(builder, "finish_hold.before");
    finished(&gateway);
    assert_eq!(gateway.ran(), ["one", "one"]);
}

#[test]
fn a3_a_call_that_was_running_is_open_in_the_record_and_not_repeated() {
    let mut gateway = TestGateway::builder()
        .counting()
        .policy("all.yaml", crate::harness::ALLOW_ALL)
        .env(FAIL_AT, "end_call.before")
        .start();
    let client = gateway.modern("a");
    // Whether the answer still got out is no matter.
    drop(client.try_call("count", json!({ "line": "one" })));
    gateway.wait_for_death();
    gateway.set_env(FAIL_AT, None);
    gateway.launch();
    let intents = gateway.entries().iter().filter(|it| it["entry"]["kind"] == "intent").count();
    assert_eq!(intents, 1);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a_task_survives_the_gateway() {
    let mut gateway = held().start();
    let client = gateway.modern_with_tasks("a");
    let id = text(&client.call("count", json!({ "line": "one" }))["taskId"]);
    gateway.restart();
    let client = client.again(gateway.url());
    assert_eq!(client.result("tasks/get", json!({ "taskId": id }))["status"], "working");
    gateway.cli(&["approvals", "reject", &id, "--reason", "no"]).done();
    let task = client.task_when_done(&id);
    assert!(refused(&task["result"]).contains("REJECTED"), "{task}");
}

/// Nobody waits for the entries of a call that only reads; a gateway that is told to stop writes them.
#[test]
fn b11_a_stop_loses_no_entry_that_was_queued() {
    let mut gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start();
    let mut client = gateway.modern("a");
    for round in 0..5 {
        for n in 0..4 {
            client.call("look", json!({ "line": format!("{round}-{n}") }));
        }
        gateway.stop();
        let entries = gateway.entries();
        let of = |kind: &str| entries.iter().filter(|entry| entry["entry"]["kind"] == kind).count();
        assert_eq!((of("intent"), of("outcome")), (4 * (round + 1), 4 * (round + 1)));
        gateway.launch();
        client = client.again(gateway.url());
    }
}
