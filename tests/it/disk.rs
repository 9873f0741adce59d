//! The record cannot be written: nothing runs unrecorded, and the gateway recovers.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::clients::{Client, Modern, Reply, http, refused};
use crate::harness::{ALLOW_ALL, HOLD_ALL, RUNTIME, TestGateway, text, until};

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start()
}

fn count(client: &Modern, line: &str) -> Value {
    client.call("count", json!({ "line": line }))
}

fn ready(gateway: &TestGateway) -> u16 {
    RUNTIME.block_on(Reply::of(http().get(format!("{}/readyz", gateway.url())))).status
}

/// The lines of all calls whose intent is in the record.
fn recorded(gateway: &TestGateway) -> Vec<String> {
    let entries = gateway.entries();
    let intents = entries.iter().filter(|it| it["entry"]["kind"] == "intent");
    intents.map(|it| text(&it["entry"]["arguments"]["line"])).collect()
}

#[test]
fn b1_disk_full() {
    let gateway = gateway();
    let client = gateway.modern("a");
    fs::write(gateway.data().join("disk-full"), "").unwrap();
    // What fits into the pages that are there is recorded and runs; then nothing does.
    let line = "x".repeat(2000);
    let told = until("the disk to be full", || {
        let result = count(&client, &line);
        (result["isError"] == true).then(|| refused(&result))
    });
    assert!(told.contains("cannot record") && told.contains("Nothing ran"), "{told}");
    let ran = gateway.ran().len();
    let result = count(&client, &line);
    refused(&result);
    assert!(result["_meta"]["countersign/retry_after"].is_u64(), "{result}");
    refused(&client.call("look", json!({ "line": line })));
    assert_eq!(gateway.ran().len(), ran, "a call ran that is not recorded");
    assert_eq!(ready(&gateway), 503);

    fs::remove_file(gateway.data().join("disk-full")).unwrap();
    until("the gateway to recover", || (count(&client, "after")["isError"] != true).then_some(()));
    until("the gateway to be ready", || (ready(&gateway) == 200).then_some(()));
    let mut recorded = recorded(&gateway);
    let mut ran = gateway.ran();
    recorded.sort();
    ran.sort();
    assert_eq!(recorded, ran);
}

#[test]
fn b2_fsync_fails() {
    let mut gateway = gateway();
    let client = gateway.modern("a");
    count(&client, "before");
    fs::write(gateway.data().join("fsync-fails"), "").unwrap();
    let told = refused(&count(&client, "during"));
    assert!(told.contains("cannot record"), "{told}");
    refused(&client.call("look", json!({ "line": "during" })));
    assert_eq!(gateway.ran(), ["before"]);
    assert_eq!(ready(&gateway), 503);
    assert!(gateway.metric("countersign_audit_append_failures_total").unwrap() >= 1.0);

    // A sync that succeeds later says nothing of what the failed one lost: only a new start reads it anew.
    fs::remove_file(gateway.data().join("fsync-fails")).unwrap();
    for _ in 0..3 {
        refused(&count(&client, "still"));
    }
    assert_eq!(ready(&gateway), 503);
    assert_eq!(gateway.ran(), ["before"]);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    gateway.restart();
    let client = client.again(gateway.url());
    count(&client, "after");
    assert_eq!(gateway.ran(), ["before", "after"]);
    assert_eq!(recorded(&gateway), ["before", "after"]);
}

