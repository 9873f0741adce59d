//! Messages that are made to be read as two things, or by nobody: refused where they come in, the connection
//! kept, nothing run.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{
    Client, Legacy, MODERN, Modern, Reply, VERSIONS, http, next_id, post, refused, said,
};
use crate::harness::{ALLOW_ALL, Builder, RUNTIME, TestGateway, peak_memory, until};
use crate::raw_upstream::RawUpstream;

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

fn with_raw(upstream: &RawUpstream) -> (TestGateway, Modern) {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("raw.yaml", &upstream.manifest())
        .start();
    let client = gateway.modern("m");
    until("the server's tool", || client.tools().contains(&"raw".to_owned()).then_some(()));
    (gateway, client)
}

/// Calls `raw` with arguments as they are written here.
fn call_raw(client: &Modern, arguments: &str) -> Reply {
    let meta = client.params(json!({}))["_meta"].to_string();
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"raw","arguments":{arguments},"_meta":{meta}}}}}"#,
        next_id()
    );
    client.send("tools/call", Some("raw"), body)
}

#[test]
fn c4_strings_arrive_as_they_are_or_not_at_all() {
    let upstream = RawUpstream::start();
    let (_gateway, client) = with_raw(&upstream);
    // Composed and decomposed letters are two keys, and stay so.
    let kept = [
        ("{\"\u{e9}\":1,\"e\u{301}\":2}", json!({ "\u{e9}": 1, "e\u{301}": 2 })),
        (r#"{"a":"\u0000"}"#, json!({ "a": "\0" })),
        (
            r#"{"__proto__":{"constructor":"x"},"toString":1}"#,
            json!({ "__proto__": { "constructor": "x" }, "toString": 1 }),
        ),
        (
            "{\"a\":\"\u{202e}\u{e0041}\u{feff}\u{fffe}\"}",
            json!({ "a": "\u{202e}\u{e0041}\u{feff}\u{fffe}" }),
        ),
        (r#"{"a":"\ud83d\ude00"}"#, json!({ "a": "😀" })),
    ];
    for (arguments, expected) in &kept {
        assert_eq!(said(&call_raw(&client, arguments).response()["result"]), "raw", "{arguments}");
        let calls = upstream.calls();
        let got: Value = serde_json::from_str(calls.last().unwrap()).unwrap();
        assert_eq!(got["arguments"], *expected, "{arguments}");
    }
    for arguments in [
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        r#"{"\ud800":1}"#,
        r#"{"k\u0000":1}"#,
        "\u{feff}{}",
    ] {
        let reply = call_raw(&client, arguments);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32700)));
    }
    for bytes in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xff", b"\xe2\x82"] {
        let body = [
            &b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\""[..],
            bytes,
            b"\"}}",
        ];
        let request = post(&client.url, &client.token).body(body.concat());
        let reply = RUNTIME.block_on(Reply::of(request));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32700)));
    }
    assert_eq!(upstream.calls().len(), kept.len());
}

#[test]
fn c5_deep_messages_are_refused_on_every_way_in() {
    let gateway = allowed().start();
    let client = gateway.modern("m");
    let joined = gateway.stdio("s").begin("2025-11-25");
    for depth in [65, 129, 10_000, 1_000_000] {
        for deep in ["[".repeat(depth), r#"{"a":"#.repeat(depth).chars().take(3 << 20).collect()] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{deep}"#);
            let reply = client.send("ping", None, body.clone());
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32700)));
            joined.send_line(body.as_bytes());
            assert_eq!(joined.next_response()["error"]["code"], -32700);
        }
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let socket = gateway.data().join("countersign.sock");
        let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
        let request = local.post("http://localhost/api/v1/agents").body(body);
        let reply = RUNTIME.block_on(Reply::of(request.header("content-type", "application/json")));
        assert_eq!(reply.status, 400, "{depth}: {reply:?}");
    }
    assert!(said(&client.call("look", json!({ "line": "ok" }))).contains("ran ok"));
    assert!(gateway.peak_memory() < 300, "{} MB", gateway.peak_memory());
}

