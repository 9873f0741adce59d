//! Results of read tools that are kept for a while.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{Builder, TestGateway, text, until};

const MINUTE: Duration = Duration::from_secs(60);

const KEEPING: &str = r#"
backend:
  name: keeping
  command: { program: "@DIR@/bin/keep" }
  secrets: { TOKEN: { env: TOKEN_OF_TESTS } }
attributes: { action_type: read }
tools:
  - name: own
    description: Looks, for each agent.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
    cost: { usd: 0.5 }
    cache: { ttl: 10m }
  - name: ours
    description: Looks, for all.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
    cache: { ttl: 10m, scope: shared }
"#;

/// Says its line; `fail` fails, `secret` tells the secret.
const SCRIPT: &str = "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '@DIR@/bin/ran'\nif [ \"$1\" = fail ]; then exit 3; fi\nif [ \"$1\" = secret ]; then printf '%s\\n' \"$TOKEN\"; fi\nwc -l < '@DIR@/bin/ran'\n";

const POLICY: &str = "rules: [{ name: all, match: {}, decision: ALLOW }, { name: held, match: { agent: held }, decision: REQUIRE_APPROVAL }]
budgets: [{ name: spent, match: {}, per: gateway, spend: { calls: 100, cost_usd: 5 } }]
";

fn keeping() -> Builder {
    let unconfined = KEEPING.replace("attributes:", "  sandbox: unconfined\nattributes:");
    TestGateway::builder()
        .script("keep", SCRIPT)
        .manifest("keeping.yaml", &unconfined)
        .policy("p.yaml", POLICY)
        .env("TOKEN_OF_TESTS", "a-secret-of-some-length")
        .manual_clock()
}

fn ran(gateway: &TestGateway) -> Vec<String> {
    let ran = std::fs::read_to_string(gateway.dir().join("bin/ran")).unwrap_or_default();
    ran.lines().map(str::to_owned).collect()
}

/// Calls `tool`, and what it says of how often it ran.
fn count(client: &impl Client, tool: &str, line: &str) -> String {
    said(&client.call(tool, json!({ "line": line }))).trim().to_owned()
}

fn outcomes(gateway: &TestGateway, wanted: usize) -> Vec<Value> {
    until("the outcomes", || {
        let mut entries = gateway.entries();
        entries.retain(|stored| stored["entry"]["kind"] == "outcome");
        let outcomes: Vec<_> = entries.iter().map(|it| it["entry"]["outcome"].clone()).collect();
        (outcomes.len() >= wanted).then_some(outcomes)
    })
}

#[test]
fn a_kept_result_is_recorded_like_any_other_and_expires() {
    let gateway = keeping().start();
    let (a, b) = (gateway.modern("a"), gateway.modern("b"));
    assert_eq!(count(&a, "own", "x"), "1");
    assert_eq!(count(&a, "own", "x"), "1", "kept");
    assert_eq!(count(&a, "own", "y"), "2", "another call");
    assert_eq!(count(&b, "own", "x"), "3", "another agent");
    assert_eq!(count(&a, "ours", "x"), "4");
    assert_eq!(count(&b, "ours", "x"), "4", "kept for all");
    let outcomes = outcomes(&gateway, 6);
    let cached: Vec<bool> = outcomes.iter().map(|it| it["cached"] == json!(true)).collect();
    assert_eq!(cached, [false, true, false, false, false, true]);
    let intents = gateway.entries().iter().filter(|it| it["entry"]["kind"] == "intent").count();
    assert_eq!(intents, 6);
    // Calls count, and what is kept costs nothing.
    let spent = gateway.api_get("/api/v1/budgets").json()["budgets"][0]["spent"][0].clone();
    assert_eq!(spent["spent"], json!({ "calls": 6, "cost_usd": 1.5 }), "{spent}");
    // Being asked for makes it no younger.
    gateway.advance(MINUTE * 9);
    assert_eq!(count(&a, "own", "x"), "1");
    gateway.advance(MINUTE * 2);
    assert_eq!(count(&a, "own", "x"), "5");
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn failures_and_what_secrets_were_taken_out_of_are_not_kept() {
    let gateway = keeping().start();
    let a = gateway.modern("a");
    for _ in 0..2 {
        refused(&a.call("own", json!({ "line": "fail" })));
        let told = text(&a.call("own", json!({ "line": "secret" }))["content"][0]["text"]);
        assert!(told.contains("[redacted:TOKEN]"), "{told}");
    }
    assert_eq!(ran(&gateway), ["fail", "secret", "fail", "secret"]);
}

#[test]
fn another_revision_and_approved_calls_ask_the_backend() {
    let gateway = keeping().start();
    let a = gateway.modern("a");
    assert_eq!(count(&a, "ours", "x"), "1");
    let held = gateway.modern_with_tasks("held");
    held.call("ours", json!({ "line": "x" }));
    let id = gateway.pending();
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert_eq!(ran(&gateway).len(), 2, "people approved that it runs");
    assert_eq!(count(&a, "ours", "x"), "1");
    gateway.put_policy("p.yaml", &format!("{POLICY}# another\n"));
    gateway.cli(&["policy", "reload"]).done();
    assert_eq!(count(&a, "ours", "x"), "3");
}

#[test]
fn only_results_of_reads_may_be_kept() {
    for (change, place, told) in [
        (("action_type: read", "action_type: write"), "keeping.yaml:14:", "action_type: read"),
        (("ttl: 10m }", "ttl: 25h }"), "keeping.yaml:14:", "`24h` at the most"),
        (("scope: shared", "scope: all"), "keeping.yaml:19:", "all"),
    ] {
        let manifest = KEEPING.replace(change.0, change.1);
        let failed = TestGateway::builder()
            .script("keep", SCRIPT)
            .manifest("keeping.yaml", &manifest)
            .policy("p.yaml", POLICY)
            .expect_start_failure();
        assert!(failed.stderr.contains(place) && failed.stderr.contains(told), "{}", failed.stderr);
    }
}
