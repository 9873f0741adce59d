//! How people sign in at a browser: each way from the first page to the first verdict, and what must not work.

mod authenticator;
pub(crate) mod browser;
mod links;
mod pages;
mod passkeys;
mod passwords;
mod provider;
mod returning;
mod sessions;
mod signing;

use serde_json::Value;

use self::browser::{Browser, path};
use crate::harness::{HOLD_ALL, TestGateway};

/// A password that is long enough.
const PASSWORD: &str = "correct horse battery";

pub(crate) fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).manual_clock().start()
}

/// The path of an invitation.
fn invited(gateway: &TestGateway, arguments: &[&str]) -> String {
    let link = gateway.cli(&[&["reviewers", "invite"], arguments].concat()).done();
    path(&link)
}

/// A browser in which a new person with a password has signed in.
pub(crate) fn signed_in(gateway: &TestGateway, name: &str, role: &str) -> Browser {
    let invitation = invited(gateway, &[name, "--role", role]);
    let mut browser = Browser::new(gateway);
    let form = [("password", PASSWORD), ("again", PASSWORD)];
    browser.submit(&invitation, &invitation, &form).let_in();
    browser
}

/// What the record says of how people sign in.
fn told_of_access(gateway: &TestGateway) -> Vec<Value> {
    let entries = gateway.entries().into_iter().map(|entry| entry["entry"].clone());
    entries.filter(|entry| entry["kind"] == "access").collect()
}
