//! What tools bring to the agents that call them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{Builder, TestGateway, text, until};

const TOOLS: &str = r#"
backend: { name: office, command: { program: "@DIR@/bin/office" }, sandbox: unconfined }
attributes: { action_type: read }
tools:
  - name: read_mail
    description: Reads a letter of a stranger.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
    brings: [untrusted_content]
  - name: read_salaries
    description: Reads what is private.
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
    brings: [private_data, pay]
  - name: send
    description: Sends it out.
    attributes: { action_type: write }
    input_schema: { type: object, required: [line], properties: { line: { type: string } } }
    run: ["${line}"]
"#;

/// Says its line; `fail` fails.
const SCRIPT: &str = "#!/bin/sh\nif [ \"$1\" = fail ]; then exit 3; fi\nprintf '%s\\n' \"$1\"\n";

const ALLOW: &str = "rules: [{ name: all, match: {}, decision: ALLOW }, { name: no, match: { agent: nobody }, decision: DENY }]\n";

fn office(policy: &str) -> Builder {
    TestGateway::builder()
        .script("office", SCRIPT)
        .manifest("o.yaml", TOOLS)
        .policy("p.yaml", policy)
}

/// Calls `tool` in this workflow.
fn call(client: &dyn Client, workflow: &str, tool: &str, line: &str) -> Value {
    let meta = json!({ "countersign/workflow": workflow });
    let params = json!({ "name": tool, "arguments": { "line": line }, "_meta": meta });
    client.result("tools/call", params)
}

/// What the intents say that was brought, by tool, oldest first.
fn recorded(gateway: &TestGateway) -> Vec<(String, Value)> {
    let entries = gateway.entries().into_iter().map(|stored| stored["entry"].clone());
    let intents = entries.filter(|entry| entry["kind"] == "intent");
    intents.map(|it| (text(&it["tool"]), it["brings"].clone())).collect()
}

#[test]
fn what_dispatched_calls_brought_is_recorded_and_shown_on_the_timeline() {
    let gateway = office(ALLOW).start();
    let (bot, nobody) = (gateway.legacy("bot"), gateway.legacy("nobody"));
    said(&call(&bot, "day", "read_mail", "hello"));
    // It may have brought something before it failed.
    refused(&call(&bot, "day", "read_salaries", "fail"));
    said(&call(&bot, "day", "send", "out"));
    // What was never dispatched brought nothing.
    refused(&call(&nobody, "theirs", "read_mail", "hello"));

    let expected = [
        ("read_mail".to_owned(), json!(["untrusted_content"])),
        ("read_salaries".to_owned(), json!(["pay", "private_data"])),
        ("send".to_owned(), Value::Null),
    ];
    assert_eq!(recorded(&gateway), expected, "left out where nothing is brought");
    gateway.cli(&["audit", "verify"]).done();

    let timeline = |agent: &str| {
        let list = ["workflows", "list", "--agent", agent, "--output", "json"];
        let id = text(&gateway.cli(&list).json()[0]["id"]);
        let shown = gateway.cli(&["workflows", "show", &id]).stdout;
        (gateway.api_get(&format!("/api/v1/workflows/{id}")).json()["calls"].clone(), shown)
    };
    let (calls, shown) = timeline("bot");
    let brought: Vec<&Value> = (0..3).map(|nth| &calls[nth]["brings"]).collect();
    assert_eq!(brought, expected.iter().map(|(_, brings)| brings).collect::<Vec<_>>());
    assert!(shown.contains("BROUGHT") && shown.contains("pay, private_data"), "{shown}");
    assert_eq!(timeline("nobody").0[0]["brings"], Value::Null);
}

#[test]
fn labels_that_are_none_and_too_many_are_faults_of_the_manifest() {
    let many: Vec<String> = (0..17).map(|nth| format!("label_{nth}")).collect();
    let wrong = [
        ("[Private]".to_owned(), "a label is a lowercase letter"),
        (format!("[{}]", many.join(", ")), "at most 16 labels"),
    ];
    for (labels, told) in wrong {
        let manifest = TOOLS.replace("[untrusted_content]", &labels);
        let gateway = office(ALLOW).manifest("o.yaml", &manifest).prepare();
        let checked = gateway.cli(&["policy", "check"]);
        assert_ne!(checked.code, 0, "{checked:?}");
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(said.contains(told) && said.contains("o.yaml"), "{said}");
    }
}

