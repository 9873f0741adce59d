//! What the page says about everything together: the metrics, and the log verified.

use rusqlite::Connection;
use serde_json::json;

use super::visit;
use crate::clients::Client as _;
use crate::harness::Builder;
use crate::statistics::{mixed, mixed_with};

#[test]
fn the_metrics_show_what_became_of_calls() {
    let gateway = mixed();
    let agent = gateway.modern_with_tasks("worker");
    for how in ["well", "well", "well", "badly"] {
        agent.call("work", json!({ "how": how }));
    }
    agent.call("never", json!({}));
    agent.call("ask", json!({}));
    let saw = visit(&gateway, "metrics", json!({}));
    let tiles = saw["tiles"].as_str().unwrap();
    for told in ["Calls asked for\n6", "75 %", "1 failed", "1 wait now"] {
        assert!(tiles.contains(told), "{told}: {tiles}");
    }
    let numbers = saw["numbers"].as_str().unwrap();
    assert!(numbers.contains("4\t1\t1\t0"), "{numbers}");
    assert!(saw["tools"].as_str().unwrap().contains("tool error 1"), "{saw}");
    assert!(saw["bars"].as_u64().unwrap() >= 3, "{saw}");
}

#[test]
fn the_limits_show_who_has_what_left() {
    let limits = "limits:\n  - { name: few-each, match: {}, per: agent, rate: 1/hour, burst: 3 }\n";
    let gateway = mixed_with(|builder| builder.policy("limits.yaml", limits));
    let (eager, calm) = (gateway.modern("eager"), gateway.modern("calm"));
    for agent in [&eager, &eager, &eager, &calm] {
        agent.call("work", json!({ "how": "well" }));
    }
    let saw = visit(&gateway, "limits", json!({}));
    let row = saw["row"].as_str().unwrap();
    for told in ["few-each", "1 per hour", "0, eager"] {
        assert!(row.contains(told), "{told}: {row}");
    }
    assert_eq!(saw["facts"], "1 limit; 1 used up by somebody");
    let beside = saw["beside"].as_str().unwrap();
    assert!(beside.contains("0 of 3\tin 60 minutes") && beside.contains("2 of 3\tnow"), "{beside}");
}

#[test]
fn the_whole_log_is_searched() {
    let gateway = mixed();
    let agent = gateway.modern("worker");
    agent.call("work", json!({ "how": "wanted \"words\"" }));
    for _ in 0..120 {
        agent.call("work", json!({ "how": "well" }));
    }
    let saw = visit(&gateway, "search", json!({ "words": "WORKER \"words\" intent" }));
    assert_eq!(saw["facts"], "1 entry found", "{saw}");
    assert!(saw["rows"].as_str().unwrap().contains("work · ALLOW"), "{saw}");
    let saw = visit(&gateway, "search", json!({ "words": "worker nowhere" }));
    assert_eq!(
        (&saw["facts"], &saw["rows"]),
        (&json!("0 entries found"), &json!("Nothing matches."))
    );
}

#[test]
fn a_changed_byte_is_found_by_whoever_presses_verify() {
    let gateway = mixed_with(Builder::unverified);
    gateway.modern("worker").call("work", json!({ "how": "well" }));
    let saw = visit(&gateway, "verify", json!({}));
    let told = saw["told"].as_str().unwrap();
    assert!(told.contains("entries are as they were written"), "{told}");
    let database = Connection::open(gateway.data().join("countersign.db")).unwrap();
    let changed = database.execute(
        "UPDATE entries SET body = replace(body, '\"work\"', '\"word\"') WHERE body LIKE '%\"kind\":\"intent\"%'",
        [],
    );
    assert_eq!(changed, Ok(1));
    let index: i64 = database
        .query_row("SELECT idx FROM entries WHERE body LIKE '%\"word\"%'", [], |row| row.get(0))
        .unwrap();
    let saw = visit(&gateway, "verify", json!({}));
    let told = saw["told"].as_str().unwrap();
    assert!(
        told.contains(&format!("NOT as it was written from entry {index} on: edited")),
        "{told}"
    );
}

#[test]
fn calls_are_looked_for_by_what_they_are() {
    let gateway = mixed();
    let agent = gateway.modern("worker");
    for _ in 0..3 {
        agent.call("work", json!({ "how": "well" }));
    }
    agent.call("never", json!({}));
    let saw = visit(&gateway, "calls", json!({ "tool": "never", "count": 1 }));
    let rows = saw["rows"].as_str().unwrap();
    assert!(rows.contains("never") && rows.contains("refused: denied"), "{rows}");
}

#[test]
fn whoever_is_offline_is_told_so_and_when_it_is_over() {
    let gateway = mixed();
    let into = super::pictures();
    let saw = visit(&gateway, "offline", json!({ "into": into }));
    assert_eq!((&saw["offline"], &saw["live"]), (&json!("Offline"), &json!("Live")), "{saw}");
}
