//! A gateway full of calls when it dies or is told to stop: none is lost, and none runs twice.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::clients::{Client, Legacy, Modern, Reply, refused, said};
use crate::harness::{HOLD_ALL, PATIENCE, RUNTIME, TestGateway, text, until};
use crate::people;

const AGENTS: usize = 10;
const CALLS_EACH: usize = 100;
/// How many requests these tests make at once.
const AT_ONCE: usize = 8;

/// Works on all items, a few at a time.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::SeqCst)) {
                    work(item);
                }
            });
        }
    });
}

/// The holds in `state`, each by itself, as a person's token sees them over HTTP.
fn holds(gateway: &TestGateway, token: &str, state: &str) -> Vec<Value> {
    let path = format!("/api/v1/approvals?state={state}&each=true&limit=2000");
    let reply = people::ask(gateway, Method::GET, &path, &[token], &Value::Null);
    let Value::Array(holds) = reply.json() else { panic!("no list: {reply:?}") };
    holds
}

/// Waits until so many calls have run; however slow the machine is, one more has to run in time.
fn run_through(gateway: &TestGateway, count: usize) {
    let mut ran = gateway.ran().len();
    while ran < count {
        ran = until("one more call to run", || {
            let now = gateway.ran().len();
            (now > ran).then_some(now)
        });
    }
}

/// How many entries of a kind the record has, and of how many of them `is` holds.
fn counted(entries: &[Value], kind: &str, is: impl Fn(&Value) -> bool) -> (usize, usize) {
    let of_kind: Vec<&Value> =
        entries.iter().map(|it| &it["entry"]).filter(|entry| entry["kind"] == kind).collect();
    (of_kind.len(), of_kind.iter().filter(|entry| is(entry)).count())
}

#[test]
fn a1_a_thousand_holds_survive_kill_9_and_each_runs_once() {
    const ALL: usize = AGENTS * CALLS_EACH;
    let config = format!("holds: {{ pending_max: {CALLS_EACH} }}\n");
    let mut gateway =
        TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).config(&config).start();
    let reviewer = people::person(&gateway, &["ada"]);
    let clients: Vec<Modern> =
        (0..AGENTS).map(|n| gateway.modern_with_tasks(&format!("agent-{n}"))).collect();
    let asked: Vec<(usize, String)> = (0..ALL).map(|n| (n % AGENTS, format!("call {n}"))).collect();
    each(&asked, |(agent, line)| {
        let task = clients[*agent].call("count", json!({ "line": line }));
        assert_eq!(task["resultType"], "task", "{task}");
    });
    let ids = |holds: &[Value]| holds.iter().map(|it| text(&it["id"])).collect::<BTreeSet<_>>();
    let before = ids(&holds(&gateway, &reviewer, "pending"));
    assert_eq!(before.len(), ALL);

    gateway.restart();
    let pending = holds(&gateway, &reviewer, "pending");
    assert_eq!(ids(&pending), before);
    assert!(gateway.ran().is_empty());
    each(&pending, |hold| {
        let verdict = json!({ "decision": "approve", "digest": hold["digest"] });
        let decided = people::decide(&gateway, &text(&hold["id"]), &verdict, &reviewer);
        assert_eq!(decided.status, 200, "{decided:?}");
    });
    run_through(&gateway, ALL);
    until("all to be finished", || {
        (holds(&gateway, &reviewer, "finished").len() == ALL).then_some(())
    });
    let lines: BTreeSet<String> = asked.into_iter().map(|(_, line)| line).collect();
    let ran = gateway.ran();
    assert_eq!(ran.len(), ALL, "something ran twice");
    assert_eq!(ran.into_iter().collect::<BTreeSet<_>>(), lines);
    let entries = gateway.entries();
    assert_eq!(counted(&entries, "intent", |it| it["hold"].is_string()), (ALL, ALL));
    assert_eq!(counted(&entries, "outcome", |it| it["outcome"]["status"] == "success"), (ALL, ALL));
}

