//! The network behind the gateway: servers that hang, flood, redirect and flap, proxies that nobody asked for, and
//! certificates that nobody vouches for.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused, said};
use crate::harness::{ALLOW_ALL, Builder, TestGateway, until};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/unruly_upstream.py");
const TOOLS: [&str; 10] = [
    "fine",
    "hang",
    "drip",
    "endless_events",
    "endless_line",
    "giant",
    "bomb",
    "redirect",
    "flap",
    "after_reset",
];

/// A server that misbehaves; see the fixture.
struct Upstream {
    child: Child,
    port: String,
    directory: tempfile::TempDir,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Upstream {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("python3");
        command.arg(FIXTURE).arg(directory.path().join("log")).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().to_owned(), directory }
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How often a tool was called with this argument.
    fn calls(&self, tool: &str, n: u32) -> usize {
        let call = format!(" {tool} {n} ");
        self.log().iter().filter(|line| line.contains(&call)).count()
    }
}

fn manifest(mcp: &str) -> String {
    let mut text = format!(
        "backend: {{ name: unruly, mcp: {{ {mcp}, headers: {{ Authorization: \"Bearer of-the-gateway\" }} }}, timeout: 3s, max_output_bytes: 100000 }}\ntools:\n"
    );
    for tool in TOOLS {
        text += &format!("  - {{ name: {tool}, attributes: {{ action_type: write }} }}\n");
    }
    text
}

fn in_front_of(mcp: &str) -> Builder {
    TestGateway::builder().manifest("unruly.yaml", &manifest(mcp)).policy("all.yaml", ALLOW_ALL)
}

fn plain(upstream: &Upstream) -> Builder {
    in_front_of(&format!("url: \"http://127.0.0.1:{}/mcp\"", upstream.port))
}

fn ready(gateway: &TestGateway) -> Modern {
    let client = gateway.modern("a");
    until("the server's tools", || client.tools().contains(&"fine".to_owned()).then_some(()));
    client
}

fn call(client: &Modern, tool: &str, n: u32) -> Value {
    client.call(tool, json!({ "n": n }))
}

#[test]
fn n3_redirects_are_not_followed() {
    let upstream = Upstream::start();
    let gateway = plain(&upstream).start();
    let client = ready(&gateway);
    refused(&call(&client, "redirect", 1));
    assert_eq!(upstream.calls("redirect", 1), 1);
    assert!(upstream.log().iter().all(|line| !line.contains("/elsewhere")), "{:?}", upstream.log());
    assert_eq!(said(&call(&client, "fine", 2)), "fine 2");
}

#[test]
fn n4_servers_that_hang_drip_stream_and_flood_are_cut_off() {
    let upstream = Upstream::start();
    let gateway = plain(&upstream).start();
    let client = ready(&gateway);
    for (n, (tool, told)) in [
        ("hang", "no answer within"),
        ("drip", "no answer within"),
        ("endless_events", "no answer within"),
        ("endless_line", ""),
        ("giant", "larger than"),
        // Compressed answers are not asked for and not unpacked.
        ("bomb", "not a result"),
    ]
    .into_iter()
    .enumerate()
    {
        let n = u32::try_from(n).unwrap();
        let begun = Instant::now();
        let answer = refused(&call(&client, tool, n));
        assert!(answer.contains(told), "{tool}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{tool}");
        assert_eq!(upstream.calls(tool, n), 1, "{tool} was sent again");
        assert_eq!(said(&call(&client, "fine", 100 + n)), format!("fine {}", 100 + n));
    }
    // The record says how each ended, and of a result that was cut off, that it was.
    let entries = gateway.entries();
    let outcomes = entries.iter().map(|entry| &entry["entry"]["outcome"]);
    let failed: Vec<&Value> =
        outcomes.filter(|it| it.is_object() && it["status"] != "success").collect();
    let ends: Vec<&str> = failed.iter().filter_map(|it| it["status"].as_str()).collect();
    let (late, cut) = ("timeout", "result_refused");
    assert_eq!(ends, [late, late, late, cut, cut, "backend_error"]);
    for cut_off in failed.iter().filter(|it| it["status"] == cut) {
        assert!(cut_off["error"].as_str().unwrap().contains("more than"), "{cut_off}");
    }
    let memory = fs::read_to_string(format!("/proc/{}/status", gateway.process_id())).unwrap();
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 600 << 10, "a peak of {peak} KiB");
}

