//! Sessions: what they may do and for how long, and what another site, another browser or an old one may not.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::browser::{Browser, Page};
use super::{PASSWORD, gateway, invited, signed_in};
use crate::clients::Client;
use crate::harness::{TestGateway, text};

fn approving(gateway: &TestGateway) -> (String, Value) {
    gateway.modern_with_tasks("a").call("count", json!({ "line": "x" }));
    let id = gateway.pending();
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(&id)["digest"] });
    (format!("/api/v1/approvals/{id}/verdict"), verdict)
}

fn decide(browser: &mut Browser, path: &str, headers: &[(&str, &str)], verdict: &Value) -> Page {
    browser.api(Method::POST, path, headers, verdict)
}

#[test]
fn a16_a_verdict_in_a_session_is_made_by_our_own_page() {
    let gateway = gateway();
    let mut browser = signed_in(&gateway, "ada", "reviewer");
    let (path, verdict) = approving(&gateway);
    let csrf = browser.get("/account").csrf();
    let (own, origin) = (csrf.as_str(), browser.origin.clone());
    let other = Browser::new(&gateway).get("/sign-in").csrf();
    let rows: [&[(&str, &str)]; 7] = [
        &[],
        &[("origin", &origin)],
        &[("x-csrf-token", own)],
        &[("x-csrf-token", &other), ("origin", &origin)],
        &[("x-csrf-token", own), ("origin", "http://localhost:1")],
        &[("x-csrf-token", own), ("origin", "https://evil.example")],
        &[("x-csrf-token", own), ("origin", &origin), ("sec-fetch-site", "cross-site")],
    ];
    for headers in rows {
        assert_eq!(decide(&mut browser, &path, headers, &verdict).status, 403, "{headers:?}");
    }
    assert_eq!(gateway.holds("pending").len(), 1);
    // Somebody's token makes no session's request good, and a wrong one is not made up for by a session.
    let wrong = [("x-csrf-token", own), ("origin", &*origin), ("authorization", "Bearer csp_0")];
    assert_eq!(decide(&mut browser, &path, &wrong, &verdict).status, 401);
    let right = [("x-csrf-token", own), ("origin", &*origin), ("sec-fetch-site", "same-origin")];
    let decided = decide(&mut browser, &path, &right, &verdict);
    assert_eq!(decided.status, 200, "{decided:?}");
    let entries = gateway.entries();
    let verdict = entries.iter().find(|entry| entry["entry"]["kind"] == "verdict").unwrap();
    assert_eq!(verdict["entry"]["verdict"]["authenticated"], "password");
    // So do the forms of the pages.
    for from in [None, Some("https://evil.example"), Some("null")] {
        let page = browser.post_from("/sign-out", &[("csrf", own)], from);
        assert_eq!(page.status, 403, "{from:?}");
    }
    assert_eq!(browser.post("/sign-out", &[("csrf", &other)]).status, 403);
    assert_eq!(browser.who().status, 200);
}

#[test]
fn a_role_counts_as_it_is_now_and_a_revoked_person_is_out_at_once() {
    let gateway = gateway();
    let mut browser = signed_in(&gateway, "ada", "operator");
    let mut second = Browser::new(&gateway);
    let form = [("name", "ada"), ("password", PASSWORD)];
    second.submit("/sign-in", "/sign-in", &form).let_in();
    gateway.cli(&["reviewers", "change", "ada", "--role", "viewer"]).done();
    let csrf = browser.get("/account").csrf();
    let headers = [("x-csrf-token", csrf.as_str()), ("origin", &browser.origin.clone())];
    let add = json!({ "name": "b", "groups": [] });
    let refused = browser.api(Method::POST, "/api/v1/agents", &headers, &add);
    refused.says(403, "needs the role operator");
    gateway.cli(&["reviewers", "revoke", "ada"]).done();
    for browser in [&mut browser, &mut second] {
        assert_eq!(browser.who().status, 401);
        assert_eq!(browser.get("/account").location(), "/sign-in?next=/account");
    }
    // Added again, the person has to be invited again: nothing of before lives on.
    gateway.cli(&["reviewers", "add", "ada"]).done();
    assert_eq!(browser.who().status, 401);
    assert_eq!(second.submit("/sign-in", "/sign-in", &form).status, 403);
}

