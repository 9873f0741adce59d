//! What an agent was given to come back with, used by somebody else, changed, too late, or twice.

use std::time::Duration;

use countersign::authentication::seal_key;
use rmcp::model::SealOptions;
use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused, said};
use crate::harness::{Builder, HOLD_ALL, TestGateway, text, until};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

fn held() -> Builder {
    let config = "holds: { window: 50ms, keep_result: 6h }\n";
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).config(config)
}

/// The call of all these tests.
fn call() -> Value {
    json!({ "name": "count", "arguments": { "line": "one" } })
}

/// The whole response to the call, made again with this `requestState`.
fn with_state(client: &Modern, state: &str) -> Value {
    let mut params = call();
    params["requestState"] = state.into();
    client.request("tools/call", params)
}

/// The result of the call, made again in the name of this hold.
fn with_hold(client: &Modern, hold: &str) -> Value {
    let mut params = call();
    params["_meta"] = json!({ "countersign/hold": hold });
    client.result("tools/call", params)
}

/// Asks, and gives the state to come back with, and the hold.
fn asked(gateway: &TestGateway, client: &Modern) -> (String, String) {
    let answer = client.call("count", call()["arguments"].clone());
    assert_eq!(answer["resultType"], "input_required", "{answer}");
    (text(&answer["requestState"]), gateway.pending())
}

