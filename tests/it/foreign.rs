//! What belongs to others: whoever presents another's id, or another's name, gets nothing by it.

use std::fs;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use crate::clients::{Client, Legacy, Modern, Reply, http, next_id, post, refused, secret_of};
use crate::harness::{ALLOW_ALL, HOLD_ALL, RUNTIME, TestGateway};
use crate::issuer::Issuer;
use crate::released;

/// An id of a hold that nothing has.
const UNKNOWN: &str = "00000000000000000000000000000001";

#[test]
fn cve_2026_52869_a_session_is_its_openers_alone() {
    let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start();
    let own = gateway.legacy("a");
    let stranger = gateway.agent("b");
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                       "params": { "name": "count", "arguments": { "line": "forged" } } });
    let list = json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/list" });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                         "params": { "requestId": 7 } });
    let unknown = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    let answer = |request: reqwest::RequestBuilder, session: &str| {
        let request = request.header("mcp-protocol-version", "2025-11-25");
        RUNTIME.block_on(Reply::of(request.header("mcp-session-id", session)))
    };
    for message in [&call, &list, &cancel] {
        let send = |session: &str| {
            answer(post(gateway.url(), &stranger).body(message.to_string()), session)
        };
        let (foreign, unknown) = (send(&own.session), send(unknown));
        assert_eq!((foreign.status, &foreign.body), (404, &unknown.body), "{message}");
        assert_eq!(unknown.status, 404);
    }
    let path = format!("{}/mcp", gateway.url());
    for request in [http().get(&path), http().delete(&path)] {
        let request = request.header("accept", "text/event-stream").bearer_auth(&stranger);
        assert_eq!(answer(request, &own.session).status, 404);
    }
    assert!(gateway.ran().is_empty());
    own.call("count", json!({ "line": "own" }));
    // Since 2026-07-28 a session is nothing: whoever names one is only who the token says.
    let modern = Modern::new(gateway.url(), &stranger);
    for session in [own.session.as_str(), unknown] {
        let request = modern.call_request("count", json!({ "line": "modern" }));
        let reply = RUNTIME.block_on(Reply::of(request.header("mcp-session-id", session)));
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(gateway.ran(), ["own", "modern", "modern"]);
    let entries = gateway.cli(&["audit", "list", "--limit", "100", "--output", "json"]).done();
    assert_eq!(
        entries.matches("\"agent\": \"a\"").count() + entries.matches("\"agent\":\"a\"").count(),
        2,
        "{entries}"
    );
    // The version that says so must be the body's too: a session is not shed by a header.
    let reply = RUNTIME.block_on(Reply::of(
        post(gateway.url(), &stranger)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-session-id", &own.session)
            .body(call.to_string()),
    ));
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(gateway.ran().len(), 3);
}

/// The error of an answer, without what differs by request.
fn told(response: &Value) -> String {
    let mut response = response.clone();
    response["id"] = Value::Null;
    if let Some(meta) = response.pointer_mut("/result/_meta") {
        meta["countersign/call"] = Value::Null;
    }
    response.to_string()
}

#[test]
fn cve_2026_52870_tasks_and_holds_of_others_look_like_none() {
    let gateway = TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config("holds: { window: 50ms }\n")
        .start();
    let own = gateway.modern_with_tasks("a");
    own.call("count", json!({ "line": "own" }));
    let id = gateway.pending();
    let stranger = gateway.modern_with_tasks("b");
    for method in ["tasks/get", "tasks/update", "tasks/cancel", "tasks/result"] {
        let ask = |id: &str| {
            let params = json!({ "taskId": id, "inputResponses": {}, "status": "completed" });
            told(&stranger.request(method, params))
        };
        let (foreign, unknown) = (ask(&id), ask(UNKNOWN));
        assert_eq!(foreign.replace(&id, "ID"), unknown.replace(UNKNOWN, "ID"), "{method}");
        assert!(foreign.contains("error"), "{method}: {foreign}");
    }
    let wait = |id: &str| {
        told(&stranger.request(
            "tools/call",
            json!({ "name": "countersign_wait", "arguments": { "hold": id } }),
        ))
    };
    assert_eq!(wait(&id).replace(&id, "ID"), wait(UNKNOWN).replace(UNKNOWN, "ID"));
    // People's routes are closed to it, whatever the id.
    for id in [id.as_str(), UNKNOWN] {
        for path in ["", "/verdict", "/resolution", "/identical"] {
            let path = format!("{}/api/v1/approvals/{id}{path}", gateway.url());
            let request = http().post(path).bearer_auth(&stranger.token).json(&json!({}));
            assert!(matches!(RUNTIME.block_on(Reply::of(request)).status, 401 | 405));
        }
    }
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert_eq!(own.result("tasks/get", json!({ "taskId": id }))["status"], "working");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert!(told(&stranger.request("tasks/get", json!({ "taskId": id }))).contains("error"));
    assert_eq!(own.task_when_done(&id)["status"], "completed");
}

