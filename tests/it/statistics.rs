//! How calls fared, as the API tells it: every call once, by what was decided and what came of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::Client as _;
use crate::harness::{Builder, TestGateway, until};

const TOOLS: &str = r#"
backend:
  name: mixed
  command: { program: "@DIR@/bin/mixed" }
attributes: { capability: mixed, environment: test }
tools:
  - name: work
    description: Works, or fails when told.
    attributes: { action: work, action_type: write, risk: low }
    input_schema: { type: object, additionalProperties: false, required: [how], properties: { how: { type: string } } }
    run: ["${how}"]
  - name: ask
    description: People decide.
    attributes: { action: ask, action_type: write, risk: low }
    input_schema: { type: object, additionalProperties: false, properties: {} }
    run: [well]
  - name: never
    description: Nobody may.
    attributes: { action: never, action_type: write, risk: low }
    input_schema: { type: object, additionalProperties: false, properties: {} }
    run: [well]
"#;
const RULES: &str = "rules:
  - { name: works, match: { action: work }, decision: ALLOW }
  - { name: asks, match: { action: ask }, decision: REQUIRE_APPROVAL }
  - { name: never, match: { action: never }, decision: DENY }
";
const SCRIPT: &str = "#!/bin/sh\ntest \"$1\" = well\n";

/// A gateway whose calls fare differently.
pub(crate) fn mixed() -> TestGateway {
    mixed_with(|builder| builder)
}

pub(crate) fn mixed_with(more: impl FnOnce(Builder) -> Builder) -> TestGateway {
    let builder = TestGateway::builder()
        .manifest("mixed.yaml", TOOLS)
        .script("mixed", SCRIPT)
        .policy("mixed.yaml", RULES)
        .manual_clock();
    more(builder).start()
}

fn sum(told: &Value, key: &str) -> u64 {
    told["steps"].as_array().unwrap().iter().map(|step| step[key].as_u64().unwrap()).sum()
}

#[test]
fn every_call_is_counted_once() {
    let gateway = mixed();
    let agent = gateway.modern_with_tasks("worker");
    for how in ["well", "well", "badly"] {
        agent.call("work", json!({ "how": how }));
    }
    agent.call("work", json!({ "how": 7 }));
    agent.call("never", json!({}));
    agent.request("tools/call", json!({ "name": "absent", "arguments": {} }));
    for _ in 0..3 {
        agent.call("ask", json!({}));
    }
    gateway.advance(Duration::from_secs(90));
    let first = gateway.holds("pending").remove(0);
    gateway.approve(first["id"].as_str().unwrap());
    gateway.holds_when("finished", 1);
    let told = until("the last outcome to be counted", || {
        let told = gateway.api_get("/api/v1/statistics?span=hour").json();
        (sum(&told, "succeeded") == 3).then_some(told)
    });
    for (key, count) in [("allowed", 3), ("held", 3), ("denied", 1), ("refused", 2), ("failed", 1)]
    {
        assert_eq!(sum(&told, key), count, "{key}: {told}");
    }
    assert_eq!((&told["pending"], &told["whole"]), (&json!(2), &json!(true)));
    let steps = told["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &told["step"]), (60, &json!(60)));
    // Where it was asked for, not where it was decided.
    let asked = steps.iter().find(|step| step["held"] == 3).unwrap();
    assert_eq!(asked["waits"]["count"], 1, "{asked}");
    let waited = asked["waits"]["median"].as_f64().unwrap();
    assert!((90.0..100.0).contains(&waited), "{waited}");
    let tool = |name: &str| {
        let tools = told["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["tool"] == name).unwrap_or_else(|| panic!("{name}: {told}"))
    };
    assert_eq!(tool("work")["calls"], 4);
    assert_eq!(tool("work")["refused"], 1);
    assert_eq!(tool("work")["failed"], json!({ "tool_error": 1 }));
    assert_eq!((&tool("ask")["calls"], &tool("ask")["succeeded"]), (&json!(1), &json!(1)));
    // What agents make up is no name in a table.
    assert_eq!(tool("_other")["refused"], 1);
}

#[test]
fn what_is_older_than_the_span_is_not_told() {
    let gateway = mixed();
    gateway.modern("worker").call("work", json!({ "how": "well" }));
    for (span, steps, days) in
        [("hour", 60, 0.05), ("day", 96, 1.1), ("week", 84, 7.0), ("month", 90, 30.0)]
    {
        let told = gateway.api_get(&format!("/api/v1/statistics?span={span}")).json();
        assert_eq!((sum(&told, "allowed"), told["steps"].as_array().unwrap().len()), (1, steps));
        gateway.advance(Duration::from_secs_f64(86_400.0 * days));
        let told = gateway.api_get(&format!("/api/v1/statistics?span={span}")).json();
        assert_eq!(sum(&told, "allowed"), 0, "{span}: {told}");
    }
}
