//! Time: windows that close, clocks that are set, machines that sleep.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused, said};
use crate::harness::{Builder, HOLD_ALL, TestGateway, text, until};

const FAIL_AT: &str = "COUNTERSIGN_FAIL_AT";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

fn held() -> Builder {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).manual_clock()
}

/// Holds `count` calls and gives their ids.
fn hold_calls(client: &Modern, count: usize) -> Vec<String> {
    let task = |n| text(&client.call("count", json!({ "line": format!("call {n}") }))["taskId"]);
    (0..count).map(task).collect()
}

/// All entries of one kind.
fn entries(gateway: &TestGateway, kind: &str) -> Vec<Value> {
    let mut entries = gateway.entries();
    entries.retain(|stored| stored["entry"]["kind"] == kind);
    entries
}

fn time(value: &Value) -> jiff::Timestamp {
    text(value).parse().unwrap()
}

/// Asserts that the entries' times never go back.
#[track_caller]
fn times_go_on(gateway: &TestGateway) {
    let times: Vec<_> = gateway.entries().iter().map(|it| time(&it["entry"]["time"])).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn time_passes_when_a_test_says_so() {
    let gateway = held().config("holds: { window: 40m }\n").start();
    let client = gateway.legacy("a");
    let begun = Instant::now();
    // The call waits for forty minutes of the gateway's time, its hold for an hour.
    let answer = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.call("count", json!({ "line": "one" })));
        gateway.pending();
        gateway.advance(HOUR * 41 / 60);
        waiting.join().unwrap()
    });
    assert!(refused(&answer).contains("PENDING"), "{answer}");
    let id = gateway.pending();
    gateway.advance(HOUR * 20 / 60);
    gateway.hold_when(&id, "expired");
    assert!(begun.elapsed() < Duration::from_secs(30), "that took {:?}", begun.elapsed());
    assert!(gateway.ran().is_empty());
}

/// A hold that is approved and cannot begin yet, because its tool's only worker is taken.
fn approved_and_waiting(gateway: &TestGateway, client: &Modern) -> String {
    let id = text(&client.call("count", json!({ "line": "late" }))["taskId"]);
    let digest = gateway.hold(&id)["digest"].clone();
    let verdict = json!({ "decision": "approve", "digest": digest });
    let decided = gateway.api_post(&format!("/api/v1/approvals/{id}/verdict"), &verdict);
    assert_eq!(decided.json()["state"], "approved", "{decided:?}");
    id
}