#[test]
fn r10_ten_thousand_guesses_learn_nothing() {
    let gateway = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).start();
    let client = gateway.modern_with_tasks("a");
    client.call("count", json!({ "line": "own" }));
    let id = gateway.pending();
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    let viewer = gateway.cli(&["reviewers", "add", "v", "--role", "viewer"]).done();
    let url = format!("{}/api/v1/approvals", gateway.url());
    let guess = |number: u32| {
        // Half of them near the real one, half anywhere.
        let near = u128::from_str_radix(&id, 16).unwrap() ^ (u128::from(number) + 1);
        let far = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        format!("{:032x}", if number.is_multiple_of(2) { near } else { far })
    };
    let ask = async |number: u32| {
        let (guess, path) = (guess(number), format!("{url}/{}", guess(number)));
        let reply = Reply::of(http().get(path).bearer_auth(viewer.trim())).await;
        // It says which was asked for, and nothing else.
        (reply.status, reply.body.replace(&guess, "ID"))
    };
    let found = RUNTIME.block_on(async {
        let mut found = std::collections::BTreeMap::<(u16, String), u32>::new();
        for begin in (0..10_000).step_by(50) {
            for answer in futures::future::join_all((begin..begin + 50).map(ask)).await {
                *found.entry(answer).or_default() += 1;
            }
        }
        found
    });
    let found: Vec<_> = found.into_iter().collect();
    assert_eq!(found.len(), 1, "answers differ: {found:?}");
    assert_eq!((found[0].0.0, found[0].1), (404, 10_000));
    let stranger = gateway.modern_with_tasks("b");
    let mut answers: Vec<String> = (0..200)
        .map(|number| {
            told(&stranger.request("tasks/get", json!({ "taskId": guess(number) })))
                .replace(&guess(number), "ID")
        })
        .collect();
    answers.push(told(&stranger.request("tasks/get", json!({ "taskId": id }))).replace(&id, "ID"));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn r1_no_name_that_a_caller_chooses_escapes_a_limit() {
    let policy = "rules:\n  - { name: all, match: {}, decision: ALLOW }\nlimits:\n  - { name: few, match: { action: count }, per: agent, rate: 2/hour }\n";
    let issuer = Issuer::start();
    let config = issuer.config("");
    let gateway =
        TestGateway::builder().counting().policy("p.yaml", policy).config(&config).start();
    let token = issuer.token("bot", gateway.url());
    let client = Modern::new(gateway.url(), &token);
    for line in ["1", "2"] {
        client.call("count", json!({ "line": line }));
    }
    let line = json!({ "line": "beyond" });
    assert!(refused(&client.call("count", line.clone())).contains("few"));
    // The tool under another name is no tool.
    let session = Legacy::open(gateway.url(), &token, "2025-11-25");
    for name in
        ["COUNT", "Count", " count", "count ", "counting.count", "count\u{0}", "\u{ff43}ount"]
    {
        let answer = session.request("tools/call", json!({ "name": name, "arguments": line }));
        assert!(answer.get("error").is_some(), "{name}: {answer}");
    }
    // Another token of the same agent, other sessions, protocols, clients, workflows, headers.
    let again = Modern::new(gateway.url(), &issuer.key.sign(&issuer.claims("bot", gateway.url())));
    assert!(refused(&again.call("count", line.clone())).contains("few"));
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        for _ in 0..3 {
            let session = Legacy::open(gateway.url(), &token, version);
            assert!(refused(&session.call("count", line.clone())).contains("few"), "{version}");
        }
    }
    let mut meta = json!({ "countersign/workflow": "w",
                       "io.modelcontextprotocol/clientInfo": { "name": "other", "version": "2" } });
    let params = |meta: &Value| json!({ "name": "count", "arguments": line, "_meta": meta });
    assert!(refused(&client.result("tools/call", params(&meta))).contains("few"));
    // Nor for another agent, for which it may not act.
    meta["countersign/agent"] = json!("other");
    let answer = client.request("tools/call", params(&meta));
    assert!(answer["error"]["message"].as_str().unwrap().contains("act for"), "{answer}");
    for header in [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "via",
        "countersign-agent",
        "x-agent",
        "x-user",
        "mcp-client",
    ] {
        let request = client.call_request("count", line.clone()).header(header, "other");
        let reply = RUNTIME.block_on(Reply::of(request));
        assert!(refused(&reply.response()["result"]).contains("few"), "{header}");
    }
    assert_eq!(gateway.ran(), ["1", "2"]);
    // Another agent is another.
    let other = Modern::new(gateway.url(), &issuer.token("other", gateway.url()));
    other.call("count", json!({ "line": "other" }));
    assert_eq!(gateway.ran(), ["1", "2", "other"]);
}

