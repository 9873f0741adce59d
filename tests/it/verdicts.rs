//! Who decides, how many must, and that a verdict counts once: real people through the binary and the API.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused};
use crate::harness::{HOLD_ALL, TestGateway, run, text};
use crate::people::{ask, by, decide, local_user, reviewer};

/// A gateway under one rule that holds everything and asks `approval`.
pub(crate) fn asking(approval: &str) -> TestGateway {
    let rule = format!(
        "rules:\n  - name: held\n    match: {{}}\n    decision: REQUIRE_APPROVAL\n    approval: {{ {approval} }}\n"
    );
    TestGateway::builder().counting().policy("held.yaml", &rule).start()
}

/// A call of an agent that waits for people, by its hold.
pub(crate) fn held(client: &Modern, line: &str) -> String {
    text(&client.call("count", json!({ "line": line }))["taskId"])
}

/// The entries of one kind, without their frame.
pub(crate) fn entries(gateway: &TestGateway, kind: &str) -> Vec<Value> {
    let entries = gateway.entries().into_iter().map(|stored| stored["entry"].clone());
    entries.filter(|entry| entry["kind"] == kind).collect()
}

fn approve(gateway: &TestGateway, name: &str, id: &str) -> i32 {
    by(gateway, name, &["approvals", "approve", id]).code
}

/// Two rules match; what they ask adds up.
const TWO_RULES: &str = r#"
rules:
  - name: everything
    match: {}
    decision: REQUIRE_APPROVAL
    approval: { reviewers: ["group:sre"], quorum: 2 }
  - name: counting
    match: { tool: count }
    decision: REQUIRE_APPROVAL
    approval: { reviewers: ["group:dba", "olga"] }
"#;

fn two_rules() -> (TestGateway, Modern) {
    let gateway = TestGateway::builder().counting().policy("two.yaml", TWO_RULES).start();
    for (name, group) in [("ada", "sre"), ("bob", "sre"), ("dan", "dba"), ("eve", "ops")] {
        reviewer(&gateway, name, &["--group", group]);
    }
    let client = gateway.modern_with_tasks("a");
    (gateway, client)
}

#[test]
fn a_quorum_of_two_groups_from_two_rules() {
    let (gateway, client) = two_rules();
    let id = held(&client, "one");
    let shown = by(&gateway, "eve", &["approvals", "show", &id]).done();
    assert!(shown.contains("needs       2 of group:sre and one of"), "{shown}");
    // Who is in no group that was asked does not count, also not the local operator.
    for refused in [
        by(&gateway, "eve", &["approvals", "approve", &id]),
        gateway.cli(&["approvals", "approve", &id]),
    ] {
        assert!(refused.code == 4 && refused.stderr.contains("2 of group:sre"), "{refused:?}");
    }
    let first = by(&gateway, "ada", &["approvals", "approve", &id, "--reason", "fine"]).done();
    assert!(first.contains("pending: needs 2 of group:sre") && first.contains("by ada"), "{first}");
    let again = by(&gateway, "ada", &["approvals", "approve", &id]);
    assert!(again.code == 5 && again.stderr.contains("has approved already"), "{again:?}");
    assert_eq!(approve(&gateway, "bob", &id), 0);
    assert_eq!(gateway.hold(&id)["state"], "pending", "two of one group are not two groups");
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(
        shown.contains("approved by ada at") && shown.contains("approved by bob at"),
        "{shown}"
    );
    assert_eq!(approve(&gateway, "dan", &id), 0);
    let hold = gateway.hold_when(&id, "finished");
    assert_eq!(hold["verdicts"].as_array().unwrap().len(), 3, "{hold}");
    assert_eq!(gateway.ran(), ["one"]);
    assert_eq!(entries(&gateway, "verdict_refused").len(), 2);
}

