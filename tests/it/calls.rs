//! Calls as people search them, and everything that the record says of one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, Modern, Reply, http};
use crate::harness::{RUNTIME, TestGateway, text, until};

const POLICY: &str = "\
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - { name: slow, match: { tool: count_slowly }, decision: DENY, reason: too slow }
  - { name: counts, match: { tool: count }, decision: REQUIRE_APPROVAL, approval: { reviewers: [group:sre] } }
";

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("rules.yaml", POLICY).manual_clock().start()
}

fn calls(gateway: &TestGateway, query: &str) -> Value {
    let reply = gateway.api_get(&format!("/api/v1/calls?{query}"));
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    reply.json()
}

/// The calls that a query finds, once there are as many.
fn found(gateway: &TestGateway, query: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} calls by `{query}`"), || {
        let Value::Array(calls) = calls(gateway, query)["calls"].take() else { panic!("no list") };
        (calls.len() == count).then_some(calls)
    })
}

fn statuses(calls: &[Value]) -> Vec<String> {
    calls.iter().map(|call| text(&call["status"])).collect()
}

fn timeline(gateway: &TestGateway, call: &Value) -> Value {
    let reply = gateway.api_get(&format!("/api/v1/calls/{}", text(call)));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn kinds(timeline: &Value) -> Vec<String> {
    let entries = timeline["entries"].as_array().unwrap();
    entries.iter().map(|entry| text(&entry["entry"]["kind"])).collect()
}

fn ask(agent: &Modern, tool: &str, line: &str) {
    agent.call(tool, json!({ "line": line }));
}

#[test]
fn calls_are_listed_newest_first_and_found_by_what_they_were() {
    let gateway = gateway();
    let (a, b) = (gateway.modern_with_tasks("a"), gateway.modern_with_tasks("b"));
    ask(&a, "look", "1");
    gateway.advance(Duration::from_secs(3600));
    a.call("count_slowly", json!({ "line": "2", "seconds": 0 }));
    ask(&b, "look", "3");
    b.try_call("no_such_tool", json!({}));
    ask(&b, "count", "4");
    let hold = gateway.pending();
    let all = found(&gateway, "", 5);
    assert_eq!(statuses(&all), ["held", "refused", "success", "refused", "success"]);
    let tools: Vec<String> = all.iter().map(|call| text(&call["tool"])).collect();
    assert_eq!(tools, ["count", "no_such_tool", "look", "count_slowly", "look"]);
    assert_eq!(all[0]["hold"], hold.as_str());
    assert_eq!(all[0]["hold_state"], "pending");
    assert_eq!(all[3]["refusal"], "denied");
    assert_eq!(all[3]["rules"], json!(["slow"]));

    let later = text(&all[3]["at"]);
    let first = text(&all[4]["call"]);
    for (query, expected) in [
        ("agent=a".to_owned(), vec![3, 4]),
        ("agent=b&tool=look".to_owned(), vec![2]),
        ("tool=look".to_owned(), vec![2, 4]),
        ("status=refused".to_owned(), vec![1, 3]),
        ("rule=looks&agent=a".to_owned(), vec![4]),
        ("rule=slow".to_owned(), vec![3]),
        (format!("hold={hold}"), vec![0]),
        (format!("hold={hold}&agent=a"), vec![]),
        (format!("after={later}"), vec![0, 1, 2, 3]),
        (format!("before={later}"), vec![4]),
        (format!("id={first}"), vec![4]),
        (format!("id={}", first[..13].to_uppercase()), vec![4]),
        (format!("id={first}&agent=b"), vec![]),
    ] {
        let expected: Vec<&Value> = expected.into_iter().map(|at: usize| &all[at]).collect();
        let found = calls(&gateway, &query);
        let found: Vec<&Value> = found["calls"].as_array().unwrap().iter().collect();
        // Several calls may begin in the same millisecond, which their identifiers begin with.
        if query.contains("id=") && found.len() > expected.len() {
            assert!(expected.iter().all(|it| found.contains(it)), "{query}");
            continue;
        }
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn a_list_goes_on_where_it_ended_whatever_came_meanwhile() {
    let gateway = gateway();
    let a = gateway.modern("a");
    for line in 0..7 {
        ask(&a, "look", &line.to_string());
    }
    let all = found(&gateway, "", 7);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = calls(&gateway, &format!("limit=3&tool=look{cursor}"));
        seen.extend(page["calls"].as_array().unwrap().clone());
        ask(&a, "look", "meanwhile");
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, all);
}

#[test]
fn a_search_that_makes_no_sense_is_refused() {
    let gateway = gateway();
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "status=lost",
        "id=",
        "id=xyz",
        "cursor=1",
        "hold=1",
        "after=yesterday",
        "sort=tool",
    ] {
        let reply = gateway.api_get(&format!("/api/v1/calls?{query}"));
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        assert!(reply.json()["error"].is_string(), "{query}: {reply:?}");
    }
    for id in ["nothing", "019a0000-0000-7000-8000-000000000000", "%FF"] {
        let reply = gateway.api_get(&format!("/api/v1/calls/{id}"));
        assert!(matches!(reply.status, 400 | 404), "{id}: {reply:?}");
        assert!(reply.json()["error"].is_string(), "{id}: {reply:?}");
    }
}

#[test]
fn the_timeline_of_a_held_call_goes_from_its_arrival_to_its_outcome() {
    let gateway = gateway();
    let person = |name: &str, group: &str| {
        let add = ["reviewers", "add", name, "--role", "reviewer", "--group", group];
        gateway.cli(&add).done().trim().to_owned()
    };
    let (outsider, reviewer) = (person("otto", "dev"), person("ada", "sre"));
    ask(&gateway.modern_with_tasks("a"), "count", "x");
    let hold = gateway.pending();
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(&hold)["digest"] });
    let decide = |token: &str| {
        let url = format!("{}/api/v1/approvals/{hold}/verdict", gateway.url());
        RUNTIME.block_on(Reply::of(http().post(url).bearer_auth(token).json(&verdict))).status
    };
    assert_eq!(decide(&outsider), 403);
    assert_eq!(decide(&reviewer), 200);
    gateway.hold_when(&hold, "finished");

    let both = found(&gateway, &format!("hold={hold}"), 2);
    assert_eq!(statuses(&both), ["success", "held"], "the call that ran, and the one that asked");
    assert_eq!(both[1]["hold_state"], "finished");
    let expected = ["hold", "verdict_refused", "verdict", "intent", "outcome"];
    for call in &both {
        let timeline = timeline(&gateway, &call["call"]);
        assert_eq!(kinds(&timeline), expected);
        assert_eq!(timeline["call"], *call);
        assert_eq!(timeline["calls"], json!([both[1]["call"], both[0]["call"]]));
        assert_eq!(timeline["more"], false);
        let times: Vec<String> = timeline["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| text(&entry["entry"]["time"]))
            .collect();
        assert_eq!(times.first(), Some(&text(&both[1]["at"])));
    }
}