const ONE_WORKER: &str = r#"
backend: { name: counting, command: { program: "@DIR@/bin/count" }, concurrency: 1, queue: 8, timeout: 20s }
tools:
  - name: count
    description: Append a line.
    attributes: { action: count, action_type: write }
    input_schema: { type: object, additionalProperties: false, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
  - name: count_slowly
    description: Append a line and take as many seconds as asked.
    attributes: { action: slow, action_type: write }
    input_schema: { type: object, additionalProperties: false, required: [line, seconds], properties: { line: { type: string }, seconds: { type: number } } }
    run: ["${line}", "${seconds}"]
"#;

const COUNT_IS_HELD: &str = "rules:\n  - { name: slow, match: { action: slow }, decision: ALLOW }\n  - { name: held, match: { action: count }, decision: REQUIRE_APPROVAL }\n";

fn a11(set: i64) {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("counting.yaml", ONE_WORKER)
        .policy("held.yaml", COUNT_IS_HELD)
        .manual_clock()
        .start();
    let client = gateway.modern_with_tasks("a");
    let id = std::thread::scope(|scope| {
        let slow = json!({ "line": "slow", "seconds": 3 });
        let slow = scope.spawn(|| client.call("count_slowly", slow));
        until("the worker to be taken", || (gateway.ran().len() == 1).then_some(()));
        let id = approved_and_waiting(&gateway, &client);
        gateway.jump(set);
        gateway.advance(16 * MINUTE);
        gateway.hold_when(&id, "lapsed");
        said(&slow.join().unwrap());
        id
    });
    // The worker is free, and the approval no longer counts.
    let task = client.task_when_done(&id);
    assert!(refused(&task["result"]).contains("EXPIRED"), "{task}");
    let again = text(&client.call("count", json!({ "line": "late" }))["taskId"]);
    assert_ne!(again, id, "a new call is a new hold");
    assert_eq!(gateway.hold(&again)["state"], "pending");
    assert_eq!(gateway.ran(), ["slow"]);
    times_go_on(&gateway);
}

#[test]
fn a11_an_approval_that_was_not_used_in_time_is_refused() {
    a11(0);
}

#[test]
fn a11_an_approval_lives_no_longer_when_the_clock_is_set_back() {
    a11(-DAY_MS);
}

#[test]
fn a11_an_approval_lapses_while_the_gateway_is_off() {
    let mut gateway = held().start();
    let client = gateway.modern_with_tasks("a");
    let id = hold_calls(&client, 1).remove(0);
    gateway.kill();
    gateway.set_env(FAIL_AT, Some("decide_hold.after"));
    gateway.launch();
    gateway.cli(&["approvals", "approve", &id]);
    gateway.wait_for_death();
    gateway.set_env(FAIL_AT, None);
    gateway.advance(16 * MINUTE);
    gateway.launch();
    gateway.hold_when(&id, "lapsed");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a11_a_restart_with_the_clock_set_back_gives_an_approval_no_more_time() {
    let mut gateway = held().start();
    let client = gateway.modern_with_tasks("a");
    let id = hold_calls(&client, 1).remove(0);
    gateway.kill();
    gateway.set_env(FAIL_AT, Some("decide_hold.after"));
    gateway.launch();
    gateway.cli(&["approvals", "approve", &id]);
    gateway.wait_for_death();
    gateway.set_env(FAIL_AT, None);
    // Without its program it waits, approved, until its window closes.
    let program = gateway.dir().join("bin/count");
    let aside = gateway.dir().join("bin/aside");
    fs::rename(&program, &aside).unwrap();
    gateway.jump(-DAY_MS);
    gateway.launch();
    let hold = gateway.hold(&id);
    assert_eq!(hold["state"], "approved", "{hold}");
    let doctor = gateway.cli(&["doctor"]);
    assert!(doctor.stdout.contains("behind the gateway's"), "{doctor:?}");
    gateway.advance(16 * MINUTE);
    gateway.hold_when(&id, "lapsed");
    fs::rename(&aside, &program).unwrap();
    gateway.restart();
    assert_eq!(gateway.hold(&id)["state"], "lapsed");
    assert!(gateway.ran().is_empty());
    times_go_on(&gateway);
}

const LIMITED: &str = "rules:\n  - { name: looks, match: { action_type: read }, decision: ALLOW }\n  - { name: writes, match: { action_type: write }, decision: REQUIRE_APPROVAL }\nlimits:\n  - { name: few-looks, match: { action: look }, per: agent, rate: 1/hour }\n";

#[test]
fn b7_a_clock_jump_expires_nothing() {
    let gateway =
        TestGateway::builder().counting().policy("limited.yaml", LIMITED).manual_clock().start();
    let client = gateway.modern_with_tasks("a");
    let holds = hold_calls(&client, 50);
    let decide_by = gateway.hold(&holds[0])["decide_by"].clone();
    said(&client.call("look", json!({ "line": "look" })));
    let is_right = || {
        let doctor = gateway.cli(&["doctor"]).stdout;
        !doctor.lines().any(|line| line.contains("WRONG") && line.contains("clock"))
    };
    assert!(is_right());
    for (count, jump, side) in [(1, DAY_MS, "ahead of"), (2, -2 * DAY_MS, "behind")] {
        gateway.jump(jump);
        until("the jump to be noticed", || {
            (entries(&gateway, "clock_skew").len() == count).then_some(())
        });
        let doctor = gateway.cli(&["doctor"]);
        assert_eq!(doctor.code, 1, "{doctor:?}");
        assert!(doctor.stdout.contains(&format!("s {side} the gateway's")), "{doctor:?}");
        gateway.holds_when("pending", 50);
        assert_eq!(gateway.hold(&holds[0])["decide_by"], decide_by);
        let limited = refused(&client.call("look", json!({ "line": "look" })));
        assert!(limited.contains("few-looks"), "the jump refilled the limit: {limited}");
    }
    for skew in entries(&gateway, "clock_skew") {
        let of = |key: &str| time(&skew["entry"][key]);
        let off = of("wall").duration_since(of("gateway")).abs().as_secs();
        assert!((DAY.as_secs() - 5..DAY.as_secs() + 5).contains(&off.unsigned_abs()), "{skew}");
    }
    assert_eq!(gateway.metric("countersign_clock_jumps_total"), Some(2.0));
    times_go_on(&gateway);

    gateway.jump(DAY_MS);
    until("the clock to be right again", || is_right().then_some(()));
    // Time that passes does expire them, and refills the limit.
    gateway.advance(HOUR + MINUTE);
    gateway.holds_when("expired", 50);
    said(&client.call("look", json!({ "line": "look" })));
    assert_eq!(entries(&gateway, "clock_skew").len(), 2);
}

#[test]
fn b7_after_a_day_off_people_get_time() {
    // More than one transaction extends.
    const HOLDS: usize = 300;
    let mut gateway = held().config("holds: { pending_max: 400, expiry_grace: 20m }\n").start();
    let client = gateway.modern_with_tasks("a");
    let holds = hold_calls(&client, HOLDS);
    gateway.stop();
    gateway.advance(DAY);
    gateway.launch();
    until("all to be extended", || {
        let pending = gateway.holds_when("pending", HOLDS);
        pending.iter().all(|hold| hold["extended"].is_object()).then_some(())
    });
    let hold = gateway.hold(&holds[0]);
    let left = time(&hold["decide_by"]).duration_since(time(&hold["extended"]["at"]));
    assert_eq!(left.as_secs(), 20 * 60, "{hold}");
    let before = time(&hold["created_at"]).saturating_add(HOUR).unwrap();
    assert_eq!(time(&hold["extended"]["before"]), before);
    let shown = gateway.cli(&["approvals", "show", &holds[0]]).done();
    assert!(shown.contains("extended    was") && shown.contains("not running"), "{shown}");

    let absences = entries(&gateway, "absence");
    assert_eq!(absences.len(), 1);
    let away =
        time(&absences[0]["entry"]["to"]).duration_since(time(&absences[0]["entry"]["from"]));
    assert!(away.as_secs() >= DAY.as_secs() as i64, "{absences:?}");
    let extended = entries(&gateway, "holds_extended");
    let count = |entry: &Value| entry["entry"]["holds"].as_array().unwrap().len();
    assert!(extended.len() > 1);
    assert_eq!(extended.iter().map(count).sum::<usize>(), HOLDS);

    gateway.approve(&holds[0]);
    assert_eq!(gateway.ran(), ["call 0"]);
    // A restart at once owes nobody anything.
    gateway.restart();
    assert_eq!(entries(&gateway, "absence").len(), 1);
    assert_eq!(entries(&gateway, "holds_extended").len(), extended.len());
    gateway.advance(21 * MINUTE);
    gateway.holds_when("expired", HOLDS - 1);
}

/// What is owed stays owed, however often the gateway dies before it has given it.
#[test]
fn b7_people_get_their_time_although_the_gateway_dies() {
    let mut gateway = held().start();
    let id = hold_calls(&gateway.modern_with_tasks("a"), 1).remove(0);
    gateway.stop();
    gateway.advance(DAY);
    for _ in 0..2 {
        gateway.set_env(FAIL_AT, Some("extend_holds.before"));
        let died = gateway.cli(&["approvals", "list"]);
        assert_eq!(died.code, -1, "{died:?}");
        gateway.set_env(FAIL_AT, None);
    }
    gateway.launch();
    assert_eq!(gateway.hold(&id)["state"], "pending");
    gateway.approve(&id);
    assert_eq!(gateway.ran(), ["call 0"]);
}

#[test]
fn b7_a_machine_that_slept_gives_people_time() {
    let gateway = held().start();
    let client = gateway.modern_with_tasks("a");
    let id = hold_calls(&client, 1).remove(0);
    gateway.suspend(2 * HOUR);
    let hold = until("the hold to be extended", || {
        let hold = gateway.hold(&id);
        hold["extended"].is_object().then_some(hold)
    });
    assert_eq!(hold["state"], "pending");
    assert!(text(&hold["extended"]["why"]).contains("suspended"), "{hold}");
    assert!(entries(&gateway, "clock_skew").is_empty(), "the clocks agree");
    gateway.advance(11 * MINUTE);
    gateway.hold_when(&id, "expired");
    assert!(gateway.ran().is_empty());
}
