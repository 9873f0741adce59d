//! What clients are shown of tools: as narrow as the rules make it for their agent, and no other's.

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, VERSIONS, refused, said};
use crate::harness::{Builder, RUNTIME, TestGateway};
use crate::resources::{streams, until_said};

const RULES: &str = r#"
rules:
  - name: all
    match: { tool: count_slowly }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_seconds: 1, denied_line: [secret] }
  - name: ann
    match: { tool: count_slowly, agent: "ann*" }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_seconds: 0, allowed_lines: [one, two] }
  - { name: looks, match: { tool: look }, decision: ALLOW }
  - name: held
    match: { tool: look, agent: "ann*" }
    decision: REQUIRE_APPROVAL
    approval: { reviewers: ["group:sre"] }
"#;

fn gateway() -> Builder {
    TestGateway::builder()
        .counting()
        .policy("rules.yaml", RULES)
        .config("holds: { window: 50ms }\nwatch: false\n")
}

fn listed(client: &dyn Client, tool: &str) -> Value {
    let list = client.result("tools/list", json!({}));
    let mut tools = list["tools"].as_array().unwrap().iter();
    tools.find(|it| it["name"] == tool).unwrap_or_else(|| panic!("no `{tool}` in {list}")).clone()
}

/// Each agent looks before and after the other, so that what one is shown could be left over for the other.
fn shown(ann: &dyn Client, bob: &dyn Client) {
    const HELD: &str = "A person must approve each call (reviewers: sre).";
    for _ in 0..2 {
        let properties = listed(ann, "count_slowly")["inputSchema"]["properties"].clone();
        assert_eq!(properties["seconds"], json!({ "type": "number", "maximum": 0 }));
        let line = json!({
            "type": "string", "not": { "enum": ["secret"] }, "enum": ["one", "two"],
        });
        assert_eq!(properties["line"], line);
        let description = listed(ann, "look")["description"].clone();
        assert_eq!(description, format!("Append a line, but say that it only looks.\n\n{HELD}"));

        let properties = listed(bob, "count_slowly")["inputSchema"]["properties"].clone();
        assert_eq!(properties["seconds"], json!({ "type": "number", "maximum": 1 }));
        assert_eq!(properties["line"], json!({ "type": "string", "not": { "enum": ["secret"] } }));
        assert_eq!(
            listed(bob, "look")["description"],
            "Append a line, but say that it only looks."
        );
    }
}

#[test]
fn c16_every_agent_is_shown_what_it_can_get_and_no_other_agents_lists() {
    let gateway = gateway().start();
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let tokens = ["ann", "bob"].map(|name| gateway.agent(&format!("{name}{number}")));
        let [ann, bob] = &tokens;
        if version == MODERN {
            shown(&Modern::new(gateway.url(), ann), &Modern::new(gateway.url(), bob));
        } else {
            let open = |token: &String| Legacy::open(gateway.url(), token, version);
            shown(&open(ann), &open(bob));
        }
    }
    let [ann, bob] = ["ann-here", "bob-here"].map(|name| gateway.stdio(name).begin(VERSIONS[3]));
    shown(&ann, &bob);
}

/// The narrowed schema is advice: what goes beyond it is clamped, held or refused by the rules as ever, with their
/// reason, and not taken for arguments that do not fit.
#[test]
fn calls_are_checked_against_the_tools_own_schema() {
    let gateway = gateway().start();
    let ann = gateway.modern("ann");
    let result = ann.call("count_slowly", json!({ "line": "one", "seconds": 50 }));
    assert!(said(&result).contains("ran one"), "{result}");
    let decision = &result["_meta"]["countersign/decision"];
    assert_eq!(decision["edits"][0]["from"], 50, "{result}");
    assert_eq!(decision["edits"][0]["to"], 0, "{result}");
    let result = ann.call("count_slowly", json!({ "line": "three", "seconds": 0 }));
    assert!(refused(&result).contains("one of"), "{result}");
    assert_eq!(result["_meta"]["countersign/decision"]["refusal"], "denied", "{result}");
}

#[test]
fn another_revision_is_announced_and_shown() {
    let gateway = gateway().start();
    let modern = gateway.modern("bob-modern");
    let legacy = gateway.legacy("bob-legacy");
    let wanted = json!({ "toolsListChanged": true });
    let (mut listening, mut stream) = streams(&modern, &legacy, &wanted);
    RUNTIME.block_on(until_said(&mut listening, "subscriptions/acknowledged"));
    let maximum = |client: &dyn Client| {
        listed(client, "count_slowly")["inputSchema"]["properties"]["seconds"]["maximum"].clone()
    };
    assert_eq!((maximum(&modern), maximum(&legacy)), (json!(1), json!(1)));

    gateway.put_policy("rules.yaml", &RULES.replace("max_seconds: 1,", "max_seconds: 3,"));
    gateway.cli(&["policy", "reload"]).done();
    RUNTIME.block_on(until_said(&mut listening, "notifications/tools/list_changed"));
    RUNTIME.block_on(until_said(&mut stream, "notifications/tools/list_changed"));
    assert_eq!((maximum(&modern), maximum(&legacy)), (json!(3), json!(3)));
    // Nobody may keep for others, or for longer, what is shown to one.
    let list = modern.result("tools/list", json!({}));
    assert_eq!((&list["cacheScope"], &list["ttlMs"]), (&json!("private"), &json!(0)), "{list}");
}
