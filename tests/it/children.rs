//! An orchestrator that acts for named children: whose catalog, limits and holds count, what the record says,
//! and what ends it.

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, Stdio, refused};
use crate::harness::{TestGateway, text, until};

const POLICY: &str = "\
rules:
  - { name: looks, match: { action: look, agent: [a, b] }, decision: ALLOW }
  - { name: counts, match: { action: count, agent: b }, decision: REQUIRE_APPROVAL }
limits:
  - { name: few, match: { action: look }, per: agent, rate: 2/hour }
";

/// A gateway with two children, an orchestrator for both and one for nobody.
fn gateway(policy: &str) -> TestGateway {
    let gateway = TestGateway::builder().counting().policy("all.yaml", policy).start();
    for child in ["a", "b", "stranger"] {
        gateway.cli(&["agents", "add", child, "--group", "research"]).done();
    }
    gateway
}

fn grant(gateway: &TestGateway, orchestrator: &str, children: &[&str]) {
    gateway.cli(&[&["agents", "acts-for", orchestrator], children].concat()).done();
}

fn call_for(client: &dyn Client, child: &str, tool: &str, line: &str) -> Value {
    let meta = json!({ "countersign/agent": child });
    let params = json!({ "name": tool, "arguments": { "line": line }, "_meta": meta });
    client.request("tools/call", params)
}

fn tools_for(client: &dyn Client, child: &str) -> Vec<String> {
    let params = json!({ "_meta": { "countersign/agent": child } });
    let listed = client.result("tools/list", params);
    let tools = listed["tools"].as_array().unwrap().clone();
    tools
        .iter()
        .map(|tool| text(&tool["name"]))
        .filter(|name| !name.starts_with("counters"))
        .collect()
}

fn entries_of(gateway: &TestGateway, kind: &str) -> Vec<Value> {
    let entries = gateway.entries().into_iter().map(|stored| stored["entry"].clone());
    entries.filter(|entry| entry["kind"] == kind).collect()
}

/// Each child has its own catalog, and its own part of a limit, whoever's connection it comes over.
fn apart(gateway: &TestGateway, client: &dyn Client) {
    assert_eq!(tools_for(client, "a"), ["look"]);
    let mut both = tools_for(client, "b");
    both.sort();
    assert_eq!(both, ["count", "count_slowly", "look"]);
    for child in ["a", "b"] {
        for line in ["1", "2"] {
            let answer = call_for(client, child, "look", line);
            assert_ne!(answer["result"]["isError"], true, "{child} {line}: {answer}");
        }
        let third = refused(&call_for(client, child, "look", "3")["result"]);
        assert!(third.contains("few"), "{third}");
    }
    let intents = entries_of(gateway, "intent");
    assert_eq!(intents.len(), 4, "{intents:?}");
    for (intent, child) in intents.iter().zip(["a", "a", "b", "b"]) {
        assert_eq!(intent["agent"], child);
        assert_eq!(intent["via"]["agent"], "planner", "{intent}");
        assert_eq!(intent["groups"], json!(["research"]));
    }
}

