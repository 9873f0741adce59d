//! Bad input from clients: the error that the specification names, the connection kept, nothing run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, Reply, http, next_id, post, said};
use crate::harness::{ALLOW_ALL, Builder, PATIENCE, RUNTIME, TestGateway};

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

/// One connection that is kept, spoken by hand.
struct Connection {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Connection {
    fn open(gateway: &TestGateway, token: &str) -> Self {
        let address = gateway.url().strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), token: token.to_owned() }
    }

    /// Posts a body as a client of 2026-07-28 and gives status and body of the answer.
    fn post(&mut self, name: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\nMcp-Name: {name}\r\n\
             Content-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes()).unwrap();
        self.stream.get_mut().write_all(body).unwrap();
        self.read()
    }

    fn read(&mut self) -> (u16, String) {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// A right call on this connection.
    fn works(&mut self) {
        let client = Modern::new("", "");
        let params = client.params(json!({ "name": "look", "arguments": { "line": "ok" } }));
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (status, body) = self.post("look", message.to_string().as_bytes());
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("ran ok"), "{body}");
    }
}

/// Bodies that are no JSON-RPC request, and the code that each is answered with.
fn malformed() -> Vec<(Vec<u8>, i64)> {
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}{}}}"#,
        "[".repeat(80),
        "]".repeat(80)
    );
    vec![
        (b"{".to_vec(), -32700),
        (b"".to_vec(), -32700),
        (b"nonsense".to_vec(), -32700),
        (b"\xff\xfe{}".to_vec(), -32700),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#.to_vec(), -32700),
        (br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.to_vec(), -32700),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"\u0061":2}}"#.to_vec(),
            -32700,
        ),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}"#.to_vec(), -32700),
        (deep.into_bytes(), -32700),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#.to_vec(), -32600),
        (br#""ping""#.to_vec(), -32600),
        (br#"{"id":1,"method":"ping"}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":7}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":1}"#.to_vec(), -32600),
    ]
}

#[test]
fn c1_malformed_messages_over_http_keep_the_connection() {
    let gateway = allowed().start();
    let mut connection = Connection::open(&gateway, &gateway.agent("a"));
    for (body, code) in malformed() {
        let (status, answer) = connection.post("count", &body);
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 400, "{shown}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
    }
    connection.works();
    assert_eq!(gateway.ran(), ["ok"]);
}

#[test]
fn c14_malformed_lines_over_stdio_keep_the_connection() {
    let gateway = allowed().prepare();
    let client = gateway.stdio("s").begin("2025-11-25");
    for (line, code) in malformed() {
        if line.is_empty() {
            continue;
        }
        client.send_line(&line);
        let answer = client.next();
        let shown = String::from_utf8_lossy(&line).into_owned();
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
    }
    let overlong = vec![b'x'; (4 << 20) + 10];
    client.send_line(&overlong);
    assert_eq!(client.next()["error"]["code"], -32600);
    client.send_line(b"");
    let result = client.call("look", json!({ "line": "ok" }));
    assert!(said(&result).contains("ran ok"), "{result}");
}

/// Parameters of a `tools/call` that are not what they must be.
const WRONG_PARAMS: [&str; 12] = [
    r#"{"name":"count","arguments":[1]}"#,
    r#"{"name":"count","arguments":"x"}"#,
    r#"{"name":"count","arguments":null}"#,
    r#"{"arguments":{"line":"x"}}"#,
    r#"{"name":7,"arguments":{"line":"x"}}"#,
    r#"{"name":null,"arguments":{"line":"x"}}"#,
    r#"{"Name":"count","arguments":{"line":"x"}}"#,
    r#"{"na\u0000me":"count","arguments":{"line":"x"}}"#,
    r#"["count",{"line":"x"}]"#,
    r#""count""#,
    r#"{"name":"count","name":"look","arguments":{"line":"x"}}"#,
    r#"{"name":"count","n\u0061me":"count","arguments":{"line":"x"}}"#,
];

fn is_refused(params: &str, answer: &Value) {
    let code = answer["error"]["code"].as_i64();
    assert!(matches!(code, Some(-32700 | -32600 | -32602)), "{params}: {answer}");
}

#[test]
fn a_malformed_call_reaches_no_backend() {
    let gateway = allowed().start();
    let token = gateway.agent("a");
    let legacy = Legacy::open(gateway.url(), &token, "2025-11-25");
    let modern = Modern::new(gateway.url(), &token);
    for params in WRONG_PARAMS {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{params}}}"#,
            next_id()
        );
        is_refused(params, &legacy.send(body).response());
        // The same with the `_meta` of the modern era, where there is a place for it.
        if let Some(rest) = params.strip_prefix('{') {
            let meta = modern.params(json!({}))["_meta"].to_string();
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"_meta":{meta},{rest}}}"#,
                next_id()
            );
            is_refused(params, &modern.send("tools/call", Some("count"), body).response());
        }
    }
    for message in [
        r#"{"jsonrpc":"2.0","id":9001,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":9002,"method":"tools/call","params":null}"#,
        r#"{"jsonrpc":"2.0","id":9003,"method":"ping","Method":"tools/call","METHOD":"tools/call","params":{"name":"count","arguments":{"line":"x"}}}"#,
    ] {
        legacy.send(message.to_owned());
    }
    // A notification asks for nothing.
    let call = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"count","arguments":{"line":"x"}}}"#;
    legacy.send(call.to_owned());
    assert!(gateway.ran().is_empty(), "a malformed call ran: {:?}", gateway.ran());
    assert!(said(&modern.call("count", json!({ "line": "ok" }))).contains("ran ok"));
}

