//! The kill switch: what it stops, how soon, and that it stays.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, MODERN, http, next_id, refused, said};
use crate::harness::{ALLOW_ALL, Builder, HOLD_ALL, RUNTIME, TestGateway, text, until};

const LEGACY: &str = "2025-11-25";

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

fn held() -> Builder {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL)
}

/// Halts, and gives the halt's id.
fn halt(gateway: &TestGateway, scope: &[&str]) -> String {
    let command = [&["halt", "--reason", "an incident"], scope].concat();
    gateway.cli(&command).done().trim().to_owned()
}

fn resume(gateway: &TestGateway, id: &str) {
    gateway.cli(&["resume", id, "--reason", "it is over"]).done();
}

/// What each entry is and about which call, in the order of the log.
fn kinds(gateway: &TestGateway) -> Vec<(String, String)> {
    let kind = |stored: Value| {
        let entry = &stored["entry"];
        (text(&entry["kind"]), entry["call"].as_str().unwrap_or_default().to_owned())
    };
    gateway.entries().into_iter().map(kind).collect()
}

/// Calls without end until it is told to stop; counts the answers that say halted.
fn load(client: &dyn Client, number: usize, stop: &AtomicBool, halted: &AtomicUsize) {
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let tool = if round % 2 == 0 { "look" } else { "count" };
        let result = client.call(tool, json!({ "line": format!("{number}-{round}") }));
        if result["isError"] == true {
            assert!(said(&result).starts_with("HALTED"), "{result}");
            halted.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Flips everything off while all `clients` call as fast as they can: of the calls that the log says began after
/// the halt there is none, and what ran then had begun before.
fn flipped_during_load(gateway: &TestGateway, clients: &[&(dyn Client + Sync)]) {
    let stop = AtomicBool::new(false);
    let halted: Vec<AtomicUsize> = clients.iter().map(|_| AtomicUsize::new(0)).collect();
    let id = thread::scope(|scope| {
        for (number, (client, halted)) in clients.iter().zip(&halted).enumerate() {
            let stop = &stop;
            scope.spawn(move || load(*client, number, stop, halted));
        }
        until("calls under way", || (gateway.ran().len() > 40).then_some(()));
        let id = halt(gateway, &["--all"]);
        until("every client to be told", || {
            halted.iter().all(|it| it.load(Ordering::SeqCst) > 5).then_some(())
        });
        stop.store(true, Ordering::SeqCst);
        id
    });
    let ran = gateway.ran();
    let log = kinds(gateway);
    let place = log.iter().position(|(kind, _)| kind == "halt").expect("an entry of the halt");
    let (before, after) = log.split_at(place);
    let began = |part: &[(String, String)]| part.iter().filter(|it| it.0 == "intent").count();
    assert_eq!(began(after), 0, "a call began after the halt: {after:?}");
    assert!(began(before) >= ran.len(), "{} intents, {} runs", began(before), ran.len());
    assert!(after.iter().filter(|(kind, _)| kind == "refusal").count() > 5 * clients.len());
    resume(gateway, &id);
    for client in clients {
        assert!(said(&client.call("count", json!({ "line": "after" }))).contains("ran after"));
    }
    assert_eq!(gateway.ran().len(), ran.len() + clients.len());
}

#[test]
fn r7_a_halt_flipped_during_load_over_http_and_joined_stdio() {
    let gateway = allowed().start();
    let modern = [gateway.modern("a"), gateway.modern("b"), gateway.modern("c")];
    let (legacy, joined) = (gateway.legacy("d"), gateway.stdio("e").begin(LEGACY));
    flipped_during_load(&gateway, &[&modern[0], &modern[1], &modern[2], &legacy, &joined]);
}

#[test]
fn r7_a_halt_flipped_during_load_over_the_owners_stdio() {
    let gateway = allowed().prepare();
    let owner = gateway.stdio("owner").begin(LEGACY);
    let joined = gateway.stdio("joined").begin(MODERN);
    flipped_during_load(&gateway, &[&owner, &joined]);
}

#[test]
fn r7_every_scope_stops_its_calls_and_no_others() {
    let gateway = allowed().start();
    let token = gateway.cli(&["agents", "add", "bot", "--group", "night"]).done();
    let bot = crate::clients::Modern::new(gateway.url(), token.trim());
    let other = gateway.modern("other");
    let call = |client: &dyn Client, tool: &str, workflow: &str| {
        let meta = json!({ "countersign/workflow": workflow });
        let arguments = json!({ "line": "x" });
        client.result("tools/call", json!({ "name": tool, "arguments": arguments, "_meta": meta }))
    };
    let scopes: [(&[&str], [bool; 4]); 8] = [
        // Whether it stops: the bot's `count` in w1, its `look` in w1, its `count` in w2, the other's in w1.
        (&["--all"], [true, true, true, true]),
        (&["--agent", "bot"], [true, true, true, false]),
        (&["--group", "night"], [true, true, true, false]),
        (&["--tool", "count"], [true, false, true, true]),
        (&["--backend", "counting"], [true, true, true, true]),
        (&["--capability", "counting"], [true, true, true, true]),
        (&["--workflow", "w1"], [true, true, false, true]),
        (&["--tool", "absent"], [false; 4]),
    ];
    for (scope, stops) in scopes {
        let id = halt(&gateway, scope);
        let before = gateway.ran().len();
        let results = [
            call(&bot, "count", "w1"),
            call(&bot, "look", "w1"),
            call(&bot, "count", "w2"),
            call(&other, "count", "w1"),
        ];
        for (result, stopped) in results.iter().zip(stops) {
            if stopped {
                let told = refused(result);
                assert!(told.starts_with("HALTED: this call did not run"), "{scope:?}: {told}");
                assert!(told.contains("an incident"), "{told}");
                assert!(!told.contains(&id), "agents are not told what operators name it");
            } else {
                assert!(said(result).contains("ran x"), "{scope:?}: {result}");
            }
        }
        let ran = stops.iter().filter(|stopped| !**stopped).count();
        assert_eq!(gateway.ran().len(), before + ran, "{scope:?}");
        resume(&gateway, &id);
        assert!(said(&call(&bot, "count", "w1")).contains("ran x"), "{scope:?}");
    }
    let refusals = gateway.entries();
    let cause = refusals.iter().find(|it| it["entry"]["refusal"] == "halted").unwrap();
    assert!(text(&cause["entry"]["cause"]).starts_with("halt "), "{cause}");
}

const LINGERING: &str = r#"
backend: { name: lingering, command: { program: "@DIR@/bin/linger" }, timeout: 60s }
tools:
  - { name: linger, description: Lingers., attributes: { action_type: write }, input_schema: { type: object }, run: [] }
"#;

/// Leaves a child in a session of its own, and ignores the first signal, as both do.
const LINGER: &str = "#!/bin/sh\ntrap '' TERM\nsetsid sh -c 'trap \"\" TERM; echo $$ > \"@DIR@/child\"; sleep 1000' &\necho $$ > '@DIR@/parent'\nsleep 1000\n";

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[test]
fn r7_a_running_command_is_killed_with_its_children() {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .script("linger", LINGER)
        .manifest("lingering.yaml", LINGERING)
        .start();
    let client = gateway.legacy("a");
    let arguments = json!({ "name": "linger", "arguments": {} });
    let call = client.send_later(next_id(), "tools/call", arguments);
    let pid = |name: &str| {
        until("the process to say its name", || {
            let text = fs::read_to_string(gateway.dir().join(name)).unwrap_or_default();
            text.ends_with('\n').then_some(text)
        })
    };
    let (parent, child) = (pid("parent"), pid("child"));
    assert!(lives(&parent) && lives(&child));
    halt(&gateway, &["--tool", "linger"]);
    let answer = call.join().unwrap().response();
    let told = refused(&answer["result"]);
    assert!(told.starts_with("HALTED: this call was stopped while it ran"), "{told}");
    assert!(told.contains("may have had an effect"), "{told}");
    assert!(!lives(&parent) && !lives(&child), "it outlived its call");
    let outcome = until("the outcome", || {
        gateway.entries().into_iter().find(|it| it["entry"]["kind"] == "outcome")
    });
    assert_eq!(outcome["entry"]["outcome"]["status"], "halted", "{outcome}");
}

/// A server over standard streams that answers no call, and notes what it is told.
const SILENT_SCRIPT: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    with open("@DIR@/heard", "a") as heard: heard.write(json.dumps(message) + "\n")
    results = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
                       "serverInfo": {"name": "silent", "version": "1"}},
        "tools/list": {"tools": [{"name": "silent", "description": "Waits.", "inputSchema": {"type": "object"}}]},
        "resources/list": {"resources": [{"uri": "note://one", "name": "one"}]},
        "resources/templates/list": {"resourceTemplates": []},
        "prompts/list": {"prompts": [{"name": "greet"}]},
        "resources/read": {"contents": [{"uri": "note://one", "text": "a note"}]},
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}]},
    }
    if "id" in message and message["method"] in results:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}), flush=True)
