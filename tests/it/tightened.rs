//! The gateway's own constraints: calls that are only tried, and what is taken out of results.

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, refused, said};
use crate::harness::TestGateway;

const TRIED: &str = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - { name: people, match: { tool: count }, decision: REQUIRE_APPROVAL }
  - { name: tries, match: { tool: count }, decision: ALLOW_WITH_CONSTRAINTS, reason: this month we look only, constraints: { dry_run: true } }
  - { name: short, match: { tool: count }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { allowed_lines: [x, y] } }
";

#[test]
fn a_call_that_is_only_tried_says_what_would_run_and_asks_nobody() {
    let gateway = TestGateway::builder().counting().policy("p.yaml", TRIED).start();
    let client = gateway.legacy("bot");
    let told = refused(&client.call("count", json!({ "line": "x" })));
    assert!(told.starts_with("DRY RUN, not a failure; nothing ran: by rule `tries`"), "{told}");
    assert!(told.ends_with(r#"this month we look only; it would run with {"line":"x"}"#), "{told}");
    // What is refused anyway is refused for that.
    let other = refused(&client.call("count", json!({ "line": "z" })));
    assert!(!other.contains("DRY RUN") && other.contains("x"), "{other}");
    assert!(gateway.ran().is_empty() && gateway.holds("all").is_empty());
    let entries = gateway.entries();
    let refusal = entries.iter().map(|it| &it["entry"]).find(|it| it["refusal"] == "dry_run");
    assert_eq!(refusal.unwrap()["rules"], json!(["tries"]));
    let listed = client.result("tools/list", json!({}))["tools"].clone();
    let of = |name: &str| {
        let tools: &Vec<Value> = listed.as_array().unwrap();
        tools.iter().find(|it| it["name"] == name).unwrap()["description"].to_string()
    };
    assert!(of("count").contains("Calls are only tried: nothing runs."), "{listed}");
    assert!(!of("look").contains("tried"), "{listed}");
    let explained = gateway.cli(&["policy", "explain", "count", r#"{"line":"x"}"#]).done();
    assert!(explained.contains("only tried"), "{explained}");
    let simulated = json!({ "policies": [{ "name": "new.yaml", "text": "rules: [{ name: all, match: {}, decision: ALLOW }]" }] });
    let simulated = gateway.api_post("/api/v1/policy/simulate", &simulated).json();
    assert_eq!((&simulated["judged"], &simulated["flips"]), (&json!(2), &json!(2)), "{simulated}");
}

const PEOPLE: &str = r#"
backend: { name: people, command: { program: "@DIR@/bin/people" } }
attributes: { action_type: read }
tools:
  - name: person
    description: Says whom to call.
    input_schema: { type: object, required: [of], properties: { of: { type: string } } }
    run: ["${of}"]
    cache: { ttl: 10m, scope: shared }
  - name: person_data
    description: Says whom to call, as data.
    input_schema: { type: object, required: [of], properties: { of: { type: string } } }
    output_schema: { type: object, properties: { phones: { type: object }, mail: { type: string } } }
    output: json
    run: ["data"]
"#;
const SCRIPT: &str = r#"#!/bin/sh
printf '%s\n' "$1" >> '@DIR@/ran'
if [ "$1" = data ]; then printf '{"phones":{"555-1234":1,"555-9999":2},"mail":"ada@example.com"}'; exit; fi
if [ "$1" = fail ]; then printf 'no phone 555-1234' >&2; exit 1; fi
printf 'ada: 555-1234, ada@example.com'
"#;
const TAKEN_OUT: &str = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - name: no-phones
    match: { backend: people, group: guests }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { redact: ['[0-9]{3}-[0-9]{4}'] }
  - name: no-mail
    match: { backend: people, agent: 'g*' }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { redact: '[a-z]+@[a-z.]+' }
";

#[test]
fn what_rules_take_out_of_results_no_way_of_asking_brings_back() {
    let gateway = TestGateway::builder()
        .script("people", SCRIPT)
        .manifest("people.yaml", PEOPLE)
        .policy("p.yaml", TAKEN_OUT)
        .start();
    let whole = gateway.legacy("ann");
    assert_eq!(
        said(&whole.call("person", json!({ "of": "ada" }))),
        "ada: 555-1234, ada@example.com"
    );
    let token = gateway.cli(&["agents", "add", "guest", "--group", "guests"]).done();
    let guest = Legacy::open(gateway.url(), token.trim(), "2025-11-25");
    let call = |tool: &str, of: &str| {
        let told = guest.call(tool, json!({ "of": of }));
        let text = told.to_string();
        assert!(!text.contains("555-") && !text.contains("ada@"), "{text}");
        text
    };
    // The result that is kept for others is not this agent's.
    let told = call("person", "ada");
    assert!(told.contains("ada: [redacted:no-phones], [redacted:no-mail]"), "{told}");
    assert_eq!(gateway.ran(), ["ada", "ada"]);
    assert!(call("person", "fail").contains("[redacted:no-phones]"));
    let data = call("person_data", "x");
    assert!(data.contains("[redacted:no-phones] (2)"), "two that look the same are two: {data}");
    // And what was taken out for one is whole for others.
    assert!(said(&whole.call("person", json!({ "of": "ada" }))).contains("555-1234"));
    assert_eq!(gateway.ran().len(), 4, "{:?}", gateway.ran());
    let shown = gateway.api_get("/api/v1/policy").json();
    let rule = shown["rules"].as_array().unwrap().iter().find(|it| it["name"] == "no-phones");
    assert_eq!(rule.unwrap()["constraints"]["redact"], json!(["[0-9]{3}-[0-9]{4}"]));
}
