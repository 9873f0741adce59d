//! Verdicts signed with SSH keys, made by the real `ssh-keygen` and a real ssh-agent, and checked in the record.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use countersign::digest::Digest;
use countersign::evidence::chain;
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::clients::refused;
use crate::harness::{Builder, Output, TestGateway, run, text, until};
use crate::people::{by, reviewer};
use crate::terminal::Terminal;
use crate::verdicts::{asking, entries, held};

/// A new key pair of one of the people, registered for that person.
fn key(gateway: &TestGateway, name: &str, file: &str) -> PathBuf {
    let path = gateway.dir().join(file);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t", "ed25519", "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let public = format!("{file}.pub");
    gateway.cli(&["reviewers", "key", "add", name, &public]).done();
    path
}

fn signed_with(gateway: &TestGateway, name: &str, id: &str, file: &str) -> Output {
    by(gateway, name, &["approvals", "approve", id, "--reason", "looked", "--sign-with", file])
}

#[test]
fn an_approval_that_must_be_signed_is_signed_by_the_persons_own_key() {
    let gateway = asking("signature: required, allow_edit: true");
    for name in ["ada", "bob"] {
        reviewer(&gateway, name, &[]);
        key(&gateway, name, name);
    }
    let client = gateway.modern_with_tasks("a");
    let id = held(&client, "one");
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(shown.contains("needs       one of the reviewers, signed"), "{shown}");
    let unsigned = by(&gateway, "ada", &["approvals", "approve", &id]);
    assert!(unsigned.code == 4 && unsigned.stderr.contains("--sign-with"), "{unsigned:?}");
    let other = signed_with(&gateway, "ada", &id, "bob");
    assert!(
        other.code == 4 && other.stderr.contains("is not registered for this person"),
        "{other:?}"
    );
    assert_eq!(signed_with(&gateway, "ada", &id, "absent").code, 2);
    assert_eq!(entries(&gateway, "verdict_refused").len(), 2);
    signed_with(&gateway, "ada", &id, "ada").done();
    let hold = gateway.hold_when(&id, "finished");
    let signature = text(&hold["verdicts"][0]["signature"]);
    assert!(signature.starts_with("-----BEGIN SSH SIGNATURE-----"), "{signature}");
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(shown.contains(", signed: looked"), "{shown}");

    // A signature over an edit is over the call that runs.
    let id = held(&client, "two");
    let edit = ["approvals", "approve", &id, "--edit", r#"{"line":"three"}"#, "--sign-with", "bob"];
    by(&gateway, "bob", &edit).done();
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["one", "three"]);

    // A key that was taken back signs nothing any more; to reject takes no signature.
    let listed = gateway.cli(&["reviewers", "list", "--output", "json"]).json();
    let print = text(&listed[0]["keys"][0]["fingerprint"]);
    gateway.cli(&["reviewers", "key", "remove", "ada", &print]).done();
    let id = held(&client, "four");
    assert_eq!(signed_with(&gateway, "ada", &id, "ada").code, 4);
    by(&gateway, "ada", &["approvals", "reject", &id]).done();
    assert!(refused(&client.task_when_done(&id)["result"]).contains("ada rejected"));
    gateway.cli(&["audit", "verify"]).done();
}

/// An ssh-agent of its own, which ends with the test.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path) -> Self {
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the ssh-agent to listen", || socket.exists().then_some(()));
        Self(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_key_in_an_ssh_agent_signs() {
    let gateway = asking("signature: required");
    reviewer(&gateway, "ada", &[]);
    let private = key(&gateway, "ada", "ada");
    let socket = gateway.dir().join("agent.sock");
    let _agent = Agent::start(&socket);
    let added =
        Command::new("ssh-add").arg("-q").arg(&private).env("SSH_AUTH_SOCK", &socket).status();
    assert!(added.unwrap().success());
    fs::remove_file(&private).unwrap();
    let id = held(&gateway.modern_with_tasks("a"), "one");
    let approve = || {
        let url = gateway.url();
        gateway.command(&[
            "approvals",
            "approve",
            &id,
            "--sign-with",
            "ada.pub",
            "--url",
            url,
            "--token-file",
            "ada.token",
        ])
    };
    let without = run(approve());
    assert!(
        without.code == 1 && without.stderr.contains("did not sign with ada.pub"),
        "{without:?}"
    );
    let mut with = approve();
    with.env("SSH_AUTH_SOCK", &socket);
    run(with).done();
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["one"]);
}