#[test]
fn sessions_end_when_they_are_not_used_and_in_the_end_anyway() {
    let gateway = gateway();
    let mut browser = signed_in(&gateway, "ada", "viewer");
    let hour = Duration::from_secs(3600);
    gateway.advance(11 * hour);
    assert_eq!(browser.who().status, 200);
    gateway.advance(11 * hour);
    assert_eq!(browser.who().status, 200);
    gateway.advance(12 * hour);
    assert_eq!(browser.who().status, 401);
    let form = [("name", "ada"), ("password", PASSWORD)];
    browser.submit("/sign-in", "/sign-in", &form).let_in();
    for _ in 0..16 {
        gateway.advance(10 * hour);
        assert_eq!(browser.who().status, 200);
    }
    gateway.advance(8 * hour);
    assert_eq!(browser.who().status, 401);
}

#[test]
fn sessions_outlive_a_restart_and_end_by_hand() {
    let mut gateway = gateway();
    let mut browser = signed_in(&gateway, "ada", "viewer");
    gateway.restart();
    browser.origin = gateway.url().replace("127.0.0.1", "localhost");
    assert_eq!(browser.who().status, 200);
    let mut others: Vec<Browser> = (0..2).map(|_| Browser::new(&gateway)).collect();
    for other in &mut others {
        let form = [("name", "ada"), ("password", PASSWORD)];
        other.submit("/sign-in", "/sign-in", &form).let_in();
    }
    let form = [("session", "others")];
    browser.submit("/account", "/account/sessions/end", &form);
    assert_eq!(others[0].who().status, 401);
    assert_eq!(browser.who().status, 200);
    // Another password ends what was opened elsewhere.
    let form = [("name", "ada"), ("password", PASSWORD)];
    others[1].submit("/sign-in", "/sign-in", &form).let_in();
    let new = "a longer password";
    let form = [("current", "not this one, no"), ("password", new), ("again", new)];
    browser.submit("/account", "/account/password", &form).says(403, "password now is another");
    let form = [("current", PASSWORD), ("password", new), ("again", new)];
    let changed = browser.submit("/account", "/account/password", &form);
    assert_eq!(changed.location(), "/account?done=password", "{changed:?}");
    assert_eq!((browser.who().status, others[1].who().status), (200, 401));
    let secret = browser.session().unwrap().clone();
    browser.submit("/", "/sign-out", &[]);
    assert!(browser.session().is_none());
    // Whoever kept the cookie has nothing.
    let key = ("localhost".to_owned(), "countersign_session".to_owned());
    browser.cookies.insert(key, secret);
    assert_eq!(browser.who().status, 401);
    // An operator ends what others have.
    let form = [("name", "ada"), ("password", new)];
    others[0].submit("/sign-in", "/sign-in", &form).let_in();
    gateway.cli(&["reviewers", "sign-out", "ada"]).done();
    assert_eq!(others[0].who().status, 401);
}

#[test]
fn a_cookie_that_was_put_there_before_is_worth_nothing_after() {
    let gateway = gateway();
    let mut evil = signed_in(&gateway, "eve", "viewer");
    let invitation = invited(&gateway, &["ada"]);
    let mut browser = Browser::new(&gateway);
    let planted = ["a".repeat(64), evil.session().unwrap().clone()];
    for planted in planted {
        let key = ("localhost".to_owned(), "countersign_session".to_owned());
        browser.cookies.insert(key, planted.clone());
        browser.get(&invitation);
        assert_eq!(browser.session(), Some(&planted));
    }
    let form = [("password", PASSWORD), ("again", PASSWORD)];
    browser.submit(&invitation, &invitation, &form).let_in();
    assert_eq!(browser.who().json()["name"], "ada");
    assert_ne!(browser.session(), evil.session());
    // Whose session was in the browser is not signed in there any more.
    assert_eq!(evil.who().status, 401);
}

#[test]
fn a_person_has_at_most_twenty_sessions() {
    let gateway = gateway();
    let mut first = signed_in(&gateway, "ada", "viewer");
    let mut last = Browser::new(&gateway);
    for _ in 0..20 {
        // Several addresses sign in; the count of one would stop this.
        gateway.advance(Duration::from_secs(60));
        last = Browser::new(&gateway);
        let form = [("name", "ada"), ("password", PASSWORD)];
        last.submit("/sign-in", "/sign-in", &form).let_in();
    }
    assert_eq!((first.who().status, last.who().status), (401, 200));
    let page = last.get("/account").body;
    assert_eq!(page.matches("with a password, last used").count(), 20);
    assert!(!text(&json!(page)).contains(last.session().unwrap()), "a page shows a secret");
}
