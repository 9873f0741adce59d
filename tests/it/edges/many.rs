//! Very many connections and streams: others are served, and nothing is left over.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::slow::counted;
use super::{allowed, answers, connect, rest, status};
use crate::clients::{Client, MODERN, refused, said};
use crate::harness::{RUNTIME, TestGateway, until};

/// As many connections as this process may have files for, at most `wanted`.
fn affordable(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    wanted.min(usize::try_from(hard).unwrap_or(usize::MAX) / 2)
}

#[test]
fn c11_thousands_of_slow_clients_harm_nobody() {
    let count = affordable(5_000);
    let gateway = allowed().config("edge: { limits: { header_time: 10s } }\n").start();
    let client = gateway.modern("a");
    let mut slow: Vec<TcpStream> = (0..count).map(|_| connect(&gateway)).collect();
    for stream in &mut slow {
        stream.write_all(b"G").unwrap();
    }
    for n in 0..100 {
        let line = n.to_string();
        assert!(said(&client.call("count", json!({ "line": line }))).contains(&format!("ran {n}")));
    }
    assert_eq!(gateway.ran().len(), 100);
    // Another byte does not make them any quicker.
    for stream in &mut slow {
        let _ = stream.write_all(b"E");
    }
    until("all slow clients to be cut", || {
        let cut = "countersign_connections_cut_total{reason=\"slow_head\"}";
        (counted(&gateway, cut) >= count).then_some(())
    });
    until("their places to be given back", || {
        let open = counted(&gateway, "countersign_connections{listener=\"tcp\"}");
        (open < 10).then_some(())
    });
}

#[test]
fn over_the_limit_of_connections_a_client_is_told_so() {
    let gateway = allowed().config("edge: { limits: { connections: 8 } }\n").start();
    let livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&answers(&gateway, livez.as_bytes())), 200);
    let open = |count: usize| {
        let held: Vec<TcpStream> = (0..count).map(|_| connect(&gateway)).collect();
        until("the connections to be taken", || {
            let open = counted(&gateway, "countersign_connections{listener=\"tcp\"}");
            (open >= count).then_some(())
        });
        held
    };
    until("the first to be gone", || {
        let open = counted(&gateway, "countersign_connections{listener=\"tcp\"}");
        (open == 0).then_some(())
    });
    let held = open(8);
    let answer = answers(&gateway, livez.as_bytes());
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("retry-after"), "{answer}");
    let refused = "countersign_connections_refused_total{reason=\"connections\"}";
    assert_eq!(counted(&gateway, refused), 1);
    drop(held);
    until("a place", || (status(&answers(&gateway, livez.as_bytes())) == 200).then_some(()));
}

/// Opens an event stream and waits until it has begun; gives its status.
fn stream(gateway: &TestGateway, request: &str) -> (TcpStream, u16) {
    let mut stream = connect(gateway);
    stream.write_all(request.as_bytes()).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    let begin = String::from_utf8(begin.to_vec()).unwrap();
    (stream, status(&format!("{begin} ")))
}

fn listening(token: &str) -> String {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": MODERN,
                       "io.modelcontextprotocol/clientCapabilities": {} });
    let params = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params });
    let body = body.to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_agent_has_its_streams_and_no_more() {
    let gateway = allowed().config("edge: { limits: { streams_per_agent: 2 } }\n").start();
    let request = listening(&gateway.agent("a"));
    let (first, second) = (stream(&gateway, &request), stream(&gateway, &request));
    assert_eq!((first.1, second.1), (200, 200));
    let (mut third, refused) = stream(&gateway, &request);
    assert_eq!(refused, 503, "{}", rest(&mut third));
    assert_eq!(stream(&gateway, &listening(&gateway.agent("b"))).1, 200);
    drop(first);
    until("a stream to be given back", || (stream(&gateway, &request).1 == 200).then_some(()));
}