#[test]
fn one_rejection_rejects() {
    let (gateway, client) = two_rules();
    let id = held(&client, "one");
    assert_eq!(approve(&gateway, "ada", &id), 0);
    by(&gateway, "dan", &["approvals", "reject", &id, "--reason", "not on a Friday"]).done();
    assert_eq!(approve(&gateway, "bob", &id), 5);
    let told = refused(&client.task_when_done(&id)["result"]);
    assert!(told.contains("dan rejected") && told.contains("not on a Friday"), "{told}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a8_a_verdict_sent_fifty_times_counts_once() {
    let gateway = asking("quorum: 2");
    let ada = reviewer(&gateway, "ada", &[]);
    reviewer(&gateway, "bob", &[]);
    let id = held(&gateway.modern_with_tasks("a"), "one");
    let verdict = json!({
        "decision": "approve", "digest": gateway.hold(&id)["digest"], "idempotency_key": "one verdict"
    });
    let sent = |times: usize| {
        thread::scope(|scope| {
            let one = || decide(&gateway, &id, &verdict, &ada).status;
            let all: Vec<_> = (0..times).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        })
    };
    assert_eq!(sent(50), vec![200; 50]);
    assert_eq!(entries(&gateway, "verdict").len(), 1);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert_eq!(approve(&gateway, "bob", &id), 0);
    gateway.hold_when(&id, "finished");
    // It is still the same verdict when the call has run, and another one comes too late.
    assert_eq!(sent(1), [200]);
    let mut other = verdict.clone();
    other["idempotency_key"] = "another".into();
    assert_eq!(decide(&gateway, &id, &other, &ada).status, 409);
    assert_eq!((entries(&gateway, "verdict").len(), gateway.ran().len()), (2, 1));
}

/// Passes requests on to `gateway`, but breaks the connection on which a verdict is first answered.
fn breaking(gateway: &TestGateway) -> (String, Arc<AtomicUsize>) {
    let upstream = gateway.url().trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let verdicts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&verdicts);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (upstream, seen) = (upstream.clone(), Arc::clone(&seen));
            thread::spawn(move || drop(pass(client, &upstream, &seen)));
        }
    });
    (url, verdicts)
}

fn pass(mut client: TcpStream, upstream: &str, verdicts: &AtomicUsize) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    let breaks = Arc::new(AtomicUsize::new(0));
    let broken = Arc::clone(&breaks);
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if broken.load(Ordering::SeqCst) == 1 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let sent = String::from_utf8_lossy(&buffer[..count]);
        if sent.starts_with("POST") && sent.contains("/verdict ") {
            let first = verdicts.fetch_add(1, Ordering::SeqCst) == 0;
            breaks.store(usize::from(first), Ordering::SeqCst);
        }
        server.write_all(&buffer[..count])?;
    }
    Ok(())
}

#[test]
fn a_verdict_whose_answer_was_lost_is_sent_again_and_counts_once() {
    let gateway = asking("quorum: 2");
    reviewer(&gateway, "ada", &[]);
    let id = held(&gateway.modern_with_tasks("a"), "one");
    let (url, verdicts) = breaking(&gateway);
    let arguments = ["approvals", "approve", &id, "--url", &url, "--token-file", "ada.token"];
    let said = run(gateway.command(&arguments)).done();
    assert!(said.contains("pending"), "{said}");
    assert_eq!(verdicts.load(Ordering::SeqCst), 2);
    assert_eq!(entries(&gateway, "verdict").len(), 1);
    // A gateway that is not there is not asked for ever.
    let arguments = ["approvals", "approve", &id, "--url", "http://127.0.0.1:9"];
    let failed = run(gateway.command(&[&arguments[..], &["--token-file", "ada.token"]].concat()));
    assert_eq!(failed.code, 1, "{failed:?}");
}

#[test]
fn i3_a_verdict_says_what_was_shown() {
    let gateway = asking("quorum: 2");
    let client = gateway.modern_with_tasks("a");
    let id = held(&client, "one");
    let approved = gateway.cli(&["approvals", "approve", &id, "--reason", "seen"]);
    let verdict = entries(&gateway, "verdict").remove(0)["verdict"].clone();
    let shown = countersign::digest::Digest::of(approved.stderr.as_bytes());
    assert_eq!(verdict["rendered"]["digest"], shown.to_string(), "{approved:?}");
    assert!(text(&verdict["rendered"]["by"]).starts_with("countersign-cli/"), "{verdict}");
    assert!(!text(&verdict["idempotency_key"]).is_empty());
    approved.done();
    // Who names the digest looked elsewhere.
    let digest = text(&gateway.hold(&id)["digest"]);
    reviewer(&gateway, "ada", &[]);
    let wrong = format!("sha256:{}", "0".repeat(64));
    assert_eq!(by(&gateway, "ada", &["approvals", "approve", &id, "--digest", &wrong]).code, 5);
    let silent = by(&gateway, "ada", &["approvals", "approve", &id, "--digest", &digest]);
    assert_eq!(silent.stderr, "");
    silent.done();
    gateway.hold_when(&id, "finished");
    let verdict = entries(&gateway, "verdict").remove(1)["verdict"].clone();
    assert_eq!(verdict.get("rendered"), None, "{verdict}");
}

