//! Operators try tools: a real call, decided, limited and recorded as any agent's.

use serde_json::{Value, json};

use crate::clients::{Reply, http};
use crate::harness::{RUNTIME, TestGateway, text, until};

const RULES: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - { name: no-pages, match: { client: countersign-page, tool: count_slowly }, decision: DENY }
  - name: counts
    match: { tool: count }
    decision: REQUIRE_APPROVAL
    approval: { four_eyes: true }
limits:
  - { name: few, match: { action: look }, per: agent, rate: 1/hour }
";

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("rules.yaml", RULES).start()
}

fn tried(gateway: &TestGateway, tool: &str, arguments: &Value) -> Value {
    let reply = gateway.api_post("/api/v1/try", &json!({ "tool": tool, "arguments": arguments }));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// What a person with `token` is answered.
fn post(url: &str, token: &str, body: &Value) -> Reply {
    RUNTIME.block_on(Reply::of(http().post(url).bearer_auth(token).json(body)))
}

#[test]
fn a_tried_call_is_decided_limited_and_recorded_as_any_agents() {
    let gateway = gateway();
    let me = text(&gateway.api_get("/api/v1/whoami").json()["name"]);
    let ran = tried(&gateway, "look", &json!({ "line": "x" }));
    assert_eq!(ran["outcome"], "success", "{ran}");
    assert!(ran["result"]["content"][0]["text"].as_str().unwrap().contains("ran x"), "{ran}");
    assert_eq!(ran["rules"], json!(["looks"]));
    // As an agent of the person who tries, by the page.
    let story = gateway.api_get(&format!("/api/v1/calls/{}", text(&ran["call"]))).json();
    let intent = &story["entries"][0]["entry"];
    assert_eq!(intent["agent"], format!("page-{me}"), "{story}");
    assert_eq!(gateway.api_get("/api/v1/whoami").json()["tries_as"], intent["agent"]);
    assert_eq!((&intent["owner"], &intent["client"]), (&json!(me), &json!("countersign-page")));
    let limited = tried(&gateway, "look", &json!({ "line": "y" }));
    assert_eq!((&limited["outcome"], &limited["refusal"]), (&json!("refused"), &json!("limited")));
    let denied = tried(&gateway, "count_slowly", &json!({ "line": "y", "seconds": 0 }));
    assert_eq!((&denied["refusal"], &denied["rules"]), (&json!("denied"), &json!(["no-pages"])));
    let unfit = tried(&gateway, "count", &json!({ "line": 7 }));
    assert_eq!(unfit["refusal"], "invalid_arguments", "{unfit}");
    assert_eq!(tried(&gateway, "absent", &json!({}))["refusal"], "unknown_tool");
    assert_eq!(gateway.ran(), ["x"]);
}

#[test]
fn who_tries_a_call_that_is_held_does_not_approve_it_where_four_eyes_are_asked_for() {
    let gateway = gateway();
    let held = tried(&gateway, "count", &json!({ "line": "x" }));
    assert_eq!(held["outcome"], "held", "{held}");
    let id = text(&held["hold"]);
    assert_eq!(gateway.pending(), id);
    let own = gateway.cli(&["approvals", "approve", &id]);
    assert_eq!(own.code, 4, "{own:?}");
    let token = gateway.cli(&["reviewers", "add", "bo"]).done();
    let url = format!("{}/api/v1/approvals/{id}/verdict", gateway.url());
    let digest = gateway.hold(&id)["digest"].clone();
    let verdict = json!({ "decision": "approve", "digest": digest });
    let reply = post(&url, token.trim(), &verdict);
    assert_eq!(reply.status, 200, "{reply:?}");
    until("the call to run", || (gateway.ran() == ["x"]).then_some(()));
}

#[test]
fn only_operators_try_and_never_under_an_agents_name() {
    let gateway = gateway();
    let body = json!({ "tool": "look", "arguments": { "line": "x" } });
    let url = format!("{}/api/v1/try", gateway.url());
    let token = |name: &str, role: &str| {
        gateway.cli(&["reviewers", "add", name, "--role", role]).done().trim().to_owned()
    };
    let status = |token: &str| post(&url, token, &body).status;
    assert_eq!(status(&gateway.agent("a")), 401);
    assert_eq!(status(&token("rev", "reviewer")), 403);
    // An agent of that name is somebody else's, one that was revoked too.
    let op = token("op", "operator");
    gateway.agent("page-op");
    assert_eq!(status(&op), 409);
    gateway.cli(&["agents", "revoke", "page-op"]).done();
    assert_eq!(status(&op), 409);
    // A name that no agent can have is told from every other.
    let reply = post(&url, &token("ana@example.org", "operator"), &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    let agent = text(&reply.json()["agent"]);
    assert!(agent.starts_with("page-anaexample.org-") && agent.len() == 36, "{agent}");
}
