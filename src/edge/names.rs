//! Under which names a request may come: what may stand in Host and Origin.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;
use schemars::JsonSchema;
use serde::Deserialize;

/// A name that the gateway has besides loopback ones, with a port or for any.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostRule {
    host: String,
    port: Option<u16>,
}

impl TryFrom<String> for HostRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // An address of IPv6 may be written bare.
        let bare = text.parse::<std::net::Ipv6Addr>().is_ok();
        let read = if bare { Named::read(&format!("[{text}]")) } else { Named::read(&text) };
        read.map(|it| Self { host: it.host, port: it.port }).ok_or_else(|| {
            format!("`{text}` is no host, like `gate.example.com` or `gate.example.com:8443`")
        })
    }
}

impl JsonSchema for HostRule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HostRule".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A host, with a port or for any, like `gate.example.com:8443`."
        })
    }
}

/// A host and port as a request names them, in one form: lower case, no dot at the end, no brackets.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    host: String,
    port: Option<u16>,
}

impl Named {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`; nothing else, and no user before the host.
    fn read(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let after = authority.as_str().strip_prefix(authority.host())?;
        let port = match after.strip_prefix(':') {
            None if after.is_empty() => None,
            None => return None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            Some(_) => return None,
        };
        let host = authority.host();
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                if host.is_empty() || host.starts_with('.') || !host.bytes().all(fits) {
                    return None;
                }
                host
            }
        };
        Some(Self { host, port })
    }
}

/// All names that this gateway has.
#[derive(Clone, Debug, Default)]
pub struct Names {
    rules: Vec<HostRule>,
    address: Option<IpAddr>,
}

impl Names {
    /// Loopback names, those of `rules`, and the one `address` that the gateway listens on, if it is one.
    #[must_use]
    pub fn new(rules: Vec<HostRule>, address: Option<IpAddr>) -> Self {
        Self { rules, address: address.filter(|address| !address.is_unspecified()) }
    }

    /// Whether `authority`, as it stands in Host or before the path, names this gateway.
    #[must_use]
    pub fn is_ours(&self, authority: &str) -> bool {
        Named::read(authority).is_some_and(|named| self.knows(&named.host, named.port, None))
    }

    /// Whether `origin` is one of this gateway's pages, or of another program on a loopback name.
    #[must_use]
    pub fn origin_is_ours(&self, origin: &str) -> bool {
        let Ok(uri) = origin.parse::<Uri>() else { return false };
        let default = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            Some(_) | None => return false,
        };
        // An origin has no path; `Uri` reads none as `/`.
        let bare = uri.path() == "/" && uri.query().is_none() && !origin.ends_with('/');
        let named = uri.authority().and_then(|authority| Named::read(authority.as_str()));
        bare && named.is_some_and(|named| self.knows(&named.host, named.port, Some(default)))
    }

    fn knows(&self, host: &str, port: Option<u16>, default: Option<u16>) -> bool {
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        if address.is_some() && address == self.address {
            return true;
        }
        // A Host without a port means the scheme's own; a rule with a port that is neither is not met.
        self.rules.iter().any(|rule| {
            rule.host == host
                && match (rule.port, port.or(default)) {
                    (None, _) => true,
                    (Some(rule), Some(port)) => rule == port,
                    (Some(rule), None) => matches!(rule, 80 | 443),
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let rules = ["gate.example.com", "Other.example:8443", "2001:db8::7", "plain.example:443"];
        let rules = rules.map(|rule| HostRule::try_from(rule.to_owned()).unwrap());
        Names::new(rules.to_vec(), Some("192.0.2.9".parse().unwrap()))
    }

    #[test]
    fn cve_2025_64443_hosts() {
        for ours in [
            "localhost",
            "LOCALHOST:7420",
            "localhost.",
            "localhost.:80",
            "127.0.0.1",
            "127.8.8.8:1",
            "[::1]:7420",
            "gate.example.com",
            "gate.example.com:9",
            "GATE.Example.com.",
            "other.example:8443",
            "[2001:DB8::7]:7420",
            "plain.example",
            "192.0.2.9:7420",
        ] {
            assert!(names().is_ours(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:7420",
            "localhost@evil.example",
            "evil@localhost",
            "localhost:7420@evil.example",
            "localhost..",
            ".localhost",
            "other.example",
            "other.example:8444",
            "gate.example.com:",
            "gate.example.com:x",
            "gate.example.com:99999",
            "[::ffff:127.0.0.1]",
            "[::2]",
            "[::1",
            "::1",
            "192.0.2.10",
            "0.0.0.0",
            "2130706433",
            "0x7f000001",
            "127.1",
            "local\u{200b}host",
            "localhost/evil",
            "localhost evil",
        ] {
            assert!(!names().is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn cve_2025_64443_origins() {
        for ours in [
            "http://localhost:3000",
            "https://127.0.0.1",
            "http://[::1]:5",
            "https://gate.example.com",
            "https://other.example:8443",
            "https://plain.example",
        ] {
            assert!(names().origin_is_ours(ours), "{ours}");
        }
        for foreign in [
            "null",
            "",
            "localhost",
            "http://evil.example",
            "http://localhost.evil.example",
            "http://evil@localhost",
            "ftp://localhost",
            "file://",
            "chrome-extension://localhost",
            "http://localhost/",
            "http://localhost/path",
            "http://plain.example",
            "https://other.example",
            "http://localhost http://evil.example",
        ] {
            assert!(!names().origin_is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_when_it_is_read() {
        for wrong in ["", "https://gate.example.com", "a/b", "a@b", "*.example.com", "a:b"] {
            assert!(HostRule::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
