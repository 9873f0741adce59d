//! Budgets: what calls spend, what becomes of them when it is spent, and what survives.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused};
use crate::harness::{Builder, TestGateway, text, until};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Everything is allowed but what is never.
const RULES: &str = "rules:
  - { name: everything, match: {}, decision: ALLOW }
  - { name: never, match: { tool: dear }, except: { agent: [a, b] }, decision: DENY }
";

/// Tools that cost something.
const COSTLY: &str = r#"
backend: { name: costly, command: { program: "@DIR@/bin/count" } }
attributes: { action_type: write }
tools:
  - name: dear
    description: Append a line, at a price.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
    cost: { usd: 0.4 }
"#;

fn with(budgets: &str) -> Builder {
    let policy = format!("{RULES}budgets:\n{budgets}");
    TestGateway::builder().counting().manifest("costly.yaml", COSTLY).policy("p.yaml", &policy)
}

fn line(client: &Modern, tool: &str, line: &str) -> Value {
    client.call(tool, json!({ "line": line }))
}

fn in_workflow(client: &Modern, workflow: &str) -> Value {
    let meta = json!({ "countersign/workflow": workflow });
    client.result(
        "tools/call",
        json!({ "name": "count", "arguments": { "line": workflow }, "_meta": meta }),
    )
}

/// The same client of a gateway that was started again.
fn again(gateway: &TestGateway, client: &Modern) -> Modern {
    Modern::new(gateway.url(), &client.token)
}

/// Asserts that a call ran.
#[track_caller]
fn ran(result: &Value) {
    assert_eq!(result["isError"], json!(false), "{result}");
}

/// What is spent of the only budget, by whom.
fn spent(gateway: &TestGateway) -> Vec<Value> {
    let list = gateway.api_get("/api/v1/budgets").json();
    list["budgets"][0]["spent"].as_array().unwrap().clone()
}

fn entries(gateway: &TestGateway, kind: &str) -> Vec<Value> {
    let mut entries = gateway.entries();
    entries.retain(|stored| stored["entry"]["kind"] == kind);
    entries.into_iter().map(|stored| stored["entry"].clone()).collect()
}

