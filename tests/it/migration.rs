//! The database of an earlier release, and starts that end while it is brought to the new form.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{HOLD_ALL, TestGateway, text, until};

const FAIL_AT: &str = "COUNTERSIGN_FAIL_AT";

/// A database as the first form's program left it, dumped: one hold in each of the states that matter.
const FORM_1: &str = include_str!("../fixtures/database-form-1.sql");
/// The same after the second form's program had taken it up.
const FORM_2: &str = include_str!("../fixtures/database-form-2.sql");
/// When that program was last seen. The approval in it is good for a quarter of an hour more.
const LEFT_AT: &str = "2026-11-22T11:59:00Z";

/// The tools as they were then.
const COUNTING: &str = r#"
backend: { name: counting, command: { program: count } }
tools:
  - name: count
    description: Append a line.
    attributes: { action: count, action_type: write }
    input_schema: { type: object, additionalProperties: false, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
"#;

fn prepared() -> TestGateway {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("counting.yaml", COUNTING)
        .policy("held.yaml", HOLD_ALL)
        .manual_clock()
        .prepare();
    let left_at: Timestamp = LEFT_AT.parse().unwrap();
    let off = left_at.duration_since(Timestamp::now());
    gateway.jump(i64::try_from(off.as_millis()).unwrap());
    gateway
}

fn put(data: &Path, dump: &str) {
    fs::create_dir(data).unwrap();
    let connection = Connection::open(data.join("countersign.db")).unwrap();
    connection.execute_batch(dump).unwrap();
    connection.close().unwrap();
}

fn put_form_1(data: &Path) {
    put(data, FORM_1);
}

fn form(data: &Path) -> i64 {
    let connection = Connection::open(data.join("countersign.db")).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// The states of all holds, by what each asked for.
fn states(list: &Value) -> Vec<(String, String)> {
    let state = |hold: &Value| (text(&hold["arguments"]["line"]), text(&hold["state"]));
    let mut states: Vec<_> = list.as_array().unwrap().iter().map(state).collect();
    states.sort();
    states
}

#[test]
fn a20_a_database_of_the_first_form_keeps_its_holds() {
    keeps_its_holds(FORM_1, 1);
}

#[test]
fn a20_a_database_of_the_second_form_keeps_its_holds() {
    keeps_its_holds(FORM_2, 2);
}

fn keeps_its_holds(dump: &str, number: i64) {
    let mut gateway = prepared();
    put(&gateway.data(), dump);
    assert_eq!(form(&gateway.data()), number);
    gateway.launch();
    let holds = |state: &str| gateway.holds_when(state, 1).remove(0);
    let ask = |line: &str| {
        let arguments = json!({ "line": line }).to_string();
        let call = ["call", "count", &arguments, "--agent", "nightly", "--no-wait"];
        gateway.cli(&call)
    };
    // What was approved runs, what was pending can be decided.
    until("the approved call to run", || (gateway.ran() == ["approved"]).then_some(()));
    let waiting = holds("pending");
    assert_eq!(waiting["arguments"]["line"], "waiting");
    gateway.approve(&text(&waiting["id"]));
    assert_eq!(gateway.ran(), ["approved", "waiting"]);
    // Of what nobody can know nobody is told more.
    assert_eq!(holds("unknown")["arguments"]["line"], "unknown");
    assert!(ask("unknown").stdout.contains("UNKNOWN"));
    // A rejection is remembered, and a result is collected once.
    assert!(ask("rejected").stdout.contains("not today"));
    assert!(ask("finished").done().contains("ran finished"));
    assert_eq!(gateway.ran(), ["approved", "waiting"]);
    // Calls of then are listed as those of now: each hold was opened by one.
    let calls = gateway.api_get("/api/v1/calls?limit=200&status=held").json();
    let held: Vec<String> =
        calls["calls"].as_array().unwrap().iter().map(|call| text(&call["hold"])).collect();
    let all = gateway.cli(&["approvals", "list", "--each", "--output", "json"]).json();
    for hold in all.as_array().unwrap() {
        assert!(held.contains(&text(&hold["id"])), "{hold} is of no call in {calls}");
    }
    let verified = gateway.cli(&["audit", "verify", "--output", "json"]).json();
    assert_eq!(verified["open"], 0, "{verified}");
    assert_eq!(gateway.stop(), 0);
    assert!(form(&gateway.data()) > number);
}

#[test]
fn a20_a_database_of_a_newer_form_is_left_alone() {
    let mut gateway = prepared();
    put_form_1(&gateway.data());
    gateway.launch();
    gateway.stop();
    let file = gateway.data().join("countersign.db");
    let known = form(&gateway.data());
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", known + 1).unwrap();
    connection.close().unwrap();
    let before = fs::read(&file).unwrap();
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["approvals", "list"]] {
        let refused = gateway.cli(command);
        assert_eq!(refused.code, 1, "{refused:?}");
        let said = format!("form {}, this program knows form {known}: use the newer", known + 1);
        assert!(refused.stderr.contains(&said), "{refused:?}");
    }
    assert!(fs::read(&file).unwrap() == before, "the database was changed");
    assert!(!gateway.data().join("countersign.db-wal").exists());
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", known).unwrap();
}

/// Starts on what `put` leaves in a directory, killed at each point of the migration in turn; after each
/// the next start finds everything. Gives how many points there were.
fn killed_at_each_point(
    gateway: &mut TestGateway,
    put: impl Fn(&Path),
    expected: &[(&str, &str)],
) -> u32 {
    for point in 1..200 {
        let data = gateway.dir().join(format!("data-{point}"));
        put(&data);
        let path = data.to_str().unwrap();
        let list = ["approvals", "list", "--state", "all", "--output", "json", "--data", path];
        gateway.set_env(FAIL_AT, Some(&format!("migrate:{point}")));
        let killed = gateway.cli(&list);
        gateway.set_env(FAIL_AT, None);
        let found = states(&gateway.cli(&list).json());
        let found: Vec<_> =
            found.iter().map(|(line, state)| (line.as_str(), state.as_str())).collect();
        assert_eq!(found, expected, "after a kill at point {point}");
        let verified = gateway.cli(&["audit", "verify", "--data", path]);
        assert_eq!(verified.code, 0, "after a kill at point {point}: {verified:?}");
        fs::remove_dir_all(&data).unwrap();
        if killed.code == 0 {
            return point - 1;
        }
        assert_eq!(killed.code, -1, "{killed:?}");
    }
    panic!("the migration has no end");
}

#[test]
fn b13_a_migration_that_is_interrupted_is_resumed_or_undone() {
    let mut gateway = prepared();
    // Without its program the approved call stays what it is.
    fs::remove_file(gateway.dir().join("bin/count")).unwrap();
    let expected = [
        ("approved", "approved"),
        ("finished", "finished"),
        ("rejected", "rejected"),
        ("unknown", "unknown"),
        ("waiting", "pending"),
    ];
    let points = killed_at_each_point(&mut gateway, put_form_1, &expected);
    assert!(points > 10, "only {points} points");
    let fewer = killed_at_each_point(&mut gateway, |data| put(data, FORM_2), &expected);
    assert!(fewer < points, "{fewer} points");
    let nothing = |_: &Path| {};
    let more = killed_at_each_point(&mut gateway, nothing, &[]);
    assert!(more > points, "only {more} points from nothing");
}
