//! Many holds of the very same call: one row, and one verdict after the number was said.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::clients::{Client, refused};
use crate::harness::{HOLD_ALL, TestGateway, text};
use crate::terminal::Terminal;
use crate::verdicts::{entries, held};

const MANY: usize = 30;

/// One call waits `MANY` times, and another call once; then `then` looks at them and decides.
fn flooded(then: impl FnOnce(&TestGateway, &str)) {
    let gateway = TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config("holds: { poll_interval: 60s }\n")
        .start();
    let client = gateway.modern_with_tasks("a");
    let ids: BTreeSet<String> = (0..MANY).map(|_| held(&client, "same")).collect();
    assert_eq!(ids.len(), MANY, "an agent that asks for its tasks asked for as many calls");
    let other = held(&client, "other");
    let rows = gateway.cli(&["approvals", "list", "--output", "json"]).json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let row = rows.iter().find(|row| row["identical"] == MANY).unwrap();
    let listed = gateway.cli(&["approvals", "list"]).done();
    assert!(listed.contains("×30") && listed.lines().count() == 3, "{listed}");
    let each = gateway.cli(&["approvals", "list", "--each"]).done();
    assert_eq!(each.lines().count(), MANY + 2, "{each}");
    then(&gateway, &text(&row["id"]));
    assert_eq!(gateway.pending(), other);
}

#[test]
fn a15_thirty_identical_holds_are_one_row_and_decided_after_their_number_was_typed() {
    flooded(|gateway, id| {
        let show = gateway.cli(&["approvals", "show", id]).done();
        assert!(show.contains("identical   30 pending holds"), "{show}");
        let unasked = gateway.cli(&["approvals", "reject", id, "--identical"]);
        assert!(unasked.code == 2 && unasked.stderr.contains("--yes"), "{unasked:?}");
        let typed = |answer: &str| {
            let command =
                gateway.command(&["approvals", "reject", id, "--identical", "--reason", "enough"]);
            let terminal = Terminal::run(&command, 100, 50);
            let shown = terminal.sees("type 30 to reject all of them:");
            assert!(shown.contains("\"line\": \"same\""), "{shown}");
            terminal.keys(answer);
            let shown =
                terminal.when("an end", |it| it.contains("counted") || it.contains("nothing was"));
            (terminal.ends(), shown)
        };
        assert_eq!(typed("29\r").0, 1);
        gateway.holds_when("pending", MANY + 1);
        let (code, shown) = typed("30\r");
        assert!(code == 0 && shown.contains("30 of 30 held calls"), "{shown}");
        gateway.holds_when("rejected", MANY);
        assert_eq!(entries(gateway, "verdict").len(), MANY);
        assert!(gateway.ran().is_empty());
    });
}

#[test]
fn identical_holds_are_approved_with_yes_where_nobody_is_asked() {
    flooded(|gateway, id| {
        // Another number than there are decides nothing.
        let hold = gateway.hold(id);
        let wrong = json!({ "count": MANY - 1, "decision": "approve", "digest": hold["digest"] });
        let refused = gateway.api_post(&format!("/api/v1/approvals/{id}/identical"), &wrong);
        assert_eq!(refused.status, 409, "{refused:?}");
        let done = gateway.cli(&["approvals", "approve", id, "--identical", "--yes"]).done();
        assert!(done.contains("30 of 30 held calls"), "{done}");
        gateway.holds_when("finished", MANY);
        assert_eq!(gateway.ran(), vec!["same"; MANY]);
    });
}

#[test]
fn what_was_not_decided_is_told_and_why() {
    let rule = "rules:\n  - name: held\n    match: {}\n    decision: REQUIRE_APPROVAL\n    approval: { quorum: 2 }\n";
    let gateway = TestGateway::builder().counting().policy("held.yaml", rule).start();
    let client = gateway.legacy("a");
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.call("count", json!({ "line": "same" })))
        })
        .collect();
    let holds = gateway.holds_when("pending", 2);
    let id = text(&holds[0]["id"]);
    gateway.cli(&["approvals", "approve", &id]).done();
    let some = gateway.cli(&["approvals", "approve", &id, "--identical", "--yes"]);
    assert_eq!(some.code, 1, "{some:?}");
    assert!(some.stdout.contains("1 of 2 held calls"), "{some:?}");
    assert!(some.stderr.contains(&format!("{id} not decided: ")), "{some:?}");
    assert!(some.stderr.contains("has approved already"), "{some:?}");
    gateway.cli(&["approvals", "reject", &id, "--identical", "--yes"]).done();
    for call in calls {
        refused(&call.join().unwrap());
    }
}
