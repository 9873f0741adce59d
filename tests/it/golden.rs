//! What scripts rely on: fields, exit codes, data on stdout and chatter on stderr.

use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::{Client, Reply, http};
use crate::harness::{HOLD_ALL, RUNTIME, TestGateway, text};

const POLICY: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - { name: counts, match: { tool: count }, decision: REQUIRE_APPROVAL, reason: lines stay }
";

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("rules.yaml", POLICY).start()
}

#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "`{field}` is missing in {value}");
    }
}

const HOLD: [&str; 18] = [
    "id",
    "state",
    "agent",
    "tool",
    "arguments",
    "requested_arguments",
    "edits",
    "digest",
    "rules",
    "reason",
    "reviewers",
    "quorum",
    "verdicts",
    "created_at",
    "decide_by",
    "execute_by",
    "call",
    "outcome",
];

#[test]
fn a_hold_has_the_fields_that_scripts_rely_on() {
    let gateway = gateway();
    gateway.modern_with_tasks("a").call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    let listed = gateway.holds("pending").remove(0);
    has(&listed, &HOLD);
    let shown = gateway.hold(&id);
    has(&shown, &HOLD);
    assert!(text(&shown["reason"]).contains("lines stay"), "{shown}");
    assert_eq!(shown["agent"], "a");
    for time in ["created_at", "decide_by"] {
        let time = text(&shown[time]);
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    }
    assert!(text(&shown["digest"]).starts_with("sha256:"));
    // The first digits of an id are enough.
    assert_eq!(gateway.hold(&id[..8])["id"], id.as_str());
    gateway.approve(&id);
    let done = gateway.hold_when(&id, "finished");
    assert_eq!(done["outcome"]["status"], "success");
    assert_eq!(done["verdicts"][0]["decision"], "approve");
}

#[test]
fn other_lists_have_the_fields_that_scripts_rely_on() {
    let gateway = gateway();
    gateway.modern("a").call("look", json!({ "line": "x" }));
    let catalog = gateway.cli(&["catalog", "list", "--output", "json"]).json();
    has(
        &catalog[0],
        &[
            "name",
            "backend",
            "action_type",
            "input_schema",
            "definition_fingerprint",
            "unavailable",
        ],
    );
    let policy = gateway.cli(&["policy", "check", "--output", "json"]).json();
    has(&policy, &["revision", "rules", "warnings"]);
    has(&policy["rules"][0], &["name", "decision", "location", "tools"]);
    assert_eq!(policy["rules"][1]["location"], "policies/rules.yaml:4:13");
    let agents = gateway.cli(&["agents", "list", "--output", "json"]).json();
    has(&agents[0], &["name", "groups", "owner"]);
    assert!(!agents.to_string().contains("cs_"), "a list shows tokens");
    let audit = gateway.cli(&["audit", "list", "--output", "json"]).json();
    has(&audit[0], &["index", "chain", "entry"]);
    let doctor = gateway.cli(&["doctor", "--output", "json"]);
    let doctor: Value = serde_json::from_str(&doctor.stdout).unwrap();
    has(&doctor[0], &["id", "ok", "found"]);
    for kind in ["policy", "policy-test", "manifest", "config"] {
        has(&gateway.cli(&["schema", kind]).json(), &["properties"]);
    }
}

