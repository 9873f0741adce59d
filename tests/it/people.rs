//! People with tokens: who may read, decide and operate over HTTP, and on the command line from afar.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::{Client, Modern, Reply, http};
use crate::harness::{HOLD_ALL, Output, RUNTIME, TestGateway, run, text, until};

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).start()
}

/// The token of a new person.
pub(crate) fn person(gateway: &TestGateway, arguments: &[&str]) -> String {
    let token = gateway.cli(&[&["reviewers", "add"], arguments].concat()).done();
    let token = token.trim().to_owned();
    assert!(token.starts_with("csp_") && token.len() == 4 + 64, "{token}");
    token
}

/// A request of a person, over HTTP.
pub(crate) fn ask(
    gateway: &TestGateway,
    method: Method,
    path: &str,
    tokens: &[&str],
    body: &Value,
) -> Reply {
    let mut request = http().request(method, format!("{}{path}", gateway.url())).json(body);
    for token in tokens {
        request = request.bearer_auth(token);
    }
    RUNTIME.block_on(Reply::of(request))
}

fn get(gateway: &TestGateway, path: &str, token: &str) -> u16 {
    ask(gateway, Method::GET, path, &[token], &Value::Null).status
}

/// A hold that waits, and the verdict that would let it run.
fn held(gateway: &TestGateway, line: &str) -> (String, Value) {
    gateway.modern_with_tasks("a").call("count", json!({ "line": line }));
    let id = gateway.pending();
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(&id)["digest"] });
    (id, verdict)
}

/// Gives a verdict as the person with this token.
pub(crate) fn decide(gateway: &TestGateway, id: &str, verdict: &Value, token: &str) -> Reply {
    let path = format!("/api/v1/approvals/{id}/verdict");
    ask(gateway, Method::POST, &path, &[token], verdict)
}

/// The kinds of the last entries that speak of people.
fn told_of_people(gateway: &TestGateway) -> Vec<Value> {
    let entries = gateway.entries().into_iter().map(|entry| entry["entry"].clone());
    entries
        .filter(|entry| {
            let kind = text(&entry["kind"]);
            kind.starts_with("reviewer_") || kind.starts_with("key_")
        })
        .collect()
}

#[test]
fn a_person_with_a_token_reads_and_decides() {
    let gateway = gateway();
    let token = person(&gateway, &["ada", "--group", "sre", "--also", "root"]);
    let (id, verdict) = held(&gateway, "x");
    let listed = ask(&gateway, Method::GET, "/api/v1/approvals", &[&token], &Value::Null).json();
    assert_eq!(listed[0]["id"], id.as_str());
    let decided = decide(&gateway, &id, &verdict, &token);
    assert_eq!(decided.status, 200, "{decided:?}");
    let done = gateway.hold_when(&id, "finished");
    assert_eq!(done["verdicts"][0]["person"], json!({ "name": "ada", "local": false }));
    assert_eq!(gateway.ran(), ["x"]);
    // What came over the local socket is written as it always was.
    let (id, _) = held_again(&gateway, "y");
    gateway.approve(&id);
    let done = gateway.hold_when(&id, "finished");
    let person = done["verdicts"][0]["person"].as_object().unwrap().clone();
    assert_eq!(person.keys().collect::<Vec<_>>(), ["name"], "{person:?}");
}

fn held_again(gateway: &TestGateway, line: &str) -> (String, Value) {
    gateway.cli(&["call", "count", &json!({ "line": line }).to_string(), "--no-wait"]);
    let id = gateway.pending();
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(&id)["digest"] });
    (id, verdict)
}

