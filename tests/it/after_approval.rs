//! Something changes between approval and execution: what was approved no longer is what would run.

use serde_json::{Value, json};

use crate::clients::Client;
use crate::harness::{HOLD_ALL, TestGateway, text};

pub(crate) fn manifest(description: &str) -> String {
    format!(
        r#"
backend: {{ name: numbers, command: {{ program: "@DIR@/bin/count" }} }}
tools:
  - name: number
    description: {description}
    attributes: {{ action: count, action_type: write }}
    input_schema:
      type: object
      additionalProperties: false
      required: [n]
      properties: {{ n: {{ type: number }}, note: {{ type: string }} }}
    run: ["${{n}}"]
"#
    )
}

fn clamped(max: u32) -> String {
    format!(
        "rules:\n  - name: clamped\n    match: {{ tool: number }}\n    decision: REQUIRE_APPROVAL\n    constraints: {{ max_n: {max} }}\n"
    )
}

/// A call of `number` with 50 is held under `policy` and approved; the gateway dies before it runs.
/// Then `change` is made to its files, and it starts again.
fn approved_then(policy: &str, change: impl Fn(&TestGateway)) -> (TestGateway, String) {
    let mut gateway = TestGateway::builder()
        .counting()
        .manifest("numbers.yaml", &manifest("Append a number."))
        .policy("rules.yaml", policy)
        .env("COUNTERSIGN_FAIL_AT", "decide_hold.after")
        .start();
    gateway.modern_with_tasks("a").call("number", json!({ "n": 50 }));
    let id = gateway.pending();
    gateway.cli(&["approvals", "approve", &id]);
    gateway.wait_for_death();
    gateway.set_env("COUNTERSIGN_FAIL_AT", None);
    change(&gateway);
    gateway.launch();
    (gateway, id)
}

#[track_caller]
fn superseded(gateway: &TestGateway, id: &str) {
    let hold = gateway.hold_when(id, "superseded");
    assert!(!text(&hold["why"]).is_empty(), "{hold}");
    assert!(gateway.ran().is_empty(), "it ran all the same");
    let told = gateway.cli(&["approvals", "show", id]).done();
    assert!(told.contains("why ended"), "{told}");
    // Who approved it is not forgotten.
    assert_eq!(hold["verdicts"][0]["decision"], "approve", "{hold}");
    assert!(told.contains("approved by"), "{told}");
}

#[test]
fn unchanged_files_let_it_run() {
    let (gateway, id) = approved_then(&clamped(10), |_| {});
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["10"]);
}

#[test]
fn a5_a_changed_definition_voids_the_approval_and_is_held_anew() {
    let (gateway, id) = approved_then(HOLD_ALL, |gateway| {
        gateway.put_manifest("numbers.yaml", &manifest("Append a number, and more."));
    });
    superseded(&gateway, &id);
    let anew = gateway.pending();
    let before = gateway.hold(&id);
    let hold = gateway.hold(&anew);
    assert_eq!((&before["anew"], &hold["anew_of"]), (&json!(anew), &json!(id)));
    assert_ne!(before["digest"], hold["digest"]);
    assert_eq!(before["arguments"], hold["arguments"]);
    assert_eq!(hold["verdicts"], json!([]));
    // The reviewer is told what it stands in place of, and why that no longer is what would run.
    let shown = gateway.cli(&["approvals", "show", &anew]).done();
    assert!(shown.contains(&id) && shown.contains(&text(&before["why"])), "{shown}");
    assert!(gateway.cli(&["approvals", "show", &id]).done().contains(&format!("as {anew}")));
    gateway.approve(&anew);
    gateway.hold_when(&anew, "finished");
    assert_eq!(gateway.ran(), ["50"]);
    assert_eq!(gateway.cli(&["approvals", "approve", &id]).code, 5);
}

#[test]
fn a_tool_that_is_gone_runs_nothing() {
    let (gateway, id) = approved_then(HOLD_ALL, |gateway| {
        std::fs::remove_file(gateway.dir().join("tool-manifests/numbers.yaml")).unwrap();
    });
    superseded(&gateway, &id);
}

#[test]
fn a6_a_policy_that_now_denies_wins() {
    let (gateway, id) = approved_then(HOLD_ALL, |gateway| {
        let deny = "rules:\n  - { name: no-more, match: {}, decision: DENY }\n";
        gateway.put_policy("deny.yaml", deny);
    });
    superseded(&gateway, &id);
    let why = text(&gateway.hold(&id)["why"]);
    assert!(why.contains("no-more"), "{why}");
    assert_eq!(gateway.hold(&id)["anew"], Value::Null);
    assert!(gateway.holds("pending").is_empty());
}

#[test]
fn a_policy_without_a_rule_runs_nothing() {
    let (gateway, id) =
        approved_then(HOLD_ALL, |gateway| gateway.put_policy("rules.yaml", "rules: []\n"));
    superseded(&gateway, &id);
}

#[test]
fn a_constraint_that_edits_otherwise_runs_nothing() {
    let (gateway, id) = approved_then(&clamped(10), |gateway| {
        gateway.put_policy("rules.yaml", &clamped(7));
    });
    superseded(&gateway, &id);
}

