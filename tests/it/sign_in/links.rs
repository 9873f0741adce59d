//! Links that work once: the one that a start prints, the ones of commands, and invitations.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::browser::{Browser, path};
use super::{PASSWORD, gateway, invited, signed_in, told_of_access};
use crate::harness::{text, until};

#[test]
fn a_start_prints_a_link_that_signs_its_user_in_once() {
    let gateway = gateway();
    let link = until("the link", || {
        let log = gateway.log();
        log.lines().find_map(|line| line.strip_prefix("sign in: ")).map(str::to_owned)
    });
    assert!(link.starts_with(gateway.url()), "{link}");
    let (link, code) = (path(&link), link.rsplit_once('=').unwrap().1.to_owned());
    let mut browser = Browser::new(&gateway);
    // Programs that open every link use nothing up, and let nobody in.
    for _ in 0..2 {
        browser.get(&link).says(200, "Sign in as ");
        assert_eq!(browser.who().status, 401);
    }
    browser.submit(&link, "/sign-in/link", &[("code", &code)]).let_in();
    let who = browser.who().json();
    assert_eq!((&who["local"], &who["role"]), (&json!(true), &json!("operator")));
    browser.get("/account").says(200, "with a link");
    // A second time it is what an invented one is.
    let mut other = Browser::new(&gateway);
    let csrf = other.get("/sign-in").csrf();
    let again = other.post("/sign-in/link", &[("code", &code), ("csrf", &csrf)]);
    let invented = other.post("/sign-in/link", &[("code", "0"), ("csrf", &csrf)]);
    assert_eq!((again.status, &again.body), (404, &invented.body));
    assert_eq!(other.get(&link).body, again.body);
    // Who has a session makes no more of them, and nothing of the secret is kept.
    let csrf = browser.get("/account").csrf();
    let headers = [("x-csrf-token", csrf.as_str()), ("origin", &browser.origin.clone())];
    let refused = browser.api(Method::POST, "/api/v1/sign-in-link", &headers, &json!({}));
    refused.says(403, "gateway's machine");
    let secret = browser.session().unwrap().clone();
    for entry in std::fs::read_dir(gateway.data()).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        for canary in [&secret, &code] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "a secret stands in {}", entry.path().display());
        }
    }
}

#[test]
fn a_link_of_a_command_ends_after_ten_minutes() {
    let gateway = gateway();
    let link = path(&gateway.cli(&["reviewers", "sign-in-link"]).done());
    gateway.advance(Duration::from_secs(599));
    let mut browser = Browser::new(&gateway);
    browser.get(&link).says(200, "works once");
    gateway.advance(Duration::from_secs(1));
    browser.get(&link).says(404, "not valid");
    // A new one takes the place of the one before.
    let first = path(&gateway.cli(&["reviewers", "sign-in-link"]).done());
    let second = path(&gateway.cli(&["reviewers", "sign-in-link"]).done());
    browser.get(&first).says(404, "not valid");
    browser.get(&second).says(200, "works once");
}

#[test]
fn an_invitation_makes_a_person_who_can_sign_in() {
    let gateway = gateway();
    let invitation = invited(&gateway, &["ada", "--group", "sre"]);
    let mut browser = Browser::new(&gateway);
    for _ in 0..2 {
        browser.get(&invitation).says(200, "Welcome, ada");
    }
    // What does not fit uses nothing up.
    for (password, again, told) in
        [("too short", "too short", "at least 12"), (PASSWORD, "another one!", "differ")]
    {
        let form = [("password", password), ("again", again)];
        browser.submit(&invitation, &invitation, &form).says(400, told);
    }
    let form = [("password", PASSWORD), ("again", PASSWORD)];
    let csrf = browser.get(&invitation).csrf();
    let form = [&form[..], &[("csrf", csrf.as_str())]].concat();
    let accepted = browser.post(&invitation, &form);
    accepted.let_in();
    let who = browser.who().json();
    assert_eq!(who["name"], "ada");
    assert_eq!((&who["role"], &who["groups"]), (&json!("reviewer"), &json!(["sre"])));
    // Used up, for this browser and any other.
    let mut other = Browser::new(&gateway);
    other.get(&invitation).says(404, "not valid");
    let csrf = other.get("/sign-in").csrf();
    let form = [("password", PASSWORD), ("again", PASSWORD), ("csrf", &csrf)];
    other.post(&invitation, &form).says(404, "not valid");
    let told = told_of_access(&gateway);
    let told = told.iter().map(|it| (text(&it["person"]["name"]), text(&it["access"])));
    let told: Vec<_> = told.filter(|(name, _)| name == "ada").map(|it| it.1).collect();
    assert_eq!(told, ["invited", "password_set", "signed_in"]);
}

#[test]
fn inviting_again_helps_who_lost_a_password_and_changes_no_role() {
    let gateway = gateway();
    let mut before = signed_in(&gateway, "ada", "viewer");
    assert_eq!(gateway.cli(&["reviewers", "invite", "ada", "--role", "operator"]).code, 5);
    let first = invited(&gateway, &["ada"]);
    let second = invited(&gateway, &["ada", "--valid", "1h"]);
    let mut browser = Browser::new(&gateway);
    browser.get(&first).says(404, "not valid");
    let form = [("password", "another password"), ("again", "another password")];
    browser.submit(&second, &second, &form).let_in();
    assert_eq!(browser.who().json()["role"], "viewer");
    assert_eq!(before.who().status, 401, "a session lives on that may be somebody else's");
    let third = invited(&gateway, &["ada", "--valid", "1h"]);
    gateway.advance(Duration::from_secs(3600));
    browser.get(&third).says(404, "not valid");
    // Whoever was revoked cannot take up what they have in their mail.
    let last = invited(&gateway, &["ada"]);
    gateway.cli(&["reviewers", "revoke", "ada"]).done();
    browser.get(&last).says(404, "not valid");
}