#[test]
fn r9_a_viewer_reads_and_a_reviewer_adds_nobody() {
    let gateway = gateway();
    let viewer = person(&gateway, &["eve", "--role", "viewer"]);
    let reviewer = person(&gateway, &["ada"]);
    let operator = person(&gateway, &["olga", "--role", "operator"]);
    let (id, verdict) = held(&gateway, "x");
    assert_eq!(get(&gateway, &format!("/api/v1/approvals/{id}"), &viewer), 200);
    let refused = decide(&gateway, &id, &verdict, &viewer);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("needs the role reviewer; `eve` has the role viewer"));
    let new = json!({ "name": "mallory" });
    for token in [&viewer, &reviewer] {
        let refused = ask(&gateway, Method::POST, "/api/v1/agents", &[token], &new);
        assert_eq!(refused.status, 403, "{refused:?}");
        let role = json!({ "role": "operator" });
        let path = "/api/v1/reviewers/ada";
        assert_eq!(ask(&gateway, Method::PATCH, path, &[token], &role).status, 403);
    }
    assert_eq!(ask(&gateway, Method::POST, "/api/v1/agents", &[&operator], &new).status, 200);
    let agents = gateway.cli(&["agents", "list", "--output", "json"]).json();
    let added = agents.as_array().unwrap().iter().find(|it| it["name"] == "mallory").unwrap();
    assert_eq!(added["owner"], "olga");
    assert_eq!(gateway.hold(&id)["state"], "pending");
    // A role counts as it is now, not as it was when the token was given.
    gateway.cli(&["reviewers", "change", "ada", "--role", "viewer"]).done();
    assert_eq!(decide(&gateway, &id, &verdict, &reviewer).status, 403);
    gateway.cli(&["reviewers", "change", "eve", "--role", "reviewer", "--group", "sre"]).done();
    assert_eq!(decide(&gateway, &id, &verdict, &viewer).status, 200);
    gateway.hold_when(&id, "finished");
}

#[test]
fn a_token_that_was_revoked_rotated_or_ended_is_refused() {
    let mut gateway = gateway();
    let path = "/api/v1/catalog";
    let revoked = person(&gateway, &["revoked"]);
    let old = person(&gateway, &["rotated"]);
    let short = person(&gateway, &["short", "--expires", "1s"]);
    assert_eq!((get(&gateway, path, &revoked), get(&gateway, path, &old)), (200, 200));
    gateway.cli(&["reviewers", "revoke", "revoked"]).done();
    let new = gateway.cli(&["reviewers", "rotate", "rotated"]).done().trim().to_owned();
    until("the short token to end", || (get(&gateway, path, &short) == 401).then_some(()));
    let ended = gateway.cli(&["reviewers", "rotate", "short"]);
    assert!(ended.code == 2 && ended.stderr.contains("has ended"), "{ended:?}");
    let again = gateway.cli(&["reviewers", "rotate", "short", "--expires", "90d"]).done();
    let check = |gateway: &TestGateway| {
        for token in [&revoked, &old, &short] {
            assert_eq!(get(gateway, path, token), 401);
        }
        assert_eq!((get(gateway, path, &new), get(gateway, path, again.trim())), (200, 200));
    };
    check(&gateway);
    gateway.restart();
    check(&gateway);
    assert_eq!(gateway.cli(&["reviewers", "rotate", "revoked"]).code, 5);
    assert_eq!(gateway.cli(&["reviewers", "rotate", "nobody"]).code, 3);
    assert_eq!(gateway.cli(&["reviewers", "add", "rotated"]).code, 5);
    assert_eq!(gateway.cli(&["reviewers", "add", "no name"]).code, 2);
    let anew = person(&gateway, &["revoked"]);
    assert_eq!(get(&gateway, path, &anew), 200);
    assert_eq!(get(&gateway, path, &revoked), 401);
}

#[test]
fn a_revoked_record_takes_the_deciding_from_the_local_user_of_that_name() {
    let gateway = gateway();
    let user = local_user();
    let (id, verdict) = held(&gateway, "x");
    person(&gateway, &[&user, "--role", "viewer"]);
    gateway.cli(&["reviewers", "revoke", &user]).done();
    let refused = gateway.api_post(&format!("/api/v1/approvals/{id}/verdict"), &verdict);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("decides no more"), "{refused:?}");
    assert_eq!(gateway.cli(&["approvals", "approve", &id]).code, 4);
    // Still an operator, who can mend it.
    person(&gateway, &[&user]);
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
}

