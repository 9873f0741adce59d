//! Which workflow a call belongs to, as the record, limits and halts see it.

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, refused, said};
use crate::harness::{Builder, TestGateway, text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const POLICY: &str = r"
rules:
  - { name: counts, match: { action: count }, decision: ALLOW }
";
const LIMITED: &str = r"
rules:
  - { name: counts, match: { action: count }, decision: ALLOW }
limits:
  - { name: one-each, match: { action: count }, per: workflow, rate: 1/minute }
";

fn counting(policy: &str) -> Builder {
    TestGateway::builder().counting().policy("p.yaml", policy)
}

/// Calls `tool` with this `_meta`.
fn call(client: &dyn Client, tool: &str, meta: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": { "line": "x" }, "_meta": meta });
    client.result("tools/call", params)
}

fn traced() -> Value {
    json!({ "traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01") })
}

/// The workflows that the entries of this kind name, oldest first.
fn named(gateway: &TestGateway, kind: &str) -> Vec<Option<String>> {
    let entries = gateway.entries();
    let of_kind = entries.iter().map(|it| &it["entry"]).filter(|it| it["kind"] == kind);
    of_kind.map(|it| it["workflow"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_call_is_of_the_workflow_it_names_else_of_its_trace_else_of_its_session() {
    let gateway = counting(POLICY).start();
    let client = gateway.legacy("bot");
    let both = json!({ "countersign/workflow": "release", "traceparent": traced()["traceparent"] });
    let broken = json!({ "traceparent": format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)) });
    for meta in [both, traced(), json!({}), broken] {
        said(&call(&client, "count", &meta));
    }
    let modern = gateway.modern("modern");
    said(&call(&modern, "count", &json!({})));
    // Nothing is allowed there: refusals say it too.
    refused(&call(&client, "look", &traced()));

    let workflows = named(&gateway, "intent");
    assert_eq!(workflows[0].as_deref(), Some("release"));
    assert_eq!(workflows[1].as_deref(), Some(&*format!("trace:{TRACE}")));
    let session = workflows[2].clone().unwrap();
    assert!(session.starts_with("session:") && session.len() == 24, "{session}");
    assert_eq!(workflows[3].as_ref(), Some(&session), "a trace of zeros is none");
    assert_eq!(workflows[4], None, "that protocol has no sessions");
    assert_eq!(named(&gateway, "refusal"), [Some(format!("trace:{TRACE}"))]);
}

#[test]
fn no_entry_has_the_id_of_a_session_and_each_session_is_a_workflow() {
    let gateway = counting(POLICY).start();
    let first = gateway.legacy("bot");
    let second = Legacy::open(gateway.url(), &first.token, "2025-06-18");
    for client in [&first, &second, &first] {
        said(&call(client, "count", &json!({})));
    }
    let workflows = named(&gateway, "intent");
    assert_eq!(workflows[0], workflows[2]);
    assert_ne!(workflows[0], workflows[1]);
    let record = json!(gateway.entries()).to_string();
    for id in [&first.session, &second.session] {
        assert!(id.len() > 8 && !record.contains(&**id), "the id of a session is recorded");
    }
}

#[test]
fn a_connection_on_standard_streams_is_a_workflow() {
    let gateway = counting(POLICY).prepare();
    let owner = gateway.stdio("bot").begin("2025-11-25");
    let joined = gateway.stdio("bot").begin("2025-11-25");
    for client in [&owner, &joined, &owner] {
        said(&call(client, "count", &json!({})));
    }
    let workflows = named(&gateway, "intent");
    assert!(workflows.iter().all(|it| it.as_ref().is_some_and(|it| it.starts_with("session:"))));
    assert_eq!(workflows[0], workflows[2]);
    assert_ne!(workflows[0], workflows[1]);
}

#[test]
fn a_name_that_is_none_is_an_error_and_nothing_runs() {
    let gateway = counting(POLICY).start();
    let client = gateway.legacy("bot");
    for name in [json!(""), json!(7), json!("x".repeat(257))] {
        let meta = json!({ "countersign/workflow": name });
        let params = json!({ "name": "count", "arguments": { "line": "x" }, "_meta": meta });
        let error = client.request("tools/call", params);
        assert_eq!(error["error"]["code"], -32602, "{error}");
        assert!(text(&error["error"]["message"]).contains("1 to 256 characters"), "{error}");
    }
    assert!(gateway.ran().is_empty());
}

#[test]
fn limits_and_halts_see_the_workflow_of_a_trace() {
    let gateway = counting(LIMITED).start();
    let (client, other) = (gateway.legacy("bot"), gateway.legacy("other"));
    said(&call(&client, "count", &traced()));
    // Another span of the same trace is the same workflow; another agent's is another.
    let span = json!({ "traceparent": format!("00-{TRACE}-00f067aa0ba902b8-00") });
    assert!(refused(&call(&client, "count", &span)).contains("one-each"));
    said(&call(&other, "count", &traced()));

    let workflow = format!("trace:{TRACE}");
    gateway.cli(&["halt", "--workflow", &workflow, "--reason", "an incident"]).done();
    assert!(refused(&call(&client, "count", &span)).starts_with("HALTED"));
    said(&call(&client, "count", &json!({})));
}