#[test]
fn a9_nobody_approves_the_calls_of_an_agent_of_their_own() {
    let gateway = asking("four_eyes: true");
    let user = local_user();
    let ada = reviewer(&gateway, "ada", &[]);
    reviewer(&gateway, "ada-bot", &["--also", "ada"]);
    reviewer(&gateway, "bob", &[]);
    let token = gateway.cli(&["agents", "add", "helper", "--owner", "ada"]).done();
    let agent = Modern { tasks: true, ..Modern::new(gateway.url(), token.trim()) };
    let id = held(&agent, "one");
    // The owner, and a service account that is the same human's.
    for name in ["ada", "ada-bot"] {
        let refused = by(&gateway, name, &["approvals", "approve", &id]);
        assert!(refused.code == 4 && refused.stderr.contains("needs other eyes"), "{refused:?}");
    }
    // The agent itself, on every route by which anything is approved; it has no name to be audited under.
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(&id)["digest"], "count": 1,
        "resolution": "run_again" });
    for route in ["verdict", "identical", "resolution"] {
        let path = format!("/api/v1/approvals/{id}/{route}");
        let refused = ask(&gateway, Method::POST, &path, &[&agent.token], &verdict);
        assert_eq!(refused.status, 401, "{route}: {refused:?}");
    }
    for (method, path) in [(Method::POST, "/api/v1/standing"), (Method::GET, "/api/v1/whoami")] {
        assert_eq!(ask(&gateway, method, path, &[&agent.token], &verdict).status, 401, "{path}");
    }
    // The owner over the local socket.
    let own = held(&gateway.modern_with_tasks("own"), "two");
    let refused = gateway.cli(&["approvals", "approve", &own]);
    assert!(refused.code == 4 && refused.stderr.contains("needs other eyes"), "{refused:?}");
    assert!(gateway.ran().is_empty());
    let who = |entry: Value| text(&entry["person"]["name"]);
    let tried: Vec<_> = entries(&gateway, "verdict_refused").into_iter().map(who).collect();
    assert_eq!(tried, ["ada", "ada-bot", &user]);
    // To refuse one's own is no harm; and other eyes may.
    assert_eq!(approve(&gateway, "bob", &id), 0);
    gateway.hold_when(&id, "finished");
    gateway.cli(&["approvals", "reject", &own]).done();
    assert_eq!(gateway.ran(), ["one"]);
    let me = ask(&gateway, Method::GET, "/api/v1/whoami", &[&ada], &Value::Null).json();
    let mcp = format!("{}/mcp", gateway.url());
    let ada =
        json!({ "name": "ada", "local": false, "role": "reviewer", "groups": [], "mcp": mcp });
    assert_eq!(me, ada);
}

#[test]
fn a10_an_approval_of_somebody_who_lost_the_role_does_not_count() {
    let gateway = asking("quorum: 2");
    for name in ["ada", "bob", "carl", "dora"] {
        reviewer(&gateway, name, &[]);
    }
    let id = held(&gateway.modern_with_tasks("a"), "one");
    assert_eq!(approve(&gateway, "ada", &id), 0);
    gateway.cli(&["reviewers", "change", "ada", "--role", "viewer"]).done();
    assert_eq!(approve(&gateway, "bob", &id), 0);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    gateway.cli(&["reviewers", "revoke", "bob"]).done();
    assert_eq!(approve(&gateway, "carl", &id), 0);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert!(gateway.ran().is_empty());
    assert_eq!(approve(&gateway, "dora", &id), 0);
    let hold = gateway.hold_when(&id, "finished");
    let names = hold["verdicts"].as_array().unwrap().iter().map(|it| text(&it["person"]["name"]));
    assert_eq!(names.collect::<Vec<_>>(), ["carl", "dora"]);
}

#[test]
fn a_verdict_after_the_time_to_decide_counts_for_nothing() {
    let gateway =
        TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).manual_clock().start();
    let id = held(&gateway.modern_with_tasks("a"), "one");
    gateway.advance(Duration::from_secs(3601));
    assert_eq!(gateway.cli(&["approvals", "approve", &id]).code, 5);
    gateway.hold_when(&id, "expired");
    assert!(gateway.ran().is_empty());
}
