//! Files that change while the gateway runs: taken up as a whole or not at all, under calls that go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::clients::Client as _;
use crate::clients::said;
use crate::harness::{ALLOW_ALL, HOLD_ALL, TestGateway, until};

fn rule(name: &str, decision: &str) -> String {
    format!(
        "rules:\n  - {{ name: {name}, match: {{}}, decision: {decision}, reason: says {name} }}\n"
    )
}

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("rules.yaml", ALLOW_ALL).start()
}

fn reload(gateway: &TestGateway) -> Value {
    let reply = gateway.api_post("/api/v1/policy/reload", &json!({}));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn a_changed_file_is_taken_up_by_itself_and_on_sighup() {
    let gateway = gateway();
    let agent = gateway.modern("a");
    assert!(!said(&agent.call("count", json!({ "line": "1" }))).contains("says"));
    gateway.put_policy("rules.yaml", &rule("first", "DENY"));
    until("the file to be taken up", || {
        said(&agent.call("count", json!({ "line": "2" }))).contains("says first").then_some(())
    });
    let gateway = TestGateway::builder()
        .counting()
        .policy("rules.yaml", ALLOW_ALL)
        .config("watch: false\n")
        .start();
    let agent = gateway.modern("a");
    gateway.put_policy("rules.yaml", &rule("second", "DENY"));
    gateway.signal(Signal::SIGHUP);
    until("the file to be taken up", || {
        said(&agent.call("count", json!({ "line": "2" }))).contains("says second").then_some(())
    });
}

#[test]
fn r6_what_is_wrong_is_said_and_changes_nothing() {
    let gateway = gateway();
    let agent = gateway.modern("a");
    let before = gateway.api_get("/api/v1/policy").json();
    gateway.put_policy("more.yaml", "rules:\n  - { name: new, mach: {}, decision: DENY }\n");
    gateway.put_policy("rules.yaml", &rule("other", "DENY"));
    let reply = gateway.api_post("/api/v1/policy/reload", &json!({}));
    assert_eq!(reply.status, 409);
    let told = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(told.contains("policies/more.yaml:2:") && told.contains("mach"), "{told}");
    agent.call("count", json!({ "line": "1" }));
    assert_eq!(gateway.ran(), ["1"], "half of it is in force");
    let policy = gateway.api_get("/api/v1/policy").json();
    assert_eq!(policy["revision"], before["revision"]);
    assert!(policy["refused"]["why"].as_str().unwrap().contains("more.yaml:2:"), "{policy}");
    assert_eq!(gateway.metric("countersign_policy_reload_total{result=\"taken\"}"), Some(0.0));
    let doctor = gateway.cli(&["doctor"]);
    assert!(doctor.code == 1 && doctor.stdout.contains("more.yaml:2:"), "{doctor:?}");
    // Mended, it comes into force, and nothing is left of what was said.
    let refused = gateway.cli(&["policy", "reload"]);
    assert!(refused.code == 5 && refused.stderr.contains("more.yaml:2:"), "{refused:?}");
    gateway.put_policy("more.yaml", "rules: []\n");
    let reloaded = gateway.cli(&["policy", "reload", "--output", "json"]).json();
    assert_eq!(reloaded["before"], before["revision"]);
    assert!(said(&agent.call("count", json!({ "line": "2" }))).contains("says other"));
    assert_eq!(gateway.api_get("/api/v1/policy").json()["refused"], Value::Null);
    let entries = gateway.entries();
    let loaded = entries.iter().filter(|it| it["entry"]["kind"] == "revision_loaded");
    let loaded: Vec<_> = loaded.map(|it| &it["entry"]["revision"]).collect();
    assert_eq!(loaded, [&before["revision"], &reloaded["revision"]]);
}

#[test]
fn what_is_the_same_stays_the_same() {
    let gateway = gateway();
    let reloaded = reload(&gateway);
    assert_eq!(reloaded["before"], Value::Null);
    let loaded =
        gateway.entries().iter().filter(|it| it["entry"]["kind"] == "revision_loaded").count();
    assert_eq!(loaded, 1);
}

#[test]
fn a_held_call_is_decided_again_under_the_rules_of_then() {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", HOLD_ALL).start();
    let agent = gateway.modern_with_tasks("a");
    agent.call("count", json!({ "line": "1" }));
    let held = gateway.pending();
    gateway.put_policy("rules.yaml", &rule("never", "DENY"));
    reload(&gateway);
    gateway.approve(&held);
    let hold = gateway.hold_when(&held, "superseded");
    assert!(hold["why"].as_str().unwrap().contains("never"), "{hold}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn tools_come_change_and_go_while_calls_run() {
    let slow = |name: &str, description: &str| {
        format!(
            "backend:\n  name: {name}\n  command: {{ program: \"@DIR@/bin/slow\" }}\n  timeout: 60s\nattributes: {{ capability: slow }}\ntools:\n  - name: {name}_wait\n    description: {description}\n    attributes: {{ action: wait, action_type: read, risk: low }}\n    input_schema: {{ type: object, properties: {{}} }}\n    run: []\n"
        )
    };
    let script = "#!/bin/sh\ntouch \"@DIR@/begun\"\nwhile ! test -e \"@DIR@/go\"; do sleep 0.05; done\necho waited\n";
    let gateway = TestGateway::builder()
        .policy("rules.yaml", ALLOW_ALL)
        .manifest("one.yaml", &slow("one", "Wait."))
        .script("slow", script)
        .start();
    let agent = gateway.modern("a");
    thread::scope(|scope| {
        let under_way = scope.spawn(|| gateway.modern("b").call("one_wait", json!({})));
        until("the call to run", || gateway.dir().join("begun").exists().then_some(()));
        gateway.put_manifest("two.yaml", &slow("two", "Wait too."));
        std::fs::remove_file(gateway.dir().join("tool-manifests/one.yaml")).unwrap();
        reload(&gateway);
        let tools = agent.tools();
        assert_eq!(tools, ["two_wait"]);
        std::fs::write(gateway.dir().join("go"), "").unwrap();
        assert_eq!(said(&under_way.join().unwrap()), "waited\n");
    });
    assert_eq!(said(&agent.call("two_wait", json!({}))), "waited\n");
    let gone = agent.request("tools/call", json!({ "name": "one_wait", "arguments": {} }));
    assert_eq!(gone["error"]["code"], -32602, "{gone}");
}

#[test]
fn r5_every_decision_belongs_to_one_revision() {
    reloaded_under_load(100);
}

#[test]
#[ignore = "takes minutes: run it alone, with `--ignored`"]
fn r5_every_decision_belongs_to_one_revision_a_thousand_times() {
    reloaded_under_load(1000);
}

fn reloaded_under_load(times: usize) {
    let gateway = TestGateway::builder()
        .counting()
        .policy("one.yaml", &rule("one-a", "ALLOW"))
        .policy("two.yaml", "rules: []\n")
        .config("watch: false\n")
        .start();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|number| {
            let (agent, stop) = (gateway.modern(&format!("a{number}")), Arc::clone(&stop));
            thread::spawn(move || {
                let mut calls = 0;
                while !stop.load(Ordering::Relaxed) {
                    agent.call("count", json!({ "line": "1" }));
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    // What a revision says, it says with the rules of its two files, which change together.
    let mut revisions = std::collections::HashMap::new();
    let first = gateway.api_get("/api/v1/policy").json()["revision"].take();
    revisions.insert(first.as_str().unwrap().to_owned(), vec!["one-a".to_owned()]);
    for round in 0..times {
        let decision = if round % 2 == 0 { "ALLOW" } else { "DENY" };
        let names = ["one", "two"].map(|file| format!("{file}-{round}"));
        gateway.put_policy("one.yaml", &rule(&names[0], decision));
        gateway.put_policy("two.yaml", &rule(&names[1], decision));
        let reloaded = reload(&gateway);
        revisions.insert(reloaded["revision"].as_str().unwrap().to_owned(), names.to_vec());
    }
    stop.store(true, Ordering::Relaxed);
    let calls: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert!(calls > 10, "{calls} calls");
    let (mut loaded, mut seen) = (std::collections::HashSet::new(), [0, 0]);
    for entry in gateway.entries().iter().map(|it| &it["entry"]) {
        let revision = entry["revision"].as_str().unwrap_or_default();
        let kind = entry["kind"].as_str().unwrap();
        if kind == "revision_loaded" {
            loaded.insert(revision.to_owned());
        }
        if !matches!(kind, "intent" | "refusal") {
            continue;
        }
        assert!(loaded.contains(revision), "it decides before the record says so: {entry}");
        let mut rules: Vec<_> =
            entry["rules"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        rules.sort_unstable();
        assert_eq!(rules, revisions[revision], "{entry}");
        seen[usize::from(kind == "refusal")] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?} calls ran and were denied");
}