#[test]
fn i5_an_agents_token_is_no_persons_and_a_persons_no_agents() {
    let gateway = gateway();
    let agent = gateway.agent("ada");
    let person = person(&gateway, &["ada", "--role", "operator"]);
    let nobody = ask(&gateway, Method::GET, "/api/v1/approvals", &[], &Value::Null);
    for (method, path) in crate::golden::routes() {
        let path = crate::golden::concrete(&path);
        let body = json!({});
        let answer = |tokens: &[&str]| ask(&gateway, method.clone(), &path, tokens, &body);
        for tokens in [&[agent.as_str()][..], &[&person, &person], &[&agent, &person], &["csp_"]] {
            let refused = answer(tokens);
            // Which of two credentials would count is no question that anybody answers.
            let one = tokens.len() == 1;
            let told = if one { &nobody.body } else { "one Authorization header is expected\n" };
            let same = (refused.status, refused.body.as_str()) == (401, told);
            assert!(same, "{method} {path}: {refused:?}");
        }
        // A link to sign in as the local operator is for who is at this machine.
        let local = path == "/api/v1/sign-in-link";
        let status = answer(&[&person]).status;
        assert_eq!([401, 403].contains(&status), local, "{method} {path}: {status}");
    }
    let refused = RUNTIME.block_on(Reply::of(crate::clients::post(gateway.url(), &person).body(
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} }).to_string(),
    )));
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(Modern::new(gateway.url(), &agent).tools().contains(&"count".to_owned()));
}

#[test]
fn on_the_socket_a_token_is_never_taken_for_the_local_user() {
    let gateway = gateway();
    let agent = gateway.agent("a");
    let viewer = person(&gateway, &["eve", "--role", "viewer"]);
    let socket = gateway.data().join("countersign.sock");
    let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
    let status = |path: &str, tokens: &[&str], named: bool| {
        let mut request = local.post(format!("http://localhost{path}")).json(&json!({}));
        for token in tokens {
            request = request.bearer_auth(token);
        }
        if named {
            request = request.header("countersign-agent", "a");
        }
        RUNTIME.block_on(Reply::of(request)).status
    };
    for tokens in [&[agent.as_str()][..], &["csp_wrong"], &[""], &[&viewer, &viewer]] {
        assert_eq!(status("/api/v1/agents", tokens, false), 401, "{tokens:?}");
    }
    assert_eq!(status("/api/v1/agents", &[&viewer], false), 403);
    for path in ["/api/v1/agents", "/mcp"] {
        assert_eq!(status(path, &[&viewer], true), 401, "{path}");
    }
    assert_eq!(status("/mcp", &[&viewer], false), 401);
    assert_eq!(status("/api/v1/agents", &[], false), 422);
}

/// A command of a person elsewhere: no data directory, only the address and the token.
/// A new person, whose commands [`by`] gives.
pub(crate) fn reviewer(gateway: &TestGateway, name: &str, more: &[&str]) -> String {
    let token = person(gateway, &[&[name], more].concat());
    put_token(gateway, &format!("{name}.token"), &token, 0o600);
    token
}

/// What a command of the person `name` says, from elsewhere.
pub(crate) fn by(gateway: &TestGateway, name: &str, arguments: &[&str]) -> Output {
    from_afar(gateway, &format!("{name}.token"), arguments)
}

/// The user on whose behalf tests come over the local socket.
pub(crate) fn local_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
}

fn from_afar(gateway: &TestGateway, file: &str, arguments: &[&str]) -> Output {
    let url = gateway.url();
    let mut command = gateway.command(&[arguments, &["--url", url, "--token-file", file]].concat());
    command.env("COUNTERSIGN_DATA", "/nonexistent");
    run(command)
}