#[test]
fn verdicts_of_the_inbox_are_signed_with_the_key_it_was_started_with() {
    let gateway = asking("signature: required");
    let user = crate::people::local_user();
    reviewer(&gateway, "ada", &["--also", &user]);
    key(&gateway, "ada", "ada");
    let id = held(&gateway.modern_with_tasks("a"), "one");
    let watch = |more: &[&str]| {
        let command = gateway.command(&[&["approvals", "watch"], more].concat());
        let inbox = Terminal::run(&command, 80, 24);
        inbox.sees("1 held call waits");
        inbox.keys("a");
        let shown = inbox.sees("approve exactly this call?");
        assert!(shown.contains("one of the reviewers, signed"), "{shown}");
        inbox.keys("y");
        inbox
    };
    let inbox = watch(&[]);
    inbox.sees("it must be signed");
    inbox.keys("\u{3}");
    assert_eq!(inbox.ends(), 0);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    let inbox = watch(&["--sign-with", "ada"]);
    inbox.sees("finished, success");
    inbox.keys("q");
    assert_eq!(inbox.ends(), 0);
    let hold = gateway.hold(&id);
    let verdict = &hold["verdicts"][0];
    assert_eq!(verdict["person"]["name"], user.as_str());
    assert!(verdict["signature"].is_string(), "{hold}");
    assert!(verdict["rendered"]["digest"].is_string(), "{hold}");
}

/// What somebody makes of an entry.
pub(crate) type Change<'a> = &'a dyn Fn(&mut Value);

/// The record rewritten by somebody who can make the chain fit again, from the entry `index` on.
fn rewritten(data: &Path, index: i64, change: impl Fn(&mut Value)) {
    let connection = Connection::open(data.join("countersign.db")).unwrap();
    let rows: Vec<(i64, String)> = {
        let mut all = connection.prepare("SELECT idx, body FROM entries ORDER BY idx").unwrap();
        let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        all.map(Result::unwrap).collect()
    };
    let mut value = chain::GENESIS;
    for (idx, mut body) in rows {
        if idx == index {
            let mut entry: Value = serde_json::from_str(&body).unwrap();
            change(&mut entry);
            body = String::from_utf8(countersign::digest::canonical(&entry).unwrap()).unwrap();
        }
        value = chain::next(&value, &chain::leaf(body.as_bytes()));
        let row = params![body, value.as_bytes(), idx];
        connection.execute("UPDATE entries SET body = ?1, chain = ?2 WHERE idx = ?3", row).unwrap();
    }
    connection.execute("UPDATE head SET chain = ?1", params![value.as_bytes()]).unwrap();
}

/// The place of the first verdict in the record.
pub(crate) fn verdict_entry(gateway: &TestGateway) -> i64 {
    let all = gateway.entries();
    let found = all.iter().find(|it| it["entry"]["kind"] == "verdict").unwrap();
    found["index"].as_i64().unwrap()
}

/// What `audit verify` says of a copy of the record in which the entry `index` was changed.
pub(crate) fn changed_verdict(gateway: &TestGateway, index: i64, change: Change<'_>) -> Output {
    let copy = gateway.dir().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(gateway.data()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    rewritten(&copy, index, change);
    let said = gateway.cli(&["audit", "verify", "--data", copy.to_str().unwrap()]);
    fs::remove_dir_all(&copy).unwrap();
    said
}

#[test]
fn a_signature_that_was_tampered_with_is_found_in_the_record() {
    let rule = "rules:\n  - name: held\n    match: {}\n    decision: REQUIRE_APPROVAL\n    approval: { signature: required }\n";
    let builder: Builder = TestGateway::builder().counting().policy("held.yaml", rule);
    let mut gateway = builder.unverified().start();
    reviewer(&gateway, "ada", &[]);
    reviewer(&gateway, "bob", &[]);
    key(&gateway, "ada", "ada");
    let id = held(&gateway.modern_with_tasks("a"), "one");
    signed_with(&gateway, "ada", &id, "ada").done();
    gateway.hold_when(&id, "finished");
    gateway.stop();
    let index = verdict_entry(&gateway);
    let verify = |change: Change<'_>| changed_verdict(&gateway, index, change);
    verify(&|_| {}).done();
    let changes: [(&str, Change<'_>); 4] = [
        ("reason", &|entry| entry["verdict"]["reason"] = "never looked".into()),
        ("person", &|entry| entry["verdict"]["person"]["name"] = "bob".into()),
        ("signature", &|entry| drop(entry["verdict"].as_object_mut().unwrap().remove("signature"))),
        ("bytes", &|entry| {
            let signature = text(&entry["verdict"]["signature"]);
            let digest = Digest::of(signature.as_bytes()).to_string();
            entry["verdict"]["signature"] =
                signature.replacen(&signature[120..124], &digest[8..12], 1).into();
        }),
    ];
    for (what, change) in changes {
        let said = verify(change);
        assert_eq!(said.code, 1, "another {what} was not found: {said:?}");
        assert!(said.stdout.contains("signature"), "{what}: {said:?}");
    }
}
