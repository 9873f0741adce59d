//! Time: windows that close, clocks that are set, machines that sleep.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::{Client, refused};
use crate::harness::{HOLD_ALL, TestGateway};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn time_passes_when_a_test_says_so() {
    let gateway = TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config("holds: { window: 40m }\n")
        .manual_clock()
        .start();
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
