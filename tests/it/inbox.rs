//! `approvals watch` on a terminal, driven by keys and judged by what is on the screen.

use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{Builder, HOLD_ALL, TestGateway, until};
use crate::terminal::Terminal;

/// Everything is held, and a call is answered *pending* after `window`.
fn held(window: &str) -> Builder {
    TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config(&format!("holds: {{ window: {window} }}\n"))
}

/// The same, and reviewers may edit.
fn editable() -> Builder {
    let rules = "rules:\n  - name: editable\n    match: {}\n    decision: REQUIRE_APPROVAL\n    \
                 approval: { allow_edit: true }\n";
    held("100ms").policy("held.yaml", rules)
}

fn line(line: &str) -> Value {
    json!({ "line": line })
}

fn inbox_of(gateway: &TestGateway, columns: u16, lines: u16) -> Terminal {
    Terminal::run(&gateway.command(&["approvals", "watch"]), columns, lines)
}

fn inbox(gateway: &TestGateway) -> Terminal {
    inbox_of(gateway, 80, 24)
}

/// Makes a script the person's editor.
fn editor(gateway: &mut TestGateway, script: &str) {
    gateway.put("edit.sh", &format!("#!/bin/sh\n{script}\n"));
    gateway.set_env("VISUAL", None);
    gateway.set_env("EDITOR", Some("sh edit.sh"));
}

