//! Passwords: right, wrong, nobody's, and tried too often.

use std::time::Duration;

use super::browser::Browser;
use super::{PASSWORD, gateway, signed_in};

fn tried(browser: &mut Browser, name: &str, password: &str) -> super::browser::Page {
    browser.submit("/sign-in", "/sign-in", &[("name", name), ("password", password)])
}

#[test]
fn whoever_guesses_learns_nothing_of_who_there_is() {
    let gateway = gateway();
    drop(signed_in(&gateway, "ada", "reviewer"));
    gateway.cli(&["reviewers", "add", "tokens-only"]).done();
    let mut browser = Browser::new(&gateway);
    let csrf = browser.get("/sign-in").csrf();
    let mut told = Vec::new();
    for name in ["ada", "nobody", "tokens-only", "no name at all!"] {
        let form = [("name", name), ("password", "wrong horse battery"), ("csrf", &csrf)];
        let page = browser.post("/sign-in", &form);
        assert_eq!(page.status, 403, "{page:?}");
        // The value alone: a token in the page may have `ada` among its digits.
        told.push(page.body.replace(&format!("maxlength=\"64\" value=\"{name}\""), "NAME"));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:#?}");
    tried(&mut browser, "ada", PASSWORD).let_in();
    assert_eq!(browser.who().json()["name"], "ada");
    let refused = "countersign_sign_ins_total{with=\"password\",result=\"refused\"}";
    assert_eq!(gateway.metric(refused), Some(4.0));
}

#[test]
fn after_ten_tries_a_name_waits_whether_it_is_anybodys_or_not() {
    let gateway = gateway();
    drop(signed_in(&gateway, "ada", "reviewer"));
    let mut browser = Browser::new(&gateway);
    for name in ["ada", "nobody"] {
        for _ in 0..10 {
            assert_eq!(tried(&mut browser, name, "wrong horse battery").status, 403);
        }
        let waits = tried(&mut browser, name, PASSWORD);
        waits.says(429, "Too many tries");
    }
    gateway.advance(Duration::from_secs(60));
    tried(&mut browser, "ada", PASSWORD).let_in();
}
