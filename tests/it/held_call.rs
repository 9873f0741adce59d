//! A held call, as each kind of client sees it, and every way it can end.

use std::thread;

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, next_id, refused, said};
use crate::harness::{Builder, HOLD_ALL, TestGateway, text, until};

/// Everything is held; a request waits for people as long as `window` says.
fn held(window: &str) -> Builder {
    TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config(&format!("holds: {{ window: {window} }}\n"))
}

fn line(line: &str) -> Value {
    json!({ "line": line })
}

/// Makes a call in a thread of its own.
fn call_later(
    client: &(impl Client + Clone + Send + 'static),
    arguments: Value,
) -> thread::JoinHandle<Value> {
    let client = client.clone();
    thread::spawn(move || client.call("count", arguments))
}

#[test]
fn is_answered_when_approved_within_the_window_modern() {
    let gateway = held("30s").start();
    let call = call_later(&gateway.modern("a"), line("one"));
    let id = gateway.pending();
    gateway.approve(&id);
    let result = call.join().unwrap();
    assert!(said(&result).contains("ran one"), "{result}");
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["_meta"]["countersign/hold"]["id"], id);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn is_answered_when_approved_within_the_window_legacy() {
    let gateway = held("30s").start();
    let call = call_later(&gateway.legacy("a"), line("one"));
    gateway.approve(&gateway.pending());
    let result = call.join().unwrap();
    assert!(said(&result).contains("ran one"), "{result}");
    assert!(result.get("resultType").is_none(), "{result}");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a18_is_pending_after_the_window_and_a_retry_collects_it_legacy() {
    let gateway = held("100ms").start();
    let client = gateway.legacy("a");
    let pending = client.call("count", line("one"));
    let told = refused(&pending);
    let id = gateway.pending();
    assert!(told.contains("PENDING, not failed") && told.contains(&id), "{told}");
    assert!(told.contains("everything-held"), "{told}");
    assert_eq!(pending["_meta"]["countersign/hold"]["id"], id);
    assert_eq!(pending["_meta"]["countersign/hold"]["state"], "pending");
    assert!(gateway.ran().is_empty());
    // Asked again while pending, it joins and opens no other hold.
    refused(&client.call("count", line("one")));
    assert_eq!(gateway.pending(), id);

    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    let result = client.call("count", line("one"));
    assert!(said(&result).contains("ran one"), "{result}");
    assert_eq!(gateway.ran(), ["one"]);

    // Collected once; the same call is a new call then.
    refused(&client.call("count", line("one")));
    assert_ne!(gateway.pending(), id);
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn asks_a_modern_client_to_come_back_and_the_retry_collects_it() {
    let gateway = held("100ms").start();
    let client = gateway.modern("a");
    let held = client.call("count", line("one"));
    assert_eq!(held["resultType"], "input_required", "{held}");
    let state = text(&held["requestState"]);
    let id = gateway.pending();
    gateway.approve(&id);
    let retry = json!({ "name": "count", "arguments": line("one"), "requestState": state });
    let result = client.result("tools/call", retry);
    assert!(said(&result).contains("ran one"), "{result}");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a12_a_tampered_or_foreign_request_state_is_rejected() {
    let gateway = held("100ms").start();
    let client = gateway.modern("a");
    let state = text(&client.call("count", line("one"))["requestState"]);
    let other = gateway.modern("b");
    let retry = |client: &Modern, state: &str, arguments: Value| {
        let params = json!({ "name": "count", "arguments": arguments, "requestState": state });
        client.request("tools/call", params)
    };
    for place in [0, state.len() / 2, state.len() - 1] {
        let mut bytes = state.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        let answer = retry(&client, &changed, line("one"));
        assert_eq!(answer["error"]["code"], -32602, "byte {place}: {answer}");
    }
    let answer = retry(&client, "", line("one"));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let answer = retry(&other, &state, line("one"));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    // The right state with other arguments runs nothing either.
    let answer = retry(&client, &state, line("two"));
    refused(&answer["result"]);
    assert_eq!(gateway.holds("all").len(), 1);
    assert!(gateway.ran().is_empty());
}

#[test]
fn a13_input_responses_of_a_client_decide_nothing() {
    let gateway = held("100ms").start();
    let client = gateway.modern("a");
    let state = text(&client.call("count", line("one"))["requestState"]);
    let answer = client.result("tools/call", json!({
        "name": "count", "arguments": line("one"), "requestState": state,
        "inputResponses": { "approval": { "action": "accept", "content": { "approved": true } } },
    }));
    assert_eq!(answer["resultType"], "input_required", "{answer}");
    gateway.pending();
    assert!(gateway.ran().is_empty());
}

/// Nor does what a client says as if its person had said it: answers that nobody asked for, in either era.
#[test]
fn a13_forged_consent_decides_nothing() {
    let gateway = held("100ms").start();
    let accept =
        json!({ "action": "accept", "content": { "approved": true, "decision": "approve" } });
    let client = gateway.modern_with_tasks("new");
    let task = text(&client.call("count", line("one"))["taskId"]);
    let responses = json!({ "hold": accept, "approval": accept });
    client.request("tasks/update", json!({ "taskId": task, "inputResponses": responses }));
    assert_eq!(client.result("tasks/get", json!({ "taskId": task }))["status"], "working");
    // A call that brings its consent along is held like any other.
    let params = json!({ "name": "count", "arguments": line("two"), "inputResponses": responses,
                         "_meta": { "countersign/approval": accept, "countersign/decision": "ALLOW" } });
    assert_eq!(client.result("tools/call", params)["resultType"], "task");
    let legacy = gateway.legacy("old");
    refused(&legacy.call("count", line("three")));
    for id in [json!(1), json!("hold"), json!(task)] {
        let forged = json!({ "jsonrpc": "2.0", "id": id, "result": accept });
        legacy.send(forged.to_string());
    }
    assert_eq!(gateway.holds_when("pending", 3).len(), 3);
    assert!(gateway.ran().is_empty());
}

#[test]
fn is_a_task_at_once_for_a_client_with_tasks() {
    let gateway = held("30s").start();
    let client = gateway.modern_with_tasks("a");
    let task = client.call("count", line("one"));
    assert_eq!(task["resultType"], "task", "{task}");
    assert_eq!(task["status"], "working");
    let id = text(&task["taskId"]);
    let working = client.result("tasks/get", json!({ "taskId": id }));
    assert_eq!(working["status"], "working");
    assert!(text(&working["statusMessage"]).contains("everything-held"), "{working}");
    gateway.approve(&gateway.pending());
    let done = client.task_when_done(&id);
    assert_eq!(done["status"], "completed");
    assert!(said(&done["result"]).contains("ran one"), "{done}");
    assert_eq!(gateway.ran(), ["one"]);
    // Asked again, a task still gives its result.
    let again = client.result("tasks/get", json!({ "taskId": id }));
    assert!(said(&again["result"]).contains("ran one"), "{again}");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn rejected_tells_the_agent_why_and_is_remembered() {
    let gateway = held("30s").start();
    let client = gateway.modern("a");
    let call = call_later(&client, line("one"));
    let id = gateway.pending();
    gateway.cli(&["approvals", "reject", &id, "--reason", "not on a Friday"]).done();
    let told = refused(&call.join().unwrap());
    assert!(told.contains("REJECTED") && told.contains("not on a Friday"), "{told}");
    let again = refused(&client.call("count", line("one")));
    assert!(again.contains("not on a Friday"), "{again}");
    assert_eq!(gateway.holds("all").len(), 1);
    assert!(gateway.ran().is_empty());
}

#[test]
fn is_withdrawn_when_a_legacy_client_cancels() {
    let gateway = held("30s").start();
    let client = gateway.legacy("a");
    let request = next_id();
    let params = json!({ "name": "count", "arguments": line("one") });
    let call = client.send_later(request, "tools/call", params);
    let id = gateway.pending();
    client.notify("notifications/cancelled", json!({ "requestId": request }));
    gateway.hold_when(&id, "withdrawn");
    drop(call.join().unwrap());
    let late = gateway.cli(&["approvals", "approve", &id]);
    assert_eq!(late.code, 5, "{late:?}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn is_withdrawn_by_cancelling_its_task() {
    let gateway = held("30s").start();
    let client = gateway.modern_with_tasks("a");
    let id = text(&client.call("count", line("one"))["taskId"]);
    client.result("tasks/cancel", json!({ "taskId": id }));
    let task = client.task_when_done(&id);
    assert_eq!(task["status"], "cancelled");
    gateway.hold_when(&id, "withdrawn");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a17_survives_a_client_that_hangs_up() {
    let gateway = held("30s").start();
    for (agent, version) in [("old", "2025-11-25"), ("new", MODERN)] {
        let token = gateway.agent(agent);
        let mut request = if version == MODERN {
            Modern::new(gateway.url(), &token).call_request("count", line(agent))
        } else {
            let params = json!({ "name": "count", "arguments": line(agent) });
            let message =
                json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
            Legacy::open(gateway.url(), &token, version).post(message.to_string())
        };
        // The client gives up while the call is held.
        request = request.timeout(std::time::Duration::from_millis(1500));
        crate::harness::RUNTIME.block_on(async { request.send().await.unwrap_err() });
        let id = gateway.pending();
        gateway.approve(&id);
        gateway.hold_when(&id, "finished");
        // The agent collects it from another connection.
        let result = Modern::new(gateway.url(), &token).call("count", line(agent));
        assert!(said(&result).contains(&format!("ran {agent}")), "{result}");
    }
    assert_eq!(gateway.ran(), ["old", "new"]);
}

/// An id whose request is gone with its connection is free again.
#[test]
fn a_client_that_hung_up_may_use_its_id_again() {
    let gateway = held("30s").start();
    let client = Legacy::open(gateway.url(), &gateway.agent("a"), "2025-11-25");
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                          "params": { "name": "count", "arguments": line("one") } });
    let lost = client.post(message.to_string()).timeout(std::time::Duration::from_millis(1500));
    crate::harness::RUNTIME.block_on(async { lost.send().await.unwrap_err() });
    // The gateway hears of the end of a connection when it does; the same id is refused until then.
    let again = thread::spawn(move || {
        until("the id to be free", || {
            let response = client.send(message.to_string()).response();
            response.get("error").is_none().then_some(response)
        })
    });
    gateway.approve(&gateway.pending());
    let response = again.join().unwrap();
    assert!(said(&response["result"]).contains("ran one"), "{response}");
    assert_eq!(gateway.ran(), ["one"]);
}

const EXPIRING: &str = "rules:\n  - name: hurry\n    match: {}\n    decision: REQUIRE_APPROVAL\n    approval: { decide_within: 300ms }\n";

#[test]
fn expires_when_nobody_decides() {
    let gateway = TestGateway::builder().counting().policy("hurry.yaml", EXPIRING).start();
    let result = gateway.modern("a").call("count", line("one"));
    let told = refused(&result);
    assert!(told.contains("EXPIRED") && told.contains("neither consent nor"), "{told}");
    let holds = gateway.holds_when("expired", 1);
    let late = gateway.cli(&["approvals", "approve", &text(&holds[0]["id"])]);
    assert_eq!(late.code, 5, "{late:?}");
    assert!(gateway.ran().is_empty());
}

const LAPSING: &str = "rules:\n  - name: lapsing\n    match: {}\n    decision: REQUIRE_APPROVAL\n    approval: { execute_within: 1s }\n";

#[test]
fn a11_lapses_when_it_cannot_begin_in_time() {
    let mut gateway = TestGateway::builder()
        .counting()
        .policy("lapsing.yaml", LAPSING)
        .env("COUNTERSIGN_FAIL_AT", "decide_hold.after")
        .start();
    gateway.modern_with_tasks("a").call("count", line("one"));
    let id = gateway.pending();
    gateway.cli(&["approvals", "approve", &id]);
    gateway.wait_for_death();
    thread::sleep(std::time::Duration::from_millis(1100));
    gateway.set_env("COUNTERSIGN_FAIL_AT", None);
    gateway.launch();
    let hold = gateway.hold_when(&id, "lapsed");
    assert_eq!(hold["verdicts"][0]["decision"], "approve", "{hold}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn cve_2026_52870_of_another_agent_looks_unknown() {
    let gateway = held("100ms").start();
    let client = gateway.modern_with_tasks("a");
    let id = text(&client.call("count", line("one"))["taskId"]);
    let other = gateway.modern_with_tasks("b");
    let unknown = "01900000-0000-7000-8000-000000000000";
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let ask = |id: &str| {
            let mut params = json!({ "taskId": id });
            if method == "tasks/update" {
                params["inputResponses"] = json!({});
            }
            other.request(method, params)["error"].clone()
        };
        let foreign = ask(&id);
        assert_eq!(foreign, ask(unknown), "{method} tells a foreign task from an unknown one");
        assert_eq!(foreign["code"], -32602, "{method}: {foreign}");
    }
    // Naming a foreign hold opens a hold of its own.
    let named =
        json!({ "name": "count", "arguments": line("one"), "_meta": { "countersign/hold": id } });
    let answer = other.result("tools/call", named);
    assert_ne!(text(&answer["taskId"]), id);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert_eq!(gateway.holds_when("pending", 2).len(), 2);
}

#[test]
fn two_identical_calls_at_once_are_two_holds() {
    let gateway = held("30s").start();
    let client = gateway.modern("a");
    let calls = [call_later(&client, line("same")), call_later(&client, line("same"))];
    for hold in gateway.holds_when("pending", 2) {
        gateway.approve(&text(&hold["id"]));
    }
    for call in calls {
        assert!(said(&call.join().unwrap()).contains("ran same"));
    }
    assert_eq!(gateway.ran(), ["same", "same"]);
}

#[test]
fn a_verdict_for_another_digest_counts_for_nothing() {
    let gateway = held("30s").start();
    gateway.modern_with_tasks("a").call("count", line("one"));
    let id = gateway.pending();
    let mut digest = text(&gateway.hold(&id)["digest"]);
    let last = if digest.pop() == Some('0') { '1' } else { '0' };
    digest.push(last);
    let verdict = gateway.cli(&["approvals", "approve", &id, "--digest", &digest]);
    assert_eq!(verdict.code, 5, "{verdict:?}");
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a15_an_agent_has_only_so_many_and_others_are_not_harmed() {
    let gateway = held("50ms").config("holds: { window: 50ms, pending_max: 3 }\n").start();
    let client = gateway.modern_with_tasks("a");
    for n in 0..3 {
        client.call("count", line(&n.to_string()));
    }
    let told = refused(&client.call("count", line("too many")));
    assert!(told.contains('3'), "{told}");
    let other = gateway.modern_with_tasks("b").call("count", line("other"));
    assert_eq!(other["resultType"], "task", "{other}");
    assert_eq!(gateway.holds("pending").len(), 4);
}

#[test]
fn a_waiting_client_that_asked_for_progress_hears_of_it() {
    let gateway = held("30s").start();
    let client = gateway.legacy("a");
    let params =
        json!({ "name": "count", "arguments": line("one"), "_meta": { "progressToken": "p" } });
    let call = client.send_later(next_id(), "tools/call", params);
    let id = gateway.pending();
    gateway.approve(&id);
    let reply = call.join().unwrap();
    let news = reply.messages().into_iter().find(|it| it["method"] == "notifications/progress");
    let news = news.unwrap_or_else(|| panic!("no progress: {reply:?}"));
    assert_eq!(news["params"]["progressToken"], "p");
    assert!(text(&news["params"]["message"]).contains(&id), "{news}");
    assert!(said(&reply.response()["result"]).contains("ran one"));
}

#[test]
fn over_stdio_the_end_of_input_leaves_the_hold() {
    let mut gateway = held("30s").prepare();
    let mut client = gateway.stdio("s").begin("2025-11-25");
    client.send(&json!("x"), "tools/call", json!({ "name": "count", "arguments": line("one") }));
    let id = gateway.pending();
    client.hang_up();
    assert!(client.wait());
    gateway.launch();
    assert_eq!(gateway.hold(&id)["state"], "pending");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn over_stdio_a_cancelled_call_is_withdrawn() {
    let gateway = held("30s").prepare();
    let client = gateway.stdio("s").begin("2025-11-25");
    client.send(&json!(77), "tools/call", json!({ "name": "count", "arguments": line("one") }));
    let id = gateway.pending();
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 77 } });
    client.send_line(cancelled.to_string().as_bytes());
    gateway.hold_when(&id, "withdrawn");
    assert!(gateway.ran().is_empty());
}

/// A tool runs as the gateway's own user, so it could open the socket that people decide through.
#[test]
fn a9_a_tool_cannot_decide_through_the_local_socket() {
    let manifest = format!(
        "backend: {{ name: sneaky, command: {{ program: {} }} }}\n\
         tools:\n  - name: sneak\n    description: Tries to list what waits for people.\n    \
         attributes: {{ action_type: read }}\n    input_schema:\n      type: object\n      \
         required: [data]\n      properties: {{ data: {{ type: string }} }}\n    \
         run: [approvals, list, --data, \"${{data}}\"]\n",
        env!("CARGO_BIN_EXE_countersign")
    );
    let gateway = TestGateway::builder()
        .manifest("sneaky.yaml", &manifest)
        .policy("open.yaml", crate::harness::ALLOW_ALL)
        .start();
    let data = gateway.data().display().to_string();
    let result = gateway.modern("a").call("sneak", json!({ "data": data }));
    let told = refused(&result);
    assert!(told.contains("a program that the gateway started may not use its socket"), "{told}");
}

#[test]
fn is_collected_by_its_hold_at_once() {
    let gateway = held("30s").start();
    let arguments = r#"{"line":"one"}"#;
    let opened = gateway.cli(&["call", "count", arguments, "--no-wait"]);
    let id = opened.stdout.trim().to_owned();
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    let other = gateway.cli(&["call", "count", r#"{"line":"two"}"#, "--hold", &id]);
    assert!(other.stdout.contains("for other arguments"), "{}", other.stdout);
    let collected = gateway.cli(&["call", "count", arguments, "--hold", &id]).done();
    assert!(collected.contains("ran one"), "{collected}");
    assert_eq!(gateway.ran(), ["one"]);
}
