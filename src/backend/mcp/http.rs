//! The transport over streamable HTTP: rmcp's worker keeps the session, exchanges are our own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use secrecy::{ExposeSecret as _, SecretString};

use super::Limits;
use super::exchange::Exchange;
use super::ledger::Ledger;
use crate::backend::BackendError;
use crate::backend::outgoing::{self, Refused, Trust};

/// How many exchanges rmcp may have under way beside the calls: handshake and subscription.
const EXTRA_EXCHANGES: usize = 8;
/// How long a silent connection lives before the other side is asked whether it is there, in seconds.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often a broken stream of events is taken up again, in attempts.
const MAX_RESUMES: usize = 5;
/// The wait before the first of those, and the longest, in milliseconds and seconds.
const RESUME_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Headers that belong to HTTP or MCP itself; those that begin with `mcp-` do too.
const RESERVED: [&str; 8] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "transfer-encoding",
    "upgrade",
];

/// Where a transport leads.
pub(super) struct To<'a> {
    pub(super) url: &'a str,
    /// Sent with every exchange.
    pub(super) headers: &'a [(String, SecretString)],
    pub(super) trust: &'a Trust,
}

/// A transport over HTTP.
///
/// # Errors
/// If the address is not one to go to, or a header cannot be sent.
pub(super) fn transport(
    to: &To<'_>,
    limits: &Limits,
    ledger: &Arc<Ledger>,
) -> Result<StreamableHttpClientTransport<Exchange>, BackendError> {
    let refused = |why: Refused| BackendError::Unavailable(format!("its `url` is refused: {why}"));
    let url = outgoing::configured(to.url, to.trust).map_err(refused)?;
    let client = outgoing::client(to.trust)
        .map_err(refused)?
        .default_headers(own_headers(to.headers)?)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .connect_timeout(limits.connect_timeout)
        .pool_max_idle_per_host(limits.max_concurrent)
        .build()
        .map_err(|error| BackendError::Unavailable(format!("no HTTP client: {error}")))?;
    let mut resume = ExponentialBackoff::default();
    resume.max_times = Some(MAX_RESUMES);
    (resume.base_duration, resume.max_delay) = (RESUME_AFTER.0, Some(RESUME_AFTER.1));
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
    config.retry_config = Arc::new(resume);
    config.max_concurrent_requests = limits.max_concurrent.saturating_add(EXTRA_EXCHANGES);
    config.max_sse_event_size = limits.max_message_bytes;
    // A call is never sent twice, not even to a session that says it did not see it.
    config.reinit_on_expired_session = false;
    let exchange = Exchange::new(client, Arc::clone(ledger), limits.max_message_bytes);
    Ok(StreamableHttpClientTransport::with_client(exchange, config))
}

fn own_headers(headers: &[(String, SecretString)]) -> Result<HeaderMap, BackendError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let bad = |why| BackendError::Unavailable(format!("the header `{name}` {why}"));
        let key = HeaderName::try_from(name.as_str()).map_err(|_| bad("has a malformed name"))?;
        if RESERVED.contains(&key.as_str()) || key.as_str().starts_with("mcp-") {
            return Err(bad("is set by the protocol and cannot be given"));
        }
        let mut value = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| bad("has a value that no header can carry"))?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}
