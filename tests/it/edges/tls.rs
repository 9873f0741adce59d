//! TLS on the listener: what is spoken, and how a new certificate is taken up.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, Version};

use super::{allowed, answers};
use crate::harness::{Builder, RUNTIME, TestGateway, until};

const CONFIG: &str = "edge: { tls: { certificate: cert.pem, key: key.pem } }\n";

/// A certificate for loopback names and its key, in PEM.
fn pair() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn put(gateway: &TestGateway, (certificate, key): &(String, String)) {
    gateway.put("cert.pem", certificate);
    gateway.put("key.pem", key);
}

fn secured(builder: Builder, pair: &(String, String)) -> TestGateway {
    let mut gateway = builder.config(CONFIG).listen("0.0.0.0:0").prepare();
    put(&gateway, pair);
    gateway.launch();
    gateway.reach_on_loopback();
    gateway
}

/// A client that believes in this certificate only.
fn believer(certificate: &str) -> Client {
    let root = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only([root]);
    client.timeout(Duration::from_secs(10)).build().unwrap()
}

/// The answer to a GET; none when there was no connection that the client believes in.
fn get(client: &Client, gateway: &TestGateway) -> Option<reqwest::Response> {
    RUNTIME.block_on(async { client.get(format!("{}/livez", gateway.url())).send().await.ok() })
}

#[test]
fn with_tls_it_listens_everywhere_and_speaks_nothing_else() {
    let pair = pair();
    let gateway = secured(allowed(), &pair);
    assert!(gateway.url().starts_with("https://"), "{}", gateway.url());
    let client = believer(&pair.0);
    let answer = get(&client, &gateway).unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("strict-transport-security"));
    let http1 = Client::builder().no_proxy().http1_only();
    let root = Certificate::from_pem(pair.0.as_bytes()).unwrap();
    let http1 = http1.tls_certs_only([root]).build().unwrap();
    assert_eq!(get(&http1, &gateway).unwrap().version(), Version::HTTP_11);
    // In the clear nothing is answered, and neither is a stranger's certificate believed.
    let clear = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(!answers(&gateway, clear.as_bytes()).contains("HTTP/1.1"));
    assert!(get(&believer(&self::pair().0), &gateway).is_none());
    // Names count as they do without TLS.
    let foreign = client.get(format!("{}/livez", gateway.url())).header("host", "evil.example");
    assert_eq!(RUNTIME.block_on(async { foreign.send().await }).unwrap().status(), 403);
    assert_eq!(client_tools(&client, &gateway), 200);
}

fn client_tools(client: &Client, gateway: &TestGateway) -> u16 {
    let token = gateway.agent("a");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let request = client
        .post(format!("{}/mcp", gateway.url()))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/list")
        .body(body);
    RUNTIME.block_on(async { request.send().await }).unwrap().status().as_u16()
}

#[test]
fn a_pair_that_cannot_be_used_is_no_start() {
    let gateway = allowed().config(CONFIG).prepare();
    let missing = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("cert.pem"), "{missing:?}");
    let (one, other) = (pair(), pair());
    for (wrong, told) in [
        ((one.0.clone(), other.1.clone()), "does not go with the key"),
        ((one.0.clone(), "no key\n".to_owned()), "key.pem"),
        (("no certificate\n".to_owned(), one.1.clone()), "cert.pem"),
    ] {
        put(&gateway, &wrong);
        let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(failed.stderr.contains(told), "{failed:?}");
        assert!(!failed.stderr.contains(&one.1[40..80]), "a key is shown: {failed:?}");
    }
}

#[test]
fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let (first, second, third) = (pair(), pair(), pair());
    let gateway = secured(allowed().manual_clock(), &first);
    assert!(get(&believer(&first.0), &gateway).is_some());

    // On SIGHUP at once.
    put(&gateway, &second);
    gateway.signal(Signal::SIGHUP);
    until("the second certificate", || get(&believer(&second.0), &gateway));
    assert!(get(&believer(&first.0), &gateway).is_none());

    // A pair that does not go together changes nothing, and is told.
    fs::write(gateway.dir().join("key.pem"), &first.1).unwrap();
    gateway.signal(Signal::SIGHUP);
    until("the bad pair to be told", || {
        gateway.log().contains("a new certificate cannot be used").then_some(())
    });
    assert!(get(&believer(&second.0), &gateway).is_some());
    assert_eq!(gateway.metric("countersign_tls_reloads_total{result=\"refused\"}"), Some(1.0));

    // Otherwise within half a minute.
    put(&gateway, &third);
    gateway.advance(Duration::from_secs(31));
    until("the third certificate", || get(&believer(&third.0), &gateway));
    assert_eq!(gateway.metric("countersign_tls_reloads_total{result=\"taken\"}"), Some(2.0));
}

#[test]
fn a_handshake_that_does_not_come_is_cut() {
    let builder = allowed();
    let mut gateway = builder
        .config("edge: { tls: { certificate: cert.pem, key: key.pem }, limits: { handshake_time: 1s } }\n")
        .prepare();
    let pair = pair();
    put(&gateway, &pair);
    gateway.launch();
    assert_eq!(answers(&gateway, b""), "");
    until("the handshake to be cut", || {
        let cut = "countersign_connections_cut_total{reason=\"slow_handshake\"}";
        (gateway.metric(cut) == Some(1.0)).then_some(())
    });
    assert!(get(&believer(&pair.0), &gateway).is_some());
}
