//! An OpenID provider that nobody here wrote: there and back, and answers that are somebody else's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::browser::{Browser, Page};
use super::told_of_access;
use crate::clients::{Reply, http};
use crate::harness::{HOLD_ALL, RUNTIME, TestGateway, text};

struct Provider {
    process: Child,
    url: String,
}

impl Provider {
    fn start(people: &Value) -> Self {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let mut process = Command::new("node")
            .args(["provider.mjs", &people.to_string()])
            .current_dir(clients)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url =
            lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: url.expect("the provider listens") }
    }

    fn ask(&self, path: &str) {
        let url = format!("{}{path}", self.url);
        let answer = RUNTIME.block_on(Reply::of(http().get(url)));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A gateway that people sign in to with this provider.
    fn gateway(&self, more: &str) -> TestGateway {
        let config = format!(
            "authentication:\n  oidc:\n    issuer: {}\n    name: Example\n    client_id: countersign\n    \
             client_secret: {{ env: SECRET_OF_CLIENT }}\n{more}",
            self.url
        );
        let gateway = TestGateway::builder()
            .counting()
            .policy("held.yaml", HOLD_ALL)
            .config(&config)
            .env("SECRET_OF_CLIENT", "a secret of a test & more")
            .start();
        let origin = gateway.url().replace("127.0.0.1", "localhost");
        self.ask(&format!("/client?redirect_uri={origin}/sign-in/oidc/callback"));
        gateway
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Follows the way to the provider until it sends the browser back; gives where to.
fn there(browser: &mut Browser) -> String {
    let mut address = browser.get("/sign-in/oidc").location().to_owned();
    for _ in 0..10 {
        if address.contains("/sign-in/oidc/callback?") {
            return address;
        }
        let page = browser.get(&address);
        let next = Url::parse(&address).unwrap().join(page.location()).unwrap();
        address = next.to_string();
    }
    panic!("the provider sends nobody back: {address}");
}

fn there_and_back(browser: &mut Browser) -> Page {
    let back = there(browser);
    browser.get(&back)
}

fn people() -> Value {
    json!({
        "a-1": { "preferred_username": "ada", "groups": ["staff"] },
        "b-1": { "preferred_username": "bob", "groups": ["sre", "staff"] },
        "e-1": { "preferred_username": "ada", "groups": ["staff"] },
        "n-1": { "preferred_username": "no name!", "groups": ["sre"] },
    })
}

#[test]
fn who_is_in_the_register_signs_in_and_nobody_else() {
    let provider = Provider::start(&people());
    let gateway = provider.gateway("");
    gateway.cli(&["reviewers", "add", "ada", "--role", "operator"]).done();
    let mut browser = Browser::new(&gateway);
    browser.get("/sign-in").says(200, "Use Example");
    there_and_back(&mut browser).says(200, "You are signed in");
    let who = browser.who().json();
    assert_eq!((&who["name"], &who["role"]), (&json!("ada"), &json!("operator")));
    for stranger in ["b-1", "e-1", "n-1"] {
        provider.ask(&format!("/next/{stranger}"));
        let mut browser = Browser::new(&gateway);
        let refused = there_and_back(&mut browser);
        // The second account that calls itself ada is not her.
        assert_eq!(refused.status, if stranger == "e-1" { 409 } else { 403 }, "{refused:?}");
        assert!(browser.session().is_none());
    }
    gateway.cli(&["reviewers", "revoke", "ada"]).done();
    assert_eq!(browser.who().status, 401);
    provider.ask("/next/a-1");
    assert_eq!(there_and_back(&mut Browser::new(&gateway)).status, 403);
    let told = told_of_access(&gateway);
    let bound = told.iter().find(|entry| entry["access"] == "subject_bound").unwrap();
    assert_eq!(
        (text(&bound["issuer"]), text(&bound["subject"])),
        (provider.url.clone(), "a-1".into())
    );
}

#[test]
fn a_sign_in_with_a_provider_leads_to_where_one_wanted_to_go() {
    let provider = Provider::start(&people());
    let gateway = provider.gateway("");
    gateway.cli(&["reviewers", "add", "ada"]).done();
    let mut browser = Browser::new(&gateway);
    for (page, next) in [("/sign-in?next=/calls", "/calls"), ("/sign-in?next=//evil.example", "/")]
    {
        browser.get(page).says(200, "Use Example");
        let done = there_and_back(&mut browser);
        done.says(200, &format!("<a class=\"button\" href=\"{next}\">"));
        done.says(200, &format!("content=\"0;url={next}\""));
        browser.submit("/account", "/sign-out", &[]);
    }
}

#[test]
fn a_rule_lets_people_in_but_makes_no_operator() {
    let provider = Provider::start(&people());
    let rule = "    people: [{ group: sre, role: reviewer, groups: [on-call] }]\n";
    let gateway = provider.gateway(rule);
    provider.ask("/next/b-1");
    let mut browser = Browser::new(&gateway);
    there_and_back(&mut browser).says(200, "You are signed in");
    let who = browser.who().json();
    assert_eq!((&who["name"], &who["role"]), (&json!("bob"), &json!("reviewer")));
    assert_eq!(who["groups"], json!(["on-call"]));
    provider.ask("/next/a-1");
    assert_eq!(there_and_back(&mut Browser::new(&gateway)).status, 403);
    let operator = "authentication:\n  oidc:\n    issuer: https://id.example\n    client_id: c\n    people: \
                    [{ group: sre, role: operator }]\n";
    let refused = TestGateway::builder().config(operator).expect_start_failure();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("operator"), "{refused:?}");
}

#[test]
fn n7_an_answer_counts_once_in_the_browser_that_left_and_from_this_provider() {
    let provider = Provider::start(&people());
    let gateway = provider.gateway("");
    gateway.cli(&["reviewers", "add", "ada"]).done();
    let changed = |address: &str, name: &str, value: Option<&str>| {
        let mut url = Url::parse(address).unwrap();
        let pairs: Vec<(String, String)> =
            url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        url.query_pairs_mut().clear();
        for (known, old) in pairs {
            match value {
                _ if known != name => drop(url.query_pairs_mut().append_pair(&known, &old)),
                Some(new) => drop(url.query_pairs_mut().append_pair(&known, new)),
                None => {}
            }
        }
        url.to_string()
    };
    for (name, value) in [
        ("state", None),
        ("state", Some("0")),
        ("iss", None),
        ("iss", Some("https://evil.example")),
        ("code", None),
        ("code", Some("0")),
    ] {
        let mut browser = Browser::new(&gateway);
        let back = there(&mut browser);
        let refused = browser.get(&changed(&back, name, value));
        assert!((400..=502).contains(&refused.status), "{name} {value:?}: {refused:?}");
        assert!(browser.session().is_none(), "{name} {value:?}");
    }
    // Another browser brings the answer (login CSRF).
    let (mut browser, mut other) = (Browser::new(&gateway), Browser::new(&gateway));
    let back = there(&mut browser);
    assert_eq!(other.get(&back).status, 400);
    there(&mut other);
    assert_eq!(other.get(&back).status, 400);
    assert!(other.session().is_none());
    let back = there(&mut browser);
    browser.get(&back).says(200, "You are signed in");
    assert_eq!(browser.get(&back).status, 400, "a replay");
    assert!(gateway.log().contains("OpenID provider"));
    assert!(!gateway.log().contains("a secret of a test"));
}

/// A proxy with one client of its own, behind which others register theirs, gives one's consent to another. The gateway
/// registers nobody and issues nothing, and whoever leaves for the provider comes back to the gateway alone.
#[test]
fn n8_nobody_registers_here_and_the_way_back_is_nobodys_to_choose() {
    let provider = Provider::start(&people());
    let gateway = provider.gateway("");
    gateway.cli(&["reviewers", "add", "ada"]).done();
    let mut browser = Browser::new(&gateway);
    let back = format!("{}/sign-in/oidc/callback", browser.origin);
    let evil = "https%3A%2F%2Fevil.example%2Fcallback";
    for query in ["redirect_uri", "redirect", "next", "return_to", "client_id", "state", "issuer"] {
        for headers in
            [&[][..], &[("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example")]]
        {
            let path = format!("/sign-in/oidc?{query}={evil}");
            let left = browser.api(Method::GET, &path, headers, &json!({}));
            let to = Url::parse(left.location()).unwrap();
            assert_eq!(to.origin(), Url::parse(&provider.url).unwrap().origin(), "{path}");
            let asked: Vec<(String, String)> = to.query_pairs().into_owned().collect();
            let of = |name: &str| {
                let values = asked.iter().filter(|(known, _)| known == name);
                values.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
            };
            assert_eq!(of("redirect_uri"), [&back], "{path}");
            assert_eq!(of("client_id"), ["countersign"], "{path}");
            assert!(!to.as_str().contains("evil"), "{path}: {to}");
        }
    }
    let there = there(&mut browser);
    browser.get(&format!("{there}&next={evil}&redirect_uri={evil}")).says(200, "You are signed in");
    for path in [
        "/register",
        "/authorize",
        "/token",
        "/oauth/register",
        "/oauth/authorize",
        "/oauth/token",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = browser.api(
                method.clone(),
                path,
                &[],
                &json!({ "redirect_uris": ["https://evil.example"] }),
            );
            assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
        }
    }
}
