//! Requests that could be read in two ways, as raw bytes: refused, or read in one way with nothing after it.

use std::fmt::Write as _;
use std::io::{Read, Write as _};

use super::{allowed, answers, connect, count, status};
use crate::harness::TestGateway;

/// A whole right call, which would run if it were taken for a request of its own.
fn hidden_call(token: &str) -> String {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let params = format!(r#"{{"name":"count","arguments":{{"line":"hidden"}},"_meta":{meta}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: count\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Headers and beginnings of bodies after which two readers would see the end in different places.
fn framings(length: usize) -> Vec<String> {
    let mut all = vec![
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n"),
        format!("Content-Length: 0, {length}\r\n\r\n"),
    ];
    let fixed = [
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x0\r\n\r\n",
        "Content-Length: 18446744073709551616\r\n\r\n",
        "Content-Length : 0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "Content-Length:\r\n 0\r\n\r\n",
        "X: a\rContent-Length: 0\r\n\r\n",
        "X: a\u{0}b\r\nContent-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0;a=b\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0;a=\nb\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        "Expect: a-pony\r\nContent-Length: 0\r\n\r\n",
    ];
    all.extend(fixed.map(str::to_owned));
    all
}

#[test]
fn c10_what_can_be_read_in_two_ways_is_refused_or_ends_the_connection() {
    let gateway = allowed().start();
    let hidden = hidden_call(&gateway.agent("a"));
    let start = "POST /livez HTTP/1.1\r\nHost: localhost\r\n";
    let mut tried: Vec<String> =
        framings(hidden.len()).iter().map(|it| format!("{start}{it}{hidden}")).collect();
    // HTTP/1.0 has no chunks.
    let old =
        "POST /livez HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    tried.push(format!("{old}{hidden}"));
    for request in tried {
        let all = answers(&gateway, request.as_bytes());
        let shown = request.split("POST /mcp").next().unwrap_or_default();
        assert!(count(&all) <= 1, "{shown:?} was answered more than once: {all}");
        assert!(gateway.ran().is_empty(), "{shown:?} ran what it hid");
    }
    // The same call for itself does run.
    assert_eq!(status(&answers(&gateway, hidden.as_bytes())), 200);
    assert_eq!(gateway.ran(), ["hidden"]);
}

#[test]
fn c10_names_with_an_underscore_are_no_names_of_ours() {
    let gateway = allowed().start();
    let hidden = hidden_call(&gateway.agent("a"));
    // A length that is none: the call after it is a request of its own, and the only one that runs.
    let length = hidden.len();
    let request = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent_Length: {length}\r\n\
         Transfer_Encoding: chunked\r\n\r\n{hidden}"
    );
    let all = answers(&gateway, request.as_bytes());
    assert_eq!((count(&all), gateway.ran().len()), (2, 1), "{all}");
    let renamed = hidden.replace("Mcp-Name", "Mcp_Name");
    assert_eq!(status(&answers(&gateway, renamed.as_bytes())), 400);
    let renamed = hidden.replace("Authorization", "Authorization_");
    assert_eq!(status(&answers(&gateway, renamed.as_bytes())), 401);
    assert_eq!(gateway.ran(), ["hidden"]);
}

#[test]
fn c10_a_bare_line_feed_ends_a_line_and_hides_nothing() {
    let gateway = allowed().start();
    let hidden = hidden_call(&gateway.agent("a"));
    // What follows the line feed would be a header to one reader and part of a value to another.
    let length = hidden.len();
    let start = "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\n";
    let request = format!("{start}Content-Length: {length}\r\n\r\n{hidden}");
    let all = answers(&gateway, request.as_bytes());
    assert!(count(&all) <= 1, "{all}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn heads_that_are_too_large_are_431() {
    let gateway = allowed().start();
    let ask = |headers: &str| {
        let request =
            format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        status(&answers(&gateway, request.as_bytes()))
    };
    assert_eq!(ask(&format!("X: {}\r\n", "x".repeat(16 << 10))), 200);
    assert_eq!(ask(&format!("X: {}\r\n", "x".repeat(40 << 10))), 431);
    let many = (0..200).fold(String::new(), |mut all, n| {
        write!(all, "X-{n}: 1\r\n").unwrap();
        all
    });
    assert_eq!(ask(&many), 431);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(40 << 10));
    assert!(matches!(status(&answers(&gateway, long.as_bytes())), 414 | 431));
}

/// The frame of HTTP/2 that carries headers (RFC 9113, section 6.2).
const HEADERS: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header that is written out (RFC 7541, section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// Whether a request of these headers over HTTP/2 is answered with 200.
fn answered(gateway: &TestGateway, headers: &[(&str, &str)]) -> bool {
    let mut stream = connect(gateway);
    let block: Vec<u8> = headers.iter().flat_map(|(name, value)| literal(name, value)).collect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).unwrap();
    // With END_STREAM and END_HEADERS.
    stream.write_all(&frame(HEADERS, 5, 1, &block)).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).unwrap();
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            // `:status: 200` is the eighth entry of the static table.
            HEADERS if id == 1 => return payload[0] == 0x88,
            // RST_STREAM, GOAWAY.
            3 | 7 => return false,
            _ => {}
        }
    }
}

#[test]
fn c10_pseudo_headers_of_http_2_carry_no_line_ends() {
    let gateway = allowed().start();
    let with = |path: &str, authority: &str, more: &[(&str, &str)]| {
        let mut headers = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", authority),
        ];
        headers.extend(more);
        answered(&gateway, &headers)
    };
    assert!(with("/livez", "localhost", &[]));
    assert!(with("/livez", "localhost", &[("host", "localhost")]));
    for (path, authority, more) in [
        ("/livez\r\nX: y", "localhost", &[][..]),
        ("/livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", "localhost", &[]),
        ("/livez", "localhost\r\nX: y", &[]),
        ("/livez", "evil.example", &[]),
        ("/livez", "localhost", &[("host", "evil.example")]),
        ("/livez", "localhost", &[("x", "a\r\nb: c")]),
        ("/livez", "localhost", &[("x\r\ny", "a")]),
        ("/livez", "localhost", &[("X-Upper", "a")]),
        ("/livez", "localhost", &[("transfer-encoding", "chunked")]),
        ("/livez", "localhost", &[("connection", "keep-alive")]),
        ("/livez", "localhost", &[(":path", "/mcp")]),
        ("/livez", "localhost", &[(":unknown", "a")]),
        ("/livez", "localhost", &[("content-length", "7")]),
    ] {
        assert!(!with(path, authority, more), "{path:?} {authority:?} {more:?}");
    }
}
