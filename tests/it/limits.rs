//! Rate limits, and what is counted.

use std::thread;

use serde_json::json;

use crate::clients::{Client, Legacy, MODERN, Modern, refused, said};
use crate::harness::{Builder, TestGateway, text};

const LIMITED: &str = r"
rules:
  - { name: everything, match: {}, decision: ALLOW }
  - { name: never, match: { action: never }, decision: DENY }
limits:
  - { name: few-counts, match: { action: count }, per: agent, rate: 2/minute }
";

fn limited() -> Builder {
    TestGateway::builder().counting().policy("limited.yaml", LIMITED)
}

#[test]
fn a_limit_refuses_says_when_to_come_back_and_is_keyed_by_agent() {
    let gateway = limited().start();
    let client = gateway.modern("a");
    for n in 0..2 {
        said(&client.call("count", json!({ "line": n.to_string() })));
    }
    let result = client.call("count", json!({ "line": "2" }));
    let told = refused(&result);
    let wait = result["_meta"]["countersign/retry_after"].as_u64().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(told.contains("few-counts") && told.contains(&format!("in {wait} s")), "{told}");
    assert_eq!(result["_meta"]["countersign/decision"]["rules"], json!(["few-counts"]));
    assert_eq!(gateway.ran(), ["0", "1"]);

    // Another agent and another action are not harmed; another session or name of a client is the same agent.
    let other = gateway.modern("b");
    assert!(said(&other.call("count", json!({ "line": "b" }))).contains("ran b"));
    assert!(said(&client.call("look", json!({ "line": "look" }))).contains("ran look"));
    let session = crate::clients::Legacy::open(gateway.url(), &client.token, "2025-06-18");
    refused(&session.call("count", json!({ "line": "session" })));
    let workflow = json!({ "name": "count", "arguments": { "line": "w" },
                           "_meta": { "countersign/workflow": "another" } });
    refused(&client.result("tools/call", workflow));
    assert_eq!(gateway.ran(), ["0", "1", "b", "look"]);
    assert_eq!(gateway.metric("countersign_rate_limited_total{limit=\"few-counts\"}"), Some(3.0));
}

#[test]
fn metrics_show_calls_time_and_holds_and_no_names_of_callers() {
    let policy = "rules:\n  - { name: looks, match: { action_type: read }, decision: ALLOW }\n  - { name: writes, match: { action_type: write }, decision: REQUIRE_APPROVAL }\n";
    let gateway = TestGateway::builder().counting().policy("p.yaml", policy).start();
    let client = gateway.modern_with_tasks("a");
    client.call("look", json!({ "line": "1" }));
    client.call("look", json!({ "line": 7 }));
    client.call("count", json!({ "line": "x" }));
    client.request("tools/call", json!({ "name": "evil\"} 1 name", "arguments": {} }));
    client.request("tools/call", json!({ "name": "strange", "arguments": {} }));

    let metric = |start: &str| gateway.metric(start);
    let look = r#"countersign_tool_calls_total{tool="look",server="counting","#;
    assert_eq!(metric(&format!("{look}decision=\"ALLOW\",outcome=\"success\"}}")), Some(1.0));
    assert_eq!(
        metric(&format!("{look}decision=\"none\",outcome=\"invalid_arguments\"}}")),
        Some(1.0)
    );
    let count = r#"countersign_tool_calls_total{tool="count",server="counting","#;
    assert_eq!(
        metric(&format!("{count}decision=\"REQUIRE_APPROVAL\",outcome=\"held\"}}")),
        Some(1.0)
    );
    let other = r#"countersign_tool_calls_total{tool="_other",server="_other","#;
    assert_eq!(metric(&format!("{other}decision=\"none\",outcome=\"unknown_tool\"}}")), Some(2.0));
    assert_eq!(
        metric("countersign_upstream_duration_seconds_count{server=\"counting\"}"),
        Some(1.0)
    );
    assert!(metric("countersign_overhead_seconds_count").unwrap() >= 5.0);
    assert_eq!(metric("countersign_holds_pending{rule=\"writes\"}"), Some(1.0));
    let all = gateway.metrics();
    assert!(!all.contains("evil") && !all.contains("strange"), "{all}");

    let id = gateway.pending();
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert_eq!(metric("countersign_holds_pending{rule=\"writes\"}"), Some(0.0));
    assert_eq!(metric("countersign_hold_decisions_total{result=\"approved\"}"), Some(1.0));
    assert_eq!(metric("countersign_hold_decision_seconds_count"), Some(1.0));
    assert!(
        gateway.metrics().contains("countersign_hold_decision_seconds_bucket{le=\"604800.0\"}")
    );
}