#[test]
fn each_child_has_its_own_catalog_and_limits_over_http() {
    let gateway = gateway(POLICY);
    let planner = gateway.modern("planner");
    grant(&gateway, "planner", &["a", "b"]);
    apart(&gateway, &planner);
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn each_child_has_its_own_catalog_and_limits_in_one_session() {
    let gateway = gateway(POLICY);
    let planner = gateway.legacy("planner");
    grant(&gateway, "planner", &["a", "b"]);
    apart(&gateway, &planner);
}

#[test]
fn each_child_has_its_own_catalog_and_limits_over_stdio() {
    let gateway = gateway(POLICY);
    gateway.cli(&["agents", "add", "planner", "--acts-for", "a", "--acts-for", "b"]).done();
    let planner: Stdio = gateway.stdio("planner").begin("2025-11-25");
    apart(&gateway, &planner);
}

#[test]
fn who_may_not_act_learns_nothing_and_is_recorded() {
    let gateway = gateway(POLICY);
    let planner = gateway.modern("planner");
    let child = gateway.modern("middle");
    grant(&gateway, "planner", &["a", "middle"]);
    grant(&gateway, "middle", &["b"]);
    gateway.cli(&["agents", "add", "gone"]).done();
    grant(&gateway, "planner", &["a", "middle", "gone"]);
    gateway.cli(&["agents", "revoke", "gone"]).done();
    let error = |answer: Value| {
        assert!(answer.get("result").is_none(), "{answer}");
        answer["error"].clone()
    };
    let first = error(call_for(&planner, "stranger", "look", "x"));
    // Another's child, one that nobody knows, one that was revoked, no name, and itself: all alike.
    for name in ["b", "nobody", "gone", "", "two words", "planner"] {
        assert_eq!(error(call_for(&planner, name, "look", "x")), first, "{name}");
        let listed =
            planner.request("tools/list", json!({ "_meta": { "countersign/agent": name } }));
        assert_eq!(error(listed), first, "{name}");
    }
    for name in [json!(7), json!(null), json!(["a"])] {
        let listed =
            planner.request("tools/list", json!({ "_meta": { "countersign/agent": name } }));
        assert_eq!(error(listed), first);
    }
    // What lasts belongs to the credential that opened it, even for a child of its own.
    let meta = json!({ "countersign/agent": "a" });
    let listen = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
    assert_eq!(error(planner.request("subscriptions/listen", listen)), first);
    let refusals = entries_of(&gateway, "refusal");
    assert_eq!(refusals.len(), 17, "{refusals:?}");
    for refusal in &refusals {
        assert_eq!(
            (&refusal["agent"], &refusal["refusal"]),
            (&json!("planner"), &json!("not_acting"))
        );
    }
    assert!(refusals[0]["cause"].as_str().unwrap().contains("stranger"));
    // The grant of the one in between is its own credential's.
    assert_eq!(tools_for(&child, "b").len(), 3);
    let unfit = |arguments: &[&str]| gateway.cli(arguments).code;
    assert_ne!(unfit(&["agents", "acts-for", "planner", "nobody"]), 0);
    assert_ne!(unfit(&["agents", "acts-for", "planner", "planner"]), 0);
    assert_ne!(unfit(&["agents", "acts-for", "nobody", "a"]), 0);
}

#[test]
fn a_call_held_for_a_child_is_collected_through_its_orchestrator_and_by_no_other() {
    let mut gateway = gateway(POLICY);
    let planner = gateway.legacy("planner");
    let other = gateway.modern("other");
    grant(&gateway, "planner", &["a", "b"]);
    grant(&gateway, "other", &["a"]);
    let held = planner.clone();
    let asked = std::thread::spawn(move || call_for(&held, "b", "count", "held"));
    let hold = until("the hold", || {
        let list = gateway.cli(&["approvals", "list", "--output", "json"]).json();
        list.as_array()?.first().cloned()
    });
    assert_eq!((&hold["agent"], &hold["via"]["agent"]), (&json!("b"), &json!("planner")));
    let id = text(&hold["id"]);
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(shown.contains("b via planner"), "{shown}");
    let wait = |client: &dyn Client, child: &str| {
        let meta = json!({ "countersign/agent": child });
        let params =
            json!({ "name": "countersign_wait", "arguments": { "hold": id }, "_meta": meta });
        client.request("tools/call", params)
    };
    // Neither the orchestrator as itself or for the other child, nor another orchestrator.
    for stranger in [
        planner.request(
            "tools/call",
            json!({ "name": "countersign_wait", "arguments": { "hold": id } }),
        ),
        wait(&planner, "a"),
        wait(&other, "a"),
    ] {
        assert!(refused(&stranger["result"]).contains("There is no hold"), "{stranger}");
    }
    gateway.cli(&["approvals", "approve", &id]).done();
    let answer = asked.join().unwrap();
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    let intent = &entries_of(&gateway, "intent")[0];
    assert_eq!((&intent["agent"], &intent["via"]["agent"]), (&json!("b"), &json!("planner")));
    gateway.restart();
    gateway.cli(&["audit", "verify"]).done();
    // The leave to act is in the register, not in the process.
    let planner = gateway.legacy("second");
    let refused_now =
        planner.request("tools/list", json!({ "_meta": { "countersign/agent": "b" } }));
    assert!(refused_now.get("error").is_some(), "{refused_now}");
    let agents = gateway.cli(&["agents", "list", "--output", "json"]).json();
    let found = agents.as_array().unwrap().iter().find(|it| it["name"] == "planner").unwrap();
    assert_eq!(found["acts_for"], json!(["a", "b"]));
}

#[test]
fn halts_and_revocations_of_either_end_it_at_once() {
    let gateway = gateway(&POLICY.replace("2/hour", "100/hour"));
    let planner = gateway.legacy("planner");
    let other = gateway.legacy("other");
    let itself = Legacy::open(
        gateway.url(),
        gateway.cli(&["agents", "rotate", "b"]).done().trim(),
        "2025-11-25",
    );
    grant(&gateway, "planner", &["a", "b"]);
    grant(&gateway, "other", &["a", "b"]);
    let halt = |agent: &str| {
        let halted = gateway.cli(&["halt", "--reason", "an incident", "--agent", agent]);
        halted.done().trim().to_owned()
    };
    let resume = |id: &str| gateway.cli(&["resume", id, "--reason", "over"]).done();
    let looks = |client: &dyn Client, child: &str| {
        let answer = call_for(client, child, "look", "x");
        answer["result"]["isError"] != true && answer.get("error").is_none()
    };
    let held = planner.clone();
    let asked = std::thread::spawn(move || call_for(&held, "b", "count", "held"));
    until("the hold", || {
        let list = gateway.cli(&["approvals", "list", "--output", "json"]).json();
        list.as_array()?.first().cloned()
    });
    let id = halt("planner");
    let ended = refused(&asked.join().unwrap()["result"]);
    assert!(ended.starts_with("HALTED"), "{ended}");
    assert_eq!((looks(&planner, "a"), looks(&planner, "b")), (false, false));
    // What comes without the orchestrator goes on.
    assert!(looks(&other, "a"));
    assert_ne!(itself.call("look", json!({ "line": "x" }))["isError"], true);
    resume(&id);
    let id = halt("a");
    assert_eq!((looks(&planner, "a"), looks(&planner, "b")), (false, true));
    assert!(!looks(&other, "a"));
    resume(&id);
    assert!(looks(&planner, "a"));
    grant(&gateway, "planner", &["b"]);
    assert_eq!((looks(&planner, "a"), looks(&planner, "b")), (false, true));
    gateway.cli(&["agents", "revoke", "b"]).done();
    assert_eq!(
        (looks(&planner, "b"), looks(&other, "b"), looks(&other, "a")),
        (false, false, true)
    );
    grant(&gateway, "planner", &[]);
    gateway.cli(&["agents", "revoke", "other"]).done();
    let meta = json!({ "countersign/agent": "a" });
    let reply = other.send(
        json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/list", "params": { "_meta": meta } })
            .to_string(),
    );
    assert_eq!(reply.status, 401);
    gateway.cli(&["audit", "verify"]).done();
}