const FLOW: &str = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - { name: no, match: { agent: nobody }, decision: DENY }
  - name: nothing-out
    match: { tool: send, workflow_holds: [untrusted_content, private_data] }
    decision: REQUIRE_APPROVAL
";

fn guarded() -> TestGateway {
    office(FLOW).config("workflows: { idle: 10m, done: true }\n").manual_clock().start()
}

/// The agent reads what is private, and a stranger's text.
fn read_both(client: &dyn Client) {
    said(&call(client, "day", "read_mail", "hello"));
    said(&call(client, "day", "send", "only one of them is held"));
    // It was dispatched, so it may have brought something.
    refused(&call(client, "day", "read_salaries", "fail"));
}

fn sends(client: &dyn Client, workflow: &str) -> bool {
    call(client, workflow, "send", workflow)["content"][0]["text"] == format!("{workflow}\n")
}

#[test]
fn who_holds_all_that_a_rule_names_is_held_whatever_it_calls_its_workflow() {
    let mut gateway = guarded();
    let (bot, other) = (gateway.modern_with_tasks("bot"), gateway.modern("other"));
    read_both(&bot);
    assert!(!sends(&bot, "day"));
    assert!(!sends(&bot, "night"), "another name sheds nothing");
    let meta = json!({ "countersign/workflow": "day" });
    let done = json!({ "name": "countersign_done", "arguments": {}, "_meta": meta });
    said(&bot.result("tools/call", done));
    assert!(!sends(&bot, "dusk"), "nor does the agent's own word");
    assert!(sends(&other, "day"), "another agent holds nothing");

    let entries = gateway.entries();
    let hold = entries.iter().map(|it| &it["entry"]).find(|it| it["kind"] == "hold").unwrap();
    let held = json!(["pay", "private_data", "untrusted_content"]);
    assert!(hold.to_string().contains(&format!("\"holds\":{held}")), "{hold}");
    let asked = json!({ "agent": "bot", "tool": "send", "arguments": { "line": "x" } });
    let told = gateway.api_post("/api/v1/policy/explain", &asked).json().to_string();
    assert!(told.contains("workflow_holds") && told.contains("untrusted_content"), "{told}");

    gateway.kill();
    gateway.launch();
    let bot = bot.again(gateway.url());
    assert!(!sends(&bot, "after"), "a crash sheds nothing");
}

#[test]
fn what_is_held_is_shed_when_the_agent_has_been_idle() {
    let mut gateway = guarded();
    let bot = gateway.legacy("bot");
    read_both(&bot);
    // Any call of the agent's keeps it, in whichever workflow.
    for _ in 0..3 {
        gateway.advance(Duration::from_secs(360));
        said(&call(&bot, "another", "read_mail", "hello"));
    }
    let asked = json!({ "agent": "bot", "tool": "send", "arguments": { "line": "x" } });
    let decided = |gateway: &TestGateway| {
        let told = gateway.api_post("/api/v1/policy/explain", &asked).json();
        text(&told["explanation"]["decision"])
    };
    assert_eq!(decided(&gateway), "REQUIRE_APPROVAL");
    gateway.advance(Duration::from_secs(660));
    until("it to be shed", || (decided(&gateway) == "ALLOW").then_some(()));
    assert!(sends(&bot, "free"));
    gateway.restart();
    assert_eq!(decided(&gateway), "ALLOW", "and it stays shed");
}

#[test]
fn a_rule_that_names_what_nothing_brings_and_a_limit_that_asks_are_faults() {
    let wrong = [
        (FLOW.replace("private_data", "private_date"), "did you mean `private_data`?"),
        (FLOW.replace("[untrusted_content, private_data]", "[]"), "an empty list"),
        (format!("{FLOW}    except: {{ workflow_holds: [pay] }}\n"), "not for this"),
        (
            format!(
                "{FLOW}limits:\n  - {{ name: l, match: {{ workflow_holds: [pay] }}, per: agent, rate: 1/hour }}\n"
            ),
            "not for this",
        ),
    ];
    for (policy, told) in wrong {
        let checked = office(&policy).prepare().cli(&["policy", "check"]);
        assert_ne!(checked.code, 0, "{checked:?}");
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(said.contains(told), "{told}: {said}");
    }
}