/// How much memory the gateway has resident, in KiB.
fn resident(gateway: &TestGateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many sessions are begun.
const BEGUN: u32 = 100_000;
/// How many where there is no binary as it is released: the other takes ten times as long for each.
const BEGUN_SLOWLY: u32 = 2_000;
/// How much more memory the gateway may have after all of them than after the first tenth, in KiB.
const MORE_KIB: u64 = 16 << 10;

#[test]
fn cve_2026_59951_sessions_that_come_and_go_leave_nothing() {
    const LIMIT: usize = 64;
    let config = format!("edge: {{ max_sessions: {LIMIT} }}\n");
    let builder = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).config(&config);
    let (gateway, count) = match released::program() {
        Some(program) => (builder.program(program).start(), BEGUN),
        None => (builder.start(), BEGUN_SLOWLY),
    };
    let token = gateway.agent("a");
    let hello = |version: &str| {
        json!({ "jsonrpc": "2.0", "id": next_id(), "method": "initialize", "params":
                { "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } })
        .to_string()
    };
    let path = format!("{}/mcp", gateway.url());
    // Every second one is refused, each time in another way; the others are opened and deleted.
    let one = async |number: u32| {
        let good = post(gateway.url(), &token).body(hello("2025-11-25"));
        let request = match number % 8 {
            1 => post(gateway.url(), "cs_wrong").body(hello("2025-11-25")),
            3 => post(gateway.url(), &token).body("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":7}}"),
            5 => good.header("mcp-protocol-version", "2025-06-18"),
            7 => http().post(&path).bearer_auth(&token).body(hello("2025-11-25")),
            _ => good,
        };
        let reply = Reply::of(request).await;
        assert_eq!(
            reply.status == 200 && reply.session.is_some(),
            number.is_multiple_of(2),
            "{number}: {reply:?}"
        );
        if let Some(session) = reply.session {
            let delete = http().delete(&path).bearer_auth(&token).header("mcp-session-id", session);
            let gone = Reply::of(delete).await;
            assert!(gone.status < 300, "{gone:?}");
        }
    };
    let (mut begun, mut early) = (0, None);
    while begun < count {
        RUNTIME.block_on(futures::future::join_all((begun..begun + 40).map(one)));
        begun += 40;
        if begun >= BEGUN_SLOWLY / 2 && early.is_none() {
            early = Some(resident(&gateway));
        }
        if begun % BEGUN_SLOWLY == 0 {
            assert!(gateway.metric("countersign_sessions").unwrap() <= 64.0);
        }
    }
    let (early, late) = (early.unwrap(), resident(&gateway));
    println!("{begun} of {BEGUN} sessions begun: {early} KiB resident, then {late} KiB");
    assert!(late <= early + MORE_KIB, "{early} KiB, then {late} KiB after {begun} sessions");
    assert_eq!(gateway.metric("countersign_sessions"), Some(0.0));
    // Many at once get no further than the limit, and a place that was given back is given again.
    let opened = RUNTIME
        .block_on(futures::future::join_all((0..3 * LIMIT).map(async |_| {
            Reply::of(post(gateway.url(), &token).body(hello("2025-11-25"))).await
        })));
    let mut sessions: Vec<_> = opened.iter().filter_map(|reply| reply.session.clone()).collect();
    assert_eq!(sessions.len(), LIMIT);
    assert!(opened.iter().all(|reply| matches!(reply.status, 200 | 503)));
    assert_eq!(gateway.metric("countersign_sessions"), Some(64.0));
    let delete = http().delete(&path).bearer_auth(&token);
    let delete = delete.header("mcp-session-id", sessions.pop().unwrap());
    assert!(RUNTIME.block_on(Reply::of(delete)).status < 300);
    Legacy::open(gateway.url(), &token, "2025-11-25");
}

type Wire = Arc<Mutex<String>>;

/// An upstream that keeps everything it is sent, and speaks as little of the protocol as it must.
async fn upstream(State(wire): State<Wire>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    wire.lock().unwrap().push_str(&format!("{uri} {headers:?} {text}\n"));
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let schema = json!({ "type": "object", "properties": { "line": { "type": "string" } } });
    let result = match message["method"].as_str() {
        Some("initialize") => {
            json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                                      "serverInfo": { "name": "wire", "version": "1" } })
        }
        Some("tools/list") => json!({ "tools": [{ "name": "echo", "inputSchema": schema }] }),
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "heard" }] }),
        Some(method) if method.starts_with("notifications/") => {
            return StatusCode::ACCEPTED.into_response();
        }
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return axum::Json(json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }))
                .into_response();
        }
    };
    axum::Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })).into_response()
}

