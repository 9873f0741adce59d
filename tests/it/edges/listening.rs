//! Where the gateway listens, and what a fresh one answers to whom.

use countersign::config::{Config, Flags};
use reqwest::Method;
use serde_json::json;

use super::{allowed, answers, status};
use crate::clients::{Client, Reply, http};
use crate::golden::{concrete, routes};
use crate::harness::{RUNTIME, TestGateway};

#[test]
fn cve_2026_81094_beyond_loopback_is_refused_without_tls_or_a_proxy() {
    let gateway = allowed().prepare();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let refused = gateway.cli(&["serve", "--listen", listen]);
        assert_eq!(refused.code, 2, "{listen}: {refused:?}");
        for part in ["beyond loopback", "edge.tls", "edge.trusted_proxy", "127.0.0.1"] {
            assert!(refused.stderr.contains(part), "`{part}` is missing: {refused:?}");
        }
    }
    gateway.put("countersign.yaml", "listen: 0.0.0.0:0\n");
    assert_eq!(gateway.cli(&["serve"]).code, 2);
    gateway.put("countersign.yaml", "edge: { trusted_proxy: { addresses: [everybody] } }\n");
    let wrong = gateway.cli(&["serve"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.stderr.contains("countersign.yaml:1:"), "{wrong:?}");
}

#[test]
fn cve_2026_81094_the_default_is_loopback() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("countersign.yaml");
    std::fs::write(&file, "{}\n").unwrap();
    let data = Some(directory.path().join("data"));
    let config = Config::load(&Flags { config: Some(file), data, ..Flags::default() }).unwrap();
    let address: std::net::SocketAddr = config.listen.parse().unwrap();
    assert!(address.ip().is_loopback(), "{address}");
    assert!(config.edge.allowed_hosts.is_empty());
}

#[test]
fn with_a_trusted_proxy_it_listens_everywhere_and_serves_the_proxy() {
    let config = "edge: { trusted_proxy: { addresses: [127.0.0.1] } }\n";
    let mut gateway = allowed().config(config).listen("0.0.0.0:0").start();
    gateway.reach_on_loopback();
    assert!(gateway.modern("a").tools().contains(&"count".to_owned()));
}

#[test]
fn cve_2025_49596_a_fresh_gateway_answers_nobody_but_health() {
    let gateway = TestGateway::builder().counting().start();
    let mut all = routes();
    all.extend([Method::GET, Method::POST, Method::DELETE].map(|it| (it, "/mcp".to_owned())));
    assert!(all.len() > 20);
    for (method, path) in all {
        let url = format!("{}{}", gateway.url(), concrete(&path));
        let request = || http().request(method.clone(), &url).json(&json!({ "command": "id" }));
        let reply = RUNTIME.block_on(Reply::of(request()));
        assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
        let foreign = request().header("origin", "http://evil.example");
        assert_eq!(RUNTIME.block_on(Reply::of(foreign)).status, 403, "{method} {path}");
    }
    for path in ["/livez", "/readyz"] {
        let url = format!("{}{path}", gateway.url());
        assert_eq!(RUNTIME.block_on(Reply::of(http().get(url))).status, 200);
    }
    // Where links in notices lead is one page, the same for every hold and everybody.
    let page = |id: &str| answers(&gateway, get(&format!("/holds/{id}")).as_bytes());
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(body(page("1")), body(page("2")));
    // Pages for people lead a stranger to the one where people sign in.
    for path in ["/", "/account"] {
        let answer = answers(&gateway, get(path).as_bytes());
        assert!(matches!(status(&answer), 303 | 401), "{path}: {answer}");
    }
    for path in ["/nothing", "/api", "/api/v1", "/api/v2/agents", "/mcp/", "//mcp", "/sse"] {
        assert_eq!(status(&answers(&gateway, get(path).as_bytes())), 404, "{path}");
    }
    assert!(gateway.ran().is_empty());
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[test]
fn cve_2026_53709_two_installs_share_no_secret() {
    let gateways = [allowed().start(), allowed().start()];
    let secrets = gateways.each_ref().map(|gateway| {
        let mut found = vec![gateway.agent("a"), gateway.cli(&["reviewers", "add", "ada"]).done()];
        for entry in std::fs::read_dir(gateway.data()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "key") {
                found.push(hex::encode(std::fs::read(path).unwrap()));
            }
        }
        found
    });
    assert!(secrets[0].len() > 2, "a key is made on the first start");
    for (one, other) in secrets[0].iter().zip(&secrets[1]) {
        assert!(one.len() >= 32, "too short to be random");
        assert_ne!(one, other);
    }
    // One's token opens nothing of the other.
    let url = format!("{}/mcp", gateways[1].url());
    let request = http().get(url).bearer_auth(&secrets[0][0]);
    assert_eq!(RUNTIME.block_on(Reply::of(request)).status, 401);
}
