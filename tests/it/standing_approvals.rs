//! Standing approvals: shown as a rule before they are granted, and good for nothing beyond it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::after_approval::manifest;
use crate::clients::{Client, Modern, said};
use crate::harness::{TestGateway, text};
use crate::people::{by, reviewer};
use crate::terminal::Terminal;
use crate::verdicts::entries;

const RULE: &str = r#"
rules:
  - name: numbers
    match: { tool: number }
    decision: REQUIRE_APPROVAL
    approval: { reviewers: ["group:sre"] }
"#;

/// A gateway on which calls of `number` are held for the group `sre`, and an agent whose first one is.
fn gateway() -> (TestGateway, Modern, String) {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("numbers.yaml", &manifest("Append a number."))
        .policy("numbers.yaml", RULE)
        .manual_clock()
        .start();
    reviewer(&gateway, "ada", &["--group", "sre"]);
    reviewer(&gateway, "dan", &["--group", "dba"]);
    reviewer(&gateway, "eve", &["--role", "viewer", "--group", "sre"]);
    let agent = gateway.modern_with_tasks("a");
    let id = asks(&agent, 3).expect("the first call is held");
    (gateway, agent, id)
}

/// Calls `number`: the hold's id if it is held; none if it ran at once.
fn asks(agent: &Modern, n: u32) -> Option<String> {
    let answer = agent.call("number", json!({ "n": n }));
    if answer["resultType"] == "task" {
        return Some(text(&answer["taskId"]));
    }
    assert!(said(&answer).contains(&format!("ran {n}")), "{answer}");
    None
}

const GRANT: [&str; 7] =
    ["--until", "8h", "--bound", "max_n=5", "--reason", "small numbers", "--yes"];

fn grant(gateway: &TestGateway, id: &str) -> String {
    let granted =
        by(gateway, "ada", &[&["approvals", "standing", "grant", id], &GRANT[..]].concat());
    for part in
        ["decision: ALLOW", "waives: [\"numbers\"]", "bounds: {\"max_n\":5}", "agent: \"a\""]
    {
        assert!(granted.stderr.contains(part), "no `{part}`: {granted:?}");
    }
    granted.done().trim().to_owned()
}

fn listed(gateway: &TestGateway) -> Vec<Value> {
    let list = by(gateway, "eve", &["approvals", "standing", "list", "--output", "json"]).json();
    list.as_array().unwrap().clone()
}

#[test]
fn calls_within_its_bounds_run_without_a_person_and_are_recorded_under_it() {
    let (gateway, agent, id) = gateway();
    let standing = grant(&gateway, &id);
    assert_eq!((asks(&agent, 1), asks(&agent, 5)), (None, None));
    let under: Vec<_> =
        entries(&gateway, "intent").iter().map(|it| it["standing"].clone()).collect();
    assert_eq!(under, [json!(standing), json!(standing)]);
    // The call that was held before waits on; what is beyond the bounds is held, not cut down to them.
    let beyond = asks(&agent, 6).expect("held");
    assert_eq!(gateway.hold(&beyond)["arguments"], json!({ "n": 6 }));
    let shown = gateway.cli(&["approvals", "show", &beyond]).done();
    assert!(shown.contains(&format!("standing    {standing}")), "{shown}");
    gateway.holds_when("pending", 2);
    // Another agent's calls are not covered.
    assert!(asks(&gateway.modern_with_tasks("b"), 1).is_some());
    assert_eq!(gateway.ran(), ["1", "5"]);
    let all = listed(&gateway);
    assert_eq!((all.len(), &all[0]["id"]), (1, &json!(standing)));
    assert_eq!(
        (&all[0]["granted_by"]["name"], &all[0]["bounds"]),
        (&json!("ada"), &json!({ "max_n": 5 }))
    );
    let granted = entries(&gateway, "standing_granted").remove(0);
    assert!(text(&granted["rule"]).contains("max_n"), "{granted}");
}

#[test]
fn revoked_or_over_calls_are_held_again() {
    let (gateway, agent, id) = gateway();
    let standing = grant(&gateway, &id);
    assert!(asks(&agent, 1).is_none());
    by(&gateway, "ada", &["approvals", "standing", "revoke", &standing]).done();
    assert!(asks(&agent, 2).is_some());
    assert_eq!(by(&gateway, "ada", &["approvals", "standing", "revoke", &standing]).code, 3);
    assert!(listed(&gateway).is_empty());
    assert_eq!(entries(&gateway, "standing_revoked").len(), 1);
    grant(&gateway, &id);
    assert!(asks(&agent, 4).is_none());
    gateway.advance(Duration::from_secs(8 * 3600 + 2));
    assert!(asks(&agent, 5).is_some());
    assert!(listed(&gateway).is_empty());
    assert_eq!(gateway.ran(), ["1", "4"]);
}