#[test]
fn holds_are_counted_again_after_a_start() {
    let mut gateway =
        TestGateway::builder().counting().policy("held.yaml", crate::harness::HOLD_ALL).start();
    gateway.modern_with_tasks("a").call("count", json!({ "line": "x" }));
    gateway.restart();
    assert_eq!(gateway.metric("countersign_holds_pending{rule=\"everything-held\"}"), Some(1.0));
    let id = text(&gateway.holds("pending")[0]["id"]);
    gateway.cli(&["approvals", "reject", &id]).done();
    assert_eq!(gateway.metric("countersign_holds_pending{rule=\"everything-held\"}"), Some(0.0));
}

#[test]
fn a_hold_that_was_taken_back_is_pending_no_more() {
    let gateway =
        TestGateway::builder().counting().policy("held.yaml", crate::harness::HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    client.call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    client.request("tasks/cancel", json!({ "taskId": id }));
    gateway.hold_when(&id, "withdrawn");
    assert_eq!(gateway.metric("countersign_holds_pending{rule=\"everything-held\"}"), Some(0.0));
    let ended = "countersign_hold_decisions_total{result=\"withdrawn\"}";
    assert_eq!(gateway.metric(ended), Some(1.0));
}

#[test]
fn people_read_what_is_left_of_a_limit_and_use_nothing_of_it() {
    let more =
        "  - { name: night, match: { group: night }, per: [tool, client], rate: 10/minute }\n";
    let gateway = TestGateway::builder()
        .counting()
        .policy("limited.yaml", &format!("{}{more}", LIMITED.trim_start()))
        .start();
    let client = gateway.modern("a");
    said(&client.call("count", json!({ "line": "0" })));
    let left = |query: &str| gateway.api_get(&format!("/api/v1/limits{query}")).json();
    for _ in 0..3 {
        let all = left("");
        assert_eq!(all["limits"].as_array().unwrap().len(), 2, "{all}");
        let few = &all["limits"][0];
        assert_eq!(few["name"], "few-counts", "{few}");
        assert_eq!(few["location"], "policies/limited.yaml:5:13", "{few}");
        assert_eq!(
            (&few["count"], &few["period"], &few["burst"]),
            (&json!(2), &json!(60.0), &json!(2))
        );
        let used = &few["used"][0];
        assert_eq!(
            (&used["agent"], &used["left"], &used["next_in"]),
            (&json!("a"), &json!(1), &json!(0.0))
        );
        let full = used["full_in"].as_f64().unwrap();
        assert!(full > 0.0 && full <= 30.0, "{used}");
    }
    said(&client.call("count", json!({ "line": "1" })));
    let few = left("?agent=a")["limits"].clone();
    // What it is not counted by is not shown with it.
    assert_eq!(few.as_array().unwrap().len(), 1, "{few}");
    assert_eq!(few[0]["used"][0]["left"], 0, "{few}");
    assert!(few[0]["used"][0]["next_in"].as_f64().unwrap() > 0.0, "{few}");
    let other = left("?agent=b");
    assert_eq!(other["limits"][0]["used"], json!([]), "{other}");
    refused(&client.call("count", json!({ "line": "2" })));
}

/// As many clients as a team has, of one agent, on every transport and in processes of their own.
#[test]
fn r2_a_burst_from_everywhere_admits_exactly_what_limit_and_budget_leave() {
    const CLIENTS: usize = 4;
    const EACH: usize = 120;
    let policy = "rules: [{ name: all, match: {}, decision: ALLOW }]
limits: [{ name: some, match: { agent: [limited] }, per: agent, rate: 1/hour, burst: 90 }]
budgets: [{ name: few, match: { agent: [spender] }, per: agent, spend: { calls: 70 } }]
";
    let gateway = TestGateway::builder().counting().policy("p.yaml", policy).start();
    for (agent, admitted) in [("limited", 90), ("spender", 70)] {
        let before = gateway.ran().len();
        let token = gateway.agent(agent);
        let mut clients: Vec<Box<dyn Client + Send>> = Vec::new();
        for number in 0..CLIENTS {
            let version = ["2025-06-18", "2025-11-25", MODERN, "2024-11-05"][number];
            clients.push(Box::new(gateway.stdio(agent).begin(version)));
            clients.push(match version {
                MODERN => Box::new(Modern::new(gateway.url(), &token)),
                _ => Box::new(Legacy::open(gateway.url(), &token, version)),
            });
        }
        let results: Vec<bool> = thread::scope(|scope| {
            let calling = clients.into_iter().enumerate().map(|(number, client)| {
                scope.spawn(move || {
                    let line = |n: usize| json!({ "line": format!("{number}-{n}") });
                    let results = (0..EACH).map(|n| client.call("count", line(n)));
                    results.map(|it| it["isError"] != true).collect::<Vec<_>>()
                })
            });
            let calling: Vec<_> = calling.collect();
            calling.into_iter().flat_map(|it| it.join().unwrap()).collect()
        });
        let succeeded = results.iter().filter(|it| **it).count();
        assert_eq!((results.len(), succeeded), (2 * CLIENTS * EACH, admitted), "{agent}");
        assert_eq!(gateway.ran().len() - before, admitted, "{agent}");
    }
}
