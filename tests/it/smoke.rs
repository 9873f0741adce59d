//! The harness itself: every client lists and calls.

use serde_json::json;

use crate::clients::{Client, Legacy, VERSIONS, said};
use crate::harness::{ALLOW_ALL, TestGateway};

#[test]
fn every_client_lists_and_calls() {
    let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start();
    let modern = gateway.modern("m");
    assert_eq!(modern.tools(), ["count", "count_slowly", "look"]);
    assert_eq!(said(&modern.call("count", json!({ "line": "modern" }))).trim(), "ran modern");
    let token = gateway.agent("l");
    for version in &VERSIONS[..4] {
        let legacy = Legacy::open(gateway.url(), &token, version);
        assert_eq!(legacy.tools(), ["count", "count_slowly", "look"]);
        let result = legacy.call("count", json!({ "line": version }));
        assert_eq!(said(&result).trim(), format!("ran {version}"));
    }
    assert_eq!(gateway.ran().len(), 5);
}

#[test]
fn stdio_lists_and_calls() {
    for version in VERSIONS {
        let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).prepare();
        let client = gateway.stdio("s").begin(version);
        assert_eq!(client.tools(), ["count", "count_slowly", "look"]);
        let result = client.call("count", json!({ "line": version }));
        assert_eq!(said(&result).trim(), format!("ran {version}"));
        assert_eq!(gateway.ran(), [version]);
    }
}