/// Whether a call with `arguments`, given as written, joins the approved and finished hold of `first`.
fn joins(first: &str, arguments: &str) -> bool {
    joins_with(first, arguments, |_| String::new())
}

/// The same; `meta` makes the `_meta` that the second call brings, of the hold's identifier.
fn joins_with(first: &str, arguments: &str, meta: impl Fn(&str) -> String) -> bool {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("numbers.yaml", &manifest("Append a number."))
        .policy("rules.yaml", HOLD_ALL)
        .config("holds: { window: 50ms }\n")
        .start();
    let client = gateway.legacy("a");
    let call = |arguments: &str, meta: &str| -> Value {
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"number","arguments":{arguments}{meta}}}}}"#,
            crate::clients::next_id()
        );
        client.send(message).response()["result"].clone()
    };
    call(first, "");
    let id = gateway.pending();
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    let answer = call(arguments, &meta(&id));
    let joined = answer["isError"] != true;
    let named = meta(&id).contains(&id);
    assert_eq!(gateway.holds("all").len(), if joined || named { 1 } else { 2 }, "{answer}");
    assert_eq!(gateway.ran().len(), 1, "something else ran on the approval");
    joined
}

#[test]
fn a4_swapped_arguments() {
    let first = r#"{"n":1,"note":"caf\u00e9"}"#;
    // The same values, written another way, are the same call.
    for same in [
        r#"{"n":1,"note":"caf\u00e9"}"#,
        r#"{ "note": "café", "n": 1 }"#,
        r#"{"n":1.0,"note":"caf\u00E9"}"#,
        r#"{"n":10e-1,"note":"café"}"#,
    ] {
        assert!(joins(first, same), "{same} opened another hold");
    }
    // Anything else is another call, which waits for people by itself.
    for other in [
        r#"{"n":2,"note":"café"}"#,
        r#"{"n":1}"#,
        r#"{"n":1,"note":"cafe\u0301"}"#,
        r#"{"n":1,"note":"Café"}"#,
        r#"{"n":1,"note":"café "}"#,
        r#"{"n":1.0000000000000002,"note":"café"}"#,
    ] {
        assert!(!joins(first, other), "{other} rode on the approval");
    }
}

#[test]
fn a4_an_extra_key() {
    assert!(!joins(r#"{"n":1}"#, r#"{"n":1,"note":""}"#));
}

#[test]
fn a4_what_is_beside_the_arguments_makes_no_other_call() {
    let first = r#"{"n":1,"note":"caf\u00e9"}"#;
    for meta in [
        r#","_meta":{}"#,
        r#","_meta":{"progressToken":7,"countersign/reason":"because"}"#,
        r#","_meta":{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#,
        r#","_meta":{"countersign/hold":"no hold at all","vendor/x":{"n":2}}"#,
    ] {
        assert!(joins_with(first, first, |_| meta.to_owned()), "{meta} opened another hold");
    }
}

/// The approved hold's own name opens it to no other arguments, and to the same ones however they are written.
#[test]
fn a4_naming_the_approved_hold_carries_no_other_arguments() {
    let first = r#"{"n":1,"note":"caf\u00e9"}"#;
    let named = |id: &str| format!(r#","_meta":{{"countersign/hold":"{id}"}}"#);
    for same in [first, r#"{"note":"café","n":1.0}"#, r#"{"n":10e-1,"note":"caf\u00E9"}"#] {
        assert!(joins_with(first, same, named), "{same} is another call");
    }
    for other in [
        r#"{"n":2,"note":"café"}"#,
        r#"{"n":1}"#,
        r#"{"n":1,"note":"cafe\u0301"}"#,
        r#"{"n":1.0000000000000002,"note":"café"}"#,
    ] {
        assert!(!joins_with(first, other, named), "{other} rode on the approval");
    }
}

#[test]
fn an_approved_call_that_its_agent_takes_back_is_not_held_anew() {
    let manifest = r#"
backend: { name: one, command: { program: "@DIR@/bin/count" }, concurrency: 1 }
tools:
  - name: slowly
    description: Append a line and take as many seconds as asked; one call at a time.
    attributes: { action: count, action_type: write }
    input_schema:
      type: object
      additionalProperties: false
      required: [line, seconds]
      properties: { line: { type: string }, seconds: { type: number } }
    run: ["${line}", "${seconds}"]
"#;
    let builder = TestGateway::builder().counting().manifest("one.yaml", manifest);
    let gateway = builder.policy("held.yaml", HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    let ask = |line| text(&client.call("slowly", json!({ "line": line, "seconds": 4 }))["taskId"]);
    let (first, second) = (ask("first"), ask("second"));
    let approve = |id: &str| {
        let verdict = json!({ "decision": "approve", "digest": gateway.hold(id)["digest"] });
        let path = format!("/api/v1/approvals/{id}/verdict");
        assert_eq!(gateway.api_post(&path, &verdict).status, 200);
    };
    approve(&first);
    gateway.hold_when(&first, "executing");
    approve(&second);
    // It waits for the worker that the first one has.
    client.result("tasks/cancel", json!({ "taskId": second }));
    gateway.hold_when(&second, "superseded");
    gateway.hold_when(&first, "finished");
    assert_eq!(gateway.ran(), ["first"]);
    assert!(gateway.holds("pending").is_empty());
}