#[test]
fn a_malformed_call_over_stdio_reaches_no_backend() {
    let gateway = allowed().prepare();
    let client = gateway.stdio("s").begin("2025-11-25");
    for params in WRONG_PARAMS {
        // Each time with the same id, which a refused request does not keep.
        let line = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{params}}}"#);
        client.send_line(line.as_bytes());
        let answer = client.next();
        is_refused(params, &answer);
        assert!(!answer.to_string().contains("under way"), "{params}: {answer}");
    }
    assert!(gateway.ran().is_empty());
    assert!(said(&client.call("count", json!({ "line": "ok" }))).contains("ran ok"));
}

#[test]
fn an_unknown_tool_is_a_json_rpc_error() {
    let gateway = allowed().start();
    let legacy = gateway.legacy("l");
    let modern = gateway.modern("m");
    let clients: [&dyn Client; 2] = [&legacy, &modern];
    for client in clients {
        let answer = client.request("tools/call", json!({ "name": "absent", "arguments": {} }));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    assert_eq!(modern.reply("tools/call", json!({ "name": "absent" })).status, 200);
}

#[test]
fn arguments_that_do_not_fit_are_told_all_at_once() {
    let gateway = allowed().start();
    let client = gateway.modern("a");
    let result = client.call("count_slowly", json!({ "line": 7, "seconds": "x", "more": 1 }));
    assert_eq!(result["isError"], true);
    let told = said(&result);
    for part in ["/line", "/seconds", "more", "nothing ran"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    assert!(gateway.ran().is_empty());
}

#[test]
fn c3_numbers_that_not_everybody_reads_alike_are_refused() {
    let gateway = allowed().start();
    let client = gateway.legacy("a");
    for number in ["1e400", "123456789012345678901234567890", "9007199254740993", "-1e309"] {
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"count_slowly","arguments":{{"line":"x","seconds":{number}}}}}}}"#,
            next_id()
        );
        let answer = client.send(message).response();
        let refused = answer.get("error").is_some() || answer["result"]["isError"] == true;
        assert!(refused, "{number}: {answer}");
    }
    assert!(gateway.ran().is_empty());
}

#[test]
fn an_oversized_body_is_413() {
    let gateway = allowed().config("edge: { max_message_bytes: 65536 }\n").start();
    let client = gateway.modern("a");
    let reply = client.reply(
        "tools/call",
        json!({ "name": "count", "arguments": { "line": "x".repeat(70_000) } }),
    );
    assert_eq!(reply.status, 413);
    assert!(gateway.ran().is_empty());
    assert!(said(&client.call("count", json!({ "line": "ok" }))).contains("ran ok"));
}

#[test]
fn c8_headers_that_differ_from_the_body() {
    let gateway = allowed().start();
    let client = gateway.modern("a");
    let params = client.params(json!({ "name": "count", "arguments": { "line": "x" } }));
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    for (method, name) in [
        ("tools/call", Some("look")),
        ("tools/call", None),
        ("tools/call", Some("COUNT")),
        ("tools/call", Some("=?base64?bG9vaw==?=")),
        ("tools/list", Some("count")),
        ("ping", Some("count")),
    ] {
        let reply = client.send(method, name, body.clone());
        assert_eq!(reply.status, 400, "{method} {name:?}: {reply:?}");
        assert_eq!(reply.json()["error"]["code"], -32020, "{reply:?}");
    }
    assert!(gateway.ran().is_empty());
    let reply = client.send("tools/call", Some("=?base64?Y291bnQ=?="), body);
    assert!(said(&reply.response()["result"]).contains("ran x"));
}

#[test]
fn an_unknown_version_is_told_which_are_known() {
    let gateway = allowed().start();
    let client = gateway.modern("a");
    let mut params = client.params(json!({ "name": "count", "arguments": { "line": "x" } }));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2031-01-01".into();
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = post(gateway.url(), &client.token)
        .header("mcp-protocol-version", "2031-01-01")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "count")
        .body(message.to_string());
    let reply = RUNTIME.block_on(Reply::of(request));
    assert_eq!(reply.status, 400);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], -32022);
    assert!(error["data"]["supported"].as_array().unwrap().contains(&json!(MODERN)), "{error}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn cve_2026_59822_agents_over_http_need_a_valid_token() {
    let gateway = allowed().start();
    let good = gateway.agent("good");
    let short = gateway.cli(&["agents", "add", "short", "--expires", "1s"]).done();
    let revoked = gateway.agent("revoked");
    gateway.cli(&["agents", "revoke", "revoked"]).done();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let with = |authorization: Vec<String>| {
        let mut request = http()
            .post(format!("{}/mcp", gateway.url()))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body);
        for value in authorization {
            request = request.header("authorization", value);
        }
        RUNTIME.block_on(Reply::of(request)).status
    };
    for wrong in [
        vec![],
        vec![String::new()],
        vec!["Bearer".to_owned()],
        vec!["Bearer ".to_owned()],
        vec!["Bearer wrong".to_owned()],
        vec![format!("Bearer {good}x")],
        vec![format!("Basic {good}")],
        vec![good.clone()],
        vec![format!("Bearer {good}"), format!("Bearer {good}")],
        vec![format!("Bearer {}", short.trim())],
        vec![format!("Bearer {revoked}")],
    ] {
        assert_eq!(with(wrong.clone()), 401, "{wrong:?}");
    }
    assert_ne!(with(vec![format!("Bearer {good}")]), 401);
    assert_ne!(with(vec![format!("bearer {good}")]), 401);
}