#[test]
fn n5_a_server_that_flaps_is_left_alone_and_tried_again_once() {
    let upstream = Upstream::start();
    let gateway = plain(&upstream).manual_clock().start();
    let client = ready(&gateway);
    assert_eq!(gateway.metric("countersign_upstream_healthy{server=\"unruly\"}"), Some(1.0));
    let mut resting = None;
    for n in 0..40 {
        let result = call(&client, "flap", n);
        if result["isError"] == true && said(&result).contains("left alone") {
            resting = Some((n, result));
            break;
        }
        assert_eq!(result["isError"] == true, n % 2 == 1, "{result}");
        assert_eq!(upstream.calls("flap", n), 1, "a call was sent again");
    }
    let (n, result) = resting.expect("it was never left alone");
    assert_eq!(upstream.calls("flap", n), 0);
    let after = result["_meta"]["countersign/retry_after"].as_u64().unwrap();
    assert!((1..=5).contains(&after) && said(&result).contains("Nothing ran"), "{result}");
    assert_eq!(gateway.metric("countersign_upstream_healthy{server=\"unruly\"}"), Some(0.0));
    gateway.advance(Duration::from_secs(6));
    refused(&call(&client, "flap", 1001));
    assert_eq!(upstream.calls("flap", 1001), 1, "one call tries");
    assert!(refused(&call(&client, "fine", 1002)).contains("left alone"), "it still fails");
    assert_eq!(upstream.calls("fine", 1002), 0);
    gateway.advance(Duration::from_secs(11));
    assert_eq!(said(&call(&client, "after_reset", 1003)), "fine 1003");
    assert_eq!(said(&call(&client, "fine", 1004)), "fine 1004");
    assert_eq!(gateway.metric("countersign_upstream_healthy{server=\"unruly\"}"), Some(1.0));
}

#[test]
fn n9_proxies_of_the_environment_are_not_used() {
    let upstream = Upstream::start();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut builder = plain(&upstream);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    {
        builder = builder.env(name, &address);
    }
    let gateway = builder.start();
    assert_eq!(said(&call(&ready(&gateway), "fine", 1)), "fine 1");
    let nobody = proxy.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

/// A certificate of this machine that only it vouches for.
fn certificate(directory: &Path, name: &str) -> (String, String) {
    let file = |end: &str| directory.join(format!("{name}.{end}")).display().to_string();
    let (certificate, key) = (file("pem"), file("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    (certificate, key)
}

#[test]
fn n10_certificates_that_nobody_vouches_for_and_changed_ones_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (trusted, key) = certificate(directory.path(), "first");
    let (other, other_key) = certificate(directory.path(), "second");
    let upstream = Upstream::start_with(&["0", &trusted, &key]);
    let url = format!("url: \"https://127.0.0.1:{}/mcp\"", upstream.port);

    let gateway = in_front_of(&url).start();
    let told = until("the server to be asked", || {
        let doctor = gateway.cli(&["doctor"]).stdout;
        doctor.lines().find(|line| line.contains("unruly: down")).map(str::to_owned)
    });
    assert!(told.to_lowercase().contains("certificate"), "{told}");
    assert!(upstream.log().is_empty(), "{:?}", upstream.log());

    let gateway = in_front_of(&format!("{url}, ca: \"{trusted}\"")).start();
    let client = ready(&gateway);
    assert_eq!(said(&call(&client, "fine", 1)), "fine 1");
    let port = upstream.port.clone();
    drop(upstream);
    let changed = Upstream::start_with(&[&port, &other, &other_key]);
    refused(&call(&client, "fine", 2));
    refused(&call(&client, "fine", 3));
    assert!(changed.log().is_empty(), "{:?}", changed.log());
}

#[test]
fn n1_a_name_that_leads_into_the_network_is_refused_until_the_operator_allows_it() {
    let upstream = Upstream::start();
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    // The machine's own name, where it leads to an address of its own.
    let host = host.trim().to_owned();
    let own = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0));
    if host.is_empty() || !own.is_ok_and(|mut found| found.any(|one| one.ip().is_loopback())) {
        return;
    }
    let url = format!("url: \"http://{host}:{}/mcp\"", upstream.port);
    let gateway = in_front_of(&url).start();
    let told = until("the server to be asked", || {
        let doctor = gateway.cli(&["doctor"]).stdout;
        doctor.lines().find(|line| line.contains("unruly: down")).map(str::to_owned)
    });
    assert!(told.contains("not public") && told.contains("allow_private"), "{told}");
    assert!(upstream.log().is_empty());
    let gateway = in_front_of(&format!("{url}, allow_private: true")).start();
    assert_eq!(said(&call(&ready(&gateway), "fine", 1)), "fine 1");
}