#[test]
fn c5_deep_files_are_refused_at_load() {
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let schema = format!("{}{{ type: string }}{}", "{ not: ".repeat(100), " }".repeat(100));
    let manifest = format!(
        "backend: {{ name: deep, command: {{ program: \"@DIR@/bin/count\" }} }}\ntools:\n  - {{ name: deep, description: d, attributes: {{ action_type: read }}, input_schema: {schema}, run: [] }}\n"
    );
    for builder in [
        allowed().policy("deep.yaml", &format!("rules: {nested}\n")),
        allowed().manifest("deep.yaml", &manifest),
    ] {
        let failed = builder.expect_start_failure();
        assert_eq!(failed.code, 2, "{failed:?}");
        let told = failed.stderr.lines().next().unwrap();
        assert!(told.contains("deeper than") || told.contains("recursion limit"), "{told}");
    }
}

#[test]
fn c6_no_version_takes_batches() {
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "count", "arguments": { "line": "x" } } },
        { "jsonrpc": "2.0", "id": 2, "method": "ping" },
    ]);
    let gateway = allowed().start();
    let token = gateway.agent("a");
    for version in VERSIONS {
        for body in [batch.to_string(), "[]".to_owned(), "[1]".to_owned()] {
            let reply = if version == MODERN {
                Modern::new(gateway.url(), &token).send("tools/call", Some("count"), body.clone())
            } else {
                Legacy::open(gateway.url(), &token, version).send(body.clone())
            };
            assert_eq!(reply.status, 400, "{version}: {reply:?}");
            assert_eq!(reply.json()["error"]["code"], -32600, "{version}: {reply:?}");
            let joined = gateway.stdio("s").begin(version);
            joined.send_line(body.as_bytes());
            assert_eq!(joined.next_response()["error"]["code"], -32600, "{version}");
        }
    }
    assert!(gateway.ran().is_empty());
}

#[test]
fn c7_answers_carry_the_id_as_it_was_sent() {
    let gateway = allowed().start();
    let legacy = gateway.legacy("l");
    let joined = gateway.stdio("s").begin("2025-06-18");
    let ask = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#);
    for id in
        ["0", "-7", "7", r#""7""#, r#""""#, r#""\u0041""#, "9007199254740991", r#""__proto__""#]
    {
        let expected: Value = serde_json::from_str(id).unwrap();
        assert_eq!(legacy.send(ask(id)).response()["id"], expected);
        joined.send_line(ask(id).as_bytes());
        assert_eq!(joined.next_response()["id"], expected);
    }
    // Zero has two spellings, and a call of either ends.
    let call = r#"{"jsonrpc":"2.0","id":-0,"method":"tools/call","params":{"name":"look","arguments":{"line":"zero"}}}"#;
    for _ in 0..2 {
        assert!(said(&legacy.send(call.to_owned()).response()["result"]).contains("ran zero"));
        joined.send_line(call.as_bytes());
        let answer = joined.next_response();
        assert_eq!(answer["id"].as_i64(), Some(0), "{answer}");
        assert!(said(&answer["result"]).contains("ran zero"), "{answer}");
    }
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    for id in ["null", "1.5", "1e2", "[]", "{}", "true", "9007199254740993", "1e400", &long] {
        let shown: String = id.chars().take(20).collect();
        let reply = legacy.send(ask(id));
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (400, &json!(-32600)),
            "{shown}"
        );
        assert!(reply.body.len() < 1000, "{shown}");
        joined.send_line(ask(id).as_bytes());
        assert_eq!(joined.next_response()["error"]["code"], -32600, "{shown}");
    }
}

#[test]
fn c7_an_id_under_way_over_stdio_is_not_taken_twice_in_either_type() {
    let gateway = allowed().prepare();
    let client = gateway.stdio("s").begin("2025-11-25");
    let slow = json!({ "name": "count_slowly", "arguments": { "line": "slow", "seconds": 2 } });
    client.send(&json!(4711), "tools/call", slow);
    until("the slow call to run", || (gateway.ran().len() == 1).then_some(()));
    for id in [json!(4711), json!("4711")] {
        let params = json!({ "name": "count", "arguments": { "line": "second" } });
        client.send(&id, "tools/call", params);
        let answer = client.next();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(-32600)), "{answer}");
    }
    let answer = client.next();
    assert_eq!(answer["id"], 4711);
    assert!(said(&answer["result"]).contains("ran slow"), "{answer}");
    assert_eq!(gateway.ran(), ["slow"]);
}

