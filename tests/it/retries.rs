//! A client whose patience is shorter than people's: it asks again, takes back, or goes away.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, Stdio, next_id, refused, said};
use crate::harness::{Builder, HOLD_ALL, RUNTIME, TestGateway, text, until};

const LEGACY: &str = "2025-11-25";
const ERAS: [&str; 2] = [LEGACY, MODERN];

/// How long the clients of these tests wait.
const PATIENCE: Duration = Duration::from_secs(5);
const KEPT: &str = "rules:\n  - name: kept\n    match: {}\n    decision: REQUIRE_APPROVAL\n    approval: { keep: true }\n";

fn held(policy: &str) -> Builder {
    TestGateway::builder().counting().policy("held.yaml", policy).manual_clock()
}

fn params() -> Value {
    json!({ "name": "count", "arguments": { "line": "one" } })
}

fn is_pending(result: &Value) {
    assert_eq!(result["_meta"]["countersign/hold"]["state"], "pending", "{result}");
    if result["resultType"] != "input_required" {
        assert!(refused(result).starts_with("PENDING, not failed"), "{result}");
    }
}

/// A client that hangs up after five seconds of its own and asks again over a new connection.
#[test]
fn a18_a_client_that_hangs_up_and_asks_again_joins_over_http() {
    let gateway = held(HOLD_ALL).start();
    for version in ERAS {
        let token = gateway.agent(version);
        let modern = Modern::new(gateway.url(), &token);
        let legacy = (version != MODERN).then(|| Legacy::open(gateway.url(), &token, version));
        let request = || match &legacy {
            None => modern.call_request("count", json!({ "line": "one" })),
            Some(session) => {
                let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call",
                                      "params": params() });
                session.post(message.to_string())
            }
        };
        let mut hold = None;
        for _ in 0..3 {
            let request = request().timeout(Duration::from_millis(1500));
            let waiting = RUNTIME.spawn(async move { request.send().await });
            let found = gateway.pending();
            assert_eq!(*hold.get_or_insert_with(|| found.clone()), found, "{version}");
            gateway.advance(PATIENCE);
            let gave_up = RUNTIME.block_on(waiting).unwrap();
            assert!(gave_up.is_err(), "{version}: {gave_up:?}");
            // Until then the next is a second call beside one that still waits.
            until("the gateway to see that it is gone", || {
                let open = gateway.metric("countersign_connections{listener=\"tcp\"}");
                (open == Some(0.0)).then_some(())
            });
        }
        let hold = hold.unwrap();
        let last = RUNTIME.spawn(crate::clients::Reply::of(request()));
        gateway.approve(&hold);
        let result = RUNTIME.block_on(last).unwrap().response()["result"].clone();
        assert!(said(&result).contains("ran one"), "{version}: {result}");
        assert_eq!(result["_meta"]["countersign/hold"]["id"], hold);
    }
    assert_eq!(gateway.ran(), ["one", "one"]);
    assert_eq!(gateway.holds("all").len(), 2);
}

/// Waits until the gateway has answered `id`, seconds of its own time passing.
fn answered_in_time(gateway: &TestGateway, client: &Stdio, id: &Value) -> Value {
    thread::scope(|scope| {
        let answer = scope.spawn(|| client.answer_to(id)["result"].clone());
        until("an answer within the client's patience", || {
            gateway.advance(Duration::from_secs(1));
            answer.is_finished().then_some(())
        });
        answer.join().unwrap()
    })
}

/// Over one stream nobody sees a client give up, so its window is shorter than its patience.
#[test]
fn a18_a_client_with_a_window_of_its_own_joins_over_stdio() {
    for version in ERAS {
        let config = "holds: { windows: { tests: 4s } }\n";
        let gateway = held(HOLD_ALL).config(config).start();
        let client = gateway.stdio("a").begin(version);
        let mut hold = None;
        for _ in 0..3 {
            let id = json!(next_id());
            client.send(&id, "tools/call", params());
            let found = gateway.pending();
            assert_eq!(*hold.get_or_insert_with(|| found.clone()), found, "{version}");
            is_pending(&answered_in_time(&gateway, &client, &id));
        }
        let id = json!(next_id());
        client.send(&id, "tools/call", params());
        gateway.approve(&hold.unwrap());
        let result = &client.answer_to(&id)["result"];
        assert!(said(result).contains("ran one"), "{version}: {result}");
        assert_eq!(gateway.ran(), ["one"]);
        assert_eq!(gateway.holds("all").len(), 1);
    }
}

