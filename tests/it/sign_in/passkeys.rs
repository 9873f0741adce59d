//! Passkeys, answered by an authenticator in software: registered, used, copied, replayed and removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::authenticator::{Authenticator, Flaw};
use super::browser::{Browser, Page};
use super::{gateway, invited, signed_in, told_of_access};
use crate::harness::TestGateway;

/// A browser in which somebody signed in who was invited and registered a passkey.
pub(super) fn with_passkey(
    gateway: &TestGateway,
    name: &str,
    number: u8,
) -> (Browser, Authenticator) {
    let invitation = invited(gateway, &[name]);
    let (mut browser, mut key) = (Browser::new(gateway), Authenticator::new(number));
    let csrf = browser.get(&invitation).csrf();
    let asked = browser.message(&format!("{invitation}/passkey/start"), &csrf, &json!({})).json();
    let answer = key.register(&asked, &browser.origin, &Flaw::default());
    let done = browser.message(&format!("{invitation}/passkey/finish"), &csrf, &answer);
    assert_eq!(done.json(), json!({ "next": "/" }));
    (browser, key)
}

fn asked(browser: &mut Browser) -> (String, Value) {
    let csrf = browser.get("/sign-in").csrf();
    let asked = browser.message("/sign-in/passkey/start", &csrf, &json!({})).json();
    (csrf, asked)
}

pub(super) fn sign_in(browser: &mut Browser, key: &mut Authenticator, flaw: &Flaw) -> Page {
    let (csrf, asked) = asked(browser);
    let answer = key.sign(&asked, &browser.origin, flaw);
    browser.message("/sign-in/passkey/finish", &csrf, &answer)
}

#[test]
fn a_passkey_takes_up_an_invitation_and_signs_in() {
    let gateway = gateway();
    let (mut browser, mut key) = with_passkey(&gateway, "ada", 1);
    assert_eq!(browser.who().json()["name"], "ada");
    let mut other = Browser::new(&gateway);
    let done = sign_in(&mut other, &mut key, &Flaw::default());
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(other.who().json()["name"], "ada");
    other.get("/account").says(200, "with a passkey");
    other.get("/account").says(200, "A test&#39;s");
    let told = told_of_access(&gateway);
    let added = told.iter().find(|entry| entry["access"] == "passkey_added").unwrap();
    assert_eq!(added["algorithm"], "ES256");
    // Removed, it opens nothing.
    let id = added["passkey"].as_str().unwrap().to_owned();
    let removed = other.submit("/account", "/account/passkeys/remove", &[("id", &id)]);
    assert_eq!(removed.status, 303);
    assert_eq!(sign_in(&mut Browser::new(&gateway), &mut key, &Flaw::default()).status, 403);
}

#[test]
fn what_was_not_signed_here_by_a_verified_person_lets_nobody_in() {
    let gateway = gateway();
    let (_, mut key) = with_passkey(&gateway, "ada", 1);
    let mut browser = Browser::new(&gateway);
    let none = Flaw::default();
    let flaws = [
        Flaw { origin: Some("http://evil.example".to_owned()), ..none.clone() },
        Flaw { domain: Some("evil.example".to_owned()), ..none.clone() },
        Flaw { unverified: true, ..none.clone() },
        Flaw { kind: Some("webauthn.create"), ..none.clone() },
        Flaw { cross_origin: true, ..none.clone() },
        Flaw { handle: Some("AAAA".to_owned()), ..none.clone() },
        Flaw { signature: true, ..none.clone() },
    ];
    let mut told = Vec::new();
    for flaw in &flaws {
        let refused = sign_in(&mut browser, &mut key, flaw);
        assert_eq!(refused.status, 403, "{refused:?}");
        told.push(refused.body);
    }
    // A key that nobody registered is refused in the same words.
    let unknown = sign_in(&mut browser, &mut Authenticator::new(9), &none);
    assert_eq!(unknown.status, 403);
    told.push(unknown.body);
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(browser.session().is_none());
    assert_eq!(sign_in(&mut browser, &mut key, &none).status, 200);
}