#[test]
fn calls_are_spent_per_agent_and_survive_a_power_cut() {
    let mut gateway =
        with("  - { name: few, match: {}, per: agent, spend: { calls: 2 } }\n").start();
    let (a, b) = (gateway.modern("a"), gateway.modern("b"));
    ran(&line(&a, "count", "0"));
    gateway.restart();
    let (a, b) = (again(&gateway, &a), again(&gateway, &b));
    ran(&line(&a, "count", "1"));
    for _ in 0..2 {
        let result = line(&a, "count", "2");
        let told = refused(&result);
        assert!(told.contains("`few`") && told.contains("2 of 2 calls"), "{told}");
        assert!(told.contains("does not renew"), "{told}");
        let decision = &result["_meta"]["countersign/decision"];
        assert_eq!(decision["refusal"], "budget_spent", "{result}");
        assert_eq!(decision["rules"], json!(["budget:few"]), "{result}");
        assert!(result["_meta"].get("countersign/retry_after").is_none(), "{result}");
    }
    ran(&line(&b, "count", "b"));
    assert_eq!(gateway.ran(), ["0", "1", "b"]);
    let refusals = entries(&gateway, "refusal");
    assert_eq!(refusals.len(), 2);
    assert_eq!(refusals[0]["refusal"], "budget_spent");
    let intents = entries(&gateway, "intent");
    let charge = json!([{ "budget": "few", "who": { "agent": "a" }, "amounts": { "calls": 1 } }]);
    assert_eq!(intents[0]["charges"], charge);
    assert_eq!(gateway.metric("countersign_budget_exhausted_total{then=\"DENY\"}"), Some(2.0));
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn declared_cost_is_spent_to_the_last_cent_and_refused_calls_cost_nothing() {
    let gateway =
        with("  - { name: dollar, match: {}, per: gateway, spend: { cost_usd: 1 } }\n").start();
    let (a, b, c) = (gateway.modern("a"), gateway.modern("b"), gateway.modern("c"));
    ran(&line(&a, "dear", "0"));
    refused(&line(&c, "dear", "never"));
    refused(&a.call("dear", json!({})));
    assert_eq!(spent(&gateway)[0]["spent"], json!({ "cost_usd": 0.4 }));
    ran(&line(&b, "dear", "1"));
    let told = refused(&line(&a, "dear", "2"));
    assert!(told.contains("0.8 of 1 US dollars"), "{told}");
    // What costs nothing runs on.
    ran(&line(&a, "count", "free"));
    assert_eq!(gateway.ran(), ["0", "1", "free"]);
    let cost = gateway.metric("countersign_cost_usd_total{tool=\"dear\"}").unwrap();
    assert!((cost - 0.8).abs() < 1e-9, "{cost}");
    let tools = gateway.cli(&["catalog", "list", "--output", "json"]).json();
    let dear = tools.as_array().unwrap().iter().find(|it| it["name"] == "dear").unwrap();
    assert_eq!(dear["cost"], json!({ "usd": 0.4 }));
}

#[test]
fn compute_time_is_spent_by_what_backends_take() {
    let gateway =
        with("  - { name: time, match: {}, per: tool, spend: { compute: 1ms } }\n").start();
    let a = gateway.modern("a");
    let slow = |line: &str| a.call("count_slowly", json!({ "line": line, "seconds": 0.05 }));
    ran(&slow("0"));
    let told = refused(&slow("1"));
    assert!(told.contains("`time`") && told.contains("compute time"), "{told}");
    ran(&line(&a, "look", "another tool"));
    assert_eq!(gateway.ran(), ["0", "another tool"]);
    let compute = spent(&gateway)[0]["spent"]["compute_ms"].as_u64().unwrap();
    assert!(compute >= 50, "{compute}");
}

#[test]
fn tokens_are_counted_after_they_were_estimated_and_kept() {
    let mut gateway =
        with("  - { name: words, match: {}, per: agent, spend: { tokens: 40 } }\n").start();
    let a = gateway.modern("a");
    // One word of many letters is few tokens for its bytes.
    let long = "internationalization ".repeat(4);
    ran(&line(&a, "count", &long));
    let metric = |gateway: &TestGateway| gateway.metric("countersign_tokens_total{tool=\"count\"}");
    let counted = until("tokens to be counted", || metric(&gateway).filter(|it| *it > 0.0));
    let outcomes = until("the outcome", || {
        Some(entries(&gateway, "outcome")).filter(|outcomes| !outcomes.is_empty())
    });
    let estimated = outcomes[0]["outcome"]["charges"][0]["amounts"]["tokens"].as_f64().unwrap();
    assert!(counted < estimated, "{counted} of estimated {estimated}");
    let now = |gateway: &TestGateway| spent(gateway)[0]["spent"]["tokens"].as_f64();
    until("the count to be taken", || now(&gateway).filter(|it| *it == counted));
    gateway.stop();
    gateway.launch();
    assert_eq!(now(&gateway), Some(counted), "after a start");
    let a = again(&gateway, &a);
    // It may be exceeded by what runs, and then no more.
    let mut calls = 0;
    while line(&a, "count", &long)["isError"] != json!(true) {
        calls += 1;
        assert!(calls < 5, "more than forty tokens ran");
    }
    assert!(refused(&line(&a, "count", "x")).contains("of 40 tokens"));
}

#[test]
fn calls_that_come_together_spend_no_more_than_there_is() {
    let gateway =
        with("  - { name: five, match: {}, per: gateway, spend: { calls: 5 } }\n").start();
    let clients: Vec<Modern> = ["a", "b", "c"].map(|it| gateway.modern(it)).into();
    let ran: usize = std::thread::scope(|scope| {
        let call = |n: usize| {
            let client = &clients[n % 3];
            move || {
                let result =
                    client.call("count_slowly", json!({ "line": n.to_string(), "seconds": 0.2 }));
                usize::from(result["isError"] != json!(true))
            }
        };
        let calls: Vec<_> = (0..16).map(|n| scope.spawn(call(n))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    assert_eq!(ran, 5);
    assert_eq!(gateway.ran().len(), 5);
    assert_eq!(spent(&gateway), [json!({ "who": {}, "spent": { "calls": 5 }, "share": 100 })]);
}

#[test]
fn a_window_renews_by_the_clock_and_says_when() {
    let gateway =
        with("  - { name: weekly, match: {}, per: agent, spend: { calls: 1 }, every: 1w }\n")
            .manual_clock()
            .start();
    let a = gateway.modern("a");
    ran(&line(&a, "count", "0"));
    let result = line(&a, "count", "1");
    let told = refused(&result);
    let wait = result["_meta"]["countersign/retry_after"].as_u64().unwrap();
    assert!((1..=7 * 86_400 + 1).contains(&wait), "{wait}");
    assert!(told.contains(&format!("renews in {wait} s")), "{told}");
    gateway.advance(WEEK);
    ran(&line(&a, "count", "2"));
    refused(&line(&a, "count", "3"));
    assert_eq!(gateway.ran(), ["0", "2"]);
}

#[test]
fn a_spent_budget_may_ask_people_and_an_approved_call_runs() {
    let budget =
        "  - { name: asked, match: {}, per: agent, spend: { calls: 1 }, then: REQUIRE_APPROVAL }\n";
    let gateway = with(budget).start();
    let a = gateway.modern_with_tasks("a");
    ran(&line(&a, "count", "0"));
    line(&a, "count", "1");
    let id = gateway.pending();
    let hold = gateway.hold(&id);
    assert!(text(&hold["reason"]).contains("`asked` is spent (1 of 1 calls"), "{hold}");
    assert!(hold["rules"].as_array().unwrap().contains(&json!("budget:asked")), "{hold}");
    assert_eq!(spent(&gateway)[0]["spent"], json!({ "calls": 1 }), "what waits spends nothing");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["0", "1"]);
    assert_eq!(spent(&gateway)[0]["spent"], json!({ "calls": 2 }));
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn people_are_told_once_of_each_share() {
    let budget =
        "  - { name: told, match: {}, per: agent, spend: { calls: 4 }, alert_at: [75%, 50%] }\n";
    let mut gateway = with(budget).start();
    let (a, b) = (gateway.modern("a"), gateway.modern("b"));
    ran(&line(&a, "count", "0"));
    assert_eq!(entries(&gateway, "budget_alert").len(), 0);
    ran(&line(&a, "count", "1"));
    ran(&line(&b, "count", "b"));
    gateway.restart();
    let a = again(&gateway, &a);
    ran(&line(&a, "count", "2"));
    ran(&line(&a, "count", "3"));
    refused(&line(&a, "count", "4"));
    let alerts = entries(&gateway, "budget_alert");
    let told: Vec<_> = alerts.iter().map(|it| (&it["budget"], &it["who"], &it["share"])).collect();
    let (budget, who) = (json!("told"), json!({ "agent": "a" }));
    assert_eq!(told, [(&budget, &who, &json!(50)), (&budget, &who, &json!(75))]);
    assert_eq!(alerts[0]["spent"], json!({ "calls": 2 }));
    assert_eq!(gateway.metric("countersign_budget_alerts_total"), Some(1.0), "since the start");
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn names_that_a_caller_chooses_spend_nothing_of_another_agents() {
    let gateway =
        with("  - { name: run, match: {}, per: workflow, spend: { calls: 1 } }\n").start();
    let (a, b) = (gateway.modern("a"), gateway.modern("b"));
    ran(&in_workflow(&a, "w"));
    refused(&in_workflow(&a, "w"));
    // The same name of another agent is another's.
    ran(&in_workflow(&b, "w"));
    refused(&in_workflow(&b, "w"));
    ran(&in_workflow(&a, "v"));
    let mut who: Vec<Value> = spent(&gateway).into_iter().map(|it| it["who"].clone()).collect();
    who.sort_by_key(ToString::to_string);
    let of = |agent: &str, workflow: &str| json!({ "agent": agent, "workflow": workflow });
    assert_eq!(who, [of("a", "v"), of("a", "w"), of("b", "w")]);
    let only_b = gateway.api_get("/api/v1/budgets?agent=b").json();
    assert_eq!(only_b["budgets"][0]["spent"].as_array().unwrap().len(), 1, "{only_b}");
}

#[test]
fn a_changed_budget_keeps_what_is_spent_and_people_can_look() {
    let budget = |calls: u32| {
        let budget =
            format!("  - {{ name: some, match: {{}}, per: agent, spend: {{ calls: {calls} }} }}\n");
        format!("{RULES}budgets:\n{budget}")
    };
    let gateway = TestGateway::builder()
        .counting()
        .manifest("costly.yaml", COSTLY)
        .policy("p.yaml", &budget(1))
        .start();
    let a = gateway.modern("a");
    let asked = json!({ "agent": "a", "tool": "count", "arguments": { "line": "x" } });
    let explained =
        || gateway.api_post("/api/v1/policy/explain", &asked).json()["explanation"].clone();
    assert_eq!(explained()["decision"], "ALLOW");
    ran(&line(&a, "count", "0"));
    let told = explained();
    assert_eq!((&told["decision"], &told["denial"]), (&json!("DENY"), &json!("budget")), "{told}");
    assert_eq!(told["decided_by"], json!(["budget:some"]));
    refused(&line(&a, "count", "1"));
    gateway.put_policy("p.yaml", &budget(2));
    gateway.cli(&["policy", "reload"]).done();
    ran(&line(&a, "count", "2"));
    refused(&line(&a, "count", "3"));
    let table = gateway.cli(&["budgets"]).done();
    assert!(
        table.contains("some") && table.contains("2 calls") && table.contains("never"),
        "{table}"
    );
    let list = gateway.cli(&["budgets", "--agent", "b", "--output", "json"]).json();
    assert_eq!(list["budgets"][0]["spent"], json!([]), "{list}");
    assert_eq!(list["budgets"][0]["spend"], json!({ "calls": 2 }));
}

#[test]
fn an_approved_call_that_a_budget_denies_does_not_run_and_nobody_is_asked_again() {
    let asks = "rules: [{ name: asks, match: { tool: count }, decision: REQUIRE_APPROVAL }]\n";
    let gateway = with("  - { name: once, match: {}, per: agent, spend: { calls: 1 } }\n")
        .policy("asks.yaml", asks)
        .start();
    let a = gateway.modern_with_tasks("a");
    line(&a, "count", "0");
    let first = gateway.pending();
    line(&a, "count", "1");
    let held = gateway.holds_when("pending", 2);
    let second = held.iter().map(|it| text(&it["id"])).find(|id| *id != first).unwrap();
    gateway.approve(&first);
    gateway.hold_when(&first, "finished");
    gateway.cli(&["approvals", "approve", &second]).done();
    let hold = gateway.hold_when(&second, "superseded");
    assert!(text(&hold["why"]).contains("`once` is spent"), "{hold}");
    assert_eq!(hold["anew"], Value::Null, "people are asked what they cannot allow: {hold}");
    assert_eq!(gateway.ran(), ["0"]);
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn a_call_that_only_a_budget_asks_about_is_held_anew_when_its_tool_changed() {
    let budget = "  - { name: dearer, match: {}, per: agent, spend: { cost_usd: 0.1 }, then: REQUIRE_APPROVAL }\n";
    let mut gateway = with(budget).env("COUNTERSIGN_FAIL_AT", "decide_hold.after").start();
    gateway.modern_with_tasks("a").call("dear", json!({ "line": "0" }));
    let id = gateway.pending();
    gateway.cli(&["approvals", "approve", &id]);
    gateway.wait_for_death();
    gateway.set_env("COUNTERSIGN_FAIL_AT", None);
    gateway.put_manifest("costly.yaml", &COSTLY.replace("at a price", "at another price"));
    gateway.launch();
    let before = gateway.hold_when(&id, "superseded");
    let anew = gateway.pending();
    assert_eq!((&before["anew"], &gateway.hold(&anew)["anew_of"]), (&json!(anew), &json!(id)));
    assert!(gateway.hold(&anew)["rules"].as_array().unwrap().contains(&json!("budget:dearer")));
    gateway.approve(&anew);
    gateway.hold_when(&anew, "finished");
    assert_eq!(gateway.ran(), ["0"]);
}