#[test]
fn exit_codes() {
    let gateway = gateway();
    gateway.agent("revoked");
    gateway.cli(&["agents", "revoke", "revoked"]).done();
    let code = |arguments: &[&str]| gateway.cli(arguments).code;
    // 0: done.
    assert_eq!(code(&["call", "look", r#"{"line":"x"}"#]), 0);
    assert_eq!(code(&["audit", "verify"]), 0);
    // 1: it did not hold or failed.
    assert_eq!(code(&["call", "look", r#"{"line":7}"#]), 1);
    assert_eq!(code(&["call", "absent"]), 1);
    // 2: usage, or a bad file.
    assert_eq!(code(&["call", "look", "{"]), 2);
    assert_eq!(code(&["call", "look", "[]"]), 2);
    assert_eq!(code(&["no-such-command"]), 2);
    assert_eq!(code(&["agents", "add", "x", "--expires", "soon"]), 2);
    // 3: not found.
    assert_eq!(code(&["approvals", "show", "ffffffff"]), 3);
    assert_eq!(code(&["approvals", "approve", "00000000000000000000000000000000"]), 3);
    assert_eq!(code(&["agents", "revoke", "nobody"]), 3);
    // 5: pending, or somebody else was first.
    let held = gateway.cli(&["call", "count", r#"{"line":"held"}"#, "--no-wait"]);
    assert_eq!(held.code, 5, "{held:?}");
    let id = held.stdout.trim().to_owned();
    assert_eq!(gateway.pending(), id, "stdout is not the hold's id alone");
    assert!(held.stderr.contains("approve"), "{held:?}");
    assert_eq!(code(&["approvals", "reject", &id]), 0);
    assert_eq!(code(&["approvals", "approve", &id]), 5);
    assert_eq!(gateway.ran(), ["x"]);
}

#[test]
fn a_revoked_agent_is_not_permitted_on_stdio() {
    let mut gateway = gateway();
    gateway.agent("revoked");
    gateway.cli(&["agents", "revoke", "revoked"]).done();
    gateway.stop();
    assert_eq!(gateway.cli(&["stdio", "--agent", "revoked"]).code, 4);
}

#[test]
fn data_goes_to_stdout_and_chatter_to_stderr() {
    let gateway = gateway();
    let added = gateway.cli(&["agents", "add", "a"]);
    assert!(added.stdout.starts_with("cs_") && added.stdout.trim().len() == 3 + 64, "{added:?}");
    assert_eq!(added.stdout.lines().count(), 1);
    let called = gateway.cli(&["call", "look", r#"{"line":"x"}"#]);
    assert_eq!((called.stdout.trim(), called.stderr.as_str()), ("ran x", ""));
    let missing = gateway.cli(&["approvals", "show", "ffffffff"]);
    assert!(missing.stdout.is_empty() && missing.stderr.starts_with("error: "), "{missing:?}");
}

#[test]
fn a14_hidden_characters_are_shown_to_the_reviewer() {
    let gateway = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).start();
    let hidden = "rm\u{202e}txt\u{200b}\u{1b}[31m\u{e0041}end";
    gateway.modern_with_tasks("a").call("count", json!({ "line": hidden }));
    let shown = gateway.cli(&["approvals", "show", &gateway.pending()]).done();
    for character in ['\u{202e}', '\u{200b}', '\u{1b}', '\u{e0041}'] {
        assert!(!shown.contains(character), "{:x} is not escaped", u32::from(character));
    }
    let listed = gateway.cli(&["approvals", "list"]).done();
    assert!(!listed.contains('\u{1b}') && !listed.contains('\u{202e}'), "{listed:?}");
}

#[test]
fn commands_work_without_a_running_gateway() {
    let mut gateway = gateway();
    gateway.modern_with_tasks("a").call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    assert_eq!(gateway.stop(), 0);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["x"]);
}

/// Every method and path of the JSON API, as the source mounts them.
pub(crate) fn routes() -> Vec<(Method, String)> {
    let source = include_str!("../../src/api/mod.rs");
    let route = Regex::new(r#"\.route\(\s*"([^"]+)",\s*([^\n]+)\)"#).unwrap();
    let method = Regex::new(r"\b(get|post|put|patch|delete)\(").unwrap();
    let mut all = Vec::new();
    for found in route.captures_iter(source) {
        for method in method.captures_iter(&found[2]) {
            let method = method[1].to_uppercase().parse().unwrap();
            all.push((method, found[1].to_owned()));
        }
    }
    let more = Regex::new(r"\)\.(get|post|put|patch|delete)\(").unwrap();
    let mounted = source.matches(".route(").count() + more.find_iter(source).count();
    assert_eq!(all.len(), mounted, "a route is not read: {all:?}");
    all
}

/// The path of a route with names that nothing has.
pub(crate) fn concrete(path: &str) -> String {
    let id = "0".repeat(32);
    // A stream of events lasts; what is wrong with this one is looked at after who asks.
    let path = path.replace("/events", "/events?after=none");
    let path = path.replace("{revision}", "00000000");
    path.replace("{id}", &id).replace("{name}", "nobody").replace("{fingerprint}", "SHA256:none")
}

/// Who may use which route. A change of this table is a change of who may do what.
const ROLES: &str = "\
route                                                 nobody agent viewer reviewer operator local
GET    /api/v1/whoami                                  401    401   yes    yes      yes      yes
GET    /api/v1/approvals                               401    401   yes    yes      yes      yes
GET    /api/v1/approvals/{id}                          401    401   yes    yes      yes      yes
POST   /api/v1/approvals/{id}/statement                401    401   403    yes      yes      yes
POST   /api/v1/approvals/{id}/verdict                  401    401   403    yes      yes      yes
POST   /api/v1/approvals/{id}/identical                401    401   403    yes      yes      yes
POST   /api/v1/approvals/{id}/resolution               401    401   403    yes      yes      yes
GET    /api/v1/standing                                401    401   yes    yes      yes      yes
POST   /api/v1/standing                                401    401   403    yes      yes      yes
DELETE /api/v1/standing/{id}                           401    401   403    yes      yes      yes
GET    /api/v1/halts                                   401    401   yes    yes      yes      yes
POST   /api/v1/halts                                   401    401   403    403      yes      yes
POST   /api/v1/halts/reach                             401    401   403    403      yes      yes
POST   /api/v1/halts/{id}/resume                       401    401   403    403      yes      yes
GET    /api/v1/catalog                                 401    401   yes    yes      yes      yes
GET    /api/v1/catalog/quarantine                      401    401   yes    yes      yes      yes
POST   /api/v1/catalog/accept                          401    401   403    403      yes      yes
GET    /api/v1/policy                                  401    401   yes    yes      yes      yes
GET    /api/v1/policy/table                            401    401   yes    yes      yes      yes
GET    /api/v1/policy/history                          401    401   yes    yes      yes      yes
GET    /api/v1/policy/history/{revision}               401    401   403    403      yes      yes
POST   /api/v1/policy/simulate                         401    401   403    403      yes      yes
POST   /api/v1/policy/rollback                         401    401   403    403      yes      yes
POST   /api/v1/policy/explain                          401    401   yes    yes      yes      yes
POST   /api/v1/try                                     401    401   403    403      yes      yes
GET    /api/v1/limits                                  401    401   yes    yes      yes      yes
GET    /api/v1/budgets                                 401    401   yes    yes      yes      yes
POST   /api/v1/policy/reload                           401    401   403    403      yes      yes
GET    /api/v1/agents                                  401    401   yes    yes      yes      yes
POST   /api/v1/agents                                  401    401   403    403      yes      yes
PATCH  /api/v1/agents/{name}                           401    401   403    403      yes      yes
DELETE /api/v1/agents/{name}                           401    401   403    403      yes      yes
POST   /api/v1/agents/{name}/token                     401    401   403    403      yes      yes
GET    /api/v1/reviewers                               401    401   yes    yes      yes      yes
POST   /api/v1/reviewers                               401    401   403    403      yes      yes
PATCH  /api/v1/reviewers/{name}                        401    401   403    403      yes      yes
DELETE /api/v1/reviewers/{name}                        401    401   403    403      yes      yes
POST   /api/v1/reviewers/{name}/token                  401    401   403    403      yes      yes
POST   /api/v1/reviewers/{name}/keys                   401    401   403    403      yes      yes
DELETE /api/v1/reviewers/{name}/keys/{fingerprint}     401    401   403    403      yes      yes
POST   /api/v1/reviewers/{name}/invitation             401    401   403    403      yes      yes
DELETE /api/v1/reviewers/{name}/sessions               401    401   403    403      yes      yes
POST   /api/v1/sign-in-link                            401    401   403    403      403      yes
GET    /api/v1/audit                                   401    401   yes    yes      yes      yes
GET    /api/v1/audit/search                            401    401   yes    yes      yes      yes
POST   /api/v1/audit/verify                            401    401   yes    yes      yes      yes
GET    /api/v1/statistics                              401    401   yes    yes      yes      yes
GET    /api/v1/calls                                   401    401   yes    yes      yes      yes
GET    /api/v1/calls/{id}                              401    401   yes    yes      yes      yes
GET    /api/v1/workflows                               401    401   yes    yes      yes      yes
GET    /api/v1/workflows/{id}                          401    401   yes    yes      yes      yes
POST   /api/v1/workflows/{id}/rollback                 401    401   403    403      yes      yes
GET    /api/v1/events                                  401    401   yes    yes      yes      yes
GET    /api/v1/openapi.json                            401    401   yes    yes      yes      yes
GET    /api/v1/doctor                                  401    401   yes    yes      yes      yes
GET    /metrics                                        401    401   yes    yes      yes      yes
POST   /api/v1/notifications/test                      401    401   403    403      yes      yes
";

#[test]
fn r9_roles_and_routes() {
    let gateway = gateway();
    let person = |role: &str| {
        let token = gateway.cli(&["reviewers", "add", role, "--role", role]).done();
        Some(token.trim().to_owned())
    };
    let socket = gateway.data().join("countersign.sock");
    let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
    let who = [
        ("nobody", None),
        ("agent", Some(gateway.agent("a"))),
        ("viewer", person("viewer")),
        ("reviewer", person("reviewer")),
        ("operator", person("operator")),
        ("local", None),
    ];
    let mut table = format!("{:<54}", "route");
    table.push_str(&who.each_ref().map(|(name, _)| *name).join(" "));
    for (method, path) in routes() {
        table.push_str(&format!("\n{:<6} {path:<47}", method.as_str()));
        for (name, token) in &who {
            let (client, url) = match *name {
                "local" => (&local, "http://localhost"),
                _ => (http(), gateway.url()),
            };
            let mut request = client.request(method.clone(), format!("{url}{}", concrete(&path)));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = match RUNTIME.block_on(Reply::of(request.json(&json!({})))).status {
                refused @ (401 | 403) => refused.to_string(),
                _ => "yes".to_owned(),
            };
            table.push_str(&format!(" {answer:<width$}", width = name.len()));
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    assert_eq!(table.join("\n"), ROLES.trim_end(), "\n{}", table.join("\n"));
}
