//! One held call goes its whole way while the process dies at every point of it in turn, before and after
//! each commit: it runs at most once, is never lost, and where nobody can know, the gateway says so.

use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use crate::clients::{Modern, said};
use crate::harness::{Builder, TestGateway, text, until};

const FAIL_AT: &str = "COUNTERSIGN_FAIL_AT";
/// How many gateways of one test run at once.
const AT_ONCE: usize = 2;

/// Calls are held, and a request does not wait for people.
fn held() -> Builder {
    let policy = "rules:\n  - { name: held, match: {}, decision: REQUIRE_APPROVAL, approval: { allow_edit: true } }\n";
    TestGateway::builder()
        .counting()
        .policy("held.yaml", policy)
        .config("holds: { window: 100ms }\n")
}

/// The same with a tool that is said to be idempotent.
fn idempotent() -> Builder {
    let manifest = r#"
backend: { name: same, command: { program: "@DIR@/bin/count" } }
tools:
  - name: count
    description: Append a line; said to be idempotent.
    attributes: { action: count, action_type: write }
    idempotent: true
    input_schema: { type: object, additionalProperties: false, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
"#;
    held().manifest("counting.yaml", manifest)
}

/// What is there when the gateway has been started again and nobody has done anything yet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// No hold; the agent got no answer.
    Nothing,
    /// A hold that waits for people.
    Pending,
    /// A hold that ran and was not collected.
    Finished,
    /// A hold that ran and whose result was handed out; people see no difference, its agent does.
    Collected,
    /// A hold of which nobody can know.
    Unknown,
}

impl Left {
    fn seen(self) -> Self {
        if self == Self::Collected { Self::Finished } else { self }
    }
}

/// A point, what is left of a call of a tool that is not idempotent, and how often it has run in the end,
/// after everything that is still waiting was approved: first such a tool, then one that is idempotent.
const POINTS: [(&str, Left, [usize; 2]); 10] = [
    ("open_hold.before", Left::Nothing, [1, 1]),
    ("open_hold.after", Left::Pending, [1, 1]),
    ("decide_hold.before", Left::Pending, [1, 1]),
    ("decide_hold.after", Left::Finished, [1, 1]),
    ("spend_approval.before", Left::Finished, [1, 1]),
    ("spend_approval.after", Left::Unknown, [0, 1]),
    ("finish_hold.before", Left::Unknown, [1, 2]),
    ("finish_hold.after", Left::Finished, [1, 1]),
    ("collect_hold.before", Left::Finished, [1, 1]),
    ("collect_hold.after", Left::Collected, [1, 1]),
];

/// A gateway that died at `point` while a call went through it, and is not running.
fn died(builder: Builder, point: &str) -> (TestGateway, Modern) {
    let mut gateway = builder.start();
    let client = gateway.modern("a");
    gateway.kill();
    gateway.set_env(FAIL_AT, Some(point));
    gateway.launch();
    let client = client.again(gateway.url());
    if ask(&client).is_some() {
        let id = gateway.pending();
        gateway.cli(&["approvals", "approve", &id]);
        // Asks until the result is handed out, or the process that would do it is gone.
        until("the process to die", || ask(&client).is_none().then_some(()));
    }
    gateway.wait_for_death();
    gateway.set_env(FAIL_AT, None);
    (gateway, client)
}

fn ask(client: &Modern) -> Option<Value> {
    count(client, "one")
}

fn count(client: &Modern, line: &str) -> Option<Value> {
    client.try_call("count", json!({ "line": line })).map(|message| message["result"].clone())
}

/// What is left, once nothing happens by itself any more.
fn left(gateway: &TestGateway) -> Left {
    until("the hold to come to rest", || {
        let holds = gateway.holds("all");
        assert!(holds.len() <= 1, "{holds:?}");
        let Some(hold) = holds.first() else { return Some(Left::Nothing) };
        match hold["state"].as_str().unwrap() {
            "pending" => Some(Left::Pending),
            "unknown" => Some(Left::Unknown),
            "finished" => Some(Left::Finished),
            "approved" | "executing" => None,
            other => panic!("{other}"),
        }
    })
}

