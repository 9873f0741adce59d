//! Every protocol version on every transport: the same lists, the same calls, the same decisions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, Reply, VERSIONS, http, post, said};
use crate::harness::{ALLOW_ALL, Builder, RUNTIME, TestGateway};

const POLICY: &str = r"
rules:
  - { name: looks, match: { tool: look }, decision: ALLOW }
  - { name: short, match: { tool: count_slowly }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { max_seconds: 0 } }
  - { name: counts, match: { tool: count }, decision: REQUIRE_APPROVAL }
  - { name: never, match: { tool: look, agent: nobody }, decision: DENY }
  - { name: not-this, match: { tool: forbidden }, decision: DENY }
";

const FORBIDDEN: &str = r#"
backend: { name: forbidden, command: { program: "@DIR@/bin/count" } }
tools:
  - { name: forbidden, description: d, attributes: { action_type: write }, input_schema: { type: object, properties: {} }, run: [] }
  - { name: unruled, description: d, attributes: { action_type: write }, input_schema: { type: object, properties: {} }, run: [] }
"#;

fn ruled() -> Builder {
    TestGateway::builder()
        .counting()
        .policy("rules.yaml", POLICY)
        .manifest("forbidden.yaml", FORBIDDEN)
        .config("holds: { window: 50ms, remember_rejection: 1s }\n")
}

/// The logical calls of the matrix.
fn calls(line: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("look", json!({ "line": line })),
        ("count_slowly", json!({ "line": line, "seconds": 5 })),
        ("count", json!({ "line": line })),
        ("forbidden", json!({})),
        ("unruled", json!({})),
        ("look", json!({ "line": 7 })),
        ("absent", json!({})),
    ]
}

/// What was decided about a call, whatever the era says it with.
pub(crate) fn decided(response: &Value) -> String {
    if let Some(error) = response.get("error") {
        return format!("error {}", error["code"]);
    }
    let result = &response["result"];
    let pending = result["_meta"]["countersign/hold"]["state"] == "pending";
    if pending {
        return "held".to_owned();
    }
    let decision = &result["_meta"]["countersign/decision"];
    format!(
        "{} {} {} edits {}",
        decision["decision"], decision["refusal"], decision["rules"], decision["edits"]
    )
}

