//! Headers that say other than the body, over HTTP (SEP-2243). `bad_input` has the calls with a wrong name.

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::allowed;
use crate::clients::{MODERN, Modern, Reply, next_id, post, said};
use crate::harness::RUNTIME;

const REGIONAL: &str = r#"
backend: { name: regional, command: { program: "@DIR@/bin/count" } }
attributes: { capability: regional, environment: test, action_type: write }
tools:
  - name: deploy
    description: Append a region.
    input_schema:
      type: object
      additionalProperties: false
      required: [region]
      properties:
        region: { type: string, x-mcp-header: Region }
        count: { type: integer, x-mcp-header: Count }
    run: ["${region}"]
"#;

/// Posts a request with exactly these headers of the protocol.
fn ask(client: &Modern, method: &str, params: Value, headers: &[(&str, &[u8])]) -> Reply {
    let params = client.params(params);
    let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": method, "params": params });
    let mut request = post(&client.url, &client.token);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request = request.header(name, HeaderValue::from_bytes(value).unwrap());
    }
    RUNTIME.block_on(Reply::of(request.body(message.to_string())))
}

#[test]
fn c8_headers_of_every_method_agree_with_the_body() {
    let gateway = allowed().start();
    let client = gateway.modern_with_tasks("a");
    let version = ("mcp-protocol-version", MODERN.as_bytes());
    let task = json!({ "taskId": "0".repeat(32) });
    let lists = ("mcp-method", &b"tools/list"[..]);
    let gets = ("mcp-method", &b"tasks/get"[..]);
    for (method, params, headers) in [
        ("tools/list", json!({}), vec![version]),
        ("tools/list", json!({}), vec![lists]),
        ("tools/list", json!({}), vec![version, gets]),
        ("tools/list", json!({}), vec![version, ("mcp-method", b"Tools/List")]),
        ("tools/list", json!({}), vec![version, lists, lists]),
        ("tools/list", json!({}), vec![version, version, lists]),
        ("tools/list", json!({}), vec![("mcp-protocol-version", b"2025-11-25"), lists]),
        ("tasks/get", task.clone(), vec![version, gets]),
        ("tasks/get", task.clone(), vec![version, gets, ("mcp-name", b"another")]),
        ("tasks/cancel", task, vec![version, gets, ("mcp-name", &b"0".repeat(32))]),
        ("prompts/get", json!({ "name": "p" }), vec![version, ("mcp-method", b"prompts/get")]),
        ("server/discover", json!({}), vec![version, lists]),
        ("ping", json!({}), vec![version, ("mcp-method", b"ping\xff")]),
    ] {
        let reply = ask(&client, method, params, &headers);
        assert_eq!(reply.status, 400, "{method} {headers:?}: {reply:?}");
        assert_eq!(reply.json()["error"]["code"], -32020, "{method} {headers:?}: {reply:?}");
    }
    assert_eq!(ask(&client, "tools/list", json!({}), &[version, lists]).status, 200);
    let known = client.reply("tasks/get", json!({ "taskId": "0".repeat(32) }));
    assert_eq!(known.json()["error"]["code"], -32602, "{known:?}");
}

#[test]
fn c8_arguments_that_stand_in_headers_agree_with_the_body() {
    let gateway = allowed().manifest("regional.yaml", REGIONAL).start();
    let client = gateway.modern("a");
    let call = |arguments: Value, headers: &[(&str, &[u8])]| {
        let mut all = vec![
            ("mcp-protocol-version", MODERN.as_bytes()),
            ("mcp-method", b"tools/call"),
            ("mcp-name", b"deploy"),
        ];
        all.extend(headers);
        ask(&client, "tools/call", json!({ "name": "deploy", "arguments": arguments }), &all)
    };
    let region = ("mcp-param-region", &b"eu"[..]);
    for (arguments, headers) in [
        (json!({ "region": "eu" }), vec![]),
        (json!({ "region": "us" }), vec![region]),
        (json!({ "region": "EU" }), vec![region]),
        (json!({ "region": "eu" }), vec![region, region]),
        (json!({ "region": "eu" }), vec![("mcp-param-region", b"=?base64?dXM=?=")]),
        (json!({ "region": "eu" }), vec![("mcp-param-region", b"=?BASE64?ZXU=?=")]),
        (json!({ "region": "eu" }), vec![("mcp-param-region", b"eu\xff")]),
        (json!({ "region": "eu", "count": 42 }), vec![region]),
        (json!({ "region": "eu", "count": 42 }), vec![region, ("mcp-param-count", b"42.0")]),
        (json!({ "region": "eu" }), vec![region, ("mcp-param-count", b"42")]),
    ] {
        let reply = call(arguments.clone(), &headers);
        assert_eq!(reply.status, 400, "{arguments} {headers:?}: {reply:?}");
        assert_eq!(reply.json()["error"]["code"], -32020, "{arguments} {headers:?}");
    }
    assert!(gateway.ran().is_empty());
    let encoded = ("mcp-param-region", &b"=?base64?ZXU=?="[..]);
    for headers in [vec![region], vec![encoded], vec![region, ("mcp-param-other", b"x")]] {
        let reply = call(json!({ "region": "eu" }), &headers);
        assert!(said(&reply.response()["result"]).contains("ran eu"), "{reply:?}");
    }
    assert_eq!(gateway.ran().len(), 3);
}