/// The agent asks again, and whatever then waits for people is approved.
fn brought_to_its_end(gateway: &TestGateway, client: &Modern, left: Left) {
    let answer = ask(client).unwrap();
    match left {
        Left::Finished => assert!(said(&answer).contains("ran one"), "{answer}"),
        Left::Unknown => assert!(said(&answer).contains("UNKNOWN"), "{answer}"),
        Left::Nothing | Left::Pending => {
            gateway.approve(&gateway.pending());
            gateway.holds_when("finished", 1);
            let answer = ask(client).unwrap();
            assert!(said(&answer).contains("ran one"), "{answer}");
        }
        // It was handed out: asked again it is another call, which people decide anew.
        Left::Collected => {
            let id = gateway.pending();
            gateway.cli(&["approvals", "reject", &id, "--reason", "no"]).done();
        }
    }
}

/// Does `check` for everything, on a few threads.
fn each<T: Send>(all: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let all = Mutex::new(all.into_iter().collect::<Vec<T>>().into_iter());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = all.lock().unwrap().next();
                    let Some(next) = next else { break };
                    check(next);
                }
            });
        }
    });
}

#[test]
fn a2_killed_between_any_two_commits_a_held_call_runs_at_most_once() {
    each(POINTS, |(point, expected, [runs, _])| {
        let (mut gateway, client) = died(held(), point);
        gateway.launch();
        let client = client.again(gateway.url());
        assert_eq!(left(&gateway), expected.seen(), "{point}");
        brought_to_its_end(&gateway, &client, expected);
        assert_eq!(gateway.ran().len(), runs, "{point}");
        // No further start changes anything.
        gateway.restart();
        assert_eq!(gateway.ran().len(), runs, "{point}");
        gateway.cli(&["audit", "verify"]).done();
    });
}

#[test]
fn a2_killed_between_any_two_commits_an_idempotent_call_runs_and_ends() {
    each(POINTS, |(point, plain, [_, runs])| {
        let (mut gateway, client) = died(idempotent(), point);
        gateway.launch();
        let client = client.again(gateway.url());
        let expected = if plain == Left::Unknown { Left::Finished } else { plain };
        assert_eq!(left(&gateway), expected.seen(), "{point}");
        brought_to_its_end(&gateway, &client, expected);
        assert_eq!(gateway.ran().len(), runs, "{point}");
        gateway.cli(&["audit", "verify"]).done();
    });
}

/// What the first start after a crash leaves when it dies too: recovery begins anew.
#[test]
fn a2_killed_while_it_recovers_it_recovers_at_the_next_start() {
    let recovering = ["recover.before:1", "recover.after:1", "recover.before:2", "recover.after:2"];
    let crashes = ["decide_hold.after", "finish_hold.before"];
    let all = crashes.into_iter().flat_map(|crash| recovering.map(|point| (crash, point)));
    each(all, |(crash, point)| {
        let (mut gateway, client) = died(held(), crash);
        gateway.set_env(FAIL_AT, Some(point));
        let start = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(start.code, -1, "{start:?}");
        gateway.set_env(FAIL_AT, None);
        gateway.launch();
        let client = client.again(gateway.url());
        let expected = POINTS.iter().find(|(name, ..)| *name == crash).unwrap().1;
        assert_eq!(left(&gateway), expected, "{crash}, {point}");
        brought_to_its_end(&gateway, &client, expected);
        assert_eq!(gateway.ran(), ["one"], "{crash}, {point}");
    });
}

/// A gateway with one pending hold, started so that it dies at `point`.
fn about_to_die(point: &str) -> (TestGateway, Modern, String, Value) {
    let mut gateway = held().start();
    let client = gateway.modern("a");
    ask(&client).unwrap();
    let id = gateway.pending();
    let digest = gateway.hold(&id)["digest"].clone();
    gateway.kill();
    gateway.set_env(FAIL_AT, Some(point));
    gateway.launch();
    let client = client.again(gateway.url());
    (gateway, client, id, digest)
}

fn comes_back(gateway: &mut TestGateway) {
    gateway.wait_for_death();
    gateway.set_env(FAIL_AT, None);
    gateway.launch();
}