fn cancelled(id: &Value) -> Value {
    json!({ "requestId": id, "reason": "timed out" })
}

/// A client that takes its call back when it gives up, as the SDKs do: the rule says whether that counts.
fn gives_up_and_asks_again_over_stdio(version: &str, keep: bool) {
    let gateway = held(if keep { KEPT } else { HOLD_ALL }).start();
    let client = gateway.stdio("a").begin(version);
    let id = json!(next_id());
    client.send(&id, "tools/call", params());
    let hold = gateway.pending();
    gateway.advance(PATIENCE);
    let note =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled(&id) });
    client.send_line(note.to_string().as_bytes());
    if !keep {
        gateway.hold_when(&hold, "withdrawn");
    }
    let again = json!(next_id());
    client.send(&again, "tools/call", params());
    let found = gateway.pending();
    assert_eq!(found == hold, keep, "{version}");
    gateway.approve(&found);
    let result = &client.answer_to(&again)["result"];
    assert!(said(result).contains("ran one"), "{version}: {result}");
    assert_eq!(gateway.ran(), ["one"]);
    assert_eq!(gateway.holds("all").len(), if keep { 1 } else { 2 });
}

#[test]
fn a18_a_call_that_was_taken_back_is_kept_where_the_rule_says_so_over_stdio() {
    for version in ERAS {
        gives_up_and_asks_again_over_stdio(version, true);
    }
}

#[test]
fn a_call_that_was_taken_back_is_withdrawn_over_stdio() {
    for version in ERAS {
        gives_up_and_asks_again_over_stdio(version, false);
    }
}

#[test]
fn a18_a_call_that_was_taken_back_is_kept_where_the_rule_says_so_over_http() {
    let gateway = held(KEPT).start();
    let client = gateway.legacy("a");
    let id = next_id();
    let call = client.send_later(id, "tools/call", params());
    let hold = gateway.pending();
    client.notify("notifications/cancelled", cancelled(&json!(id)));
    // Nothing comes after it: who cancels does not listen any more.
    assert!(call.join().unwrap().messages().is_empty());
    assert_eq!(gateway.hold(&hold)["state"], "pending");
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");
    assert!(said(&client.call("count", json!({ "line": "one" }))).contains("ran one"));
    assert_eq!(gateway.ran(), ["one"]);
}

/// `keep` is for clients that give up by themselves; `tasks/cancel` is the agent's own word.
#[test]
fn a17_a_cancelled_task_is_withdrawn_although_the_rule_keeps_calls() {
    let gateway = held(KEPT).start();
    let client = gateway.modern_with_tasks("a");
    let id = text(&client.call("count", json!({ "line": "one" }))["taskId"]);
    client.result("tasks/cancel", json!({ "taskId": id }));
    assert_eq!(client.task_when_done(&id)["status"], "cancelled");
    gateway.hold_when(&id, "withdrawn");
    let late = gateway.cli(&["approvals", "approve", &id]);
    assert_eq!(late.code, 5, "{late:?}");
    assert!(gateway.ran().is_empty());
}

/// A task is the agent's to ask for: no connection is open for it, and none that ends ends it.
#[test]
fn a17_a_task_outlives_every_connection() {
    let gateway = held(HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    let id = text(&client.call("count", json!({ "line": "one" }))["taskId"]);
    gateway.advance(Duration::from_secs(600));
    assert_eq!(client.result("tasks/get", json!({ "taskId": id }))["status"], "working");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    gateway.advance(Duration::from_secs(3600));
    // The same agent, as a client without tasks, collects it by asking again.
    let plain = Modern { tasks: false, ..client };
    assert!(said(&plain.call("count", json!({ "line": "one" }))).contains("ran one"));
    assert_eq!(gateway.ran(), ["one"]);
}