/// The state is not taken, and nothing came of the attempt.
#[track_caller]
fn rejected(gateway: &TestGateway, client: &Modern, state: &str) {
    let answer = with_state(client, state);
    assert_eq!(answer["error"]["code"], -32602, "{state}: {answer}");
    let told = text(&answer["error"]["message"]);
    assert_eq!(told, "Invalid params: `requestState` is not valid", "an oracle");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a12_every_changed_character_of_a_request_state_is_rejected() {
    let gateway = held().start();
    let client = gateway.modern("a");
    let (state, hold) = asked(&gateway, &client);
    for place in 0..state.len() {
        let mut bytes = state.clone().into_bytes();
        // Another character of the alphabet that such states are written in.
        bytes[place] = match bytes[place] {
            b'A' => b'B',
            b'z' => b'y',
            b'9' => b'8',
            other if other.is_ascii_alphanumeric() => other + 1,
            _ => b'A',
        };
        let changed = String::from_utf8(bytes).unwrap();
        rejected(&gateway, &client, &changed);
    }
    for other in [
        String::new(),
        format!("{state}A"),
        format!("A{state}"),
        format!("{state}{state}"),
        format!("{state}="),
        format!(" {state}"),
        state[..state.len() / 2].to_owned(),
        state[..state.len() - 1].to_owned(),
        state.to_uppercase(),
        hold.clone(),
        "x".repeat(100_000),
    ] {
        rejected(&gateway, &client, &other);
    }
    assert_eq!(gateway.pending(), hold, "an attempt opened or ended a hold");
    // The right one is still good.
    assert_eq!(with_state(&client, &state)["result"]["resultType"], "input_required");
}

#[test]
fn a12_what_one_agent_was_given_is_of_no_use_to_another() {
    let gateway = held().start();
    let client = gateway.modern("a");
    let (state, hold) = asked(&gateway, &client);
    let other = gateway.modern_with_tasks("b");
    rejected(&gateway, &other, &state);
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");
    assert_eq!(gateway.ran(), ["one"]);
    // Not even when there is a result.
    assert_eq!(with_state(&other, &state)["error"]["code"], -32602);
    for method in ["tasks/get", "tasks/cancel"] {
        let answer = other.request(method, json!({ "taskId": hold }));
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }
    // Under its name the other agent's call is a call of its own.
    let answer = with_hold(&other, &hold);
    assert_eq!(answer["status"], "working", "{answer}");
    assert_ne!(text(&answer["taskId"]), hold);
    assert!(said(&with_state(&client, &state)["result"]).contains("ran one"));
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a12_a_request_state_is_good_for_its_time_and_no_longer() {
    let gateway = held().start();
    let client = gateway.modern("a");
    let (state, _) = asked(&gateway, &client);
    // What the gateway sealed, sealed again with its own key: only the time differs.
    let codec = seal_key(&gateway.data()).unwrap();
    let payload = codec.open_with(&state, b"a").unwrap();
    let sealed = |ttl: Duration| {
        codec.seal_with(&payload, &SealOptions::new().associated_data(b"a").ttl(ttl))
    };
    let fresh = sealed(HOUR);
    assert_eq!(with_state(&client, &fresh)["result"]["resultType"], "input_required");
    let stale = sealed(Duration::from_millis(1));
    until("the state to be stale", || codec.open_with(&stale, b"a").is_err().then_some(()));
    rejected(&gateway, &client, &stale);
    let of_another_key = rmcp::model::RequestStateCodec::try_new([7_u8; 32])
        .unwrap()
        .seal_with(&payload, &SealOptions::new().associated_data(b"a").ttl(HOUR));
    rejected(&gateway, &client, &of_another_key);
}

#[test]
fn a12_what_was_collected_is_not_given_twice() {
    let gateway = held().start();
    let client = gateway.modern("a");
    let (state, hold) = asked(&gateway, &client);
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");
    assert!(said(&with_state(&client, &state)["result"]).contains("ran one"));
    for _ in 0..3 {
        let answer = with_state(&client, &state);
        assert!(refused(&answer["result"]).starts_with("COLLECTED"), "{answer}");
        assert!(refused(&with_hold(&client, &hold)).starts_with("COLLECTED"));
    }
    assert_eq!(gateway.ran(), ["one"]);
    assert_eq!(gateway.holds("all").len(), 1);
}

#[test]
fn a12_what_was_not_collected_in_time_is_gone() {
    let gateway = held().manual_clock().start();
    let client = gateway.modern("a");
    // Nobody decides: the hold is over, whoever comes back with what.
    let (state, hold) = asked(&gateway, &client);
    gateway.advance(2 * HOUR);
    gateway.hold_when(&hold, "expired");
    let answer = with_state(&client, &state);
    assert!(refused(&answer["result"]).starts_with("EXPIRED"), "{answer}");
    assert!(refused(&with_hold(&client, &hold)).starts_with("EXPIRED"));
    let late = gateway.cli(&["approvals", "approve", &hold]);
    assert_eq!(late.code, 5, "{late:?}");
    assert!(gateway.ran().is_empty());
    // It ran, and nobody asked for a day: its result is kept no longer.
    let (state, hold) = asked(&gateway, &client);
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");
    gateway.advance(DAY);
    let told = until("the result to be forgotten", || {
        let tasks = Modern { tasks: true, ..client.clone() };
        let task = tasks.request("tasks/get", json!({ "taskId": hold }));
        (task["result"]["result"]["isError"] == true || task.get("error").is_some())
            .then(|| task.to_string())
    });
    assert!(!told.contains("ran one"), "{told}");
    let answer = with_state(&client, &state);
    assert!(refused(&answer["result"]).starts_with("COLLECTED"), "{answer}");
    assert_eq!(gateway.ran(), ["one"]);
}

/// A task that has ended is only told again: asking, answering and cancelling run and change nothing.
#[test]
fn a12_a_task_that_ended_stays_as_it_ended() {
    let gateway = held().start();
    let client = gateway.modern_with_tasks("a");
    let task = client.call("count", call()["arguments"].clone());
    let hold = text(&task["taskId"]);
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");
    for _ in 0..2 {
        let task = client.result("tasks/get", json!({ "taskId": hold }));
        assert_eq!(task["status"], "completed");
        assert!(said(&task["result"]).contains("ran one"), "{task}");
        let accept = json!({ "approval": { "action": "accept" } });
        client.request("tasks/update", json!({ "taskId": hold, "inputResponses": accept }));
        client.request("tasks/cancel", json!({ "taskId": hold }));
    }
    assert_eq!(gateway.hold(&hold)["state"], "finished");
    assert_eq!(gateway.ran(), ["one"]);
}