fn put_token(gateway: &TestGateway, name: &str, token: &str, mode: u32) {
    gateway.put(name, &format!("{token}\n"));
    fs::set_permissions(gateway.dir().join(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_command_line_works_from_afar() {
    let gateway = gateway();
    let ada = person(&gateway, &["ada", "--role", "operator"]);
    put_token(&gateway, "ada.token", &ada, 0o600);
    let afar = |arguments: &[&str]| from_afar(&gateway, "ada.token", arguments);
    let (id, _) = held(&gateway, "x");
    assert!(afar(&["approvals", "list"]).done().contains(&id));
    afar(&["approvals", "approve", &id]).done();
    assert_eq!(gateway.ran(), ["x"]);
    assert_eq!(gateway.hold(&id)["verdicts"][0]["person"]["name"], "ada");
    assert!(afar(&["agents", "add", "b"]).done().starts_with("cs_"));
    assert!(afar(&["agents", "list"]).done().contains("ada"));
    assert!(afar(&["catalog", "list"]).done().contains("count"));
    assert!(afar(&["audit", "list"]).done().contains("reviewer_added"));
    let all =
        afar(&["audit", "list", "--after", "0", "--limit", "1000", "--output", "json"]).json();
    assert_eq!(all, Value::Array(gateway.entries()));
    assert!(afar(&["doctor"]).done().contains("record"));
    let listed = afar(&["reviewers", "list", "--output", "json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["role"]), (&json!("ada"), &json!("operator")));
    assert!(!listed.to_string().contains("csp_") && !listed.to_string().contains("token"));
    assert_eq!(afar(&["audit", "verify"]).code, 2);
    assert_eq!(afar(&["approvals", "show", "ffffffff"]).code, 3);
    gateway.cli(&["reviewers", "revoke", "ada"]).done();
    assert_eq!(afar(&["approvals", "list"]).code, 4);
}

#[test]
fn a_token_that_others_may_read_or_that_would_cross_a_network_is_not_used() {
    let gateway = gateway();
    let ada = person(&gateway, &["ada"]);
    for mode in [0o644, 0o640, 0o604, 0o620, 0o666] {
        put_token(&gateway, "ada.token", &ada, mode);
        let refused = from_afar(&gateway, "ada.token", &["approvals", "list"]);
        assert_eq!(refused.code, 2, "{mode:o}: {refused:?}");
        assert!(refused.stderr.contains("chmod 600 ada.token"), "{refused:?}");
    }
    for mode in [0o600, 0o400] {
        put_token(&gateway, "ada.token", &ada, mode);
        from_afar(&gateway, "ada.token", &["approvals", "list"]).done();
    }
    let with = |arguments: &[&str]| gateway.cli(&[&["approvals", "list"], arguments].concat());
    for url in ["http://gateway.example", "ftp://127.0.0.1", "127.0.0.1:7420", "", "http://"] {
        let refused = with(&["--url", url, "--token-file", "ada.token"]);
        assert_eq!(refused.code, 2, "{url}: {refused:?}");
    }
    assert_eq!(with(&["--url", gateway.url()]).code, 2);
    assert_eq!(with(&["--token-file", "ada.token"]).code, 2);
    let absent = with(&["--url", gateway.url(), "--token-file", "absent"]);
    assert!(absent.code == 2 && absent.stderr.contains("absent"), "{absent:?}");
}

#[test]
fn keys_are_registered_for_one_person_and_recorded() {
    let gateway = gateway();
    person(&gateway, &["ada"]);
    person(&gateway, &["bob"]);
    let make = |kind: &str| {
        let file = gateway.dir().join(kind);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", "ada@laptop", "-t", kind, "-f"]).arg(&file);
        assert!(command.status().unwrap().success());
        format!("{kind}.pub")
    };
    let key = make("ed25519");
    gateway.cli(&["reviewers", "key", "add", "ada", &key]).done();
    let listed = gateway.cli(&["reviewers", "list", "--output", "json"]).json();
    let print = text(&listed[0]["keys"][0]["fingerprint"]);
    assert!(print.starts_with("SHA256:"), "{listed}");
    let taken = gateway.cli(&["reviewers", "key", "add", "bob", &key]);
    assert!(taken.code == 5 && taken.stderr.contains("`ada` already"), "{taken:?}");
    let rsa = gateway.cli(&["reviewers", "key", "add", "bob", &make("rsa")]);
    assert!(rsa.code == 2 && rsa.stderr.contains("`ssh-rsa`"), "{rsa:?}");
    let private = gateway.cli(&["reviewers", "key", "add", "bob", "ed25519"]);
    assert!(private.code == 2 && private.stderr.contains("private key"), "{private:?}");
    assert_eq!(gateway.cli(&["reviewers", "key", "remove", "bob", &print]).code, 3);
    gateway.cli(&["reviewers", "key", "remove", "ada", &print]).done();
    gateway.cli(&["reviewers", "change", "ada", "--group", "sre", "--also", "root"]).done();
    gateway.cli(&["reviewers", "change", "ada", "--no-groups"]).done();
    gateway.cli(&["reviewers", "rotate", "ada"]).done();
    gateway.cli(&["reviewers", "revoke", "ada"]).done();
    let told = told_of_people(&gateway);
    let kinds: Vec<_> = told.iter().map(|entry| text(&entry["kind"])).collect();
    let expected = [
        "reviewer_added",
        "reviewer_added",
        "key_registered",
        "key_removed",
        "reviewer_changed",
        "reviewer_changed",
        "reviewer_changed",
        "reviewer_revoked",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(told[2]["person"], "ada");
    assert_eq!(told[2]["fingerprint"], print.as_str());
    assert!(text(&told[2]["key"]).starts_with("ssh-ed25519 "), "{}", told[2]);
    assert_eq!((&told[5]["also"], told[5].get("groups")), (&json!(["root"]), None));
    assert_eq!(told[6]["new_token"], true);
    assert!(!Value::Array(told).to_string().contains("csp_"));
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn an_agents_old_token_ends_at_once_or_after_the_overlap() {
    let mut gateway = gateway();
    let listed = |gateway: &TestGateway, token: &str| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        let request = crate::clients::post(gateway.url(), token).body(body.to_string());
        RUNTIME.block_on(Reply::of(request)).status
    };
    let rotate = |gateway: &TestGateway, arguments: &[&str]| {
        let token = gateway.cli(&[&["agents", "rotate"], arguments].concat()).done();
        token.trim().to_owned()
    };
    let first = gateway.agent("a");
    let second = rotate(&gateway, &["a"]);
    assert_eq!(listed(&gateway, &first), 401);
    assert_ne!(listed(&gateway, &second), 401);
    let third = rotate(&gateway, &["a", "--overlap", "1h"]);
    gateway.restart();
    assert_ne!(listed(&gateway, &second), 401);
    assert_ne!(listed(&gateway, &third), 401);
    let fourth = rotate(&gateway, &["a", "--overlap", "1s"]);
    assert_eq!(listed(&gateway, &second), 401);
    until("the overlap to end", || (listed(&gateway, &third) == 401).then_some(()));
    assert_ne!(listed(&gateway, &fourth), 401);
    let fifth = rotate(&gateway, &["a", "--overlap", "1h"]);
    gateway.cli(&["agents", "revoke", "a"]).done();
    assert_eq!((listed(&gateway, &fourth), listed(&gateway, &fifth)), (401, 401));
    assert_eq!(gateway.cli(&["agents", "rotate", "a"]).code, 3);
    assert_eq!(gateway.cli(&["agents", "rotate", "nobody"]).code, 3);
    assert_eq!(gateway.cli(&["agents", "rotate", "a", "--overlap", "8d"]).code, 2);
}
