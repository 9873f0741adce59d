//! What the pages say to browsers, and that they show nothing as anything but text.

use super::browser::Browser;
use super::{gateway, invited, signed_in};

#[test]
fn a16_pages_load_nothing_run_nothing_inline_and_are_never_framed() {
    let gateway = gateway();
    let invitation = invited(&gateway, &["bob"]);
    let mut stranger = Browser::new(&gateway);
    let mut ada = signed_in(&gateway, "ada", "reviewer");
    let mut pages = vec![stranger.get("/sign-in"), stranger.get(&invitation)];
    pages.extend([stranger.get("/"), stranger.get("/sign-in?code=none")]);
    pages.extend([ada.get("/"), ada.get("/account"), ada.get("/sign-in/oidc")]);
    for page in pages {
        let header = |name: &str| page.headers[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "same-origin");
        for inline in ["<style", "style=", "<script>", "onclick", "javascript:", "http-equiv"] {
            assert!(!page.body.contains(inline), "{inline} in {}", page.body);
        }
    }
    for (asset, kind) in [("page.css", "text/css"), ("passkey.js", "text/javascript")] {
        let answer = stranger.get(&format!("/assets/{asset}"));
        assert_eq!(answer.status, 200);
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with(kind));
    }
    let set = stranger.cookies.get(&("localhost".to_owned(), "countersign_browser".to_owned()));
    assert_eq!(set.unwrap().len(), 64);
}

#[test]
fn a16_what_a_stranger_typed_comes_back_as_text() {
    let gateway = gateway();
    let mut browser = Browser::new(&gateway);
    for name in ["<script>alert(1)</script>", "\" autofocus onfocus=alert(1) x=\"", "{{7*7}}"] {
        let form = [("name", name), ("password", "wrong horse battery")];
        let page = browser.submit("/sign-in", "/sign-in", &form);
        assert_eq!(page.status, 403);
        assert!(!page.body.contains("<script>") && !page.body.contains("\" autofocus"), "{page:?}");
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let gateway = gateway();
    let mut browser = signed_in(&gateway, "ada", "reviewer");
    let links = regex::Regex::new(r#"(?:href|src)="(/[^"]*)""#).unwrap();
    for path in ["/", "/account"] {
        let body = browser.get(path).body;
        for link in links.captures_iter(&body) {
            let link = link[1].replace("&amp;", "&");
            assert_eq!(browser.get(&link).status, 200, "{link} on {path}");
        }
    }
}