#[test]
fn a2_killed_over_an_edit_either_all_of_it_stands_or_nothing() {
    each(["amend_hold.before", "amend_hold.after"], |point| {
        let (mut gateway, _, id, digest) = about_to_die(point);
        let edit = json!({ "decision": "approve", "digest": digest, "edit": { "line": "two" },
            "idempotency_key": "once" });
        let path = format!("/api/v1/approvals/{id}/verdict");
        assert_eq!(gateway.try_post(&path, &edit), None);
        comes_back(&mut gateway);
        if point.ends_with("before") {
            let hold = gateway.hold(&id);
            assert_eq!((&hold["state"], &hold["digest"]), (&json!("pending"), &digest));
            assert!(gateway.ran().is_empty());
        } else {
            gateway.hold_when(&id, "finished");
        }
        // Sent again, it is the same edit.
        assert_eq!(gateway.api_post(&path, &edit).status, 200, "{point}");
        gateway.hold_when(&id, "finished");
        assert_eq!(gateway.ran(), ["two"], "{point}");
    });
}

#[test]
fn a2_killed_over_a_resolution_it_runs_again_only_if_it_is_recorded() {
    each(["resolve_hold.before", "resolve_hold.after"], |point| {
        let (mut gateway, _) = died(held(), "finish_hold.before");
        gateway.set_env(FAIL_AT, Some(point));
        gateway.launch();
        let hold = gateway.holds_when("unknown", 1).remove(0);
        let path = format!("/api/v1/approvals/{}/resolution", text(&hold["id"]));
        let again =
            json!({ "resolution": "run_again", "decision": "approve", "digest": hold["digest"] });
        assert_eq!(gateway.try_post(&path, &again), None);
        comes_back(&mut gateway);
        let status = if point.ends_with("before") { 200 } else { 409 };
        if status == 200 {
            gateway.holds_when("unknown", 1);
            assert_eq!(gateway.ran(), ["one"]);
        } else {
            gateway.holds_when("finished", 1);
        }
        assert_eq!(gateway.api_post(&path, &again).status, status, "{point}");
        gateway.holds_when("finished", 1);
        assert_eq!(gateway.ran(), ["one", "one"], "{point}");
    });
}

#[test]
fn a2_killed_over_a_standing_approval_nothing_runs_under_what_is_not_recorded() {
    each(["grant_standing.before", "grant_standing.after"], |point| {
        let (mut gateway, client, id, _) = about_to_die(point);
        let until = gateway.hold(&id)["decide_by"].clone();
        let wanted = json!({ "hold": id, "bounds": {}, "until": until });
        let shown = gateway.try_post("/api/v1/standing", &wanted).unwrap();
        let mut confirmed = wanted;
        confirmed["confirm"] = shown["id"].clone();
        assert_eq!(gateway.try_post("/api/v1/standing", &confirmed), None);
        comes_back(&mut gateway);
        let client = client.again(gateway.url());
        let answer = count(&client, "other").unwrap();
        if point.ends_with("before") {
            assert_eq!(answer["resultType"], "input_required", "{answer}");
            assert!(gateway.ran().is_empty());
        } else {
            assert!(said(&answer).contains("ran other"), "{answer}");
            assert_eq!(gateway.ran(), ["other"]);
        }
        gateway.cli(&["audit", "verify"]).done();
    });
}

#[test]
fn a2_killed_over_a_call_under_a_standing_approval_it_is_not_repeated() {
    each(["begin_standing_call.before", "begin_standing_call.after"], |point| {
        let (mut gateway, client, id, _) = about_to_die(point);
        let wanted = json!({ "hold": id, "bounds": {}, "until": gateway.hold(&id)["decide_by"] });
        let shown = gateway.try_post("/api/v1/standing", &wanted).unwrap();
        let mut confirmed = wanted;
        confirmed["confirm"] = shown["id"].clone();
        assert_eq!(gateway.api_post("/api/v1/standing", &confirmed).status, 200);
        assert_eq!(count(&client, "other"), None);
        comes_back(&mut gateway);
        assert!(gateway.ran().is_empty(), "{point}");
        let entries = gateway.entries();
        let of = |kind: &str| entries.iter().filter(|it| it["entry"]["kind"] == kind).count();
        let recorded = usize::from(point.ends_with("after"));
        assert_eq!((of("intent"), of("outcome")), (recorded, recorded), "{point}");
        // The agent asks again: that is another call.
        let client = client.again(gateway.url());
        let answer = count(&client, "other").unwrap();
        assert!(said(&answer).contains("ran other"), "{answer}");
        assert_eq!(gateway.ran(), ["other"], "{point}");
    });
}