/// Opens `count` event streams on one connection of HTTP/2, one after the other, and resets each.
async fn opened_and_reset(address: String, request: http::Request<String>, count: usize) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..count {
        client = client.ready().await.unwrap();
        let (parts, body) = request.clone().into_parts();
        let head = http::Request::from_parts(parts, ());
        let (answer, mut sending) = client.send_request(head, false).unwrap();
        sending.send_data(body.into(), true).unwrap();
        // Dropped before its end, which resets it.
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    drop(client);
    connection.abort();
}

#[test]
fn c15_streams_that_open_and_close_leave_nothing_behind() {
    const CONNECTIONS: usize = 2_000;
    const STREAMS: usize = 50_000 - CONNECTIONS;
    const AT_ONCE: usize = 8;
    let gateway = allowed().start();
    let legacy = gateway.legacy("a");
    let modern = gateway.agent("b");
    let (token, session) = (&legacy.token, &legacy.session);
    let older = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\nMcp-Session-Id: {session}\r\n\r\n"
    );
    let newer = listening(&modern);
    assert_eq!((stream(&gateway, &older).1, stream(&gateway, &newer).1), (200, 200));
    let settled = |what: &str| {
        until(what, || {
            let open = counted(&gateway, "countersign_streams");
            let connections = counted(&gateway, "countersign_connections{listener=\"tcp\"}");
            (open == 0 && connections == 0).then(|| counted(&gateway, "countersign_tasks"))
        })
    };
    let before = settled("the first streams to end");
    // Half by hanging up, of both eras; and very many by resetting them.
    for n in 0..CONNECTIONS {
        drop(stream(&gateway, if n % 2 == 0 { &older } else { &newer }));
    }
    let (head, body) = newer.split_once("\r\n\r\n").unwrap();
    let mut request = http::Request::post(format!("{}/mcp", gateway.url()));
    for line in head.lines().skip(2).filter(|line| !line.starts_with("Content-Length")) {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(body.to_owned()).unwrap();
    RUNTIME.block_on(async {
        let address = gateway.url().strip_prefix("http://").unwrap();
        let opening = (0..AT_ONCE)
            .map(|_| opened_and_reset(address.to_owned(), request.clone(), STREAMS / AT_ONCE));
        futures::future::join_all(opening).await;
    });
    settled("all streams to end");
    // What a stream leaves to do ends soon after it, and not in the same moment.
    until(&format!("no more tasks than the {before} of before, and few"), || {
        (counted(&gateway, "countersign_tasks") <= before + 8).then_some(())
    });
    assert_eq!(counted(&gateway, "countersign_calls_under_way"), 0);
    assert!(said(&gateway.modern("c").call("count", json!({ "line": "x" }))).contains("ran x"));
}

#[test]
fn c15_a_call_that_is_hung_up_on_is_not_refunded() {
    const LIMITED: &str = "rules:\n  - { name: everything, match: {}, decision: ALLOW }\nlimits:\n  \
                           - { name: few, match: { tool: count_slowly }, per: agent, rate: 5/hour }\n";
    let gateway = TestGateway::builder().counting().policy("limited.yaml", LIMITED).start();
    let client = gateway.modern("a");
    let arguments = json!({ "line": "x", "seconds": 60 });
    let params = client.params(json!({ "name": "count_slowly", "arguments": arguments }));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let body = body.to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\nMcp-Name: count_slowly\r\n\
         Content-Length: {}\r\n\r\n{body}",
        client.token,
        body.len()
    );
    for n in 1..=5 {
        let mut hung_up = connect(&gateway);
        hung_up.write_all(request.as_bytes()).unwrap();
        until("the call to run", || (gateway.ran().len() == n).then_some(()));
    }
    refused(&client.call("count_slowly", json!({ "line": "y", "seconds": 0 })));
    until("all places to be given back", || {
        (counted(&gateway, "countersign_calls_under_way") == 0).then_some(())
    });
    assert_eq!(gateway.ran().len(), 5);
}