"#;

const SILENT: &str = r#"
backend: { name: silent, mcp: { program: /usr/bin/python3, args: ["@DIR@/bin/silent.py"] }, timeout: 60s }
tools:
  - { name: silent, attributes: { action_type: write } }
resources:
  - { uri: "note://one", attributes: { action_type: read } }
prompts:
  - { name: greet, attributes: { action_type: read } }
"#;

#[test]
fn r7_a_server_is_told_and_what_agents_read_is_stopped_too() {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .script("silent.py", SILENT_SCRIPT)
        .manifest("silent.yaml", SILENT)
        .start();
    let client = gateway.legacy("a");
    until("the server's tool", || client.tools().contains(&"silent".to_owned()).then_some(()));
    let read = || client.request("resources/read", json!({ "uri": "note://one" }));
    let prompt = || client.request("prompts/get", json!({ "name": "greet" }));
    assert!(read()["result"].to_string().contains("a note"));
    assert!(prompt()["result"].to_string().contains("hello"));
    let heard = |method: &str| {
        let text = fs::read_to_string(gateway.dir().join("heard")).unwrap_or_default();
        text.lines().filter(|line| line.contains(method)).map(str::to_owned).collect::<Vec<_>>()
    };
    let id = next_id();
    let call = client.send_later(id, "tools/call", json!({ "name": "silent", "arguments": {} }));
    until("the call", || (heard("tools/call").len() == 1).then_some(()));
    let of_call: Value = serde_json::from_str(&heard("tools/call")[0]).unwrap();
    let halted = halt(&gateway, &["--backend", "silent"]);
    let told = refused(&call.join().unwrap().response()["result"]);
    assert!(told.starts_with("HALTED: this call was stopped while it ran"), "{told}");
    let cancelled = until("the server to be told", || heard("notifications/cancelled").pop());
    let cancelled: Value = serde_json::from_str(&cancelled).unwrap();
    assert_eq!(cancelled["params"]["requestId"], of_call["id"]);
    let (reads, prompts) = (heard("resources/read").len(), heard("prompts/get").len());
    for answer in [read(), prompt()] {
        assert!(answer.to_string().contains("HALTED"), "{answer}");
    }
    assert_eq!((heard("resources/read").len(), heard("prompts/get").len()), (reads, prompts));
    resume(&gateway, &halted);
    assert!(read()["result"].to_string().contains("a note"));
}

