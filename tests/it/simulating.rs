//! What other files would have decided about recorded calls: the same as really asking again under them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use countersign::clock::SystemClock;
use countersign::digest::Digest;
use countersign::evidence::{Asked, Intent};
use countersign::ids::CallId;
use countersign::policy::Noticed;
use countersign::storage::sqlite::SqliteStore;
use countersign::storage::{Store as _, Wait};
use serde_json::{Value, json};

use crate::clients::Client as _;
use crate::harness::{ALLOW_ALL, RUNTIME, TestGateway, text, until};

const NOW: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - name: counting
    match: { tool: count }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { allowed_lines: [x, y, z] }
  - { name: guests, match: { group: guests, tool: count }, decision: DENY }
  - { name: slow, match: { tool: count_slowly }, decision: REQUIRE_APPROVAL }
";
/// Looking needs people, guests look no more and ask before they count, one line less is allowed, what was slow runs.
const THEN: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: REQUIRE_APPROVAL }
  - name: counting
    match: { tool: count }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { allowed_lines: [x, y] }
  - { name: slow, match: { tool: count_slowly }, decision: ALLOW }
  - { name: others, match: { tool: count, client: no-such-client }, decision: DENY }
  - { name: guests-look-no-more, match: { group: guests, tool: look }, decision: DENY }
  - { name: guests-ask, match: { group: guests, tool: count }, decision: REQUIRE_APPROVAL }
";

/// Asks everything once, as both agents; gives what was decided by tool, line and agent.
fn ask(gateway: &TestGateway, agents: &[(&str, crate::clients::Modern)]) -> HashMap<String, Value> {
    let mut decided = HashMap::new();
    for (name, agent) in agents {
        for (tool, arguments) in [
            ("look", json!({ "line": "x" })),
            ("count", json!({ "line": "x" })),
            ("count", json!({ "line": "z" })),
            ("count", json!({ "line": "w" })),
            ("count_slowly", json!({ "line": "x", "seconds": 0 })),
        ] {
            let key = format!("{name} {tool} {arguments}");
            let result = agent.call(tool, arguments);
            // A call that waits is answered otherwise than one that was decided.
            let decision = &result["_meta"]["countersign/decision"]["decision"];
            let decision = decision.as_str().unwrap_or("REQUIRE_APPROVAL");
            let call = result["_meta"]["countersign/call"].clone();
            decided.insert(key, json!({ "decision": decision, "call": call }));
        }
    }
    for hold in gateway.holds("pending") {
        gateway.cli(&["approvals", "reject", &text(&hold["id"]), "--reason", "no"]).done();
    }
    decided
}

