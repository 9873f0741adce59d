//! Rolling a workflow back: the workspace as it was, each compensation a call with its own decision.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{ALLOW_ALL, TestGateway, text, until};

const FILES: &str = include_str!("../../tool-manifests/files.yaml");
const GIT: &str = include_str!("../../tool-manifests/git.yaml");
const POLICY: &str = r"
rules:
  - { name: everything, match: {}, decision: ALLOW }
  - name: undone-deletions
    match: { client: countersign-rollback, tool: delete_file }
    decision: REQUIRE_APPROVAL
";
/// A tool and what undoes it, which appends a line too.
const PAIR: &str = r#"
backend: { name: pair, command: { program: "@DIR@/bin/count" } }
attributes: { action: count, action_type: write }
tools:
  - name: put
    description: Append a line.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["put ${line}"]
    rollback: { tool: take, arguments: { line: "${arguments.line}" } }
  - name: take
    description: Append a line.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["take ${line}"]
"#;
const COUNT: &str =
    "#!/bin/sh\nif [ -e '@DIR@/broken' ]; then exit 1; fi\nprintf '%s\\n' \"$1\" >> '@DIR@/ran'\n";

/// Calls `tool` in this workflow.
fn call(client: &dyn Client, workflow: &str, tool: &str, arguments: &Value) -> Value {
    let meta = json!({ "countersign/workflow": workflow });
    client.result("tools/call", json!({ "name": tool, "arguments": arguments, "_meta": meta }))
}

fn git(workspace: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(workspace).args(["-c", "user.name=a", "-c", "user.email=a@localhost"]);
    assert!(command.args(arguments).status().unwrap().success(), "git {arguments:?}");
}

/// A repository with one commit.
fn repository(at: &Path) {
    fs::create_dir(at).unwrap();
    git(at, &["init", "--quiet", "--initial-branch=main"]);
    fs::write(at.join("kept.txt"), "kept\n").unwrap();
    git(at, &["add", "kept.txt"]);
    git(at, &["commit", "--quiet", "--message=first"]);
}

/// Everything below a directory: directories without content, files with it.
fn tree(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let content = path.is_file().then(|| fs::read(&path).unwrap());
            if content.is_none() {
                folders.push(path.clone());
            }
            all.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), content);
        }
    }
    all
}

/// The workflow of this agent, as it is listed.
fn listed(gateway: &TestGateway, agent: &str) -> Value {
    let list = ["workflows", "list", "--agent", agent, "--output", "json"];
    gateway.cli(&list).json()[0].clone()
}

fn plan(gateway: &TestGateway, id: &str) -> Value {
    gateway.cli(&["workflows", "rollback", id, "--output", "json"]).json()["plan"].clone()
}

