//! The headers of requests and answers: what may not come in, what is taken away before anything reads it,
//! and what every answer carries.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, EXPECT,
    FORWARDED, HOST, ORIGIN, REFERRER_POLICY, SERVER, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::admission::AGENT_HEADER;
use crate::edge::{Arrival, Network};

/// Headers that mean one thing: two of them could mean one thing to us and another to who stands before us.
/// Those of MCP are looked at where its messages are read.
const SINGLE: [HeaderName; 8] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
    EXPECT,
    ORIGIN,
    HeaderName::from_static("mcp-session-id"),
    HeaderName::from_static(AGENT_HEADER),
];
/// What proxies say of who stands before them. Only a trusted proxy's word counts, and it is read first.
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";
/// How all headers begin that mean something between parts of the gateway.
const INTERNAL: &str = "countersign-";
/// Other ways to say where a request comes from or goes to. Nothing here reads them, and nothing shall.
const MISLEADING: [&str; 4] = ["x-forwarded-", "x-original-", "x-rewrite-", "x-real-"];

/// Nothing may be loaded, run, framed or sent by an answer that is no page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// For how long a browser that has seen TLS asks for nothing else: a year, in seconds.
const ONLY_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A request that is refused for its headers.
pub(super) type Refused = (StatusCode, &'static str);

/// Refuses what could be read in two ways.
///
/// # Errors
/// With status and text of the answer.
pub(super) fn check(headers: &HeaderMap, most: usize) -> Result<(), Refused> {
    if headers.len() > most {
        let told = "Request Header Fields Too Large: too many headers\n";
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, told));
    }
    if several(headers, &AUTHORIZATION) {
        return Err((StatusCode::UNAUTHORIZED, "one Authorization header is expected\n"));
    }
    if SINGLE.iter().any(|name| several(headers, name)) {
        let told = "Bad Request: a header that may stand once stands twice\n";
        return Err((StatusCode::BAD_REQUEST, told));
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        let told = "Bad Request: a body has a length or is chunked, not both\n";
        return Err((StatusCode::BAD_REQUEST, told));
    }
    let expected = headers.get(EXPECT).map(HeaderValue::as_bytes);
    if expected.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err((StatusCode::EXPECTATION_FAILED, "Expectation Failed\n"));
    }
    Ok(())
}

