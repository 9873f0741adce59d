//! Verdicts that are signed in place: a real browser, with an authenticator of its own making.

use serde_json::{Value, json};

use super::{ANYTHING, SCRIPT, pictures, visit_at};
use crate::clients::{Client as _, Modern};
use crate::harness::{TestGateway, text};

const SIGNED: &str = "rules:\n  - name: notes-are-signed\n    match: {}\n    decision: REQUIRE_APPROVAL\n    reason: notes are signed for\n    approval: { signature: required, allow_edit: true }\n";

/// A gateway whose calls of `note` wait for a signature.
fn desk() -> (TestGateway, Modern) {
    let gateway = TestGateway::builder()
        .manifest("anything.yaml", ANYTHING)
        .script("anything", SCRIPT)
        .policy("signed.yaml", SIGNED)
        .start();
    let agent = gateway.modern_with_tasks("writer");
    (gateway, agent)
}

fn held(agent: &Modern, line: &str) -> String {
    text(&agent.call("note", json!({ "text": line }))["taskId"])
}

/// The address under which passkeys work, and an invitation under it.
fn invited(gateway: &TestGateway, name: &str) -> (String, String) {
    let named = gateway.url().replace("127.0.0.1", "localhost");
    let link = gateway.cli(&["reviewers", "invite", name]).done();
    let link = link.split_whitespace().find(|it| it.starts_with("http")).unwrap();
    let path = crate::sign_in::browser::path(link);
    (named.clone(), format!("{named}{path}"))
}

#[test]
fn a_verdict_is_signed_with_a_passkey_in_place() {
    let (gateway, agent) = desk();
    let scratch = tempfile::tempdir().unwrap();
    let into = pictures().unwrap_or_else(|| scratch.path().to_owned());
    let (first, second) = (held(&agent, "first"), held(&agent, "as asked"));
    let third = held(&agent, "twice");
    let other = held(&agent, "twice");
    let (url, invitation) = invited(&gateway, "ada");
    let given = json!({
        "invitation": invitation, "first": first, "second": second, "third": third,
        "edited": r#"{"text":"as changed","big":9007199254740991}"#, "into": into,
    });
    let saw = visit_at(&gateway, "signing", given, &url);
    let said = |what: &str| saw[what].as_str().unwrap();
    assert!(said("cancelled").contains("Nothing was signed, and nothing was decided."), "{saw}");
    assert_eq!(said("state"), "pending");
    assert!(said("refused").contains("the signature is not of the passkey `Laptop`"), "{saw}");
    assert_eq!(saw["was"], true, "{saw}");
    assert!(said("outcome").contains("signed with the passkey Laptop"), "{saw}");
    let shown = gateway.cli(&["approvals", "show", &first]).done();
    assert!(shown.contains("signed with the passkey `Laptop`"), "{shown}");
    let edited = gateway.hold(&second);
    assert_eq!(edited["arguments"]["big"], 9_007_199_254_740_991_u64, "{edited}");
    assert!(said("many").contains("Each of the 2 calls is signed for itself."), "{saw}");
    assert_eq!(gateway.hold(&other)["state"], "pending", "one signature was for two calls");
    assert_eq!(gateway.ran(), ["first", "as changed", "twice"]);
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn who_has_no_passkey_is_told_where_to_add_one_and_of_the_command_line() {
    let (gateway, agent) = desk();
    let scratch = tempfile::tempdir().unwrap();
    let into = pictures().unwrap_or_else(|| scratch.path().to_owned());
    let hold = held(&agent, "unsigned");
    let (url, invitation) = invited(&gateway, "bo");
    let given = json!({ "invitation": invitation, "hold": hold, "into": into });
    let saw = visit_at(&gateway, "unsigned", given, &url);
    let words = saw["words"].as_str().unwrap();
    assert!(words.contains("You have no passkey to sign with."), "{saw}");
    assert!(words.contains("--sign-with KEY"), "{saw}");
    assert_eq!(saw["link"], "/account");
    assert_eq!(saw["found"], Value::Array(Vec::new()));
    assert_eq!((&saw["sideways"], &saw["state"]), (&json!(0), &json!("pending")));
}