/// Of each step its tool and what is to happen.
fn states(plan: &Value) -> Vec<(String, String)> {
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.map(|step| (text(&step["tool"]), text(&step["state"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(tool, state)| ((*tool).to_owned(), (*state).to_owned())).collect()
}

/// The intents that undo calls: the tool, the decision and the call that is undone, oldest first.
fn undone(gateway: &TestGateway) -> Vec<(String, String, String)> {
    let entries = gateway.entries();
    let undoing = entries.iter().map(|it| &it["entry"]);
    let undoing = undoing.filter(|it| it["kind"] == "intent" && it["compensates"].is_string());
    undoing.map(|it| (text(&it["tool"]), text(&it["decision"]), text(&it["compensates"]))).collect()
}

#[test]
fn a_rollback_of_file_and_git_operations_restores_the_workspace() {
    let mut gateway = TestGateway::builder()
        .manifest("files.yaml", FILES)
        .manifest("git.yaml", GIT)
        .policy("p.yaml", POLICY)
        .prepare();
    let workspace = gateway.dir().join("workspace");
    repository(&workspace);
    gateway.launch();
    let (client, other) = (gateway.legacy("bot"), gateway.legacy("other"));
    said(&call(&other, "release", "make_directory", &json!({ "path": "theirs" })));
    let before = tree(&workspace);

    said(&call(&client, "release", "make_directory", &json!({ "path": "notes" })));
    let file = json!({ "path": "notes/a.txt", "content": "first line\n" });
    said(&call(&client, "release", "create_file", &file));
    said(&call(&client, "release", "read_file", &json!({ "path": "notes/a.txt" })));
    said(&call(&client, "release", "git_branch", &json!({ "name": "topic" })));
    let after = tree(&workspace);
    assert!(after.contains_key("notes/a.txt") && after.contains_key(".git/refs/heads/topic"));

    let workflow = listed(&gateway, "bot");
    assert_eq!(
        (&workflow["name"], &workflow["counts"]["succeeded"]),
        (&json!("release"), &json!(4))
    );
    let id = text(&workflow["id"]);
    let shown = plan(&gateway, &id);
    let made = pairs(&[
        ("git_branch", "planned"),
        ("create_file", "planned"),
        ("make_directory", "planned"),
    ]);
    assert_eq!((states(&shown), &shown["only_read"]), (made, &json!(1)));
    assert_eq!(tree(&workspace), after, "a plan changes nothing");

    // Exactly what was shown: the second call waits for a person, and what comes after it does not run.
    let digest = text(&shown["digest"]);
    let run = ["workflows", "rollback", &id, "--plan", &digest];
    assert_eq!(gateway.cli(&run).code, 5);
    let hold = gateway.pending();
    let waits = plan(&gateway, &id);
    let held =
        pairs(&[("git_branch", "done"), ("create_file", "waiting"), ("make_directory", "planned")]);
    assert_eq!((states(&waits), &waits["steps"][1]["hold"]), (held, &json!(hold)));
    assert_eq!(gateway.cli(&run).code, 5, "the plan is another by now");
    assert_eq!(gateway.cli(&["workflows", "rollback", &id, "--yes"]).code, 5);
    assert_eq!(gateway.pending(), hold, "it was held once more");
    assert!(workspace.join("notes/a.txt").exists());
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");

    gateway.restart();
    let done = gateway.cli(&["workflows", "rollback", &id, "--yes", "--output", "json"]).json();
    let all = pairs(&[("git_branch", "done"), ("create_file", "done"), ("make_directory", "done")]);
    assert_eq!(states(&done["plan"]), all);
    assert_eq!(done["ran"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(tree(&workspace), before);

    // Each call that undoes has its own decision, and says what it undoes.
    let timeline = gateway.cli(&["workflows", "show", &id, "--output", "json"]).json();
    let call_of = |tool: &str| {
        let calls = timeline["calls"].as_array().unwrap();
        text(&calls.iter().find(|call| call["tool"] == tool).unwrap()["call"])
    };
    let decided = [
        ("git_delete_branch", "ALLOW", call_of("git_branch")),
        ("delete_file", "REQUIRE_APPROVAL", call_of("create_file")),
        ("remove_directory", "ALLOW", call_of("make_directory")),
    ];
    let decided =
        decided.map(|(tool, decision, call)| (tool.to_owned(), decision.to_owned(), call));
    assert_eq!(undone(&gateway), decided);
    // Again there is nothing left to do.
    gateway.cli(&["workflows", "rollback", &id, "--yes"]).done();
    assert_eq!(undone(&gateway).len(), 3);
    gateway.cli(&["audit", "verify"]).done();
}

fn pair() -> TestGateway {
    TestGateway::builder()
        .script("count", COUNT)
        .manifest("pair.yaml", PAIR)
        .policy("p.yaml", ALLOW_ALL)
        .start()
}

#[test]
fn a_plan_that_is_not_the_one_shown_is_refused() {
    let gateway = pair();
    let client = gateway.legacy("bot");
    said(&call(&client, "w", "put", &json!({ "line": "a" })));
    let id = text(&listed(&gateway, "bot")["id"]);
    let shown = text(&plan(&gateway, &id)["digest"]);
    said(&call(&client, "w", "put", &json!({ "line": "b" })));
    let stale = gateway.cli(&["workflows", "rollback", &id, "--plan", &shown]);
    assert!(stale.code == 5 && stale.stderr.contains("look at it again"), "{stale:?}");
    assert_eq!(gateway.ran(), ["put a", "put b"]);
    assert_eq!(gateway.cli(&["workflows", "rollback", "nothing"]).code, 3);
}

#[test]
fn it_stops_at_the_first_that_fails_and_goes_on_there() {
    let gateway = pair();
    let client = gateway.legacy("bot");
    for line in ["a", "b", "c"] {
        said(&call(&client, "w", "put", &json!({ "line": line })));
    }
    let id = text(&listed(&gateway, "bot")["id"]);
    gateway.put("broken", "");
    let failed = gateway.cli(&["workflows", "rollback", &id, "--yes"]);
    assert!(failed.code == 1 && failed.stderr.contains("did not succeed"), "{failed:?}");
    let warned = &plan(&gateway, &id)["steps"][0];
    assert!(
        warned["state"] == "planned" && text(&warned["why"]).contains("tool_error"),
        "{warned}"
    );
    fs::remove_file(gateway.dir().join("broken")).unwrap();
    // A person may leave a call as it is.
    let second = text(&plan(&gateway, &id)["steps"][1]["call"]);
    gateway.cli(&["workflows", "rollback", &id, "--yes", "--skip", &second]).done();
    assert_eq!(gateway.ran(), ["put a", "put b", "put c", "take c", "take a"]);
}

#[test]
fn what_cannot_be_undone_says_why_and_the_rest_is() {
    let gateway = pair();
    let client = gateway.legacy("bot");
    said(&call(&client, "w", "put", &json!({ "line": "a" })));
    said(&call(&client, "w", "take", &json!({ "line": "b" })));
    gateway.put("broken", "");
    refused(&call(&client, "w", "put", &json!({ "line": "c" })));
    fs::remove_file(gateway.dir().join("broken")).unwrap();
    let id = text(&listed(&gateway, "bot")["id"]);
    let shown = plan(&gateway, &id);
    let whys = [(0, "ended as `tool_error`"), (1, "has no `rollback`")];
    for (step, why) in whys {
        let step = &shown["steps"][step];
        assert!(step["state"] == "impossible" && text(&step["why"]).contains(why), "{step}");
    }
    // A halt of what is rolled back does not keep it from being rolled back; one of the tool does.
    gateway.cli(&["halt", "--workflow", "w", "--reason", "wrong"]).done();
    gateway.cli(&["halt", "--tool", "take", "--reason", "wrong"]).done();
    assert_eq!(gateway.cli(&["workflows", "rollback", &id, "--yes"]).code, 1);
    gateway.cli(&["resume", "--tool", "take", "--reason", "right"]).done();
    gateway.cli(&["workflows", "rollback", &id, "--yes"]).done();
    assert_eq!(gateway.ran(), ["put a", "take b", "take a"]);
    // What undoes is not undone, and a tool that is another by now undoes nothing it did before.
    let own = text(&gateway.cli(&["workflows", "list", "--output", "json"]).json()[0]["id"]);
    let own = plan(&gateway, &own);
    assert!(text(&own["steps"][0]["why"]).contains("undone another call itself"), "{own}");
    said(&call(&gateway.legacy("third"), "v", "put", &json!({ "line": "d" })));
    gateway.put_manifest("pair.yaml", &PAIR.replace("[\"put ${line}\"]", "[\"put: ${line}\"]"));
    gateway.cli(&["policy", "reload"]).done();
    let changed = plan(&gateway, &text(&listed(&gateway, "third")["id"]));
    assert!(text(&changed["steps"][0]["why"]).contains("has changed"), "{changed}");
}

/// Whether the workflows of this agent have ended, the newest first.
fn ended(gateway: &TestGateway, agent: &str) -> Vec<bool> {
    let list = ["workflows", "list", "--agent", agent, "--output", "json"];
    let found = gateway.cli(&list).json();
    found.as_array().unwrap().iter().map(|it| it["ended"].is_string()).collect()
}

const DURATION: &str = "countersign_workflow_duration_seconds";

#[test]
fn a_workflow_ends_when_idle_or_done_and_the_name_begins_another() {
    let mut gateway = TestGateway::builder()
        .script("count", COUNT)
        .manifest("pair.yaml", PAIR)
        .policy("p.yaml", ALLOW_ALL)
        .config("workflows: { idle: 10m, done: true }\n")
        .manual_clock()
        .start();
    let client = gateway.legacy("bot");
    let put = |line: &str| said(&call(&client, "w", "put", &json!({ "line": line })));
    put("a");
    gateway.advance(Duration::from_secs(300));
    put("b");
    gateway.advance(Duration::from_secs(300));
    put("c");
    assert_eq!(ended(&gateway, "bot"), [false]);
    gateway.advance(Duration::from_secs(660));
    until("the workflow to end", || (ended(&gateway, "bot") == [true]).then_some(()));
    // From its first call to its last, and counted once.
    until("it to be counted", || {
        gateway.metric(&format!("{DURATION}_count")).filter(|it| *it > 0.0)
    });
    assert_eq!(gateway.metric(&format!("{DURATION}_count")), Some(1.0));
    let sum = gateway.metric(&format!("{DURATION}_sum")).unwrap();
    assert!((600.0..660.0).contains(&sum), "{sum}");
    put("d");
    assert_eq!(ended(&gateway, "bot"), [false, true]);
    let tools = client.result("tools/list", json!({}));
    assert!(tools.to_string().contains("countersign_done"), "{tools}");
    // Of another agent it ends nothing.
    said(&call(&gateway.legacy("other"), "w", "countersign_done", &json!({})));
    assert_eq!(ended(&gateway, "bot"), [false, true]);
    said(&call(&client, "w", "countersign_done", &json!({})));
    assert_eq!(ended(&gateway, "bot"), [true, true]);
    assert_eq!(gateway.metric(&format!("{DURATION}_count")), Some(2.0));
    gateway.restart();
    assert_eq!(ended(&gateway, "bot"), [true, true]);
}

#[test]
fn nobody_is_offered_what_the_configuration_does_not_offer() {
    let gateway = pair();
    let client = gateway.legacy("bot");
    let tools = client.result("tools/list", json!({}));
    assert!(!tools.to_string().contains("countersign_done"), "{tools}");
    let params = json!({ "name": "countersign_done", "arguments": {} });
    assert!(client.request("tools/call", params)["error"]["code"].is_i64());
}