#[test]
fn go_2026_4773_foreign_names_are_403() {
    let gateway = allowed().start();
    let token = gateway.agent("a");
    for path in ["/mcp", "/api/v1/approvals", "/metrics", "/livez"] {
        for (header, value, status) in [
            ("host", "evil.example", 403),
            ("host", "localhost.evil.example", 403),
            ("host", "127.0.0.1.evil.example", 403),
            ("origin", "http://evil.example", 403),
            ("origin", "http://localhost.evil.example", 403),
            ("origin", "null", 403),
        ] {
            let request = http().get(format!("{}{path}", gateway.url())).bearer_auth(&token);
            let reply = RUNTIME.block_on(Reply::of(request.header(header, value)));
            assert_eq!(reply.status, status, "{path} {header}: {value}");
        }
    }
    let request = http().get(format!("{}/livez", gateway.url()));
    let reply = RUNTIME.block_on(Reply::of(request.header("origin", "http://localhost:3000")));
    assert_eq!(reply.status, 200);
}

#[test]
fn a9_an_agent_decides_nothing() {
    let gateway =
        TestGateway::builder().counting().policy("held.yaml", crate::harness::HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    client.call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    let digest = gateway.hold(&id)["digest"].clone();
    let url = |path: &str| format!("{}/api/v1{path}", gateway.url());
    let verdict = json!({ "decision": "approve", "digest": digest });
    let requests = [
        http().get(url("/approvals")),
        http().get(url(&format!("/approvals/{id}"))),
        http().post(url(&format!("/approvals/{id}/verdict"))).json(&verdict),
        http().post(url("/agents")).json(&json!({ "name": "b" })),
        http().delete(url("/agents/a")),
        http().get(url("/audit")),
        http().get(url("/catalog")),
    ];
    for request in requests {
        let named = format!("{request:?}");
        assert_eq!(
            RUNTIME.block_on(Reply::of(request.bearer_auth(&client.token))).status,
            401,
            "{named}"
        );
    }
    // On the local socket, whoever speaks for an agent is no person either.
    let socket = gateway.data().join("countersign.sock");
    let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
    let request = local.get("http://localhost/api/v1/approvals").header("countersign-agent", "a");
    assert_eq!(RUNTIME.block_on(Reply::of(request)).status, 401);
    assert_eq!(gateway.api_get("/api/v1/approvals").status, 200);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert!(gateway.ran().is_empty());
}

#[test]
fn cve_2026_52869_a_foreign_session_is_404() {
    let gateway = allowed().start();
    let own = gateway.legacy("a");
    let thief = Legacy { token: gateway.agent("b"), ..own.clone() };
    let unknown =
        Legacy { session: "00000000-0000-4000-8000-000000000000".to_owned(), ..own.clone() };
    let call = |client: &Legacy| {
        let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call",
                              "params": { "name": "count", "arguments": { "line": "x" } } });
        let reply = client.send(message.to_string());
        (reply.status, reply.body)
    };
    assert_eq!(call(&thief).0, 404);
    assert_eq!(call(&thief), call(&unknown));
    let closing = http()
        .delete(format!("{}/mcp", gateway.url()))
        .bearer_auth(&thief.token)
        .header("mcp-session-id", &own.session);
    assert_eq!(RUNTIME.block_on(Reply::of(closing)).status, 404);
    assert!(gateway.ran().is_empty());
    assert_eq!(call(&own).0, 200);
}

#[test]
fn c7_an_id_that_is_under_way_is_not_taken_twice() {
    let gateway = allowed().start();
    let client = gateway.legacy("a");
    let slow = json!({ "name": "count_slowly", "arguments": { "line": "slow", "seconds": 3 } });
    let first = client.send_later(4711, "tools/call", slow);
    crate::harness::until("the slow call to run", || (gateway.ran().len() == 1).then_some(()));
    let second = json!({ "name": "count", "arguments": { "line": "second" } });
    let second = client.send_later(4711, "tools/call", second).join().unwrap();
    assert_eq!(second.response()["error"]["code"], -32600, "{second:?}");
    assert!(said(&first.join().unwrap().response()["result"]).contains("ran slow"));
    assert_eq!(gateway.ran(), ["slow"]);
}