/// The same for what is held: holds, verdicts and the spending of approvals need room too.
#[test]
fn b1_disk_full_while_calls_are_held() {
    const HELD: usize = 40;
    let gateway = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    for n in 0..HELD {
        assert_eq!(count(&client, &n.to_string())["resultType"], "task");
    }
    let approve = |hold: &Value| {
        let verdict = json!({ "decision": "approve", "digest": hold["digest"] });
        let path = format!("/api/v1/approvals/{}/verdict", text(&hold["id"]));
        gateway.api_post(&path, &verdict)
    };
    let holds = gateway.holds_when("pending", HELD);
    fs::write(gateway.data().join("disk-full"), "").unwrap();
    let told = until("no hold to be stored", || {
        let result = count(&client, &"x".repeat(2000));
        (result["isError"] == true).then_some(result)
    });
    assert!(refused(&told).contains("cannot record"), "{told}");
    assert!(told["_meta"]["countersign/retry_after"].is_u64(), "{told}");
    // Once is enough: what else is written meanwhile may leave room for the next.
    let (refused_at, unheard) = holds
        .iter()
        .enumerate()
        .find_map(|(place, hold)| {
            let reply = approve(hold);
            (reply.status != 200).then_some((place, reply))
        })
        .expect("a verdict that does not fit on the disk");
    assert!(unheard.status > 500, "{unheard:?}");
    assert_eq!(gateway.hold(&text(&holds[refused_at]["id"]))["state"], "pending");
    assert!(gateway.ran().len() <= refused_at, "something ran without a verdict");

    fs::remove_file(gateway.data().join("disk-full")).unwrap();
    for hold in &holds[refused_at..] {
        until("the verdict to be taken", || (approve(hold).status == 200).then_some(()));
    }
    for hold in &holds {
        gateway.hold_when(&text(&hold["id"]), "finished");
    }
    let mut ran = gateway.ran();
    ran.sort();
    let mut asked: Vec<String> = (0..HELD).map(|n| n.to_string()).collect();
    asked.sort();
    assert_eq!(ran, asked);
    until("the gateway to be ready", || (ready(&gateway) == 200).then_some(()));
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// A verdict that could not be synced is none: after a new start the hold is as it was on the disk.
#[test]
fn b2_fsync_fails_under_a_verdict() {
    let mut gateway = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    count(&client, "one");
    let id = gateway.pending();
    fs::write(gateway.data().join("fsync-fails"), "").unwrap();
    assert_ne!(gateway.cli(&["approvals", "approve", &id]).code, 0);
    fs::remove_file(gateway.data().join("fsync-fails")).unwrap();
    assert_ne!(
        gateway.cli(&["approvals", "approve", &id]).code,
        0,
        "retried as if it had succeeded"
    );
    assert!(gateway.ran().is_empty());
    gateway.restart();
    assert_eq!(gateway.hold(&id)["state"], "pending");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn a_hold_that_cannot_be_stored_is_not_promised() {
    let gateway = TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config("holds: { window: 100ms }\n")
        .start();
    let client = gateway.modern_with_tasks("a");
    fs::write(gateway.data().join("fsync-fails"), "").unwrap();
    let answer = client.call("count", json!({ "line": "x" }));
    assert!(refused(&answer).contains("cannot record"), "{answer}");
    fs::remove_file(gateway.data().join("fsync-fails")).unwrap();
    assert!(gateway.holds("all").is_empty());
    assert!(gateway.ran().is_empty());
}

#[test]
fn many_writers_at_once_lose_nothing_when_the_disk_fills_up() {
    let gateway = gateway();
    let client = gateway.modern("a");
    let filler = "x".repeat(2000);
    let answered: usize = thread::scope(|scope| {
        let calls: Vec<_> = (0..4)
            .map(|caller| {
                let (client, gateway, filler) = (&client, &gateway, &filler);
                scope.spawn(move || {
                    let calls = (0..15).map(|n| {
                        if caller == 0 && n == 5 {
                            fs::write(gateway.data().join("disk-full"), "").unwrap();
                        }
                        count(client, &format!("{caller} {n} {filler}"))
                    });
                    calls.filter(|result| result["isError"] != true).count()
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    fs::remove_file(gateway.data().join("disk-full")).unwrap();
    assert!(answered < 60, "the disk never filled up");
    let ran = gateway.ran();
    let recorded = until("the record to be whole", || {
        let mut recorded = recorded(&gateway);
        recorded.sort();
        (recorded.len() >= ran.len()).then_some(recorded)
    });
    let mut ran = ran;
    ran.sort();
    assert!(ran.iter().all(|line| recorded.contains(line)), "a call ran that is not recorded");
    assert!(ran.len() >= answered);
}