fn expected() -> Vec<String> {
    let edits =
        r#"[{"pointer":"/seconds","from":5,"to":0,"rule":"short","constraint":"max_seconds"}]"#;
    vec![
        r#""ALLOW" null ["looks"] edits []"#.to_owned(),
        format!(r#""ALLOW_WITH_CONSTRAINTS" null ["short"] edits {edits}"#),
        "held".to_owned(),
        r#""DENY" "denied" ["not-this"] edits []"#.to_owned(),
        r#""DENY" "denied" [] edits []"#.to_owned(),
        r#""none" "invalid_arguments" [] edits []"#.to_owned(),
        "error -32602".to_owned(),
    ]
}

/// Lists, calls and compares; `line` tells the calls of one row of the matrix from another's.
fn walk(client: &dyn Client, version: &str, line: &str) {
    let list = client.result("tools/list", json!({}));
    let names: Vec<_> = list["tools"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    let modern = version == MODERN;
    // Who may be told *pending* is shown how to wait on.
    let wait: &[&str] = if modern { &[] } else { &["countersign_wait"] };
    assert_eq!(names, [&["count", "count_slowly", "look"], wait].concat(), "{line}");
    assert_eq!(list.get("resultType").is_some(), modern, "{line}: {list}");
    if modern {
        assert_eq!(list["cacheScope"], "private", "{line}");
        assert_eq!(list["ttlMs"], 0, "{line}");
    }
    for ((tool, arguments), expected) in calls(line).into_iter().zip(expected()) {
        let params = json!({ "name": tool, "arguments": arguments });
        let response = client.request("tools/call", params);
        assert_eq!(decided(&response), expected, "{line}: {tool}: {response}");
        if let Some(result) = response.get("result") {
            assert_eq!(result.get("resultType").is_some(), modern, "{line}: {result}");
        }
    }
    if !modern {
        assert_eq!(client.result("ping", json!({})), json!({}), "{line}");
    }
    let discovered = client.request("server/discover", json!({}));
    assert_eq!(discovered.get("result").is_some(), modern, "{line}: {discovered}");
}

#[test]
fn i12_the_same_call_gets_the_same_decision_over_http() {
    let gateway = ruled().start();
    let token = gateway.agent("a");
    for version in VERSIONS {
        let line = format!("http {version}");
        if version == MODERN {
            walk(&Modern::new(gateway.url(), &token), version, &line);
        } else {
            walk(&Legacy::open(gateway.url(), &token, version), version, &line);
        }
    }
    assert_eq!(gateway.ran().len(), 2 * VERSIONS.len());
}

#[test]
fn i12_the_same_call_gets_the_same_decision_over_stdio() {
    for version in VERSIONS {
        let gateway = ruled().prepare();
        let client = gateway.stdio("a").begin(version);
        walk(&client, version, &format!("stdio {version}"));
        assert_eq!(gateway.ran().len(), 2);
    }
}

/// The advisories of gateways where an older version of the protocol, or a route from before, asked no policy.
#[test]
fn ghsa_5gf6_gc35_xjpc_no_version_header_or_route_gets_around_a_denial() {
    let gateway = ruled().start();
    let token = gateway.agent("a");
    let modern = Modern::new(gateway.url(), &token);
    let sessions = VERSIONS.iter().filter(|version| **version != MODERN);
    let sessions: Vec<Legacy> =
        sessions.map(|version| Legacy::open(gateway.url(), &token, version)).collect();
    let ids = sessions.iter().map(|it| Some(it.session.clone())).chain([None, Some("x".into())]);
    let versions = VERSIONS.iter().map(|it| Some(*it)).chain([None, Some("2023-01-01"), Some("")]);
    let versions: Vec<Option<&str>> = versions.collect();
    for session in ids {
        for version in &versions {
            for is_modern in [true, false] {
                for tool in ["forbidden", "unruled"] {
                    let mut params = json!({ "name": tool, "arguments": {} });
                    if is_modern {
                        params = modern.params(params);
                    }
                    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
                    let mut request = post(gateway.url(), &token).body(message.to_string());
                    if let Some(session) = &session {
                        request = request.header("mcp-session-id", session);
                    }
                    if let Some(version) = version {
                        request = request.header("mcp-protocol-version", *version);
                    }
                    if is_modern {
                        request =
                            request.header("mcp-method", "tools/call").header("mcp-name", tool);
                    }
                    let reply = RUNTIME.block_on(Reply::of(request));
                    let place = format!("{session:?} {version:?} {is_modern} {tool}: {reply:?}");
                    let denied = reply.status == 200
                        && decided(&reply.response()).starts_with(r#""DENY" "denied""#);
                    assert!(denied || (400..500).contains(&reply.status), "{place}");
                }
            }
        }
    }
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "look", "arguments": { "line": "x" } } });
    for route in [
        "/",
        "/sse",
        "/message",
        "/messages",
        "/messages/?sessionId=1",
        "/mcp/",
        "/mcp/sse",
        "/api/tool/look/invoke",
        "/rpc",
        "/v1/mcp",
    ] {
        let request =
            http().post(format!("{}{route}", gateway.url())).bearer_auth(&token).json(&call);
        let reply = RUNTIME.block_on(Reply::of(request));
        assert!((400..500).contains(&reply.status), "{route}: {reply:?}");
    }
    assert!(gateway.ran().is_empty(), "{:?}", gateway.ran());
    // What is allowed runs by the way that there is.
    assert!(said(&modern.call("look", json!({ "line": "ok" }))).contains("ran ok"));
}

#[test]
fn discovery_names_the_server_and_every_version() {
    let gateway = ruled().start();
    let found = gateway.modern("a").result("server/discover", json!({}));
    let versions = found["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!(MODERN)), "{found}");
    assert_eq!(found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "countersign");
    assert!(found["capabilities"]["tools"].is_object(), "{found}");
    assert_eq!(found["cacheScope"], "private", "{found}");
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
fn more_tools_than_one_page_are_listed_in_pages() {
    let gateway = TestGateway::builder()
        .counting()
        .manifest("many.yaml", &many(450))
        .policy("all.yaml", ALLOW_ALL)
        .start();
    let token = gateway.agent("a");
    let modern = Modern::new(gateway.url(), &token);
    let first = modern.result("tools/list", json!({}));
    assert!(first["tools"].as_array().unwrap().len() <= 200);
    let all = modern.tools();
    assert_eq!(all.len(), 453);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 453, "a tool is listed twice");
    assert_eq!(Legacy::open(gateway.url(), &token, "2024-11-05").tools(), all);
    assert!(said(&modern.call("tool_0449", json!({}))).contains("ran 449"));
    let forged = modern.request("tools/list", json!({ "cursor": "no cursor" }));
    assert_eq!(forged["error"]["code"], -32602, "{forged}");
}

#[test]
fn unknown_methods_and_ping_are_answered_as_the_era_says() {
    let gateway = ruled().start();
    let modern = gateway.modern("a");
    let legacy = gateway.legacy("b");
    for (client, method) in
        [(&modern as &dyn Client, "ping"), (&modern, "vendor/x"), (&legacy, "vendor/x")]
    {
        let answer = client.request(method, json!({}));
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
}