#[test]
fn c13_what_is_no_call_by_its_method_runs_nothing() {
    let gateway = allowed().start();
    let legacy = gateway.legacy("l");
    let modern = gateway.modern("m");
    let joined = gateway.stdio("s").begin("2025-11-25");
    // A response to nothing that was asked.
    let response = r#"{"jsonrpc":"2.0","id":987654,"result":{"name":"count"}}"#;
    assert_eq!(legacy.send(response.to_owned()).status, 202);
    joined.send_line(response.as_bytes());
    // A notification with an id is a request, and takes nothing back.
    let params = json!({ "name": "count_slowly", "arguments": { "line": "slow", "seconds": 1 } });
    joined.send(&json!(50), "tools/call", params);
    until("the call to run", || (gateway.ran().len() == 1).then_some(()));
    joined.send_line(br#"{"jsonrpc":"2.0","id":51,"method":"notifications/cancelled","params":{"requestId":50}}"#);
    assert_eq!(joined.answer_to(&json!(51))["error"]["code"], -32601);
    assert!(said(&joined.answer_to(&json!(50))["result"]).contains("ran slow"));
    for method in
        ["tools/Call", "TOOLS/CALL", "tools/call ", "tools//call", "tools/call/", "rpc.call", ""]
    {
        let call = json!({ "name": "count", "arguments": { "line": "x" } });
        for client in [&legacy as &dyn Client, &joined] {
            assert_eq!(client.request(method, call.clone())["error"]["code"], -32601, "{method}");
        }
        let params = modern.params(call);
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let reply = modern.send("tools/call", Some("count"), body.to_string());
        assert!((400..500).contains(&reply.status), "{method}: {reply:?}");
    }
    // A request that asks for no answer is no request.
    let call = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"count","arguments":{"line":"x"}}}"#;
    assert_eq!(legacy.send(call.to_owned()).status, 202);
    joined.send_line(call.as_bytes());
    // And only POST brings one.
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                          "params": modern.params(json!({ "name": "count", "arguments": { "line": "x" } })) });
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = http()
            .request(method.clone(), format!("{}/mcp?method=tools/call&name=count", gateway.url()))
            .bearer_auth(&modern.token)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", "tools/call")
            .header("mcp-name", "count")
            .body(message.to_string());
        let reply = RUNTIME.block_on(Reply::of(request));
        assert!((400..500).contains(&reply.status), "{method}: {reply:?}");
    }
    assert!(said(&joined.call("look", json!({ "line": "ok" }))).contains("ran ok"));
    assert_eq!(gateway.ran(), ["slow", "ok"]);
}

#[test]
fn c14_lines_are_one_message_each_and_bounded() {
    let gateway = allowed().prepare();
    let client = gateway.stdio("s").begin("2025-11-25");
    // A line end inside a message makes two lines, each of which is none.
    client.send_line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\n\"method\":\"tools/call\",\"params\":{\"name\":\"count\",\"arguments\":{\"line\":\"x\"}}}");
    client.send_line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"count\",\"arguments\":{\"line\":\"a\nb\"}}}");
    for _ in 0..4 {
        assert_eq!(client.next()["error"]["code"], -32700);
    }
    // Two messages on one line are none either; other line ends end no line.
    client.send_line(
        br#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
    );
    client.send_line("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\u{2028}{}".as_bytes());
    client.send_line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\0");
    for _ in 0..3 {
        assert_eq!(client.next()["error"]["code"], -32700);
    }
    client.send_line(b"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}\r");
    assert_eq!(client.next()["id"], 3);
    client.send_line(&vec![b'x'; 100 << 20]);
    assert_eq!(client.next()["error"]["code"], -32600);
    assert!(said(&client.call("count", json!({ "line": "ok" }))).contains("ran ok"));
    let peak = peak_memory(u32::try_from(client.id()).unwrap());
    assert!(peak < 200, "{peak} MB for a line of 100 MB");
    assert_eq!(gateway.ran(), ["ok"]);
}

const BY_AGENT: &str = r"
rules:
  - { name: ones, match: { agent: one, tool: count }, decision: ALLOW }
  - { name: twos, match: { agent: two, tool: look }, decision: ALLOW }
";

