//! Conditions of rules as people meet them: in the record, the metrics, an explanation and the list of rules.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{TestGateway, text};

const RULES: &str = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - { name: large, match: { tool: count }, when: int(arguments.line) > 5, decision: DENY }
  - { name: tried, match: { tool: count }, decision: REQUIRE_APPROVAL, mode: shadow }
";

/// What the entries of calls of `count` noticed, by kind of entry.
fn noticed(gateway: &TestGateway) -> Vec<(String, Value)> {
    let entries = gateway.entries().into_iter().map(|stored| stored["entry"].clone());
    let calls = entries.filter(|entry| entry["tool"] == "count");
    calls.map(|entry| (text(&entry["kind"]), entry["noticed"].clone())).collect()
}

#[test]
fn what_a_decision_noticed_is_recorded_counted_and_explained() {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", RULES).start();
    let agent = gateway.modern("a");
    said(&agent.call("count", json!({ "line": "3" })));
    assert!(refused(&agent.call("count", json!({ "line": "7" }))).contains("large"));
    assert!(refused(&agent.call("count", json!({ "line": "x" }))).contains("large"));
    assert_eq!(gateway.ran(), ["3"]);

    let shadow = json!([{ "rule": "tried", "decision": "REQUIRE_APPROVAL" }]);
    let found = noticed(&gateway);
    let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["intent", "refusal", "refusal"]);
    for (_, noticed) in &found {
        assert_eq!(noticed["shadow"], shadow);
    }
    assert_eq!([&found[0].1["errors"], &found[1].1["errors"]], [&Value::Null; 2]);
    assert_eq!(found[2].1["errors"][0]["rule"], "large");
    let started =
        "countersign_policy_rules_matched_total{mode=\"shadow\",decision=\"REQUIRE_APPROVAL\"}";
    assert_eq!(gateway.metric(started), Some(3.0));
    assert_eq!(gateway.metric("countersign_policy_condition_errors_total"), Some(1.0));

    let explain = ["policy", "explain", "count", r#"{"line":"x"}"#, "--agent", "a"];
    let told = gateway.cli(&explain).done();
    assert!(told.contains("when: int(arguments.line) > 5"), "{told}");
    assert!(
        told.contains("arguments.line = \"x\"") && told.contains("cannot be evaluated"),
        "{told}"
    );
    assert!(
        told.lines().any(|line| line.contains("tried") && line.ends_with("in shadow")),
        "{told}"
    );

    let rules = gateway.api_get("/api/v1/policy").json()["rules"].clone();
    let large = json!([
        { "key": "tool", "any_of": ["count"] },
        { "key": "when", "any_of": ["int(arguments.line) > 5"] },
    ]);
    assert_eq!(rules[1]["matches"], large);
    assert_eq!([&rules[1]["mode"], &rules[2]["mode"]], [&Value::Null, &json!("shadow")]);
}

#[test]
fn an_approved_call_is_decided_by_the_time_at_which_it_would_run() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(30);
    let rules = format!(
        "rules:
  - {{ name: ask, match: {{}}, decision: REQUIRE_APPROVAL }}
  - {{ name: closed, match: {{}}, decision: DENY, active: {{ from: '{soon}' }} }}
"
    );
    let gateway =
        TestGateway::builder().counting().policy("rules.yaml", &rules).manual_clock().start();
    let agent = gateway.modern_with_tasks("a");
    let early = text(&agent.call("count", json!({ "line": "early" }))["taskId"]);
    gateway.approve(&early);
    gateway.hold_when(&early, "finished");
    let late = text(&agent.call("count", json!({ "line": "late" }))["taskId"]);
    gateway.advance(Duration::from_mins(40));
    gateway.approve(&late);
    gateway.hold_when(&late, "superseded");
    assert_eq!(gateway.ran(), ["early"]);
}
