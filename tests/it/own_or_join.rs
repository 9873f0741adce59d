//! Several processes on one data directory: one owns it, the others join and take over when it goes away.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio as Pipe;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::clients::{Client, MODERN, Stdio, next_id, refused, said};
use crate::harness::{ALLOW_ALL, Builder, HOLD_ALL, PATIENCE, TestGateway, text, until};
use crate::real_clients::{self, Kind};

const LEGACY: &str = "2025-11-25";
const CHANGED_HANDS: &str = "NOT ANSWERED: the gateway changed hands";

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

fn held() -> Builder {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL)
}

/// Ends a process as a power cut would.
fn kill_at_once(client: &mut Stdio) {
    kill(Pid::from_raw(client.id()), Signal::SIGKILL).unwrap();
    assert!(!client.wait());
}

/// Sends a call and waits until it is held.
fn ask(gateway: &TestGateway, client: &Stdio, line: &str) -> (Value, String) {
    let id = json!(next_id());
    client.send(&id, "tools/call", json!({ "name": "count", "arguments": { "line": line } }));
    (id, gateway.pending())
}

/// The agents of the calls in the record.
fn agents_of_intents(gateway: &TestGateway) -> Vec<String> {
    let entries = gateway.entries();
    let intents = entries.iter().filter(|entry| entry["entry"]["kind"] == "intent");
    intents.map(|entry| text(&entry["entry"]["agent"])).collect()
}