fn several(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// What the headers say of where a request over TCP comes from; strangers' words do not count.
pub(super) fn arrival(
    headers: &HeaderMap,
    (peer, secure): (IpAddr, bool),
    trusted: &[Network],
) -> Arrival {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut arrival = Arrival { address: peer.to_canonical(), secure, host: None };
    if !is_trusted(peer) {
        return arrival;
    }
    // Each proxy adds on the right whom it heard; the first that we do not trust is who asks.
    for part in parts(headers, FORWARDED_FOR).into_iter().rev() {
        let Some(address) = address(&part) else { break };
        arrival.address = address.to_canonical();
        if !is_trusted(address) {
            break;
        }
    }
    if let Some(scheme) = parts(headers, FORWARDED_PROTO).last() {
        arrival.secure = scheme.eq_ignore_ascii_case("https");
    }
    arrival.host = parts(headers, FORWARDED_HOST).pop();
    arrival
}

fn parts(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    // What is no text is none of ours, and hides what stands before it.
    let texts = values.map(|value| value.to_str().unwrap_or_default());
    texts.flat_map(|value| value.split(',').map(|part| part.trim().to_owned())).collect()
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(socket)
}

/// Takes away what means something only between parts of the gateway, what proxies have said, and names
/// with an underscore, which some programs take for the same name with a hyphen.
pub(super) fn strip(headers: &mut HeaderMap) {
    let foreign = |name: &HeaderName| {
        let name = name.as_str();
        name == FORWARDED.as_str()
            || name.contains('_')
            || name.starts_with(INTERNAL)
            || MISLEADING.iter().any(|start| name.starts_with(start))
    };
    let taken: Vec<HeaderName> = headers.keys().filter(|name| foreign(name)).cloned().collect();
    for name in taken {
        headers.remove(name);
    }
}

/// Adds what every answer carries, where the handler has not said otherwise.
pub(super) fn dress(headers: &mut HeaderMap, secure: bool) {
    let mut or = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    or(CONTENT_SECURITY_POLICY, POLICY);
    or(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    or(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    or(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    or(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if secure {
        or(STRICT_TRANSPORT_SECURITY, ONLY_TLS);
    }
    // Which program and version answers is nobody's business.
    headers.remove(SERVER);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn go_2026_5390_internal_headers_are_taken_away_however_they_are_written() {
        let mut given = headers(&[
            ("Countersign-Agent", "root"),
            ("COUNTERSIGN-AGENT", "root"),
            ("countersign_agent", "root"),
            ("countersign-anything", "x"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("x-forwarded_for", "127.0.0.1"),
            ("X-Forwarded-Client-Cert", "x"),
            ("Forwarded", "for=127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("X-Original-URL", "/api/v1/agents"),
            ("content_length", "7"),
            ("mcp_name", "x"),
            ("Accept", "*/*"),
            ("mcp-name", "x"),
        ]);
        strip(&mut given);
        let mut left: Vec<&str> = given.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "mcp-name"]);
    }

    #[test]
    fn go_2026_5390_only_a_trusted_proxy_says_who_asks() {
        let trusted = [Network::try_from("10.0.0.0/24".to_owned()).unwrap()];
        let asks = |peer: &str, forwarded: &[(&str, &str)]| {
            let peer = (peer.parse().unwrap(), false);
            let arrival = arrival(&headers(forwarded), peer, &trusted);
            (arrival.address.to_string(), arrival.secure, arrival.host)
        };
        let said = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        assert_eq!(asks("10.0.1.1", &said), ("10.0.1.1".to_owned(), false, None));
        assert_eq!(asks("10.0.0.1", &said), ("1.2.3.4".to_owned(), true, None));
        for (list, whose) in [
            ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
            ("9.9.9.9, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("1.2.3.4, nonsense", "10.0.0.1"),
            ("1.2.3.4, nonsense, 10.0.0.2", "10.0.0.2"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(asks("10.0.0.1", &[("x-forwarded-for", list)]).0, whose, "{list}");
        }
        let two = [("x-forwarded-for", "9.9.9.9"), ("X-Forwarded-For", "1.2.3.4")];
        assert_eq!(asks("::ffff:10.0.0.1", &two).0, "1.2.3.4");
        let host = [("x-forwarded-host", "evil.example, gate.example.com")];
        assert_eq!(asks("10.0.0.1", &host).2.as_deref(), Some("gate.example.com"));
    }

    #[test]
    fn c10_headers_that_can_be_read_in_two_ways_are_refused() {
        let status = |pairs: &[(&str, &str)]| check(&headers(pairs), 100).err().map(|it| it.0);
        for name in ["host", "content-type", "content-length", "origin", "mcp-session-id"] {
            let twice = [(name, "1"), (name, "1")];
            assert_eq!(status(&twice), Some(StatusCode::BAD_REQUEST), "{name}");
            assert_eq!(status(&[(name, "1")]), None, "{name}");
        }
        let both = [("content-length", "1"), ("transfer-encoding", "chunked")];
        assert_eq!(status(&both), Some(StatusCode::BAD_REQUEST));
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(status(&twice), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(status(&[("expect", "a-pony")]), Some(StatusCode::EXPECTATION_FAILED));
        assert_eq!(status(&[("expect", "100-Continue")]), None);
        let many: Vec<(&str, &str)> = vec![("x-many", "1"); 101];
        assert_eq!(status(&many), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }

    #[test]
    fn a_handler_may_say_otherwise() {
        let mut answer = headers(&[("content-security-policy", "default-src 'self'")]);
        dress(&mut answer, true);
        assert_eq!(answer[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(answer[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(answer.contains_key(STRICT_TRANSPORT_SECURITY));
        let mut answer = HeaderMap::new();
        dress(&mut answer, false);
        assert!(!answer.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