#[test]
fn c16_lists_are_private_and_each_agents_own() {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", BY_AGENT).start();
    let (one, two) = (gateway.agent("one"), gateway.agent("two"));
    for version in VERSIONS {
        for _ in 0..2 {
            for (token, agent, tool) in [(&one, "one", "count"), (&two, "two", "look")] {
                let stdio = gateway.stdio(agent).begin(version);
                let (modern, legacy);
                let client: &dyn Client = if version == MODERN {
                    modern = Modern::new(gateway.url(), token);
                    &modern
                } else {
                    legacy = Legacy::open(gateway.url(), token, version);
                    &legacy
                };
                for client in [client, &stdio] {
                    assert_eq!(client.tools(), [tool], "{version}");
                    if version == MODERN {
                        for method in ["tools/list", "server/discover"] {
                            let result = client.result(method, json!({}));
                            assert_eq!(result["cacheScope"], "private", "{method}: {result}");
                        }
                    }
                }
            }
        }
    }
    // What stands between is told the same.
    let client = Modern::new(gateway.url(), &one);
    let params = client.params(json!({}));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params });
    let request = post(gateway.url(), &one)
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/list")
        .body(body.to_string());
    let response = RUNTIME.block_on(async { request.send().await }).unwrap();
    let control = response.headers().get("cache-control");
    let control = control.map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    assert!(!control.contains("public"), "{control}");
}

fn many(count: usize) -> String {
    let mut text =
        "backend: { name: many, command: { program: \"@DIR@/bin/count\" } }\ntools:\n".to_owned();
    for n in 0..count {
        text += &format!(
            "  - {{ name: tool_{n:04}, description: d, attributes: {{ action_type: read }}, input_schema: {{ type: object, properties: {{}} }}, run: [\"{n}\"] }}\n"
        );
    }
    text
}

#[test]
fn c17_cursors_are_sealed_for_their_agent() {
    let gateway = allowed()
        .policy(
            "holds.yaml",
            "rules:\n  - { name: held, match: { tool: count }, decision: REQUIRE_APPROVAL }\n",
        )
        .manifest("many.yaml", &many(250))
        .config("holds: { window: 10ms }\n")
        .start();
    let (one, two) = (gateway.modern("one"), gateway.modern("two"));
    let first = one.result("tools/list", json!({}));
    let cursor = first["nextCursor"].as_str().unwrap().to_owned();
    let list =
        |client: &Modern, cursor: &str| client.request("tools/list", json!({ "cursor": cursor }));
    assert!(list(&one, &cursor).get("result").is_some());
    let flipped = |place: usize| {
        let mut bytes = cursor.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let held = one.call("count", json!({ "line": "x" }));
    let state = held["requestState"].as_str().unwrap().to_owned();
    let mut forged: Vec<String> = (0..cursor.len() - 2).map(flipped).collect();
    forged.extend(
        ["", "no cursor", "746f6f6c5f30303031", &cursor[..cursor.len() / 2], &state]
            .map(str::to_owned),
    );
    forged.push(format!("{cursor}{cursor}"));
    for forged in forged {
        let answer = list(&one, &forged);
        assert_eq!(answer["error"]["code"], -32602, "{forged}: {answer}");
        assert_eq!(answer["error"]["message"], "Invalid cursor", "{forged}: {answer}");
    }
    assert_eq!(list(&two, &cursor)["error"]["message"], "Invalid cursor");
    // Nor is a cursor the state of a held call.
    let params = json!({ "name": "count", "arguments": { "line": "x" }, "requestState": cursor });
    assert_eq!(one.request("tools/call", params)["error"]["code"], -32602);
}

#[test]
fn c17_names_that_look_alike_are_refused_at_load() {
    for (name, part) in [
        ("COUNT", "looks like the tool `count`"),
        ("c0unt", "looks like the tool `count`"),
        ("count-slowly", "looks like the tool `count_slowly`"),
        ("countersign-wait", "a name of the gateway's own tools"),
        ("c0untersign_Wait", "a name of the gateway's own tools"),
        ("count", "duplicate tool name"),
    ] {
        let manifest = format!(
            "backend: {{ name: other, command: {{ program: \"@DIR@/bin/count\" }} }}\ntools:\n  - {{ name: {name}, description: d, attributes: {{ action_type: read }}, input_schema: {{ type: object, properties: {{}} }}, run: [] }}\n"
        );
        let failed = allowed().manifest("other.yaml", &manifest).expect_start_failure();
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(failed.stderr.contains(part), "{name}: {}", failed.stderr);
        assert!(failed.stderr.contains("other.yaml:3:"), "{name}: {}", failed.stderr);
    }
}

#[test]
fn numbers_outside_i_json_are_refused_with_their_pointer() {
    let upstream = RawUpstream::start();
    let (gateway, client) = with_raw(&upstream);
    let joined = gateway.stdio("s").begin("2025-03-26");
    for (number, why) in [
        ("9007199254740992", "beyond 2^53"),
        ("-9007199254740993", "beyond 2^53"),
        ("123456789012345678901234567890", "beyond 2^53"),
        ("1e400", "too large for a double"),
        ("-1e309", "too large for a double"),
        ("0.1000000000000000055511151231257827", "more digits"),
    ] {
        let arguments = format!(r#"{{"a/b":[{{"~n":{number}}}]}}"#);
        let told = refused(&call_raw(&client, &arguments).response()["result"]);
        assert!(told.contains("/a~1b/0/~0n") && told.contains(why), "{told}");
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"raw","arguments":{arguments}}}}}"#,
            next_id()
        );
        joined.send_line(line.as_bytes());
        let answer = joined.next_response();
        assert!(answer.get("result").is_some(), "{number}: {answer}");
        let told = refused(&answer["result"]);
        assert!(told.contains("/a~1b/0/~0n") && told.contains(why), "{told}");
        // Beside the arguments too, where there is nothing to record.
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{{"_meta":{{"vendor":{number}}}}}}}"#
        );
        joined.send_line(line.as_bytes());
        let answer = joined.next_response();
        assert_eq!(answer["error"]["code"], -32600, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("/params/_meta/vendor"));
    }
    assert_eq!(upstream.calls(), Vec::<String>::new());
}