#[test]
fn n6_an_agents_token_goes_no_further_than_the_gateway() {
    let wire = Wire::default();
    let listener = RUNTIME.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().fallback(upstream).with_state(Arc::clone(&wire));
    let serving = RUNTIME.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let manifest = format!(
        "backend:\n  name: wire\n  mcp: {{ url: 'http://{address}/mcp', headers: {{ Authorization: 'Bearer ${{OWN}}' }} }}\n  secrets: {{ OWN: {{ env: OWN }} }}\ntools:\n  - {{ name: echo, from: echo, attributes: {{ action_type: write }} }}\n"
    );
    let printing = "backend: { name: printing, command: { program: '@DIR@/bin/print' } }\ntools:\n  - name: print\n    description: Print all that it was given.\n    attributes: { action_type: write }\n    input_schema: { type: object, additionalProperties: false, properties: {} }\n    run: []\n";
    let issuer = Issuer::start();
    let config = issuer.config("");
    let gateway = TestGateway::builder()
        .manifest("wire.yaml", &manifest)
        .manifest("printing.yaml", printing)
        .script("print", "#!/bin/sh\n{ env; echo \"$@\"; cat; } > '@DIR@/printed' 2>&1\n")
        .policy("all.yaml", ALLOW_ALL)
        .config(&config)
        .env("OWN", "the-gateways-own")
        .start();
    let tokens = [issuer.token("bot", gateway.url()), gateway.agent("a")];
    crate::harness::until("the upstream's tools", || {
        let names = Modern::new(gateway.url(), &tokens[0]).tools();
        names.contains(&"echo".to_owned()).then_some(())
    });
    for token in &tokens {
        let modern = Modern::new(gateway.url(), token);
        // However the client brings more of it along.
        let request = modern
            .call_request("echo", json!({ "line": "1" }))
            .header("x-authorization", format!("Bearer {token}"))
            .header("proxy-authorization", format!("Bearer {token}"))
            .header("cookie", format!("token={token}"));
        assert_eq!(RUNTIME.block_on(Reply::of(request)).status, 200);
        let legacy = Legacy::open(gateway.url(), token, "2025-11-25");
        legacy.call("echo", json!({ "line": "2" }));
        modern.call("print", json!({}));
        let printed = fs::read_to_string(gateway.dir().join("printed")).unwrap();
        assert!(printed.contains("PATH=") && !printed.contains(token.as_str()), "{printed}");
    }
    let wire = wire.lock().unwrap().clone();
    assert!(wire.contains("Bearer the-gateways-own"), "{wire}");
    assert_eq!(wire.matches("\"tools/call\"").count(), 4, "{wire}");
    for token in &tokens {
        assert!(!wire.contains(secret_of(token)), "the client's token went upstream");
    }
    serving.abort();
}
