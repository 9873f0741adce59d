use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Names whose first answer is `first`, and every later one `then`.
struct Rebinding {
    first: Vec<IpAddr>,
    then: Vec<IpAddr>,
    asked: AtomicUsize,
}

impl Names for Rebinding {
    fn addresses(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let answer = match self.asked.fetch_add(1, Ordering::SeqCst) {
            0 => self.first.clone(),
            _ => self.then.clone(),
        };
        Box::pin(async { Ok(answer) })
    }
}

fn of(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn client_of(allow_private: bool, first: &[&str], then: &[&str]) -> (Arc<Rebinding>, Client) {
    let names = Rebinding { first: of(first), then: of(then), asked: AtomicUsize::new(0) };
    let names = Arc::new(names);
    let guard = Guard { allow_private, names: Arc::clone(&names) as Arc<dyn Names> };
    (names, guarded(guard).build().unwrap())
}

fn why(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

const HIDDEN: [&str; 12] = [
    "http://127.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://[::ffff:127.0.0.1]/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
    "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://0/",
    "http://127.0.0.1./x",
    "http://[0:0:0:0:0:0:0:1]/",
];

#[test]
fn n1_ssrf_literals() {
    let trust = Trust::default();
    for text in HIDDEN {
        assert!(configured(text, &trust).is_err() || text.contains("127.0.0.1."), "{text}");
    }
    for text in [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[::]/",
        "http://0.0.0.0/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/latest/meta-data",
        "http://[fd20:ce::254]/",
        "http://224.0.0.1/",
        "http://good@evil.example/",
        "http://good:word@evil.example/",
        "https://user@127.0.0.1/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "//example.com",
    ] {
        assert!(configured(text, &trust).is_err(), "{text}");
    }
    for text in [
        "http://127.0.0.1:1/",
        "http://[::1]:1/mcp",
        "http://10.0.0.5/",
        "https://Example.com/",
        "http://[fd00::1]/",
    ] {
        assert!(configured(text, &trust).is_ok(), "{text}");
    }
}

#[test]
fn n1_what_others_wrote_is_public_and_encrypted() {
    let issuer = Url::parse("http://127.0.0.1:9/realm").unwrap();
    for text in HIDDEN.iter().map(|text| text.replacen("http:", "https:", 1)) {
        assert!(discovered(&text, &issuer).is_err(), "{text}");
    }
    for text in [
        "http://example.com/",
        "https://169.254.169.254/",
        "https://10.0.0.1/",
        "https://[fd00::1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://[::]/",
        "https://localhost/",
        "https://localhost./",
        "https://a.localhost/",
        "https://good@evil.example/",
    ] {
        assert!(discovered(text, &issuer).is_err(), "{text}");
    }
    assert!(discovered("https://auth.example.com/jwks", &issuer).is_ok());
    assert!(discovered("https://9.9.9.9/", &issuer).is_ok());
    // An issuer on this machine speaks for itself, and for nothing else here.
    assert!(discovered("http://127.0.0.1:9/keys", &issuer).is_ok());
    for text in ["http://127.0.0.1:10/keys", "http://localhost:9/keys", "https://127.0.0.1:9/"] {
        assert!(discovered(text, &issuer).is_err(), "{text}");
    }
}

/// The vulnerability of `mcp-remote`: a URL of metadata was handed to a shell to open it.
#[test]
fn cve_2025_6514_hostile_urls_of_metadata_are_refused() {
    let issuer = Url::parse("https://login.example.com/").unwrap();
    for text in [
        "javascript:alert(1)",
        "file:///c:/windows/system32/calc.exe",
        "a://x&calc",
        "https:$(touch /tmp/x)",
        "http://localhost/$(id)",
        "https://x`id`/",
        "data:text/html,x",
        "\\\\evil\\share",
        "vscode:extension/x",
        "-oProxyCommand=x",
    ] {
        assert!(discovered(text, &issuer).is_err(), "{text}");
    }
}

#[test]
fn every_special_address_is_told_from_public_ones() {
    for (address, public) in [
        ("9.9.9.9", true),
        ("100.63.255.255", true),
        ("100.64.0.0", false),
        ("100.127.255.255", false),
        ("100.128.0.0", true),
        ("172.15.255.255", true),
        ("172.31.255.255", false),
        ("172.32.0.0", true),
        ("168.63.129.16", false),
        ("198.19.0.1", false),
        ("255.255.255.255", false),
        ("2600::1", true),
        ("2001:4860:4860::8888", true),
        ("::ffff:9.9.9.9", true),
        ("::ffff:10.0.0.1", false),
        ("::10.0.0.1", false),
        ("64:ff9b::9.9.9.9", true),
        ("64:ff9b::10.0.0.1", false),
        ("64:ff9b:1::1", false),
        ("2002:909:909::1", true),
        ("2002:a00:1::1", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
        ("fd00:ec2::254", false),
        ("4000::1", false),
    ] {
        assert_eq!(place(address.parse().unwrap()) == Place::Public, public, "{address}");
    }
}

#[tokio::test]
async fn n1_names_that_lead_into_the_network_are_refused_at_the_connection() {
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.1.1",
        "0.0.0.0",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "224.0.0.1",
    ] {
        let (names, client) = client_of(false, &[address], &[address]);
        let error = client.get("http://upstream.example:9/").send().await.unwrap_err();
        assert!(why(&error).contains("not public"), "{address}: {}", why(&error));
        assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn n2_what_was_looked_at_is_what_is_connected_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // First public, then this machine: the second answer is looked at too, and nothing comes here.
    let (names, client) = client_of(false, &["192.0.2.1", "9.9.9.9"], &["127.0.0.1"]);
    names.asked.store(1, Ordering::SeqCst);
    let error = client.get(format!("http://upstream.example:{port}/")).send().await.unwrap_err();
    assert!(why(&error).contains("not public"), "{}", why(&error));
    // Of a mixed answer only the public part is used.
    let guard = Guard { allow_private: false, names };
    assert!(guard.allows("upstream.example", "9.9.9.9".parse().unwrap()));
    assert!(!guard.allows("upstream.example", "127.0.0.1".parse().unwrap()));
    let waited =
        tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(waited.is_err(), "something was connected to");
}

#[tokio::test]
async fn private_names_are_reached_when_the_operator_says_so_and_localhost_is_this_machine() {
    for (allow_private, name) in [(true, "tracker.internal"), (false, "localhost")] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_, client) = client_of(allow_private, &["127.0.0.1"], &["127.0.0.1"]);
        let request = tokio::spawn(client.get(format!("http://{name}:{port}/")).send());
        listener.accept().await.unwrap();
        request.abort();
    }
    let (_, client) = client_of(false, &["10.0.0.1"], &["10.0.0.1"]);
    let error = client.get("http://localhost:9/").send().await.unwrap_err();
    assert!(why(&error).contains("not public"), "{}", why(&error));
}
