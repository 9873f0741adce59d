//! Why a call is decided as it is: asked beforehand, of a call that was made, of a gateway and of its files.

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{Builder, TestGateway, text};

const RULES: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - name: counting
    match: { tool: count }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { allowed_lines: [x, y, z] }
  - { name: guests, match: { group: guests, action_type: write }, decision: DENY, reason: guests look }
  - { name: slow, match: { tool: count_slowly }, decision: REQUIRE_APPROVAL, approval: { quorum: 2, decide_within: 2h } }
limits:
  - { name: few, match: {}, per: agent, rate: 3/hour }
";

fn gateway() -> Builder {
    TestGateway::builder().counting().policy("rules.yaml", RULES)
}

fn explain(gateway: &TestGateway, wanted: &Value) -> Value {
    let reply = gateway.api_post("/api/v1/policy/explain", wanted);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn it_says_what_the_gateway_then_does() {
    let gateway = gateway().start();
    let token = gateway.cli(&["agents", "add", "guest", "--group", "guests"]).done();
    let guest = crate::clients::Modern::new(gateway.url(), token.trim());
    let dev = gateway.modern("dev");
    for (agent, client, tool, arguments) in [
        ("guest", &guest, "count", json!({ "line": "x" })),
        ("dev", &dev, "count", json!({ "line": "other" })),
        ("dev", &dev, "look", json!({ "line": "x" })),
        ("dev", &dev, "count", json!({ "line": "x" })),
    ] {
        let told =
            explain(&gateway, &json!({ "agent": agent, "tool": tool, "arguments": arguments }));
        let result = client.call(tool, arguments);
        let meta = &result["_meta"]["countersign/decision"];
        let now = &told["explanation"];
        assert_eq!(now["decision"], meta["decision"], "{told} {result}");
        assert_eq!(now["decided_by"], meta["rules"], "{told} {result}");
        if now["decision"] == "DENY" {
            assert!(refused(&result).contains(&text(&now["reason"])), "{told} {result}");
        }
        // The call says by which identifier people find it, and why it was decided so.
        let call = text(&result["_meta"]["countersign/call"]);
        let again = explain(&gateway, &json!({ "call": call }));
        assert_eq!(again["explanation"], *now);
        assert_eq!(again["recorded"]["differs"], false, "{again}");
        assert_eq!(again["recorded"]["decision"], now["decision"], "{again}");
    }
}

#[test]
fn asking_runs_nothing_counts_nothing_and_is_not_recorded() {
    let gateway = gateway().start();
    let dev = gateway.modern("dev");
    let before = gateway.entries().len();
    for _ in 0..10 {
        for tool in ["look", "count", "count_slowly"] {
            let arguments = json!({ "line": "x" });
            explain(&gateway, &json!({ "agent": "dev", "tool": tool, "arguments": arguments }));
        }
    }
    assert_eq!(gateway.entries().len(), before);
    assert_eq!(gateway.holds("pending"), Vec::<Value>::new());
    assert!(gateway.ran().is_empty());
    for line in ["1", "2", "3"] {
        said(&dev.call("look", json!({ "line": line })));
    }
}

#[test]
fn what_was_decided_by_other_rules_is_told_as_such() {
    let mut gateway = gateway().start();
    let dev = gateway.modern("dev");
    let ran = dev.call("count", json!({ "line": "x" }));
    said(&ran);
    let call = text(&ran["_meta"]["countersign/call"]);
    assert_eq!(gateway.stop(), 0);
    let stricter = RULES.replace("[x, y, z]", "[y, z]");
    gateway.put_policy("rules.yaml", &stricter);
    // No gateway runs: the record is read all the same.
    let told = gateway.cli(&["policy", "explain", "--call", &call, "--output", "json"]).json();
    assert_eq!(told["explanation"]["decision"], "DENY", "{told}");
    assert_eq!(told["explanation"]["denial"], "constraint");
    let nearest = &told["explanation"]["nearest"];
    assert_eq!(nearest["change"], json!({ "kind": "argument", "pointer": "/line", "value": "y" }));
    assert_eq!(nearest["then"], "ALLOW_WITH_CONSTRAINTS");
    assert_eq!(told["recorded"]["decision"], "ALLOW_WITH_CONSTRAINTS");
    assert_eq!(told["recorded"]["differs"], true);
    let shown = gateway.cli(&["policy", "explain", "--call", &call]).done();
    assert!(shown.contains("decide otherwise"), "{shown}");
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert_eq!(gateway.cli(&["policy", "explain", "--call", unknown]).code, 3);
}

#[test]
fn people_read_it_and_files_alone_say_the_same() {
    let gateway = gateway().start();
    let words =
        ["policy", "explain", "count", r#"{"line":"x"}"#, "--agent", "a", "--group", "guests"];
    let running = gateway.cli(&words).done();
    let expected = "\
count for a, in guests
DENY by guests
  this call of `count` is denied by rule `guests`: guests look

✓ counting  ALLOW_WITH_CONSTRAINTS  policies/rules.yaml:4:11
    ✓ tool: count  the call has count
    constraint allowed_lines: [\"x\",\"y\",\"z\"]

✓ guests  DENY  policies/rules.yaml:8:13  decides
    ✓ group: guests       the call has guests
    ✓ action_type: write  the call has write

nearest change: guests not matching: ALLOW_WITH_CONSTRAINTS

revision ";
    assert!(running.starts_with(expected), "{running}");
    let files = gateway.cli(&[&words[..], &["--files"]].concat()).done();
    // What only a gateway knows is said to be left out.
    let (notes, files): (Vec<&str>, Vec<&str>) =
        files.lines().partition(|line| line.starts_with("note: the files were asked"));
    assert_eq!((running.lines().collect::<Vec<_>>(), notes.len()), (files, 1));
    let held =
        gateway.cli(&["policy", "explain", "count_slowly", r#"{"line":"x","seconds":1}"#]).done();
    assert!(held.contains("approval: 2 of the reviewers; 2h to decide"), "{held}");
    // What does not fit is told as the gateway would tell it, and rules are not asked.
    let unfit = gateway.cli(&["policy", "explain", "count", r#"{"line":7}"#]).done();
    assert!(unfit.contains("refused before rules are asked: /line: must be"), "{unfit}");
    assert_eq!(gateway.cli(&["policy", "explain", "absent"]).code, 3);
    assert_eq!(gateway.cli(&["policy", "explain", "absent", "--files"]).code, 3);
    assert_eq!(gateway.cli(&["policy", "explain"]).code, 2);
    let reply = gateway.api_post("/api/v1/policy/explain", &json!({ "agent": "a" }));
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[test]
fn a_condition_on_an_argument_makes_a_cell_two() {
    let manifest = r#"
backend: { name: fleet, command: { program: "@DIR@/bin/count" } }
tools:
  - name: restart
    description: d
    attributes: { capability: fleet, action: restart, action_type: write, environment: { argument: env, values: { p: production, s: staging } } }
    input_schema: { type: object, required: [env], properties: { env: { type: string } } }
    run: ["${env}"]
"#;
    let rules = "
rules:
  - { name: staging, match: { capability: fleet, environment: staging }, decision: ALLOW }
  - { name: production, match: { capability: fleet, environment: production }, decision: REQUIRE_APPROVAL }
  - { name: not-by-cursor, match: { capability: fleet, client: cursor }, decision: DENY }
  - { name: never-bo, match: { agent: bo }, decision: DENY }
";
    let gateway = TestGateway::builder()
        .counting()
        .manifest("fleet.yaml", manifest)
        .policy("rules.yaml", rules)
        .start();
    gateway.cli(&["agents", "add", "ana", "--group", "ops"]).done();
    gateway.cli(&["call", "restart", r#"{"env":"s"}"#, "--agent", "passer-by"]).done();
    let table = gateway.api_get("/api/v1/policy/table?tool=restart").json();
    let rows: Vec<_> = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["agent"], &row["known"]))
        .collect();
    let of = |name: &str| json!(name);
    assert_eq!(
        rows,
        [
            (&Value::Null, &of("other")),
            (&of("bo"), &of("named")),
            (&of("ana"), &of("registered")),
            (&of("passer-by"), &of("seen")),
        ]
    );
    let cell = &table["rows"][2]["cells"][0];
    assert_eq!(cell["decisions"], json!(["ALLOW", "REQUIRE_APPROVAL", "DENY"]), "{table}");
    assert_eq!(cell["depends_on"], json!(["client", "env"]));
    assert_eq!(cell["rules"], json!(["staging", "production", "not-by-cursor"]));
    assert_eq!(table["rows"][1]["cells"][0]["decisions"], json!(["DENY"]));
    assert_eq!(table["tools"], json!([{ "name": "restart", "available": true }]));
    let one = gateway.api_get("/api/v1/policy/table?agent=ops").json();
    assert_eq!(one["rows"].as_array().unwrap().len(), 1, "{one}");
    assert_eq!((&one["rows"][0]["agent"], &one["tools_left_out"]), (&json!("ana"), &json!(0)));
}

/// The decision table of the rules and tools that are shipped. A change here is a change of what agents may do.
#[test]
fn the_decision_table_of_what_is_shipped() {
    let gateway = TestGateway::builder()
        .policy("defaults.yaml", include_str!("../../policies/defaults.yaml"))
        .policy("database.yaml", include_str!("../../policies/database.yaml"))
        .policy("git.yaml", include_str!("../../policies/git.yaml"))
        .policy("safety.yaml", include_str!("../../policies/safety.yaml"))
        .manifest("files.yaml", include_str!("../../tool-manifests/files.yaml"))
        .manifest("git.yaml", include_str!("../../tool-manifests/git.yaml"))
        .manifest("kubernetes.yaml", include_str!("../../tool-manifests/kubernetes.yaml"))
        .manifest("sqlite.yaml", include_str!("../../tool-manifests/sqlite.yaml"))
        .manifest("system.yaml", include_str!("../../tool-manifests/system.yaml"))
        .prepare();
    let table = gateway.cli(&["policy", "table", "--output", "json"]).json();
    let rows = table["rows"].as_array().unwrap();
    let mut lines = String::new();
    for (at, tool) in table["tools"].as_array().unwrap().iter().enumerate() {
        lines.push_str(&text(&tool["name"]));
        for row in rows {
            let who = match row["groups"].as_array().unwrap().first() {
                Some(group) => text(group),
                None => "other".to_owned(),
            };
            let cell = &row["cells"][at];
            lines.push_str(&format!(" | {who}: {} by {}", cell["decisions"], cell["rules"]));
        }
        lines.push('\n');
    }
    let expected = include_str!("policy_table.txt");
    assert_eq!(lines, expected, "\n{lines}");
}