#[test]
fn r7_held_calls_end_and_their_agents_are_told() {
    let gateway = held().start();
    let waiting = gateway.stdio("waiting").begin(LEGACY);
    let call = json!(next_id());
    waiting.send(&call, "tools/call", json!({ "name": "count", "arguments": { "line": "a" } }));
    let first = gateway.pending();
    let tasks = gateway.modern_with_tasks("task");
    let task = text(&tasks.call("count", json!({ "line": "b" }))["taskId"]);
    gateway.holds_when("pending", 2);
    // One of another tool stays.
    gateway.modern_with_tasks("other").call("look", json!({ "line": "c" }));
    gateway.holds_when("pending", 3);

    let id = halt(&gateway, &["--tool", "count"]);
    let told = refused(&waiting.answer_to(&call)["result"]);
    assert!(told.starts_with("HALTED") && told.contains("an incident"), "{told}");
    let ended = tasks.task_when_done(&task);
    assert!(ended.to_string().contains("HALTED"), "{ended}");
    for hold in [&first, &task] {
        gateway.hold_when(hold, "halted");
        let late = gateway.cli(&["approvals", "approve", hold]);
        assert_eq!(late.code, 5, "{late:?}");
    }
    assert_eq!(gateway.holds("pending").len(), 1);
    // Nobody is asked about a call that could not run.
    let again = refused(&gateway.modern("third").call("count", json!({ "line": "d" })));
    assert!(again.starts_with("HALTED"), "{again}");
    assert_eq!(gateway.holds("pending").len(), 1);
    assert_eq!(gateway.metric("countersign_holds_pending"), Some(1.0));
    let counted = gateway.metric("countersign_hold_decisions_total{result=\"halted\"}");
    assert_eq!(counted, Some(2.0));
    // What was halted stays so: it is asked anew.
    resume(&gateway, &id);
    assert_eq!(gateway.hold(&first)["state"], "halted");
    let anew = gateway.modern_with_tasks("waiting2");
    anew.call("count", json!({ "line": "a" }));
    gateway.holds_when("pending", 2);
    assert!(gateway.ran().is_empty());
}