#[test]
fn bodies_of_the_api_are_read_as_strictly() {
    let gateway = allowed().start();
    let socket = gateway.data().join("countersign.sock");
    let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
    let add = |body: &[u8], kind: &str| {
        let request = local.post("http://localhost/api/v1/agents").body(body.to_vec());
        RUNTIME.block_on(Reply::of(request.header("content-type", kind)))
    };
    for (body, kind, status) in [
        (&br#"{"name":"a","name":"b"}"#[..], "application/json", 400),
        (br#"{"name":"a","n\u0061me":"b"}"#, "application/json", 400),
        (br#"{"name":"a"} {}"#, "application/json", 400),
        (b"{\"name\":\"a\xff\"}", "application/json", 400),
        (b"\xef\xbb\xbf{\"name\":\"a\"}", "application/json", 400),
        (br#"{"name":"a","k\u0000":1}"#, "application/json", 400),
        (br#"{"Name":"a"}"#, "application/json", 422),
        (br#"{"name":"a"}"#, "text/plain", 415),
    ] {
        let reply = add(body, kind);
        assert_eq!(reply.status, status, "{}: {reply:?}", String::from_utf8_lossy(body));
        assert!(reply.json()["error"].is_string(), "{reply:?}");
    }
    assert_eq!(add(br#"{"name":"a"}"#, "application/json; charset=utf-8").status, 200);
    let agents = gateway.cli(&["agents", "list", "--output", "json"]).json();
    assert_eq!(agents.as_array().unwrap().len(), 1, "{agents}");
}

/// How long a server that sends without end may go on until it is known as such.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn cve_2026_53965_an_event_without_end_is_cut_and_its_server_lost() {
    use crate::raw_upstream::Answer;
    let upstream = RawUpstream::start();
    let (gateway, client) = with_raw(&upstream);
    let begin = br#"data: {"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":""#;
    upstream.answer("endless", Answer::Endless(begin.to_vec(), vec![b'x'; 1 << 16]));
    upstream.answer("comments", Answer::Endless(b": ".to_vec(), vec![b'x'; 1 << 16]));
    upstream.answer("lines", Answer::Endless(begin.to_vec(), b"\ndata: x".repeat(1 << 12)));
    // One that ends is only too long.
    let long = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(3 << 20));
    upstream.answer("long", Answer::event(&long));
    let server = || {
        let checks = gateway.api_get("/api/v1/doctor").json();
        let checks = checks.as_array().unwrap().iter().map(Value::to_string);
        checks.filter(|check| check.contains("raw")).collect::<String>()
    };
    refused(&client.call("raw", json!({ "key": "long" })));
    assert_eq!(said(&client.call("raw", json!({ "key": "fine" }))), "raw");
    assert!(!server().contains("without end"), "{}", server());
    for key in ["endless", "comments", "lines"] {
        let begun = std::time::Instant::now();
        refused(&client.call("raw", json!({ "key": key })));
        assert!(begun.elapsed() < SOON, "{key} took {:?}", begun.elapsed());
        until("the server to be known as lost", || server().contains("without end").then_some(()));
        until("the server to be reached anew", || {
            let answer = client.request("tools/call", json!({ "name": "raw", "arguments": {} }));
            (answer["result"]["content"][0]["text"] == "raw").then_some(())
        });
    }
    assert!(gateway.peak_memory() < 300, "{} MB", gateway.peak_memory());
}