#[test]
fn a_challenge_is_answered_once_in_the_browser_that_asked_within_five_minutes() {
    let gateway = gateway();
    let (_, mut key) = with_passkey(&gateway, "ada", 1);
    let none = Flaw::default();
    let (mut browser, mut other) = (Browser::new(&gateway), Browser::new(&gateway));
    let (csrf, question) = asked(&mut browser);
    let answer = key.sign(&question, &browser.origin, &none);
    // Another browser brings the answer: it gets nothing, and the challenge is spent.
    let others = other.get("/sign-in").csrf();
    let finish = "/sign-in/passkey/finish";
    assert_eq!(other.message(finish, &others, &answer).status, 403);
    assert_eq!(browser.message(finish, &csrf, &answer).status, 403);
    let (csrf, question) = asked(&mut browser);
    let answer = key.sign(&question, &browser.origin, &none);
    assert_eq!(browser.message(finish, &csrf, &answer).status, 200);
    let again = other.message(finish, &others, &answer);
    assert_eq!(again.status, 403, "a replay");
    let (csrf, question) = asked(&mut other);
    let answer = key.sign(&question, &other.origin, &none);
    gateway.advance(Duration::from_secs(300));
    assert_eq!(other.message(finish, &csrf, &answer).status, 403);
    // Without the page's token nothing is asked at all.
    assert_eq!(other.message("/sign-in/passkey/start", "", &json!({})).status, 403);
}

#[test]
fn a_counter_that_goes_back_is_a_copy_and_is_recorded() {
    let gateway = gateway();
    let (_, mut key) = with_passkey(&gateway, "ada", 1);
    let mut browser = Browser::new(&gateway);
    assert_eq!(sign_in(&mut browser, &mut key, &Flaw::default()).status, 200);
    let copied = Flaw { counter: Some(key.counter), ..Flaw::default() };
    let mut other = Browser::new(&gateway);
    assert_eq!(sign_in(&mut other, &mut key, &copied).status, 403);
    let told = told_of_access(&gateway);
    assert_eq!(told.last().unwrap()["access"], "passkey_copied");
}

#[test]
fn passkeys_are_added_to_an_account_and_belong_to_one_person() {
    let gateway = gateway();
    let mut ada = signed_in(&gateway, "ada", "reviewer");
    let (mut bob, mut bobs) = with_passkey(&gateway, "bob", 2);
    let none = Flaw::default();
    let (start, finish) = ("/account/passkeys/start", "/account/passkeys/finish");
    let csrf = ada.get("/account").csrf();
    let question = ada.message(start, &csrf, &json!({})).json();
    let mut own = Authenticator::new(1);
    let answer = own.register(&question, &ada.origin, &none);
    // What ada began, bob does not end.
    let others = bob.get("/account").csrf();
    assert_eq!(bob.message(finish, &others, &answer).status, 403);
    let question = ada.message(start, &csrf, &json!({})).json();
    let answer = own.register(&question, &ada.origin, &none);
    assert_eq!(ada.message(finish, &csrf, &answer).json()["next"], "/account?done=passkey-added");
    let question = ada.message(start, &csrf, &json!({})).json();
    assert_eq!(question["known"].as_array().unwrap().len(), 1);
    let taken = bobs.register(&question, &ada.origin, &none);
    ada.message(finish, &csrf, &taken).says(409, "registered already");
    let mut browser = Browser::new(&gateway);
    assert_eq!(sign_in(&mut browser, &mut own, &none).status, 200);
    assert_eq!(browser.who().json()["name"], "ada");
}

#[test]
fn a_session_that_was_left_open_adds_no_credential() {
    let gateway = gateway();
    let (mut ada, _) = with_passkey(&gateway, "ada", 1);
    let csrf = ada.get("/account").csrf();
    let start = "/account/passkeys/start";
    gateway.advance(Duration::from_secs(599));
    assert_eq!(ada.message(start, &csrf, &json!({})).status, 200);
    gateway.advance(Duration::from_secs(1));
    ada.message(start, &csrf, &json!({})).says(403, "Sign out, sign in again");
    let password = "correct horse battery";
    let form = [("password", password), ("again", password), ("csrf", &csrf)];
    ada.post("/account/password", &form).says(403, "Sign out, sign in again");
}

#[test]
fn an_address_without_a_name_has_no_passkeys() {
    let gateway = gateway();
    let mut browser = Browser::new(&gateway);
    browser.origin = gateway.url().to_owned();
    let page = browser.get("/sign-in");
    page.says(200, "Passkeys need a name");
    let csrf = page.csrf();
    browser.message("/sign-in/passkey/start", &csrf, &json!({})).says(400, "need a name");
}