const ONE_WORKER: &str = r#"
backend: { name: narrow, command: { program: "@DIR@/bin/count" }, concurrency: 1, queue: 8, timeout: 60s }
tools:
  - name: occupy
    description: Takes the one worker.
    attributes: { action: look, action_type: write }
    input_schema: { type: object, required: [seconds], properties: { seconds: { type: string } } }
    run: [occupied, "${seconds}"]
  - name: approved_tool
    description: Waits for the worker.
    attributes: { action: count, action_type: write }
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
"#;

const HOLD_COUNTS: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - { name: counts, match: { action: count }, decision: REQUIRE_APPROVAL }
";

#[test]
fn r8_what_was_approved_and_not_dispatched_does_not_run() {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("narrow.yaml", ONE_WORKER)
        .policy("rules.yaml", HOLD_COUNTS)
        .start();
    let busy = gateway.legacy("busy");
    let occupying = busy.send_later(
        next_id(),
        "tools/call",
        json!({ "name": "occupy", "arguments": { "seconds": "15" } }),
    );
    until("the worker to be taken", || (gateway.ran() == ["occupied"]).then_some(()));
    let client = gateway.modern_with_tasks("a");
    let task = text(&client.call("approved_tool", json!({ "line": "too late" }))["taskId"]);
    gateway.hold_when(&task, "pending");
    gateway.approve(&task);
    assert_eq!(gateway.hold(&task)["state"], "approved", "it waits for the worker");
    let id = halt(&gateway, &["--agent", "a"]);
    gateway.hold_when(&task, "halted");
    assert!(client.task_when_done(&task).to_string().contains("HALTED"));
    // The worker's own call is no part of it.
    resume(&gateway, &id);
    let done = gateway.cli(&["halt", "--tool", "occupy", "--reason", "enough"]);
    done.done();
    assert!(refused(&occupying.join().unwrap().response()["result"]).starts_with("HALTED"));
    gateway.cli(&["resume", "--tool", "occupy", "--reason", "enough"]).done();
    // The worker is free again, and nothing that was let go takes it.
    let next = gateway.modern_with_tasks("b");
    let next_task = text(&next.call("approved_tool", json!({ "line": "next" }))["taskId"]);
    gateway.hold_when(&next_task, "pending");
    gateway.approve(&next_task);
    gateway.hold_when(&next_task, "finished");
    assert_eq!(gateway.ran(), ["occupied", "next"]);
    let spent = kinds(&gateway).iter().filter(|(kind, _)| kind == "intent").count();
    assert_eq!(spent, 2);
}