#[test]
fn a_call_of_a_process_that_joined_runs_under_its_own_agent() {
    let gateway = allowed().prepare();
    let first = gateway.stdio("first").begin(LEGACY);
    let modern = gateway.stdio("second").begin(MODERN);
    let legacy = gateway.stdio("third").begin("2024-11-05");
    assert!(said(&first.call("count", json!({ "line": "1" }))).contains("ran 1"));
    assert!(said(&modern.call("count", json!({ "line": "2" }))).contains("ran 2"));
    assert!(said(&legacy.call("count", json!({ "line": "3" }))).contains("ran 3"));
    assert_eq!(modern.tools(), first.tools());
    assert_eq!(agents_of_intents(&gateway), ["first", "second", "third"]);
    let mode = std::fs::metadata(gateway.data().join("stdio.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What cannot be read is refused, and harms nobody.
    legacy.send_line(b"{");
    assert_eq!(legacy.next()["error"]["code"], -32700);
    legacy.send_line(&vec![b' '; 5 << 20]);
    assert_eq!(legacy.next()["error"]["code"], -32600);
    assert!(said(&legacy.call("count", json!({ "line": "4" }))).contains("ran 4"));
}

#[test]
fn a_stdio_process_joins_a_gateway_that_listens() {
    let gateway = allowed().start();
    let joined = gateway.stdio("local").begin(LEGACY);
    assert!(said(&joined.call("count", json!({ "line": "1" }))).contains("ran 1"));
    let remote = gateway.modern("remote");
    assert!(said(&remote.call("count", json!({ "line": "2" }))).contains("ran 2"));
    assert_eq!(agents_of_intents(&gateway), ["local", "remote"]);
}

#[test]
fn a_gateway_that_listens_comes_back_before_others_take_its_place() {
    let mut gateway = allowed().start();
    let joined = gateway.stdio("local").begin(LEGACY);
    said(&joined.call("count", json!({ "line": "1" })));
    gateway.restart();
    settled(&joined, "2");
    let remote = gateway.modern("remote");
    assert!(said(&remote.call("count", json!({ "line": "3" }))).contains("ran 3"));
    // When it does not come back, somebody else is the gateway.
    gateway.kill();
    settled(&joined, "4");
    assert_eq!(gateway.ran(), ["1", "2", "3", "4"]);
}

#[test]
fn what_is_held_of_one_process_is_decided_beside_the_other() {
    let gateway = held().prepare();
    let owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(LEGACY);
    let (of_owner, hold) = ask(&gateway, &owner, "owner's");
    gateway.approve(&hold);
    assert!(said(&owner.answer_to(&of_owner)["result"]).contains("ran owner's"));
    let (of_joined, hold) = ask(&gateway, &joined, "joined's");
    assert_eq!(gateway.hold(&hold)["agent"], "joined");
    gateway.approve(&hold);
    assert!(said(&joined.answer_to(&of_joined)["result"]).contains("ran joined's"));
    assert_eq!(gateway.ran(), ["owner's", "joined's"]);
}

/// The owner is killed while the client of another process waits for a person.
fn a1_owner_killed_while_a_joined_client_waits(version: &str) {
    let gateway = held().prepare();
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(version);
    let (id, hold) = ask(&gateway, &joined, "once");
    kill_at_once(&mut owner);
    let answer = joined.answer_to(&id);
    assert!(refused(&answer["result"]).starts_with(CHANGED_HANDS), "{answer}");
    assert_eq!(answer["result"].get("resultType").is_some(), version == MODERN, "{answer}");
    // The same call joins the same hold, in the process that is the gateway now.
    let (again, joined_hold) = ask(&gateway, &joined, "once");
    assert_eq!(joined_hold, hold);
    gateway.approve(&hold);
    assert!(said(&joined.answer_to(&again)["result"]).contains("ran once"));
    assert_eq!(gateway.ran(), ["once"]);
    assert_eq!(gateway.holds("all").len(), 1);
    // The session is as good as before, and nothing of what was said again reached the client.
    assert_eq!(joined.tools()[..3], ["count", "count_slowly", "look"]);
}

#[test]
fn a1_owner_killed_while_a_joined_client_of_an_earlier_protocol_waits() {
    a1_owner_killed_while_a_joined_client_waits(LEGACY);
}

#[test]
fn a1_owner_killed_while_a_joined_client_of_2026_waits() {
    a1_owner_killed_while_a_joined_client_waits(MODERN);
}

#[test]
fn a_call_that_comes_while_nobody_owns_is_answered() {
    for version in [LEGACY, MODERN] {
        let gateway = allowed().prepare();
        let mut owner = gateway.stdio("owner").begin(LEGACY);
        let joined = gateway.stdio("joined").begin(version);
        joined.call("count", json!({ "line": "before" }));
        kill_at_once(&mut owner);
        let result = joined.call("count", json!({ "line": "after" }));
        // It may have been on its way when the owner went: then it is told so, once.
        if result["isError"] == true {
            assert!(refused(&result).starts_with(CHANGED_HANDS), "{result}");
            assert!(said(&joined.call("count", json!({ "line": "after" }))).contains("ran after"));
        }
        assert_eq!(gateway.ran(), ["before", "after"]);
        assert_eq!(agents_of_intents(&gateway), ["joined", "joined"]);
    }
}

#[test]
fn an_owner_that_ends_in_good_order_hands_over_without_a_failed_call() {
    for (version, hangs_up) in [(LEGACY, true), (MODERN, true), (LEGACY, false)] {
        let gateway = allowed().prepare();
        let mut owner = gateway.stdio("owner").begin(LEGACY);
        let joined = gateway.stdio("joined").begin(version);
        let id = json!(next_id());
        let slow = json!({ "name": "count_slowly", "arguments": { "line": "slow", "seconds": 1 } });
        joined.send(&id, "tools/call", slow);
        until("the tool to run", || (gateway.ran() == ["slow"]).then_some(()));
        if hangs_up {
            owner.hang_up();
        } else {
            kill(Pid::from_raw(owner.id()), Signal::SIGTERM).unwrap();
        }
        // It came after the owner began to go away, or before: in either case somebody runs it.
        assert!(said(&joined.call("count", json!({ "line": "next" }))).contains("ran next"));
        assert!(owner.wait());
        assert_eq!(gateway.ran(), ["slow", "next"]);
        // The next one goes to the process that took over.
        assert!(said(&joined.call("count", json!({ "line": "last" }))).contains("ran last"));
        assert_eq!(agents_of_intents(&gateway), ["joined", "joined", "joined"]);
    }
}

#[test]
fn an_owner_that_goes_away_tells_who_waits_that_the_call_is_pending() {
    let gateway = held().prepare();
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(LEGACY);
    let (id, hold) = ask(&gateway, &joined, "once");
    let begun = Instant::now();
    owner.hang_up();
    let answer = joined.answer_to(&id);
    assert!(refused(&answer["result"]).starts_with("PENDING, not failed"), "{answer}");
    assert!(owner.wait());
    assert!(begun.elapsed() < Duration::from_secs(8), "the owner lingered");
    let (again, joined_hold) = ask(&gateway, &joined, "once");
    assert_eq!(joined_hold, hold);
    gateway.approve(&hold);
    assert!(said(&joined.answer_to(&again)["result"]).contains("ran once"));
    assert_eq!(gateway.ran(), ["once"]);
}

#[test]
fn a_subscription_goes_on_with_the_next_gateway() {
    let gateway = allowed().prepare();
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(MODERN);
    let id = json!(next_id());
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    joined.send(&id, "subscriptions/listen", wanted);
    let acknowledged = "notifications/subscriptions/acknowledged";
    assert_eq!(joined.next()["method"], acknowledged);
    let begun = Instant::now();
    owner.hang_up();
    assert!(owner.wait());
    // Not its end, but its beginning again: the next gateway was asked for the same.
    assert_eq!(joined.next()["method"], acknowledged);
    assert!(begun.elapsed() < Duration::from_secs(8), "the owner lingered");
    assert!(said(&joined.call("count", json!({ "line": "1" }))).contains("ran 1"));
}

#[test]
fn an_approved_call_that_runs_is_finished_before_the_owner_goes() {
    let gateway = held().prepare();
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(LEGACY);
    let id = json!(next_id());
    let slow = json!({ "name": "count_slowly", "arguments": { "line": "slow", "seconds": 2 } });
    joined.send(&id, "tools/call", slow);
    let hold = gateway.pending();
    gateway.approve(&hold);
    until("the tool to run", || (gateway.ran() == ["slow"]).then_some(()));
    owner.hang_up();
    assert!(said(&joined.answer_to(&id)["result"]).contains("ran slow"));
    assert!(owner.wait());
    assert_eq!(gateway.hold(&hold)["state"], "finished");
}

#[test]
fn of_two_that_joined_one_takes_over_and_the_other_joins_it() {
    let gateway = allowed().prepare();
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let mut joined = [gateway.stdio("a").begin(LEGACY), gateway.stdio("b").begin(MODERN)];
    kill_at_once(&mut owner);
    for (n, client) in joined.iter().enumerate() {
        settled(client, &n.to_string());
    }
    // Again, with whichever of them owns now: the other one is left, and is the gateway.
    joined[0].hang_up();
    assert!(joined[0].wait());
    settled(&joined[1], "alone");
    assert_eq!(gateway.ran(), ["0", "1", "alone"]);
}

/// Calls until the call is answered, which takes at most two.
fn settled(client: &Stdio, line: &str) {
    let result = client.call("count", json!({ "line": line }));
    if result["isError"] == true {
        assert!(refused(&result).starts_with(CHANGED_HANDS), "{result}");
        said(&client.call("count", json!({ "line": line })));
    }
}

#[test]
fn eight_that_start_at_once_have_one_owner() {
    let gateway = allowed().prepare();
    let started: Vec<Stdio> = (0..8).map(|n| gateway.stdio(&format!("agent-{n}"))).collect();
    let clients: Vec<Stdio> = started
        .into_iter()
        .enumerate()
        .map(|(n, client)| client.begin(if n % 2 == 0 { LEGACY } else { MODERN }))
        .collect();
    for (n, client) in clients.iter().enumerate() {
        assert!(said(&client.call("count", json!({ "line": n.to_string() }))).contains("ran"));
    }
    let mut agents = agents_of_intents(&gateway);
    agents.sort();
    assert_eq!(agents, (0..8).map(|n| format!("agent-{n}")).collect::<Vec<_>>());
    // One gateway: its rules were loaded once.
    let entries = gateway.entries();
    let loaded = entries.iter().filter(|entry| entry["entry"]["kind"] == "revision_loaded");
    assert_eq!(loaded.count(), 1);
}

#[test]
fn limits_count_over_all_processes() {
    let policy = "rules:\n  - { name: everything, match: {}, decision: ALLOW }\nlimits:\n  - { name: few, match: { action: count }, per: tool, rate: 2/minute }\n";
    let gateway = TestGateway::builder().counting().policy("limited.yaml", policy).prepare();
    let owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(LEGACY);
    said(&owner.call("count", json!({ "line": "1" })));
    said(&joined.call("count", json!({ "line": "2" })));
    for client in [&owner, &joined] {
        assert!(refused(&client.call("count", json!({ "line": "3" }))).contains("few"));
    }
    assert_eq!(gateway.ran(), ["1", "2"]);
}

#[test]
fn a_revoked_agent_does_not_join() {
    let gateway = allowed().prepare();
    gateway.agent("gone");
    gateway.cli(&["agents", "revoke", "gone"]).done();
    let owner = gateway.stdio("owner").begin(LEGACY);
    let refused = gateway.cli(&["stdio", "--agent", "gone"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("the agent `gone` was revoked"), "{refused:?}");
    assert!(said(&owner.call("count", json!({ "line": "1" }))).contains("ran 1"));
    drop(owner);
    // Nor does it own.
    let refused = gateway.cli(&["stdio", "--agent", "gone"]);
    assert_eq!(refused.code, 4, "{refused:?}");
}

#[test]
fn a_tool_does_not_join_the_gateway_that_runs_it() {
    let script = "#!/bin/sh\n'@PROGRAM@' stdio --agent other --data '@DIR@/data' < /dev/null 2>&1\necho \"ended with $?\"\n";
    let manifest = r#"
backend: { name: sly, command: { program: "@DIR@/bin/sly" } }
tools:
  - name: sly
    description: Tries to call tools as another agent.
    attributes: { action: sly, action_type: write }
    input_schema: { type: object, additionalProperties: false }
    run: []
"#;
    let gateway = TestGateway::builder()
        .script("sly", &script.replace("@PROGRAM@", env!("CARGO_BIN_EXE_countersign")))
        .manifest("sly.yaml", manifest)
        .policy("all.yaml", ALLOW_ALL)
        .prepare();
    let owner = gateway.stdio("owner").begin(LEGACY);
    let told = said(&owner.call("sly", json!({})));
    assert!(told.contains("ended with 4"), "{told}");
    assert!(told.contains("a program that the gateway started may not use its socket"), "{told}");
}

#[test]
fn b6_fork_two_processes_on_one_data_dir() {
    let gateway = allowed().start();
    let client = gateway.modern("a");
    let joined = gateway.stdio("joined").begin(LEGACY);
    let second = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.stderr.contains("another gateway owns"), "{second:?}");
    assert!(said(&client.call("count", json!({ "line": "1" }))).contains("ran 1"));
    assert!(said(&joined.call("count", json!({ "line": "2" }))).contains("ran 2"));
    assert_eq!(gateway.cli(&["approvals", "list"]).code, 0);
    assert_eq!(gateway.ran(), ["1", "2"]);
}

#[test]
fn who_takes_over_keeps_to_the_rules_of_the_owner() {
    let gateway = allowed().prepare();
    std::fs::create_dir(gateway.dir().join("other")).unwrap();
    gateway.put("other/deny.yaml", "rules:\n  - { name: nothing, match: {}, decision: DENY }\n");
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let other = gateway.command(&["stdio", "--agent", "other", "--policies", "other"]);
    let joined = Stdio::spawn(other, gateway.log_of_all()).begin(LEGACY);
    settled(&joined, "joined");
    kill_at_once(&mut owner);
    settled(&joined, "took over");
    assert_eq!(gateway.ran(), ["joined", "took over"]);
    drop(joined);
    until("the warning", || gateway.log().contains("theirs hold here too").then_some(()));
}

#[test]
fn a_stream_that_says_nothing_or_too_much_is_closed() {
    let gateway = allowed().prepare();
    let owner = gateway.stdio("owner").begin(LEGACY);
    let socket = gateway.data().join("stdio.sock");
    let says = |line: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(line).unwrap();
        let mut answer = String::new();
        drop(BufReader::new(stream).read_line(&mut answer));
        answer
    };
    for wrong in
        [&b"{}\n"[..], b"{\"v\":2,\"agent\":\"a\"}\n", b"{\"v\":1,\"agent\":\"a b\"}\n", b"[\n"]
    {
        let answer: Value = serde_json::from_str(&says(wrong)).unwrap();
        assert_eq!(answer["answer"], "refused", "{answer}");
    }
    assert_eq!(says(b""), "", "who says nothing is not waited for");
    assert!(said(&owner.call("count", json!({ "line": "1" }))).contains("ran 1"));
}

/// A client that nobody here wrote, on a process that joined: its owner is killed twice over.
fn an_official_client_survives(kind: Kind) {
    let gateway = allowed().prepare();
    let mut owner = gateway.stdio("owner").begin(LEGACY);
    let mut client = real_clients::Client::over_stdio(kind, &gateway, "worker");
    let arguments = |line: &str| json!({ "line": line });
    real_clients::done(&client.call("count", &arguments("before")));
    kill_at_once(&mut owner);
    let mut failed = 0;
    for line in ["1", "2", "3"] {
        let answer = client.call("count", &arguments(line));
        if answer["result"]["isError"] == true {
            assert!(real_clients::refused(&answer).starts_with(CHANGED_HANDS), "{answer}");
            failed += 1;
            real_clients::done(&client.call("count", &arguments(line)));
        }
    }
    assert!(failed <= 1, "{failed} calls failed");
    assert!(client.tools().contains_key("count"));
    assert_eq!(gateway.ran(), ["before", "1", "2", "3"]);
    // It owns now, and others join it.
    let joined = gateway.stdio("joined").begin(MODERN);
    assert!(said(&joined.call("count", json!({ "line": "joined" }))).contains("ran joined"));
    client.close();
    settled(&joined, "after");
}

#[test]
fn typescript_survives_a_killed_owner() {
    an_official_client_survives(Kind::TypeScript);
}

#[test]
fn typescript2_survives_a_killed_owner() {
    an_official_client_survives(Kind::TypeScript2);
}

#[test]
fn python_survives_a_killed_owner() {
    an_official_client_survives(Kind::Python);
}

#[test]
fn a_short_command_that_owns_for_a_moment_is_no_obstacle() {
    let gateway = allowed().prepare();
    let mut call =
        gateway.command(&["call", "count_slowly", r#"{"line":"1","seconds":2}"#, "--agent", "a"]);
    let mut call = call.stdin(Pipe::null()).spawn().unwrap();
    until("the tool to run", || (gateway.ran() == ["1"]).then_some(()));
    let joined = gateway.stdio("joined").begin(LEGACY);
    settled(&joined, "2");
    assert!(call.wait().unwrap().success());
    settled(&joined, "3");
    assert_eq!(gateway.ran(), ["1", "2", "3"]);
}
