//! Host, Origin and forwarded headers, and what every answer carries.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::{allowed, answers, connect, status};
use crate::harness::{PATIENCE, until};

const CONFIG: &str = "edge: { allowed_hosts: [gate.example.com, 'port.example:8443'] }\n";

/// The paths that have different doors.
const PATHS: [&str; 5] = ["/mcp", "/api/v1/approvals", "/metrics", "/livez", "/holds/1"];

const HOSTS: [(&str, bool); 10] = [
    ("localhost", true),
    ("LocalHost.:1", true),
    ("[::1]:7420", true),
    ("gate.example.com:99", true),
    ("port.example:8443", true),
    ("port.example:8444", false),
    ("evil.example", false),
    ("localhost.evil.example", false),
    ("evil.example@localhost", false),
    ("", false),
];

const ORIGINS: [(Option<&str>, bool); 6] = [
    (None, true),
    (Some("http://localhost:3000"), true),
    (Some("https://gate.example.com"), true),
    (Some("null"), false),
    (Some("http://evil.example"), false),
    (Some("https://localhost.evil.example"), false),
];

#[test]
fn cve_2025_64443_host_and_origin_on_every_route_of_every_listener() {
    let v4 = allowed().config(CONFIG).start();
    let v6 = allowed().config(CONFIG).listen("[::1]:0").start();
    let local = |request: &str| {
        let mut stream = UnixStream::connect(v4.data().join("countersign.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let ask = |listener: &str, request: &str| match listener {
        "127.0.0.1" => answers(&v4, request.as_bytes()),
        "[::1]" => answers(&v6, request.as_bytes()),
        _ => local(request),
    };
    for listener in ["127.0.0.1", "[::1]", "socket"] {
        for path in PATHS {
            for (host, host_is_ours) in HOSTS {
                for (origin, origin_is_ours) in ORIGINS {
                    let origin = origin.map(|it| format!("Origin: {it}\r\n")).unwrap_or_default();
                    let request = format!(
                        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n"
                    );
                    let answer = ask(listener, &request);
                    let place = format!("{listener} {path} {host} {origin}: {answer}");
                    let ours = host_is_ours && origin_is_ours;
                    assert_eq!(status(&answer) != 403, ours, "{place}");
                    assert_ne!(status(&answer), 0, "{place}");
                }
            }
        }
    }
}

#[test]
fn cve_2025_64443_other_ways_to_name_a_host() {
    let gateway = allowed().config(CONFIG).start();
    for (request, expected) in [
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
        ("GET /livez HTTP/1.1\r\n", 403),
        ("GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n", 403),
        ("GET http://localhost/livez HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("GET http://user@localhost/livez HTTP/1.1\r\nHost: localhost\r\n", 403),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n", 405),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n", 200),
        ("GET /livez HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n", 403),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
             Origin: http://evil.example\r\n",
            400,
        ),
    ] {
        let answer = answers(&gateway, format!("{request}Connection: close\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), expected, "{request}: {answer}");
    }
}

#[test]
fn go_2026_4773_a_simple_request_of_a_web_page_runs_nothing() {
    let gateway = allowed().start();
    let token = gateway.agent("a");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count","arguments":{"line":"x"}}}"#;
    for (origin, kind, expected) in [
        ("Origin: http://evil.example\r\n", "text/plain", 403),
        ("Origin: http://evil.example\r\n", "application/json", 403),
        ("", "text/plain", 415),
        ("", "application/x-www-form-urlencoded", 415),
        ("", "multipart/form-data; boundary=x", 415),
    ] {
        let length = call.len();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{origin}Content-Type: {kind}\r\nAccept: */*\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{call}"
        );
        let answer = answers(&gateway, request.as_bytes());
        assert_eq!(status(&answer), expected, "{origin}{kind}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
    }
    assert!(gateway.ran().is_empty());
}

#[test]
fn every_answer_says_that_nothing_may_be_made_of_it() {
    let gateway = allowed().start();
    for request in [
        "GET /livez",
        "GET /nothing",
        "GET /mcp",
        "POST /mcp",
        "GET /api/v1/audit",
        "GET /holds/1",
        "OPTIONS /mcp",
        "HEAD /livez",
    ] {
        let lines = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = answers(&gateway, lines.as_bytes()).to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(header), "{request}: `{header}` is missing: {answer}");
        }
        for header in ["\nserver:", "x-powered-by", "strict-transport-security", "countersign/"] {
            assert!(!answer.contains(header), "{request}: {answer}");
        }
    }
}

/// Every mixture of cases, hyphens and underscores comes up.
fn disguised(name: &str, seed: usize) -> String {
    let mut bits = (seed + 1).wrapping_mul(2_654_435_761);
    let disguise = |c: char| {
        bits = bits.rotate_left(5).wrapping_mul(31).wrapping_add(7);
        match (c, bits % 3) {
            ('-', 0) => '_',
            (c, 1) => c.to_ascii_uppercase(),
            (c, _) => c,
        }
    };
    name.chars().map(disguise).collect()
}

#[test]
fn go_2026_5390_headers_of_ours_mean_nothing_from_outside() {
    let gateway = allowed().start();
    let token = gateway.agent("a");
    let names =
        ["countersign-agent", "countersign-role", "x-forwarded-for", "x-real-ip", "forwarded"];
    let values = ["root", "127.0.0.1", "for=127.0.0.1", "a"];
    let mut stream = connect(&gateway);
    for (at, name) in names.iter().cycle().take(200).enumerate() {
        let header = format!("{}: {}\r\n", disguised(name, at), values[at % values.len()]);
        // A name that ours means something for may stand once.
        let twice = at % 2 == 0 && *name != "countersign-agent";
        let header = if twice { header.repeat(2) } else { header };
        let bearer = format!("Authorization: Bearer {token}\r\n");
        for (path, bearer) in [("/mcp", ""), ("/api/v1/agents", ""), ("/api/v1/agents", &bearer)] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}{bearer}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            assert_eq!(one_status(&mut stream), 401, "{request}");
        }
    }
    let twice = "countersign-agent: a\r\n".repeat(2);
    let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{twice}\r\n");
    assert_eq!(status(&answers(&gateway, request.as_bytes())), 400);
}

/// The status of one answer with a length, which is read whole.
fn one_status(stream: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length =
        head.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    status(&head)
}

#[test]
fn a_trusted_proxys_word_counts() {
    let config = "edge:\n  allowed_hosts: [gate.example.com]\n  \
                  trusted_proxy: { addresses: [127.0.0.1] }\n  \
                  limits: { connections_per_address: 1 }\n";
    let gateway = allowed().config(config).start();
    let ask = |headers: &str| {
        let request = format!(
            "GET /livez HTTP/1.1\r\nHost: upstream.internal\r\n{headers}Connection: close\r\n\r\n"
        );
        answers(&gateway, request.as_bytes())
    };
    assert_eq!(status(&ask("")), 403);
    assert_eq!(status(&ask("X-Forwarded-Host: gate.example.com\r\n")), 200);
    assert_eq!(status(&ask("X-Forwarded-Host: evil.example\r\n")), 403);
    assert_eq!(status(&ask("X-Forwarded-Host: evil.example, gate.example.com\r\n")), 200);
    let secure = ask("X-Forwarded-Host: gate.example.com\r\nX-Forwarded-Proto: https\r\n");
    assert!(secure.to_lowercase().contains("strict-transport-security"), "{secure}");

    // A client behind the proxy has its places, whatever the proxy's own are.
    let legacy = gateway.legacy("a");
    let mut first = connect(&gateway);
    let (token, session) = (&legacy.token, &legacy.session);
    let request = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\nMcp-Session-Id: {session}\r\n\r\n"
    );
    first.write_all(request.as_bytes()).unwrap();
    let mut begin = [0; 12];
    first.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let livez = |whose: &str| {
        let headers = format!("X-Forwarded-Host: localhost\r\nX-Forwarded-For: {whose}\r\n");
        status(&ask(&headers))
    };
    assert_eq!(livez("192.0.2.1"), 503);
    assert_eq!(livez("9.9.9.9, 192.0.2.1"), 503);
    assert_eq!(livez("192.0.2.2"), 200);
    drop(first);
    until("the place to be given back", || (livez("192.0.2.1") == 200).then_some(()));
}

#[test]
fn go_2026_5390_a_strangers_word_of_itself_does_not_count() {
    let gateway = allowed().start();
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\
                   Connection: close\r\n\r\n";
    let answer = answers(&gateway, request.as_bytes());
    assert_eq!(status(&answer), 200);
    assert!(!answer.to_lowercase().contains("strict-transport-security"), "{answer}");
}