#[test]
fn a_timeline_tells_of_time_that_people_were_given() {
    let mut gateway = gateway();
    gateway.cli(&["reviewers", "add", "ada", "--role", "reviewer", "--group", "sre"]).done();
    ask(&gateway.modern_with_tasks("a"), "count", "x");
    let hold = gateway.pending();
    gateway.stop();
    gateway.advance(Duration::from_secs(2 * 3600));
    gateway.launch();
    assert!(gateway.hold(&hold)["extended"].is_object(), "{}", gateway.hold(&hold));
    let call = found(&gateway, &format!("hold={hold}"), 1).remove(0);
    assert_eq!(kinds(&timeline(&gateway, &call["call"])), ["hold", "holds_extended"]);
}

#[test]
fn a_call_that_a_crash_cut_short_is_unknown() {
    let mut gateway = gateway();
    gateway.put_policy("rules.yaml", "rules:\n  - { name: all, match: {}, decision: ALLOW }\n");
    gateway.restart();
    let a = gateway.modern("a");
    thread_call(&a, &gateway);
    let running = found(&gateway, "status=running", 1).remove(0);
    gateway.kill();
    gateway.launch();
    let lost = found(&gateway, "status=unknown", 1).remove(0);
    assert_eq!(lost["call"], running["call"]);
    assert_eq!(kinds(&timeline(&gateway, &lost["call"])), ["intent", "outcome"]);
}

/// Begins a call that takes long, and does not wait for it.
fn thread_call(agent: &Modern, gateway: &TestGateway) {
    let request = agent.call_request("count_slowly", json!({ "line": "slow", "seconds": 20 }));
    RUNTIME.spawn(async move { drop(request.send().await) });
    until("the call to run", || (gateway.ran() == ["slow"]).then_some(()));
}
