//! What the configuration says of the network edge: its limits, its certificate, the proxies before it,
//! and the names under which requests may come.

mod names;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::manifest::Span;

pub use names::{HostRule, Names};

/// Bounds of the edge.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Edge {
    /// The largest message a client may send, in bytes.
    pub max_message_bytes: usize,
    /// How many sessions of protocols before 2026-07-28 may be open.
    pub max_sessions: usize,
    /// After how long without a message such a session is closed.
    pub session_idle: Span,
    /// How many calls may be under way at once, over all clients.
    pub max_calls: usize,
    /// For how long a gateway that was told to stop still listens, while `/readyz` says that it goes away, so
    /// that a load balancer sends no more before a connection is refused; at most 10 s, not at all when absent.
    pub drain_notice: Option<Span>,
    /// Names under which browsers and clients may address the gateway, besides loopback names.
    pub allowed_hosts: Vec<HostRule>,
    /// Limits of connections and requests.
    pub limits: Limits,
    /// The certificate to listen with.
    pub tls: Option<Tls>,
    /// Proxies that speak TLS before the gateway.
    pub trusted_proxy: Option<TrustedProxy>,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            max_message_bytes: 4 << 20,
            max_sessions: 10_000,
            session_idle: Span(Duration::from_secs(24 * 3600)),
            max_calls: 10_000,
            drain_notice: None,
            allowed_hosts: Vec::new(),
            limits: Limits::default(),
            tls: None,
            trusted_proxy: None,
        }
    }
}

/// Limits of connections and of what comes over them; for both listeners where nothing else is said.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many TCP connections may be open at once; no more than the process may have files, less 512.
    pub connections: usize,
    /// How many of them one address may have; of IPv6, one /64. Loopback and trusted proxies may have all.
    /// Requests that a trusted proxy passes on are counted by the address it names.
    pub connections_per_address: usize,
    /// How many connections the local socket of people may have.
    pub local_connections: usize,
    /// How long a TLS handshake may take.
    pub handshake_time: Span,
    /// How long a request's head may take to arrive, and the first one to begin.
    pub header_time: Span,
    /// How large a request's head may be, in bytes; at least 8192.
    pub header_bytes: usize,
    /// How many headers a request may have.
    pub header_count: usize,
    /// How long a body may pause.
    pub body_pause: Span,
    /// How fast a body must come after its first pause, in bytes per second over the whole.
    pub body_rate: u64,
    /// How long a connection may be idle between requests.
    pub keep_alive: Span,
    /// How long a client may leave what is sent to it unread.
    pub write_stall: Span,
    /// How many requests one HTTP/2 connection may have under way.
    pub streams_per_connection: u32,
    /// How many long-lived event streams one agent may have open.
    pub streams_per_agent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 1_000,
            local_connections: 512,
            handshake_time: seconds(10),
            header_time: seconds(10),
            header_bytes: 32 << 10,
            header_count: 100,
            body_pause: seconds(20),
            body_rate: 4 << 10,
            keep_alive: seconds(300),
            write_stall: seconds(30),
            streams_per_connection: 100,
            streams_per_agent: 1_000,
        }
    }
}

const fn seconds(count: u64) -> Span {
    Span(Duration::from_secs(count))
}

/// Certificate and key of the listener, as PEM files. They are read again when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those between it and a root, the gateway's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Proxies whose word counts about who asks and how.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedProxy {
    /// Where they connect from: addresses or ranges, like `10.0.0.7` or `10.0.0.0/24`.
    pub addresses: Vec<Network>,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let range = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        range.map(Self).map_err(|_| {
            format!(
                "`{text}` is no address or range of addresses, like `10.0.0.7` or `10.0.0.0/24`"
            )
        })
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An address or a range of addresses, like `10.0.0.7` or `10.0.0.0/24`."
        })
    }
}

impl Network {
    /// Whether `address` lies in the range; one of IPv4 that is written as IPv6 is the one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// How a request came in over TCP. It stands in the extensions of every such request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whose request it is: the peer, or whom a trusted proxy names.
    pub address: IpAddr,
    /// Whether it came over TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// The host that the client named to a trusted proxy, where the proxy says it.
    pub host: Option<String>,
}

/// A body that came too slowly, or was larger than any message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// Nothing came for too long, or too little over the whole.
    #[error("the request's body came too slowly")]
    TooSlow,
    /// More came than a message may have.
    #[error("the request's body is larger than a message may be")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_hold_their_addresses() {
        let network = |text: &str| Network::try_from(text.to_owned());
        let ten = network("10.0.0.0/24").unwrap();
        assert!(ten.contains("10.0.0.9".parse().unwrap()));
        assert!(ten.contains("::ffff:10.0.0.9".parse().unwrap()));
        assert!(!ten.contains("10.0.1.9".parse().unwrap()));
        assert!(network("::1").unwrap().contains("::1".parse().unwrap()));
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0", "0x7f.1"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