const WIDE: &str = r#"
backend: { name: wide, command: { program: "@DIR@/bin/count" }, concurrency: 128, queue: 256, timeout: 20s }
tools:
  - name: count
    description: Append a line.
    attributes: { action: count, action_type: write }
    input_schema: { type: object, additionalProperties: false, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
  - name: count_slowly
    description: Append a line and take as many seconds as asked.
    attributes: { action: slow, action_type: write }
    input_schema: { type: object, additionalProperties: false, required: [line, seconds], properties: { line: { type: string }, seconds: { type: number } } }
    run: ["${line}", "${seconds}"]
"#;
const COUNT_IS_HELD: &str = "rules:\n  - { name: slow, match: { action: slow }, decision: ALLOW }\n  - { name: held, match: { action: count }, decision: REQUIRE_APPROVAL }\n";

/// Requests that are under way.
struct UnderWay(Vec<tokio::task::JoinHandle<Reply>>);

impl UnderWay {
    fn begin(requests: impl Iterator<Item = RequestBuilder>) -> Self {
        Self(requests.map(|request| RUNTIME.spawn(Reply::of(request))).collect())
    }

    fn results(self) -> Vec<Value> {
        let replies = self.0.into_iter().map(|it| RUNTIME.block_on(it).unwrap());
        replies.map(|reply| reply.response()["result"].clone()).collect()
    }
}

/// What `/readyz` says to one who connects now; nothing when nobody listens any more.
fn readiness(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut told = String::new();
    stream.read_to_string(&mut told).ok()?;
    (!told.is_empty()).then_some(told)
}

/// All that `/readyz` says, each thing once, until nobody listens any more.
fn readiness_to_the_end(address: &str) -> Vec<String> {
    let mut heard: Vec<String> = Vec::new();
    until("the gateway to stop listening", || {
        let Some(told) = readiness(address) else { return Some(()) };
        let said = told.lines().last().unwrap_or_default().to_owned();
        if heard.last() != Some(&said) {
            heard.push(said);
        }
        None
    });
    heard
}

#[test]
fn b11_a_stop_under_load_drains_what_runs_and_keeps_what_is_held() {
    const MANY: usize = 100;
    let mut gateway = TestGateway::builder()
        .counting()
        .manifest("counting.yaml", WIDE)
        .policy("held.yaml", COUNT_IS_HELD)
        .config(&format!(
            "holds: {{ window: 50s, pending_max: {MANY} }}\nedge: {{ drain_notice: 1s }}\n"
        ))
        .start();
    let modern = gateway.modern("new");
    let legacy = Legacy::open(gateway.url(), &gateway.agent("old"), "2025-11-25");
    let request = |n: usize, tool: &str, arguments: Value| {
        if n.is_multiple_of(2) {
            return modern.call_request(tool, arguments);
        }
        let params = json!({ "name": tool, "arguments": arguments });
        let message =
            json!({ "jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params });
        legacy.post(message.to_string())
    };
    let held = UnderWay::begin(
        (0..MANY).map(|n| request(n, "count", json!({ "line": format!("held {n}") }))),
    );
    let before = gateway.holds_when("pending", MANY);
    let slow = json!({ "seconds": 5 });
    let running = UnderWay::begin((0..MANY).map(|n| {
        let mut arguments = slow.clone();
        arguments["line"] = json!(format!("slow {n}"));
        request(MANY + n, "count_slowly", arguments)
    }));
    run_through(&gateway, MANY);

    let address = gateway.url().trim_start_matches("http://").to_owned();
    assert!(readiness(&address).unwrap().starts_with("HTTP/1.1 200"));
    let heard = thread::scope(|scope| {
        let heard = scope.spawn(|| readiness_to_the_end(&address));
        assert_eq!(gateway.stop(), 0);
        heard.join().unwrap()
    });
    let unready = heard.last().unwrap();
    assert_eq!(unready, "draining", "it stopped listening without a word: {heard:?}");

    // What ran, ran to its end; who waited for people is told that the call is pending.
    for result in running.results() {
        assert!(said(&result).contains("ran slow"), "{result}");
    }
    for result in held.results() {
        assert_eq!(result["_meta"]["countersign/hold"]["state"], "pending", "{result}");
        if result["resultType"] != "input_required" {
            assert!(refused(&result).starts_with("PENDING, not failed"), "{result}");
        }
    }
    gateway.launch();
    let after = gateway.holds_when("pending", MANY);
    let ids = |holds: &[Value]| holds.iter().map(|it| text(&it["id"])).collect::<BTreeSet<_>>();
    assert_eq!(ids(&after), ids(&before));
    let entries = gateway.entries();
    assert_eq!(counted(&entries, "intent", |_| true).0, MANY);
    let ended = counted(&entries, "outcome", |it| it["outcome"]["status"] == "success");
    assert_eq!(ended, (MANY, MANY));
    gateway.approve(&text(&after[0]["id"]));
    gateway.hold_when(&text(&after[0]["id"]), "finished");
    assert_eq!(gateway.ran().len(), MANY + 1);
}
