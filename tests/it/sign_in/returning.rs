//! Who wanted to go somewhere and has to sign in first gets there afterwards, and never anywhere else.

use super::authenticator::Flaw;
use super::browser::{Browser, Page, path};
use super::passkeys::with_passkey;
use super::{PASSWORD, gateway, signed_in};
use crate::clients::Client as _;

/// Opens `page` as a stranger, and follows the way to sign in from there.
fn sent_away(browser: &mut Browser, page: &str) -> Page {
    let first = browser.get(page);
    let first = if first.status == 200 {
        assert!(first.body.contains(r#"href="?sign-in""#), "{first:?}");
        browser.get(&format!("{page}?sign-in"))
    } else {
        first
    };
    assert_eq!(first.status, 303, "{first:?}");
    assert!(first.location().starts_with("/sign-in"), "{first:?}");
    let place = first.location().to_owned();
    browser.get(&place)
}

#[test]
fn each_way_to_sign_in_leads_to_where_one_wanted_to_go() {
    let gateway = gateway();
    signed_in(&gateway, "ada", "reviewer");
    let (_, mut key) = with_passkey(&gateway, "bob", 1);
    let hold = format!("/holds/{}", "0123456789abcdef".repeat(2));
    let pages = ["/calls", "/audit", "/policy", "/catalog", "/people", "/account", &hold, "/"];
    for page in pages {
        let mut browser = Browser::new(&gateway);
        let csrf = sent_away(&mut browser, page).csrf();
        // A wrong try forgets nothing.
        let wrong = [("name", "ada"), ("password", "wrong horse battery"), ("csrf", &csrf)];
        let csrf = browser.post("/sign-in", &wrong).csrf();
        let form = [("name", "ada"), ("password", PASSWORD), ("csrf", &csrf)];
        let done = browser.post("/sign-in", &form);
        assert_eq!((done.status, done.location()), (303, page), "{done:?}");
        assert_eq!(browser.get(page).status, 200);
        // Whoever signs in anew goes to the first page: it is forgotten.
        browser.submit("/account", "/sign-out", &[]);
        let form = [("name", "ada"), ("password", PASSWORD)];
        browser.submit("/sign-in", "/sign-in", &form).let_in();
    }
    let mut browser = Browser::new(&gateway);
    browser.get(&format!("/sign-in?next={hold}"));
    let done = remembered(&mut browser, &mut key);
    assert_eq!(done.json()["next"], hold.as_str());
    let mut browser = Browser::new(&gateway);
    sent_away(&mut browser, &hold);
    let link = path(&gateway.cli(&["reviewers", "sign-in-link"]).done());
    let code = link.rsplit_once('=').unwrap().1.to_owned();
    let done = browser.submit(&link, "/sign-in/link", &[("code", &code)]);
    assert_eq!((done.status, done.location()), (303, hold.as_str()));
    // Who is signed in already goes on at once.
    assert_eq!(browser.get(&format!("/sign-in?next={hold}")).location(), hold);
    assert_eq!(browser.get("/sign-in").location(), "/");
}

/// Signs in with a passkey, from a page that is open already.
fn remembered(browser: &mut Browser, key: &mut super::authenticator::Authenticator) -> Page {
    let cookies = browser.cookies.clone();
    // The page is opened once more to read its token; what it remembers is put back as it was.
    let csrf = browser.get("/sign-in").csrf();
    browser.cookies = cookies;
    let asked = browser.message("/sign-in/passkey/start", &csrf, &serde_json::json!({})).json();
    let answer = key.sign(&asked, &browser.origin, &Flaw::default());
    browser.message("/sign-in/passkey/finish", &csrf, &answer)
}

#[test]
fn no_way_to_sign_in_leads_elsewhere() {
    let gateway = gateway();
    signed_in(&gateway, "ada", "reviewer");
    let form = [("name", "ada"), ("password", PASSWORD)];
    let evil = [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://evil.example/calls",
        "%2f%2fevil.example",
        "/%5Cevil.example",
        "%252f%252fevil.example",
        "/%09/evil.example",
        "/holds/..%2f..%2f%2fevil.example",
        "/calls%0d%0aset-cookie:%20a=b",
        "/calls?next=//evil.example",
        "javascript:alert(1)",
        "/sign-out",
        "",
    ];
    for next in evil {
        let mut browser = Browser::new(&gateway);
        let page = browser.get(&format!("/sign-in?next={next}"));
        assert_eq!(page.status, 200, "{next}: {page:?}");
        assert!(!page.body.contains("evil"), "{next}: {page:?}");
        let csrf = page.csrf();
        browser.post("/sign-in", &[&form[..], &[("csrf", &csrf)]].concat()).let_in();
        assert_eq!(browser.get(&format!("/sign-in?next={next}")).location(), "/", "{next}");
    }
    // Nor does a cookie that somebody else put there, or two of them.
    for next in ["//evil.example", "/\\evil.example", "/calls; countersign_next=/audit", "%2fcalls"]
    {
        let mut browser = Browser::new(&gateway);
        let csrf = browser.get("/sign-in").csrf();
        let name = ("localhost".to_owned(), "countersign_next".to_owned());
        browser.cookies.insert(name, next.to_owned());
        browser.post("/sign-in", &[&form[..], &[("csrf", &csrf)]].concat()).let_in();
    }
    // Twice the same parameter is no page.
    assert_eq!(Browser::new(&gateway).get("/sign-in?next=/calls&next=/audit").status, 400);
}

#[test]
fn a21_a_stranger_sees_the_same_page_for_every_call_and_decides_nothing_by_it() {
    let gateway = gateway();
    gateway.modern_with_tasks("a").call("count", serde_json::json!({ "line": "one" }));
    let id = gateway.pending();
    let mut stranger = Browser::new(&gateway);
    let mut seen = Vec::new();
    for id in [id.as_str(), "00000000000000000000000000000000", "what", "%20"] {
        let page = stranger.get(&format!("/holds/{id}"));
        seen.push((page.status, page.body, page.headers["content-length"].clone()));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // The way to sign in says no more than the address said.
    for (id, next) in [
        (id.as_str(), format!("/sign-in?next=/holds/{id}")),
        ("00000000000000000000000000000000", format!("/sign-in?next=/holds/{}", "0".repeat(32))),
        ("what", "/sign-in".to_owned()),
    ] {
        assert_eq!(stranger.get(&format!("/holds/{id}?sign-in")).location(), next);
    }
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert_eq!(gateway.hold(&id)["verdicts"], serde_json::json!([]));
}
