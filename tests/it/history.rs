//! Earlier revisions: kept with their files, gone back to by an operator, and in force until a person says otherwise.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::clients::Client as _;
use crate::harness::{ALLOW_ALL, HOLD_ALL, TestGateway, text, until};

const DENY: &str = "rules:\n  - { name: pushed, match: {}, decision: DENY, reason: says pushed }\n";

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("rules.yaml", ALLOW_ALL).start()
}

fn history(gateway: &TestGateway) -> Value {
    gateway.cli(&["policy", "history", "--output", "json"]).json()
}

fn reload(gateway: &TestGateway) -> Value {
    let reply = gateway.api_post("/api/v1/policy/reload", &json!({}));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn runs(gateway: &TestGateway) -> bool {
    let called = gateway.cli(&["call", "count", r#"{"line":"x"}"#]);
    assert!(called.code == 0 || called.stdout.contains("says pushed"), "{called:?}");
    called.code == 0
}

/// A gateway whose rules were pushed badly, the digest of what was in force before, and of the bad ones.
fn pushed() -> (TestGateway, String, String) {
    let gateway = gateway();
    let good = text(&gateway.api_get("/api/v1/policy").json()["revision"]);
    gateway.put_policy("rules.yaml", DENY);
    let bad = text(&reload(&gateway)["revision"]);
    assert!(!runs(&gateway));
    (gateway, good, bad)
}

fn roll_back(gateway: &TestGateway, to: &str) {
    let words = ["policy", "rollback", to, "--reason", "the push denies all"];
    let told = gateway.cli(&words).done();
    assert!(told.contains("in force: sha256:"), "{told}");
}

#[test]
fn r6_after_a_bad_push_an_earlier_revision_comes_into_force_again() {
    let (gateway, good, bad) = pushed();
    // By the first digits, as the list shows them.
    roll_back(&gateway, &good["sha256:".len()..][..12]);
    assert!(runs(&gateway));
    let told = history(&gateway);
    assert_eq!(told["in_force"], good, "the very digest of before");
    let rows = told["revisions"].as_array().unwrap();
    let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("revision"), [&*good, &*bad, &*good]);
    assert_eq!(of("how"), ["rollback", "reload", "start"]);
    assert_eq!(of("in_force"), [true, false, false]);
    assert_eq!(rows[0]["reason"], "the push denies all");
    assert!(rows[0]["by"]["name"].is_string() && rows[1]["by"]["name"].is_string(), "{told}");
    assert!(rows[2].get("by").is_none(), "nobody asked for the start: {told}");
    assert_eq!(told["rolled_back"]["revision"], good);
    // It is told everywhere, and in the record with the person and the reason.
    let policy = gateway.api_get("/api/v1/policy").json();
    assert_eq!(policy["rolled_back"]["reason"], "the push denies all");
    let doctor = gateway.cli(&["doctor"]);
    assert!(doctor.code == 1 && doctor.stdout.contains("rolled back to"), "{doctor:?}");
    let entries = gateway.entries();
    let last =
        &entries.iter().rfind(|it| it["entry"]["kind"] == "revision_loaded").unwrap()["entry"];
    assert_eq!(
        (&last["how"], &last["reason"]),
        (&json!("rollback"), &json!("the push denies all"))
    );
    assert_eq!(last["revision"], good);
    let shown = gateway.cli(&["policy", "show", &bad]).done();
    assert!(shown.contains("# policies/rules.yaml") && shown.contains("says pushed"), "{shown}");
    let listed = gateway.cli(&["policy", "history"]).done();
    assert!(listed.contains("in force") && listed.contains("rolled back to"), "{listed}");
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn it_stays_so_over_restarts_and_changes_of_files_until_a_person_ends_it() {
    let (mut gateway, good, _) = pushed();
    roll_back(&gateway, &good);
    gateway.kill();
    gateway.launch();
    assert!(runs(&gateway), "a crash ends nothing");
    assert_eq!(gateway.stop(), 0);
    gateway.put_policy("rules.yaml", &DENY.replace("says pushed", "now says pushed"));
    gateway.launch();
    assert!(runs(&gateway));
    // Neither a change of the files nor a signal without a name ends it; both are told to wait.
    gateway.put_policy("more.yaml", "rules: []\n");
    gateway.signal(Signal::SIGHUP);
    until("the change to be told as waiting", || {
        gateway.api_get("/api/v1/policy").json()["rolled_back"]["waiting"].is_string().then_some(())
    });
    assert!(runs(&gateway));
    // Files that are wrong end nothing either.
    gateway.put_policy("more.yaml", "rules: nothing\n");
    assert_eq!(gateway.api_post("/api/v1/policy/reload", &json!({})).status, 409);
    assert!(runs(&gateway));
    assert_eq!(history(&gateway)["rolled_back"]["revision"], good);
    gateway.put_policy("more.yaml", "rules: []\n");
    gateway.cli(&["policy", "rollback", "--end"]).done();
    assert!(!runs(&gateway));
    assert_eq!(history(&gateway).get("rolled_back"), None);
    gateway.restart();
    assert!(!runs(&gateway), "it ended for good");
}

#[test]
fn a_crash_at_the_commit_leaves_one_or_the_other() {
    for (side, is_back) in [("before", false), ("after", true)] {
        let (mut gateway, good, _) = pushed();
        assert_eq!(gateway.stop(), 0);
        // The start is the first.
        gateway.set_env("COUNTERSIGN_FAIL_AT", Some(&format!("put_in_force.{side}:2")));
        gateway.launch();
        let wanted = json!({ "revision": good, "reason": "a bad push" });
        assert!(gateway.try_post("/api/v1/policy/rollback", &wanted).is_none());
        gateway.wait_for_death();
        gateway.set_env("COUNTERSIGN_FAIL_AT", None);
        gateway.launch();
        assert_eq!(runs(&gateway), is_back, "{side}");
        assert_eq!(history(&gateway).get("rolled_back").is_some(), is_back, "{side}");
        gateway.cli(&["audit", "verify"]).done();
    }
}

#[test]
fn what_is_not_kept_or_not_meant_is_refused() {
    let (gateway, good, _) = pushed();
    let ask = |revision: &str, reason: &str| {
        let wanted = json!({ "revision": revision, "reason": reason });
        gateway.api_post("/api/v1/policy/rollback", &wanted).status
    };
    assert_eq!(ask("00000000", "why"), 404);
    assert_eq!(ask("abc", "why"), 400);
    assert_eq!(ask(&good, "  "), 400);
    assert_eq!(gateway.cli(&["policy", "rollback", &good]).code, 2, "without a reason");
    assert_eq!(gateway.cli(&["policy", "show", "00000000"]).code, 3);
    assert!(!runs(&gateway));
    assert_eq!(history(&gateway)["revisions"].as_array().unwrap().len(), 2);
}

#[test]
fn a_held_call_is_decided_again_under_what_is_gone_back_to() {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", DENY).start();
    let denies = text(&gateway.api_get("/api/v1/policy").json()["revision"]);
    gateway.put_policy("rules.yaml", HOLD_ALL);
    reload(&gateway);
    gateway.modern_with_tasks("a").call("count", json!({ "line": "1" }));
    let held = gateway.pending();
    roll_back(&gateway, &denies);
    gateway.approve(&held);
    let hold = gateway.hold_when(&held, "superseded");
    assert!(hold["why"].as_str().unwrap().contains("pushed"), "{hold}");
    assert!(gateway.ran().is_empty());
}

#[test]
fn a_gateway_that_cannot_load_what_it_went_back_to_does_not_start_and_there_is_a_way_out() {
    let (mut gateway, good, _) = pushed();
    roll_back(&gateway, &good);
    assert_eq!(gateway.stop(), 0);
    let database = rusqlite::Connection::open(gateway.data().join("countersign.db")).unwrap();
    database.execute("UPDATE revision_texts SET text = 'rules: [{ allow: all }]'", []).unwrap();
    drop(database);
    let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_ne!(failed.code, 0, "it runs on rules that were never in force: {failed:?}");
    assert!(failed.stderr.contains("policy rollback --end"), "{failed:?}");
    gateway.put_policy("rules.yaml", "rules: nothing\n");
    assert_eq!(gateway.cli(&["policy", "rollback", "--end"]).code, 2, "wrong files end nothing");
    gateway.put_policy("rules.yaml", DENY);
    let told = gateway.cli(&["policy", "rollback", "--end"]).done();
    assert!(told.contains("the next start"), "{told}");
    gateway.launch();
    assert!(!runs(&gateway));
    let entries = gateway.entries();
    let ended = entries.iter().rfind(|it| it["entry"]["how"] == "reload").unwrap();
    assert!(ended["entry"]["by"]["name"].is_string(), "{ended}");
}
