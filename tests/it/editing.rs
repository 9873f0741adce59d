//! Reviewers change the arguments of a held call: another call with another digest, which is approved anew.

use std::fs;

use serde_json::json;

use crate::after_approval::manifest;
use crate::clients::{Client, said};
use crate::harness::{Output, TestGateway, text};
use crate::people::{by, reviewer};
use crate::verdicts::entries;

/// A call of `number` with 50 waits under a rule that asks `approval` and lets nothing above 100 through.
fn held(approval: &str) -> (TestGateway, String) {
    let rule = format!(
        "rules:\n  - name: bounded\n    match: {{}}\n    decision: REQUIRE_APPROVAL\n    \
         constraints: {{ max_n: 100 }}\n    approval: {{ {approval} }}\n"
    );
    let gateway = TestGateway::builder()
        .counting()
        .manifest("numbers.yaml", &manifest("Append a number."))
        .policy("rules.yaml", &rule.replace("match: {}", "match: { tool: number }"))
        .start();
    for name in ["ada", "bob", "carl"] {
        reviewer(&gateway, name, &[]);
    }
    gateway.modern_with_tasks("a").call("number", json!({ "n": 50 }));
    let id = gateway.pending();
    (gateway, id)
}

fn edit(gateway: &TestGateway, name: &str, id: &str, arguments: &str) -> Output {
    by(gateway, name, &["approvals", "approve", id, "--edit", arguments])
}

#[test]
fn an_edited_call_has_another_digest_and_runs_as_edited() {
    let (gateway, id) = held("allow_edit: true");
    let before = gateway.hold(&id);
    let approved = edit(&gateway, "ada", &id, r#"{"n":7}"#);
    assert!(approved.stderr.contains("your edit   /n from 50 to 7"), "{approved:?}");
    approved.done();
    let hold = gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["7"]);
    assert_ne!(hold["digest"], before["digest"]);
    assert_eq!(
        (&hold["arguments"], &hold["requested_arguments"]),
        (&json!({ "n": 7 }), &json!({ "n": 50 }))
    );
    let amended = &hold["amendments"][0];
    assert_eq!((&amended["from"], &amended["to"]), (&before["digest"], &hold["digest"]));
    assert_eq!(amended["person"]["name"], "ada");
    assert_eq!(hold["verdicts"][0]["digest"], hold["digest"]);
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(
        shown.contains("changed     by ada at") && shown.contains("/n from 50 to 7"),
        "{shown}"
    );
    let recorded = entries(&gateway, "hold_amended").remove(0);
    assert_eq!(recorded["amendment"], *amended);
}

#[test]
fn the_agent_is_told_what_reviewers_changed() {
    let (gateway, _) = held("allow_edit: true");
    let client = gateway.modern_with_tasks("b");
    let task = text(&client.call("number", json!({ "n": 60 }))["taskId"]);
    edit(&gateway, "bob", &task, r#"{"n":8}"#).done();
    let told = said(&client.task_when_done(&task)["result"]);
    assert!(told.contains("bob changed `/n` from 60 to 8"), "{told}");
}

#[test]
fn what_would_not_run_exactly_so_is_refused() {
    let (gateway, id) = held("allow_edit: true");
    let clamped = edit(&gateway, "ada", &id, r#"{"n":500}"#);
    assert!(
        clamped.code == 2 && clamped.stderr.contains("`/n` would be changed to 100"),
        "{clamped:?}"
    );
    assert!(clamped.stderr.contains("bounded"), "{clamped:?}");
    for wrong in
        [r#"{"n":"many"}"#, r#"{"n":1,"other":2}"#, "{}", "{", "[]", "@absent", r#"{"n":1,"n":2}"#]
    {
        let refused = edit(&gateway, "ada", &id, wrong);
        assert_eq!(refused.code, 2, "{wrong}: {refused:?}");
    }
    let hold = gateway.hold(&id);
    assert_eq!(
        (&hold["state"], hold["amendments"].as_array().unwrap().len()),
        (&json!("pending"), 0)
    );
    // From a file it is the same as on the command line.
    fs::write(gateway.dir().join("edit.json"), r#"{ "n": 100 }"#).unwrap();
    edit(&gateway, "ada", &id, "@edit.json").done();
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["100"]);
}

#[test]
fn without_allow_edit_nothing_is_changed() {
    let (gateway, id) = held("quorum: 1");
    let refused = edit(&gateway, "ada", &id, r#"{"n":7}"#);
    assert!(
        refused.code == 4 && refused.stderr.contains("do not let its arguments be changed"),
        "{refused:?}"
    );
    let tried = entries(&gateway, "verdict_refused").remove(0);
    assert_eq!(tried["person"]["name"], "ada");
    assert_eq!(gateway.hold(&id)["arguments"], json!({ "n": 50 }));
}

#[test]
fn approvals_before_an_edit_are_void() {
    let (gateway, id) = held("allow_edit: true, quorum: 2");
    let old = text(&gateway.hold(&id)["digest"]);
    by(&gateway, "ada", &["approvals", "approve", &id]).done();
    edit(&gateway, "bob", &id, r#"{"n":7}"#).done();
    let hold = gateway.hold(&id);
    assert_eq!(hold["state"], "pending");
    let names: Vec<_> =
        hold["verdicts"].as_array().unwrap().iter().map(|it| text(&it["person"]["name"])).collect();
    assert_eq!(names, ["bob"]);
    // Who looked before the edit looks again.
    assert_eq!(by(&gateway, "carl", &["approvals", "approve", &id, "--digest", &old]).code, 5);
    by(&gateway, "ada", &["approvals", "approve", &id]).done();
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["7"]);
}