#[test]
fn r7_a_halt_survives_the_gateways_death() {
    let mut gateway = held().start();
    let client = gateway.modern_with_tasks("a");
    let task = text(&client.call("count", json!({ "line": "held" }))["taskId"]);
    let id = halt(&gateway, &["--capability", "counting"]);
    gateway.hold_when(&task, "halted");
    gateway.restart();
    let client = client.again(gateway.url());
    let told = refused(&client.call("count", json!({ "line": "x" })));
    assert!(told.starts_with("HALTED"), "{told}");
    let listed = gateway.cli(&["halt", "--output", "json"]).json();
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(listed[0]["scope"], json!({ "capability": "counting" }));
    // Also where no gateway runs, and the command opens the store itself.
    gateway.stop();
    let listed = gateway.cli(&["halt", "--output", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    resume(&gateway, &id[..6]);
    gateway.launch();
    let client = client.again(gateway.url());
    client.call("count", json!({ "line": "y" }));
    gateway.holds_when("pending", 1);
}

/// The gateway dies on one side of the halt's commit: what it covers has ended after the next start, or nothing has.
#[test]
fn r7_a_halt_that_a_crash_interrupts_is_finished_or_never_was() {
    for (side, state) in [("before", "pending"), ("after", "halted")] {
        let mut gateway = held().prepare();
        gateway.set_env("COUNTERSIGN_FAIL_AT", Some(&format!("engage_halt.{side}:1")));
        gateway.launch();
        gateway.modern_with_tasks("a").call("count", json!({ "line": "held" }));
        let hold = gateway.pending();
        let all = json!({ "scope": "all", "reason": "an incident" });
        assert!(gateway.try_post("/api/v1/halts", &all).is_none(), "{side}: it answered");
        gateway.wait_for_death();
        gateway.set_env("COUNTERSIGN_FAIL_AT", None);
        gateway.launch();
        gateway.hold_when(&hold, state);
        let listed = gateway.cli(&["halt", "--output", "json"]).json();
        assert_eq!(listed.as_array().unwrap().len(), usize::from(side == "after"));
        let approved = gateway.cli(&["approvals", "approve", &hold]);
        assert_eq!(approved.code, if side == "after" { 5 } else { 0 }, "{approved:?}");
        assert_eq!(gateway.ran().len(), usize::from(side == "before"), "{side}");
    }
}

#[test]
fn a_halt_ends_by_itself_at_its_time_and_the_record_says_so() {
    let gateway = allowed().manual_clock().start();
    let client = gateway.modern("a");
    halt(&gateway, &["--all", "--until", "10m"]);
    let told = refused(&client.call("count", json!({ "line": "1" })));
    assert!(told.contains(", until 20"), "{told}");
    gateway.advance(Duration::from_secs(590));
    assert!(refused(&client.call("count", json!({ "line": "2" }))).starts_with("HALTED"));
    gateway.advance(Duration::from_secs(20));
    until("the halt to end", || {
        let result = client.call("count", json!({ "line": "3" }));
        (result["isError"] != true).then_some(())
    });
    let log = kinds(&gateway);
    let place = |wanted: &str| log.iter().position(|(kind, _)| kind == wanted).unwrap();
    assert!(place("halt") < place("halt_ended") && place("halt_ended") < place("intent"));
    assert_eq!(gateway.cli(&["halt"]).done(), "");
}

#[test]
fn the_commands_say_what_they_did() {
    let gateway = allowed().start();
    let code = |arguments: &[&str]| gateway.cli(arguments).code;
    assert_eq!(code(&["halt", "--all"]), 2, "no reason");
    assert_eq!(code(&["halt", "--reason", "why"]), 2, "no scope");
    assert_eq!(code(&["halt", "--all", "--agent", "a", "--reason", "why"]), 2, "two scopes");
    assert_eq!(code(&["halt", "--all", "--reason", " "]), 2);
    assert_eq!(code(&["halt", "--all", "--reason", "why", "--until", "2000d"]), 2);
    assert_eq!(code(&["resume", "--reason", "why"]), 2);
    assert_eq!(code(&["resume", "--all", "--reason", "why"]), 3, "nothing is halted");
    let ready = || {
        RUNTIME.block_on(crate::clients::Reply::of(http().get(format!("{}/readyz", gateway.url()))))
    };
    assert_eq!(ready().body, "ok\n");
    assert_eq!(gateway.metric("countersign_kill_switch_engaged{scope=\"agent\"}"), Some(0.0));

    let person = |name: &str, role: &str| {
        let token = gateway.cli(&["reviewers", "add", name, "--role", role]).done();
        let file = gateway.dir().join(format!("{name}.token"));
        fs::write(&file, token).unwrap();
        std::process::Command::new("chmod").arg("600").arg(&file).status().unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (viewer, operator) = (person("vic", "viewer"), person("olga", "operator"));
    let far = |token: &str, arguments: &[&str]| {
        let way = ["--url", gateway.url(), "--token-file", token];
        gateway.cli(&[arguments, &way].concat())
    };
    assert_eq!(far(&viewer, &["halt", "--agent", "a", "--reason", "why"]).code, 4);
    let halted =
        far(&operator, &["halt", "--agent", "a", "--reason", "a\u{202e}b", "--output", "json"]);
    let halted = halted.json();
    assert_eq!(halted["by"]["name"], "olga");
    let listed = far(&viewer, &["halt"]).done();
    assert!(listed.contains("agent") && listed.contains("olga"), "{listed}");
    assert!(!listed.contains('\u{202e}'), "what hides is shown: {listed}");
    assert_eq!(ready().body, "ok, but 1 halt is engaged\n");
    assert_eq!(ready().status, 200);
    assert_eq!(gateway.metric("countersign_kill_switch_engaged{scope=\"agent\"}"), Some(1.0));
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.contains("all calls of the agent `a`"), "{doctor:?}");
    // A second of the same scope is one of its own; both end by their scope.
    halt(&gateway, &["--agent", "a"]);
    assert_eq!(far(&viewer, &["resume", "--agent", "a", "--reason", "over"]).code, 4);
    let ended = far(&operator, &["resume", "--agent", "a", "--reason", "over", "--output", "json"]);
    assert_eq!(ended.json().as_array().unwrap().len(), 2);
    assert_eq!(ready().body, "ok\n");
    let log = kinds(&gateway);
    assert_eq!(log.iter().filter(|(kind, _)| kind == "resume").count(), 2);
}