#[test]
fn its_verdicts_are_those_of_really_asking_again() {
    let gateway = TestGateway::builder()
        .counting()
        .policy("rules.yaml", NOW)
        .config("holds: { remember_rejection: 1ms, window: 100ms }\n")
        .start();
    let token = gateway.cli(&["agents", "add", "guest", "--group", "guests"]).done();
    let guest = crate::clients::Modern::new(gateway.url(), token.trim());
    let agents = [("guest", guest), ("dev", gateway.modern("dev"))];
    let before = ask(&gateway, &agents);
    // Turned away before rules are asked: no rule decides otherwise.
    agents[1].1.call("count", json!({ "lines": "x" }));
    std::fs::create_dir(gateway.dir().join("next")).unwrap();
    gateway.put("next/rules.yaml", THEN);
    // A refusal is answered before it is on disk, in its order.
    let entries = until("the last call to be recorded", || {
        let entries = gateway.entries();
        let last = |it: &Value| it["entry"]["refusal"] == "invalid_arguments";
        entries.iter().any(last).then_some(entries.len())
    });
    let words = ["policy", "simulate", "next", "--output", "json"];
    let told = gateway.cli(&words).json();
    assert_eq!(gateway.entries().len(), entries, "it leaves no entry");
    assert_eq!((&told["judged"], &told["whole"]), (&json!(10), &json!(true)), "{told}");
    assert_eq!(told["not_judged"][0]["calls"], 1, "{told}");
    assert!(told["not_judged"][0]["why"].as_str().unwrap().contains("invalid_arguments"), "{told}");
    // Now really.
    gateway.put_policy("rules.yaml", THEN);
    let reloaded = gateway.cli(&["policy", "reload", "--output", "json"]).json();
    let after = ask(&gateway, &agents);
    let mut matrix: HashMap<(String, String), u64> = HashMap::new();
    for (key, was) in &before {
        let pair = (text(&was["decision"]), text(&after[key]["decision"]));
        *matrix.entry(pair).or_default() += 1;
    }
    let simulated: HashMap<(String, String), u64> = told["matrix"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| {
            ((text(&cell["before"]), text(&cell["after"])), cell["calls"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(simulated, matrix);
    let flips: u64 = matrix.iter().filter(|((b, a), _)| b != a).map(|(_, count)| count).sum();
    assert_eq!(told["flips"], flips);
    let samples = told["samples"].as_array().unwrap();
    assert_eq!(samples.len() as u64, flips);
    for sample in samples {
        let (key, _) = before
            .iter()
            .find(|(key, was)| {
                let (agent, tool) = (text(&sample["agent"]), text(&sample["tool"]));
                was["call"] == sample["call"]
                    || was["call"].is_null() && key.starts_with(&format!("{agent} {tool} "))
            })
            .unwrap();
        assert_eq!(sample["after"], after[key]["decision"], "{key}: {sample}");
    }
    assert_eq!((&told["held_before"], &told["held_after"]), (&json!(2), &json!(2)));
    // The digest is that of what then came into force, by the texts; names of directories differ.
    assert!(text(&told["candidate"]).starts_with("sha256:"), "{reloaded}");
    let shown = gateway.cli(&["policy", "simulate", "next", "--last", "3", "--since", "1d"]).done();
    assert!(shown.contains("3 calls judged since"), "{shown}");
}

#[test]
fn a_candidate_that_is_wrong_or_too_much_is_refused() {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", ALLOW_ALL).start();
    let ask = |wanted: &Value| gateway.api_post("/api/v1/policy/simulate", wanted);
    let wrong = json!({ "policies": [{ "name": "new.yaml", "text": "rules: [{ nme: a }]" }] });
    let reply = ask(&wrong);
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(text(&reply.json()["error"]).contains("new.yaml:1:"), "{reply:?}");
    let many: Vec<_> = (0..1001).map(|n| json!({ "name": n.to_string(), "text": "" })).collect();
    assert_eq!(ask(&json!({ "policies": many })).status, 400);
    let large = json!({ "policies": [{ "name": "a", "text": "#".repeat(3 << 20) }] });
    assert_eq!(ask(&large).status, 413);
    let none = ask(&json!({ "policies": [] })).json();
    assert_eq!((&none["judged"], &none["flips"]), (&json!(0), &json!(0)));
}

#[test]
#[ignore = "measures: run it alone and with --release, it prints how long 100 000 calls take"]
fn a_hundred_thousand_calls_take_seconds() {
    let mut gateway = TestGateway::builder().counting().policy("rules.yaml", ALLOW_ALL).prepare();
    RUNTIME.block_on(async {
        let store = SqliteStore::open(&gateway.data(), Arc::new(SystemClock::new())).unwrap();
        for number in 0..100_000_u32 {
            let arguments = json!({ "line": format!("line {number}") });
            let Value::Object(arguments) = arguments else { unreachable!() };
            let asked = Asked {
                via: None,
                call: CallId::new(),
                agent: "dev".parse().unwrap(),
                owner: None,
                groups: vec!["developers".to_owned()],
                client: None,
                workflow: None,
                compensates: None,
                tool: "count".to_owned(),
                backend: "counting".to_owned(),
                capability: Some("counting".to_owned()),
                definition_fingerprint: Digest::of(b"definition"),
                arguments,
                digest: Digest::of(&number.to_be_bytes()),
                revision: Digest::of(b"revision"),
                decision: "ALLOW".to_owned(),
                rules: vec!["everything".to_owned()],
                edits: Vec::new(),
                noticed: Noticed::default(),
            };
            let intent = Intent {
                asked,
                hold: None,
                approved_by: Vec::new(),
                standing: None,
                charges: Vec::new(),
                brings: Vec::new(),
            };
            while store.begin_call(intent.clone(), Wait::Queued).await.is_err() {
                store.settle().await.unwrap();
            }
        }
        store.settle().await.unwrap();
    });
    gateway.launch();
    let begun = Instant::now();
    let wanted = json!({ "policies": [{ "name": "new.yaml", "text": NOW }], "last": 100_000 });
    let told = gateway.api_post("/api/v1/policy/simulate", &wanted).json();
    println!("100 000 calls judged in {:?}", begun.elapsed());
    assert_eq!((&told["judged"], &told["whole"]), (&json!(100_000), &json!(true)), "{told}");
    assert_eq!(told["flips"], 100_000);
}
