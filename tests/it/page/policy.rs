//! The policy and the catalog: what is decided and why, and tools that are tried.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{pictures, visit};
use crate::clients::Client as _;
use crate::harness::TestGateway;

const FLEET: &str = r#"
backend:
  name: fleet
  command: { program: "@DIR@/bin/count" }
attributes: { capability: fleet }
tools:
  - name: fleet_scale
    title: Scale a service
    description: Sets how many copies of a service run.
    attributes: { action: scale, action_type: write, risk: high, environment: { argument: environment, values: { production: production, staging: staging } } }
    input_schema:
      type: object
      additionalProperties: false
      required: [service, environment, replicas]
      properties:
        service: { type: string, pattern: "^[a-z-]+$", maxLength: 60, description: "Which service, like web." }
        environment: { type: string, enum: [production, staging], description: Where. }
        replicas: { type: integer, minimum: 0, maximum: 100, description: How many copies. }
        drain: { type: boolean, default: true, description: Whether connections are drained first. }
        regions: { type: array, maxItems: 5, items: { type: string }, description: Where else. }
        limits: { type: object, properties: { cpu: { type: number, exclusiveMinimum: 0, maximum: 64 }, memory: { type: string } } }
        strategy: { oneOf: [{ type: string }, { type: object }], description: How. }
    run: ["${service} ${environment} ${replicas}"]
  - name: fleet_status
    description: Says what runs.
    attributes: { action: status, action_type: read, environment: production }
    input_schema: { type: object, additionalProperties: false, properties: { service: { type: string } } }
    run: [status]
"#;
const RULES: &str = "
rules:
  - { name: looking, match: { action_type: read }, decision: ALLOW }
  - name: staging-is-free
    match: { capability: fleet, environment: staging }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_replicas: 10 }
  - name: production-writes
    match: { capability: fleet, environment: production, action_type: write }
    decision: REQUIRE_APPROVAL
    reason: production is changed by two
    approval: { four_eyes: true }
  - name: guests-look
    match: { group: guests, action_type: write }
    except: { environment: staging }
    decision: DENY
    reason: guests look
limits:
  - { name: writes, match: { action_type: write }, per: agent, rate: 5/minute }
";

fn fleet() -> TestGateway {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("fleet.yaml", FLEET)
        .policy("fleet.yaml", RULES)
        .start();
    gateway.cli(&["agents", "add", "guest", "--group", "guests"]).done();
    gateway
}

#[test]
fn a_cell_of_the_table_opens_why() {
    let gateway = fleet();
    let saw = visit(&gateway, "why", json!({}));
    assert_eq!(saw["cell"], "constrain/deny by environment: guest, fleet_scale");
    // By the arrows one gets from cell to cell.
    assert_eq!(saw["moved"], "constrain/hold by environment: any other agent, fleet_scale");
    assert_eq!(saw["agent"], "guest");
    let fault = saw["fault"].as_str().unwrap();
    assert!(fault.contains("must be") || fault.contains("required"), "{saw}");
    let denied = saw["denied"].as_str().unwrap();
    assert!(denied.contains("DENY by guests-look"), "{saw}");
    assert!(saw["nearest"].as_str().unwrap().contains("/environment as \"staging\""), "{saw}");
    let constrained = saw["constrained"].as_str().unwrap();
    assert!(constrained.contains("ALLOW_WITH_CONSTRAINTS by staging-is-free"), "{saw}");
    assert!(constrained.contains("/replicas was 50, runs with 10"), "{saw}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a_tool_is_tried_with_the_form_of_its_schema() {
    let gateway = fleet();
    let saw = visit(&gateway, "try", json!({}));
    assert!(saw["fault"].as_str().unwrap().contains("at most 100"), "{saw}");
    assert!(saw["ran"].as_str().unwrap().contains("ran web staging 10"), "{saw}");
    assert_eq!(gateway.ran(), ["web staging 10"]);
    assert_eq!(gateway.pending(), saw["hold"].as_str().unwrap());
    let hold = gateway.hold(saw["hold"].as_str().unwrap());
    let asked = json!({
        "service": "web", "environment": "production", "replicas": 3, "drain": false,
        "regions": ["north", "south"], "limits": { "cpu": 0.5 }, "strategy": { "kind": "rolling" },
    });
    assert_eq!(hold["requested_arguments"], asked);
    // The story of the call leads to why.
    assert!(saw["story"].as_str().unwrap().contains("decide the same"), "{saw}");
}

#[test]
fn what_is_left_of_an_agents_limits_stands_with_the_agent() {
    let gateway = fleet();
    let agent = gateway.modern("scaler");
    for replicas in [1, 2] {
        let arguments = json!({ "service": "web", "environment": "staging", "replicas": replicas });
        agent.call("fleet_scale", arguments);
    }
    agent.call("count", json!({ "line": "x" }));
    let saw = visit(&gateway, "usage", json!({ "agent": "scaler" }));
    let text = saw["usage"].as_str().unwrap();
    assert!(text.contains("3 calls, 1 refused, 1 of them denied"), "{saw}");
    assert!(text.contains("writes") && text.contains("2 left"), "{saw}");
}

#[test]
fn axe_finds_nothing_in_policy_and_catalog() {
    let gateway = fleet();
    let scratch = tempfile::tempdir().unwrap();
    let into = pictures().unwrap_or_else(|| scratch.path().to_owned());
    let saw = visit(&gateway, "policies", json!({ "into": into }));
    assert_eq!(saw["found"], json!([]));
    assert_eq!(saw["sideways"], json!([]), "it scrolls sideways");
    for name in saw["names"].as_array().unwrap() {
        let picture = fs::read(Path::new(&into).join(name.as_str().unwrap())).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 4_000, "{name}");
    }
}

#[test]
fn other_rules_are_tried_over_recorded_calls() {
    let rules = "rules:\n  - { name: all, match: {}, decision: ALLOW }\n";
    let policy = |decision: &str| {
        format!(
            "rules:\n  - {{ name: looks, match: {{ tool: look }}, decision: {decision}, reason: \"<b>no</b>\" }}\n"
        )
    };
    let gateway = TestGateway::builder()
        .counting()
        .policy("a.yaml", rules)
        .policy("b.yaml", &policy("ALLOW"))
        .start();
    let agent = gateway.modern("eager");
    for line in ["1", "2", "3"] {
        agent.call("look", json!({ "line": line }));
    }
    agent.call("count", json!({ "line": "x" }));
    let given = json!({ "file": "b.yaml", "text": policy("DENY"), "into": pictures() });
    let saw = visit(&gateway, "simulate", given);
    assert_eq!(saw["before"]["text"], rules);
    assert!(saw["before"]["standing"].to_string().contains("rules in force"), "{saw}");
    assert!(saw["refused"].to_string().contains("b.yaml:1:8"), "{saw}");
    assert_eq!(saw["changed"], "1 file changed");
    let answer = saw["answer"].as_str().unwrap();
    for told in [
        "3 calls of 4 would be decided otherwise",
        "look",
        "eager",
        "It was all, looks; it would be looks",
        "<b>no</b>",
        "Waiting for people: 0 → 0",
    ] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
    assert_eq!((&saw["violations"], &saw["sideways"]), (&json!([]), &json!(0)), "{saw}");
    // Nothing of it is in force.
    assert!(agent.call("look", json!({ "line": "4" }))["isError"] != true);
}
