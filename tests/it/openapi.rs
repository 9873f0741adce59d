//! The description of the API says what is true: it names every route, and what a gateway answers to inputs
//! that are made from it is what it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::clients::{Client, Reply, http};
use crate::golden::routes;
use crate::harness::{HOLD_ALL, Output, RUNTIME, TestGateway, run};

/// How many inputs are made for each operation.
const EXAMPLES: &str = "8";

/// What fits its form may still be refused for what it means, with 400: a rejection with changed arguments, a
/// key that is none. It is never said not to fit, with 422.
const EXPECTED: &str = "[checks.positive_data_acceptance]
expected-statuses = [\"2xx\", 400, 401, 403, 404, 409, \"5xx\"]
";

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).start()
}

fn document(gateway: &TestGateway) -> Value {
    let reply = gateway.api_get("/api/v1/openapi.json");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let gateway = gateway();
    let document = document(&gateway);
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            // Both ways to show who one is; a change in a session needs its second token.
            let ways = operation["security"].as_array().unwrap();
            assert!(ways.iter().any(|way| way["token"].is_array()), "{path}");
            let session = ways.iter().find(|way| way["session"].is_array()).unwrap();
            assert_eq!(session["csrf"].is_array(), method != "get", "{method} {path}");
        }
    }
    let mounted: BTreeSet<_> =
        routes().into_iter().map(|(method, path)| (method.to_string(), path)).collect();
    assert_eq!(described, mounted);
    for scheme in ["token", "session", "csrf"] {
        assert!(document["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
    }
}

#[test]
fn no_body_may_have_a_member_that_nobody_reads() {
    let gateway = gateway();
    gateway.modern_with_tasks("a").call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    let digest = gateway.hold(&id)["digest"].clone();
    let verdict = json!({ "decision": "reject", "digest": digest });
    let with = |name: &str, value: Value| {
        let mut body = verdict.clone();
        body[name] = value;
        body
    };
    for (action, body) in [
        ("verdict", verdict.clone()),
        ("identical", with("count", json!(1))),
        ("resolution", with("resolution", json!("done"))),
    ] {
        let path = format!("/api/v1/approvals/{id}/{action}");
        let mut wrong = body.clone();
        wrong["reasom"] = json!("misspelt");
        let reply = gateway.api_post(&path, &wrong);
        assert_eq!(reply.status, 422, "{action}: {reply:?}");
        assert!(reply.body.contains("reasom"), "{reply:?}");
        for name in body.as_object().unwrap().keys() {
            let mut less = body.clone();
            less.as_object_mut().unwrap().remove(name);
            let reply = gateway.api_post(&path, &less);
            assert_eq!(reply.status, 422, "{action} without {name}: {reply:?}");
            assert!(reply.body.contains(name.as_str()), "{reply:?}");
        }
    }
    assert_eq!(gateway.hold(&id)["state"], "pending");
    let path = format!("/api/v1/approvals/{id}/identical");
    assert_eq!(gateway.api_post(&path, &with("count", json!(1))).status, 200);
    assert_eq!(gateway.hold(&id)["state"], "rejected");
}

#[test]
fn a_body_is_an_object_and_a_number_is_what_it_is_however_it_is_written() {
    let gateway = gateway();
    let add = |body: &Value| gateway.api_post("/api/v1/agents", body);
    let named = |name: &str, expires_in: Value| json!({ "name": name, "expires_in": expires_in });
    for (body, status) in [
        (json!(["a", [], null, null]), 422),
        (json!("a"), 422),
        (Value::Null, 422),
        (named("a", json!(1.5)), 422),
        (named("a", json!(-1)), 422),
        (named("a", json!("3600")), 422),
        (named("a", json!(1e300)), 422),
        (named("a", json!(3600.0)), 200),
        (named("b", json!(3600)), 200),
        (named("c", Value::Null), 200),
    ] {
        let reply = add(&body);
        assert_eq!(reply.status, status, "{body}: {reply:?}");
    }
    gateway.modern_with_tasks("d").call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    let digest = gateway.hold(&id)["digest"].clone();
    let rendered = json!(["by", digest]);
    let verdict = json!({ "decision": "reject", "digest": digest, "rendered": rendered });
    let reply = gateway.api_post(&format!("/api/v1/approvals/{id}/verdict"), &verdict);
    assert_eq!(reply.status, 422, "{reply:?}");
}

/// Schemathesis makes inputs from the document, good and bad ones, and checks every answer against it.
#[test]
fn answers_are_as_the_document_says() {
    let gateway = gateway();
    gateway.modern_with_tasks("a").call("count", json!({ "line": "x" }));
    gateway.pending();
    let token = gateway.cli(&["reviewers", "add", "fuzzer", "--role", "operator"]).done();
    let token = token.trim();
    // Who asks is in the list of people: what changes a person is tried where that list is not read.
    let people = ["revoke_person", "change_person", "renew_person"];
    let chosen = |how: &str| -> Vec<String> {
        people.iter().flat_map(|id| [how.to_owned(), (*id).to_owned()]).collect()
    };
    let first = schemathesis(&gateway, token, &chosen("--exclude-operation-id"));
    let second = schemathesis(&gateway, token, &chosen("--include-operation-id"));
    for found in [&first, &second] {
        assert_eq!(found.code, 0, "{}\n{}", found.stdout, found.stderr);
    }
    let tested = |found: &Output| -> usize {
        let (_, rest) = found.stdout.split_once("Tested: ").expect("it counts");
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    // All but the stream of events, and the document itself, which it takes its operations from.
    assert_eq!(tested(&first) + tested(&second), routes().len() - 2);
    let request = http().get(format!("{}/api/v1/whoami", gateway.url())).bearer_auth(token);
    let answer = RUNTIME.block_on(Reply::of(request));
    assert_eq!(answer.status, 200, "it ran as nobody: {answer:?}");
}

fn schemathesis(gateway: &TestGateway, token: &str, operations: &[String]) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/venv/bin/schemathesis");
    assert!(program.exists(), "tests/run installs schemathesis");
    gateway.put("schemathesis.toml", EXPECTED);
    let mut command = Command::new(program);
    command
        .current_dir(gateway.dir())
        .env_clear()
        .env("HOME", gateway.dir())
        .env("PATH", "/usr/bin:/bin")
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", gateway.url()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--generation-deterministic", "--checks", "all"])
        .args(["--request-timeout", "10", "--continue-on-failure", "--no-color"])
        // A stream of events has no end to wait for; `events.rs` looks at it.
        .args(["--exclude-path", "/api/v1/events"])
        .args(operations)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    run(command)
}
