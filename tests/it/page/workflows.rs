//! Workflows on the page: what happened in one, and rolling it back exactly as it was shown.

use serde_json::{Value, json};

use super::{pictures, visit};
use crate::clients::{Client as _, said};
use crate::harness::TestGateway;

/// A tool that appends a line, which brings something to the agent, and what undoes it.
const PAIR: &str = r#"
backend: { name: pair, command: { program: "@DIR@/bin/count" } }
attributes: { action: count, action_type: write }
tools:
  - name: put
    description: Append a line.
    brings: [private_data]
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["put ${line}"]
    rollback: { tool: take, arguments: { line: "${arguments.line}" } }
  - name: take
    description: Append a line.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["take ${line}"]
"#;
const POLICY: &str = r#"
rules:
  - { name: everything, match: {}, decision: ALLOW }
  - name: first-stays
    match: { client: countersign-rollback }
    when: 'arguments.line == "first"'
    decision: REQUIRE_APPROVAL
"#;
/// What a page must not take for markup.
const NAME: &str = "release <b>1</b>";

fn texts(saw: &Value) -> Vec<&str> {
    saw.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn a_workflow_is_looked_at_and_rolled_back_exactly_as_it_was_shown() {
    let gateway = TestGateway::builder()
        .script("count", "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '@DIR@/ran'\n")
        .manifest("pair.yaml", PAIR)
        .policy("p.yaml", POLICY)
        .start();
    let (client, other) = (gateway.legacy("bot"), gateway.legacy("other"));
    let call = |client: &crate::clients::Legacy, line: &str| {
        let meta = json!({ "countersign/workflow": NAME });
        let params = json!({ "name": "put", "arguments": { "line": line }, "_meta": meta });
        said(&client.result("tools/call", params));
    };
    call(&other, "theirs");
    for line in ["first", "second", "third"] {
        call(&client, line);
    }
    let saw = visit(&gateway, "workflows", json!({ "agent": "bot", "into": pictures() }));
    let rows = texts(&saw["rows"]);
    assert!(rows.len() == 1 && rows[0].contains(NAME) && rows[0].contains("3 succeeded"), "{saw}");
    let calls = texts(&saw["calls"]);
    assert_eq!(calls.len(), 3, "{saw}");
    for told in ["put", "success", "ALLOW by everything", "brought private data"] {
        assert!(calls[0].contains(told), "{told}: {saw}");
    }
    // The newest first, each with the call that undoes it.
    let steps = texts(&saw["shown"]);
    for (step, line) in steps.iter().zip(["third", "second", "first"]) {
        assert!(step.contains("to be undone") && step.contains("take"), "{step}");
        assert!(step.contains(&format!("\"line\": \"{line}\"")), "{step}");
    }
    assert_eq!((&saw["run"], &saw["fewer"]), (&json!("Undo 3 calls"), &json!("Undo 2 calls")));
    // The third is left as it is, the second is undone, and the first waits for a person.
    let after = texts(&saw["after"]);
    for (step, told) in after.iter().zip(["left as it is", "undone", "waits for people"]) {
        assert!(step.contains(told), "{told}: {saw}");
    }
    // The calls beside the dialog tell it too.
    assert!(texts(&saw["story"])[1].contains("undone by"), "{saw}");
    assert!(texts(&saw["story"])[0].contains("stands as held"), "{saw}");
    // Who was shown the plan of before is told so, and sees what is so now; nothing more has run.
    assert!(saw["stale"].as_str().unwrap().contains("look at it again"), "{saw}");
    assert!(texts(&saw["now"])[1].contains("undone"), "{saw}");
    assert_eq!(gateway.ran()[4..], ["take second"]);
    gateway.approve(&gateway.pending());
    gateway.holds_when("finished", 1);
    assert_eq!(gateway.ran()[4..], ["take second", "take first"]);
    assert_eq!((&saw["violations"], &saw["sideways"]), (&json!([]), &json!(0)), "{saw}");
}
