//! The record cannot be written: nothing runs unrecorded, and the gateway recovers.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::clients::{Client, Modern, Reply, http, refused};
use crate::harness::{ALLOW_ALL, RUNTIME, TestGateway, until};

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
    intents.map(|it| crate::harness::text(&it["entry"]["arguments"]["line"])).collect()
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

    fs::remove_file(gateway.data().join("fsync-fails")).unwrap();
    gateway.restart();
    let client = client.again(gateway.url());
    count(&client, "after");
    assert_eq!(gateway.ran(), ["before", "after"]);
    assert_eq!(recorded(&gateway), ["before", "after"]);
}

#[test]
fn a_hold_that_cannot_be_stored_is_not_promised() {
    let gateway = TestGateway::builder()
        .counting()
        .policy("held.yaml", crate::harness::HOLD_ALL)
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
