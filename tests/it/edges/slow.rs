//! Who is too slow is cut; who waits for good reason is not.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{allowed, connect, rest, status};
use crate::clients::{Client, said};
use crate::harness::{HOLD_ALL, TestGateway, until};

/// Everything that is too slow is so after a second.
const SHORT: &str = "edge:\n  limits:\n    header_time: 1s\n    body_pause: 1s\n    \
                     keep_alive: 1s\n    write_stall: 1s\n";

/// How many connections were ended for this reason.
fn cut(gateway: &TestGateway, reason: &str) -> usize {
    counted(gateway, &format!("countersign_connections_cut_total{{reason=\"{reason}\"}}"))
}

pub(super) fn counted(gateway: &TestGateway, metric: &str) -> usize {
    let count = gateway.metric(metric).unwrap_or_else(|| panic!("no metric {metric}"));
    format!("{count}").parse().unwrap()
}

/// Whether the other side still keeps this connection and says nothing.
fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn c11_a_slow_head_is_408_and_a_silent_connection_is_closed() {
    let gateway = allowed().config(SHORT).start();
    let mut slow = connect(&gateway);
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    let mut silent = connect(&gateway);
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 408, "{answer}");
    answer.clear();
    silent.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "");
    assert_eq!(cut(&gateway, "slow_head"), 2);
    // One that began well and then is slow.
    let mut later = connect(&gateway);
    later.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /li").unwrap();
    let all = rest(&mut later);
    assert_eq!(status(&all), 200, "{all}");
    until("the second head to be too slow", || {
        let mut all = all.clone();
        all.push_str(&rest(&mut later));
        (!is_open(&mut later)).then_some(all)
    });
}

#[test]
fn c11_a_slow_body_is_408() {
    let gateway = allowed().config(SHORT).start();
    let token = gateway.agent("a");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    );
    for framing in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
    {
        let mut slow = connect(&gateway);
        slow.write_all(format!("{head}{framing}").as_bytes()).unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), 408, "{answer}");
    }
    // Of people, too.
    let person = gateway.cli(&["reviewers", "add", "ada", "--role", "operator"]).done();
    let mut slow = connect(&gateway);
    let request = format!(
        "POST /api/v1/agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        person.trim()
    );
    slow.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 408, "{answer}");
}

#[test]
fn c11_a_body_that_trickles_is_408_although_it_never_pauses() {
    let config = "edge: { limits: { body_pause: 2s, body_rate: 1000 } }\n";
    let gateway = allowed().config(config).start();
    let token = gateway.agent("a");
    let mut slow = connect(&gateway);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: 100000\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    until("the trickle to be cut", || {
        let _ = slow.write_all(b" ");
        let mut buffer = [0; 1024];
        match slow.read(&mut buffer) {
            Ok(count) => {
                answer.extend_from_slice(&buffer[..count]);
                (count == 0 || !answer.is_empty()).then_some(())
            }
            Err(error) => (error.kind() == ErrorKind::ConnectionReset).then_some(()),
        }
    });
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
}

#[test]
fn idle_connections_are_closed_and_waiting_ones_are_not() {
    let held = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL);
    let gateway = held.config(&format!("holds: {{ window: 4s }}\n{SHORT}")).start();
    let legacy = gateway.legacy("a");
    // A stream that says nothing for long.
    let mut stream = connect(&gateway);
    let (token, session) = (&legacy.token, &legacy.session);
    let request = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\nMcp-Session-Id: {session}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let begun = rest(&mut stream);
    assert_eq!(status(&begun), 200, "{begun}");
    assert_eq!(counted(&gateway, "countersign_streams"), 1);
    // A connection that is kept for nothing.
    let mut idle = connect(&gateway);
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // A call that waits for people longer than anything else may take.
    let waiting = legacy.send_later(
        1,
        "tools/call",
        json!({ "name": "count", "arguments": { "line": "x" } }),
    );
    let mut all = String::new();
    idle.read_to_string(&mut all).unwrap();
    assert_eq!(status(&all), 200, "{all}");
    let told = said(&waiting.join().unwrap().response()["result"]);
    assert!(told.to_lowercase().contains("pending"), "{told}");
    assert!(cut(&gateway, "idle") >= 1);
    assert!(is_open(&mut stream), "the stream was cut");
    assert_eq!(counted(&gateway, "countersign_streams"), 1);
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let gateway = allowed().config(SHORT).start();
    let mut deaf = connect(&gateway);
    let request = b"GET /holds/1 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    deaf.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // Answers pile up until neither side can write.
    let mut refused = None;
    for _ in 0..10_000 {
        if let Err(error) = deaf.write_all(&request) {
            refused = Some(error.kind());
            break;
        }
    }
    assert!(refused.is_some(), "everything could be written");
    until("the client to be cut", || (cut(&gateway, "not_read") == 1).then_some(()));
    assert!(gateway.modern("a").tools().contains(&"count".to_owned()));
}

#[test]
fn cve_2026_67432_a_huge_body_without_a_credential_is_cut_at_the_limit() {
    const LIMIT: usize = 4 << 20;
    const WHOLE: usize = 1 << 30;
    let gateway = allowed().start();
    let token = gateway.agent("a");
    // Something has been served, so that what serving takes is there already.
    gateway.modern("b").call("count", json!({ "line": "x" }));
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for (path, bearer) in [
        ("/mcp", String::new()),
        ("/api/v1/agents", String::new()),
        ("/livez", String::new()),
        ("/mcp", format!("Authorization: Bearer {token}\r\n")),
    ] {
        let before = resident(&gateway);
        let mut stream = connect(&gateway);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{bearer}Content-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (mut sent, mut most) = (0, before);
        while sent < WHOLE && stream.write_all(&chunk).is_ok() {
            sent += 0x10000;
            most = most.max(resident(&gateway));
        }
        // What the kernel holds for both sides counts as sent.
        assert!(sent < 8 * LIMIT, "{path}: {sent} bytes were taken");
        assert!(most - before < 2 * LIMIT, "{path}: {} more bytes are resident", most - before);
    }
}

/// How much memory the gateway has, in bytes.
fn resident(gateway: &TestGateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