#[test]
fn a_hold_appears_is_read_and_is_approved() {
    let gateway = held("100ms").start();
    let inbox = inbox(&gateway);
    inbox.sees("nothing waits for a person");
    let client = gateway.legacy("maria");
    refused(&client.call("count", line("one")));
    let id = gateway.pending();
    let list = inbox.sees("1 held call waits");
    assert!(list.contains("> maria count {\"line\":\"one\"}"), "{list}");

    inbox.keys("\r");
    let shown = inbox.sees("digest");
    let places: Vec<usize> =
        ["agent ", "tool ", "\"line\": \"one\"", "rules ", "decide      within", "digest "]
            .iter()
            .map(|part| shown.rfind(part).unwrap_or_else(|| panic!("no `{part}` in\n{shown}")))
            .collect();
    assert!(places.is_sorted(), "not in this order: {places:?}\n{shown}");
    let digest = gateway.hold(&id)["digest"].as_str().unwrap().to_owned();
    let unwrapped: String = shown.split_whitespace().collect();
    assert!(unwrapped.contains(&digest), "{digest} is not in\n{shown}");

    inbox.keys("q");
    inbox.sees("1 held call waits");
    inbox.keys("a");
    inbox.sees("approve exactly this call? a or y yes");
    assert!(gateway.ran().is_empty());
    inbox.keys("a");
    let after = inbox.sees("maria count: finished, success");
    assert!(after.contains("nothing waits for a person"), "{after}");
    assert_eq!(gateway.ran(), ["one"]);
    assert!(said(&client.call("count", line("one"))).contains("ran one"));
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn a_rejection_tells_the_agent_the_typed_and_pasted_reason() {
    let gateway = held("30s").start();
    let client = gateway.legacy("a");
    let call = thread::spawn(move || client.call("count", line("one")));
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.keys("r");
    inbox.sees("reject; reason for the agent:");
    // What is a key elsewhere is a letter here, and nothing that is pasted is a key.
    inbox.keys("größe q a? ");
    inbox.sees("größe q a?");
    inbox.paste("zu viel\ry\r\na\u{1b}q");
    inbox.sees("zu viel y a");
    assert_eq!(gateway.hold(&gateway.pending())["state"], "pending");
    inbox.keys("\r");
    inbox.sees("a count: rejected");
    let told = refused(&call.join().unwrap());
    assert!(told.contains("größe q a? zu viel y a"), "{told}");
    assert!(gateway.ran().is_empty());
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn a_paste_into_the_list_presses_no_keys() {
    let gateway = held("100ms").start();
    refused(&gateway.legacy("a").call("count", line("one")));
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.paste("aaayyyq");
    inbox.keys("?");
    inbox.sees("a key that is held down approves nothing");
    inbox.keys("q");
    inbox.sees("1 held call waits");
    gateway.pending();
    inbox.keys("\u{3}");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn keys_that_come_faster_than_anyone_reads_approve_nothing() {
    let gateway = held("100ms").start();
    refused(&gateway.legacy("a").call("count", line("one")));
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.keys(&"a".repeat(200));
    inbox.sees("approve exactly this call? a or y yes");
    gateway.pending();
    assert!(gateway.ran().is_empty());
}

#[test]
fn an_edit_is_shown_before_it_is_sent() {
    let mut gateway = editable().start();
    let client = gateway.legacy("a");
    refused(&client.call("count", line("one")));
    let script = "stat -c %a \"$1\" > mode; stat -c %a \"$(dirname \"$1\")\" >> mode\n\
                  sed -i 's/\"one\"/\"two\"/' \"$1\"; echo \"$1\" > edited";
    editor(&mut gateway, script);
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.keys("e");
    let shown = inbox.sees("approve this edited call? a or y yes");
    for part in ["/line", "- \"one\"", "+ \"two\"", "(your edit)"] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let mode = std::fs::read_to_string(gateway.dir().join("mode")).unwrap();
    assert_eq!(mode, "600\n700\n");
    let edited = std::fs::read_to_string(gateway.dir().join("edited")).unwrap();
    assert!(!std::path::Path::new(edited.trim()).exists(), "{edited} is still there");

    // Dropped, nothing is sent; made again and approved, it runs as edited.
    inbox.keys("\u{1b}");
    inbox.sees("the edit is dropped");
    assert!(gateway.ran().is_empty());
    let id = gateway.pending();
    inbox.keys("e");
    inbox.sees("approve this edited call? a or y yes");
    inbox.keys("a");
    inbox.sees("a count: finished, success");
    assert_eq!(gateway.ran(), ["two"]);
    let hold = gateway.hold(&id);
    assert_eq!(hold["amendments"][0]["changes"][0]["to"], "two", "{hold}");
    assert!(said(&client.call("count", line("one"))).contains("ran two"));
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn a_bad_edit_is_told_and_can_be_made_good() {
    let mut gateway = editable().start();
    refused(&gateway.legacy("a").call("count", line("one")));
    let script = "if [ -e again ]; then printf '{\"line\":\"one\"}' > \"$1\"; \
                  else printf '{\"line\": ,}' > \"$1\"; touch again; fi";
    editor(&mut gateway, script);
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.keys("e");
    let shown = inbox.sees("e edit again");
    assert!(shown.contains("not valid JSON") && shown.contains("line 1 column 10"), "{shown}");
    inbox.keys("e");
    inbox.sees("nothing was changed");
    inbox.keys("q");
    inbox.sees("1 held call waits");
    editor(&mut gateway, "exit 1");
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);

    let inbox = inbox_of(&gateway, 80, 24);
    inbox.sees("1 held call waits");
    inbox.keys("e");
    inbox.sees("editor `sh` failed");
    gateway.pending();
}

#[test]
fn twenty_holds_are_decided_with_keys_alone() {
    let gateway = held("50ms").start();
    let client = gateway.legacy("a");
    for number in 0..20 {
        refused(&client.call("count", line(&format!("call-{number:02}"))));
    }
    let inbox = inbox(&gateway);
    inbox.sees("20 held calls wait");
    // Down to the last and up again, past both ends.
    inbox.keys(&"j".repeat(25));
    inbox.when("the last to be selected", |it| it.contains("> a count {\"line\":\"call-19\"}"));
    inbox.keys("kk\u{1b}[A");
    inbox.when("the one before", |it| it.contains("> a count {\"line\":\"call-16\"}"));
    inbox.keys("g");
    for number in 0..20 {
        let call = format!("call-{number:02}");
        inbox.when(&call, |it| it.contains(&format!("> a count {{\"line\":\"{call}\"}}")));
        if number % 2 == 0 {
            inbox.keys("a");
            inbox.sees("approve exactly this call?");
            inbox.keys("y");
        } else {
            inbox.keys("r");
            inbox.sees("reason for the agent:");
            inbox.keys("no\r");
        }
    }
    inbox.sees("nothing waits for a person");
    gateway.holds_when("finished", 10);
    gateway.holds_when("rejected", 10);
    let expected: Vec<String> = (0..20).step_by(2).map(|it| format!("call-{it:02}")).collect();
    let mut ran = gateway.ran();
    ran.sort();
    assert_eq!(ran, expected);
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn a14_hostile_arguments_are_escaped_and_read_to_the_end() {
    let gateway = held("100ms").start();
    let hostile = format!(
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}gpj\u{200b}\u{e0041}\u{9b}31m{} rm -rf /",
        "x".repeat(20_000)
    );
    refused(&gateway.legacy("a").call("count", line(&hostile)));
    let inbox = inbox(&gateway);
    let list = inbox.sees("1 held call waits");
    assert!(list.contains("hidden characters"), "{list}");
    inbox.keys("a");
    let shown = inbox.sees("lines not shown yet");
    assert!(shown.contains("hidden characters"), "{shown}");
    for escaped in ["\\u001b]0;owned\\u0007", "\\u{202e}gpj\\u{200b}", "\\u{e0041}", "\\u{9b}31m"] {
        assert!(shown.contains(escaped), "no `{escaped}` in\n{shown}");
    }
    // What is not on the screen cannot be approved; its end is where the harm is.
    inbox.keys("a");
    inbox.keys("y");
    inbox.keys("\u{1b}[6~");
    inbox.keys("y");
    inbox.keys("G");
    let end = inbox.sees("approve exactly this call?");
    assert!(end.contains("-rf /\""), "{end}");
    assert!(gateway.ran().is_empty());
    gateway.pending();
    inbox.keys("\u{1b}");
    inbox.sees("a approve  r reject");
    inbox.keys("q");
    inbox.sees("1 held call waits");
    let raw = inbox.raw();
    for sent in ["\u{1b}]", "\u{202e}", "\u{200b}", "\u{e0041}", "\u{9b}", "\u{7}"] {
        assert!(!raw.contains(sent), "{sent:?} reached the terminal");
    }
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn identical_holds_are_one_row() {
    let gateway = held("30s").start();
    let client = gateway.legacy("a");
    let later = |text: &'static str| {
        let client = client.clone();
        thread::spawn(move || client.call("count", line(text)))
    };
    let calls = [later("same"), later("same"), later("same"), later("other")];
    gateway.holds_when("pending", 4);
    let inbox = inbox(&gateway);
    let list = inbox.sees("4 held calls wait");
    assert!(list.contains("×3") && list.matches("\"same\"").count() == 1, "{list}");
    inbox.keys(if list.contains("> a count ×3") { "a" } else { "ja" });
    inbox.sees("approve exactly this call?");
    inbox.keys("a");
    inbox.when("two to be left", |it| it.contains("×2"));
    until("the approved one to run", || (gateway.ran() == ["same"]).then_some(()));
    assert_eq!(gateway.holds("pending").len(), 3);
    drop(inbox);
    for hold in gateway.holds("pending") {
        gateway.cli(&["approvals", "reject", hold["id"].as_str().unwrap()]).done();
    }
    for call in calls {
        call.join().unwrap();
    }
}

#[test]
fn whoever_comes_second_is_told_who_was_first() {
    let gateway = held("100ms").start();
    refused(&gateway.legacy("a").call("count", line("one")));
    let id = gateway.pending();
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.keys("a");
    inbox.sees("approve exactly this call?");
    gateway.cli(&["approvals", "reject", &id, "--reason", "not today"]).done();
    inbox.keys("a");
    let shown =
        inbox.when("the rejection", |it| it.contains("rejected") && it.contains("not today"));
    assert!(shown.contains("state       rejected"), "{shown}");
    assert!(gateway.ran().is_empty());
    inbox.keys("a");
    inbox.sees("nothing to decide: the call is rejected");
}

#[test]
fn the_size_of_the_terminal_may_change() {
    let gateway = held("100ms").start();
    refused(&gateway.legacy("a").call("count", line("one")));
    let inbox = inbox_of(&gateway, 120, 40);
    inbox.sees("1 held call waits");
    inbox.keys("\r");
    inbox.sees("digest");
    for (columns, lines) in [(80, 24), (40, 10), (20, 5), (7, 3), (3, 2), (1, 1), (200, 60)] {
        inbox.resize(columns, lines);
        if columns >= 20 {
            inbox.sees("a → count");
        }
    }
    inbox.sees("digest");
    inbox.resize(30, 8);
    inbox.when("the small screen", |it| it.contains("a → count") && !it.contains("digest"));
    inbox.keys("G");
    inbox.sees("hold");
    inbox.keys("a");
    inbox.sees("approve exactly this call");
    inbox.keys("a");
    inbox.sees("nothing waits");
    gateway.holds_when("finished", 1);
    assert_eq!(gateway.ran(), ["one"]);
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn signals_end_it_and_restore_the_terminal() {
    let gateway = held("100ms").start();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let inbox = inbox(&gateway);
        inbox.sees("nothing waits for a person");
        inbox.signal(signal);
        assert_eq!(inbox.ends(), 0, "{signal}");
    }
}

#[test]
fn a_signal_ends_the_editor_too() {
    let mut gateway = editable().start();
    refused(&gateway.legacy("a").call("count", line("one")));
    editor(&mut gateway, "echo the editor is open; exec sleep 60");
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    inbox.keys("e");
    inbox.sees("the editor is open");
    // Meant for the editor, not for the inbox.
    inbox.signal(Signal::SIGINT);
    inbox.signal(Signal::SIGTERM);
    assert_eq!(inbox.ends(), 0);
}

#[test]
fn it_survives_a_restart_of_the_gateway() {
    let mut gateway = held("100ms").start();
    refused(&gateway.legacy("a").call("count", line("one")));
    let inbox = inbox(&gateway);
    inbox.sees("1 held call waits");
    gateway.kill();
    inbox.sees("gateway does not answer");
    inbox.keys("a");
    inbox.sees("1 held call waits");
    gateway.launch();
    inbox.when("the gateway to answer", |it| !it.contains("does not answer"));
    inbox.keys("a");
    inbox.sees("approve exactly this call?");
    inbox.keys("y");
    inbox.sees("finished, success");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn without_colour_no_colour_is_sent() {
    let gateway = held("100ms").start();
    refused(&gateway.legacy("a").call("count", line("\u{200b}")));
    let colours = regex::Regex::new("\u{1b}\\[[0-9;]*(3|4)[0-9]?[;0-9]*m").unwrap();
    let coloured = |gateway: &TestGateway| {
        let inbox = inbox(gateway);
        inbox.sees("1 held call waits");
        inbox.keys("\r");
        inbox.sees("digest");
        let raw = inbox.raw();
        raw.contains("[38;5;") || raw.contains("[31m") || colours.is_match(&raw)
    };
    assert!(!coloured(&gateway));
    let mut gateway = gateway;
    gateway.set_env("NO_COLOR", Some(""));
    assert!(coloured(&gateway));
}