#[test]
fn another_rules_hold_is_not_waived_and_a_denial_wins() {
    let (mut gateway, agent, id) = gateway();
    grant(&gateway, &id);
    assert!(asks(&agent, 1).is_none());
    // It stays in force over a restart.
    gateway.restart();
    let agent = agent.again(gateway.url());
    assert!(asks(&agent, 2).is_none());
    let rule = |decision: &str| {
        format!("rules:\n  - {{ name: more, match: {{ action: count }}, decision: {decision} }}\n")
    };
    gateway.put_policy("more.yaml", &rule("REQUIRE_APPROVAL"));
    gateway.restart();
    let agent = agent.again(gateway.url());
    assert!(asks(&agent, 3 + 1).is_some());
    gateway.put_policy("more.yaml", &rule("DENY"));
    gateway.restart();
    let denied = agent.again(gateway.url()).call("number", json!({ "n": 5 }));
    assert!(crate::clients::refused(&denied).contains("more"), "{denied}");
    assert_eq!(gateway.ran(), ["1", "2"]);
}

#[test]
fn a_changed_definition_is_not_covered() {
    let (mut gateway, agent, id) = gateway();
    grant(&gateway, &id);
    gateway.put_manifest("numbers.yaml", &manifest("Append a number, and more."));
    gateway.restart();
    assert!(asks(&agent.again(gateway.url()), 1).is_some());
    assert!(gateway.ran().is_empty());
}

#[test]
fn who_may_not_approve_may_not_grant() {
    let (gateway, agent, id) = gateway();
    let command = [&["approvals", "standing", "grant", &id], &GRANT[..]].concat();
    for refused in
        [by(&gateway, "dan", &command), by(&gateway, "eve", &command), gateway.cli(&command)]
    {
        assert_eq!(refused.code, 4, "{refused:?}");
    }
    assert!(listed(&gateway).is_empty());
    assert!(asks(&agent, 1).is_some());
}

#[test]
fn nothing_is_granted_that_was_not_shown_and_confirmed() {
    let (gateway, _, id) = gateway();
    let wrong = |arguments: &[&str]| {
        by(&gateway, "ada", &[&["approvals", "standing", "grant", &id], arguments].concat())
    };
    let unasked = wrong(&["--until", "8h"]);
    assert!(unasked.code == 2 && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert!(unasked.stderr.contains("with any arguments"), "{unasked:?}");
    for (arguments, told) in [
        (&["--until", "31d", "--yes"][..], "within 30 days"),
        (&["--until", "soon", "--yes"], "90d"),
        (&["--until", "1h", "--bound", "max_n", "--yes"], "max_replicas=5"),
        (&["--until", "1h", "--bound", "max_n=five", "--yes"], "not JSON"),
        (&["--until", "1h", "--bound", "max_n=5", "--bound", "max_n=6", "--yes"], "twice"),
        (&["--until", "1h", "--bound", "max_other=5", "--yes"], "max_other"),
        (&["--until", "1h", "--bound", "set_n=5", "--yes"], "bounds no parameter"),
        (&["--until", "1h", "--bound", "max_n=2", "--yes"], "beyond these bounds"),
    ] {
        let refused = wrong(arguments);
        assert!(refused.code == 2 && refused.stderr.contains(told), "{arguments:?}: {refused:?}");
    }
    assert!(listed(&gateway).is_empty());
    let on_terminal = |answer: &str| {
        let url = gateway.url();
        let command = gateway.command(&[
            "approvals",
            "standing",
            "grant",
            &id,
            "--until",
            "8h",
            "--url",
            url,
            "--token-file",
            "ada.token",
        ]);
        let terminal = Terminal::run(&command, 100, 30);
        let shown = terminal.sees("type yes:");
        assert!(shown.contains("decision: ALLOW"), "{shown}");
        terminal.keys(answer);
        terminal.ends()
    };
    assert_eq!(on_terminal("y\r"), 1);
    assert!(listed(&gateway).is_empty());
    assert_eq!(on_terminal("yes\r"), 0);
    assert_eq!(listed(&gateway).len(), 1);
}
