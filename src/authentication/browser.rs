//! What a browser shows and how far it is believed: under which address it came, its cookies, and whether a
//! request that changes something was made by our own page.

use http::header::{COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri};

use crate::digest::Digest;
use crate::edge::Arrival;

/// The header by which a page's program shows the token of its session.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// The header in which a browser says who made it send the request (Fetch Metadata).
const SITE_HEADER: &str = "sec-fetch-site";
/// How much of a `Cookie` header is looked at, in bytes.
const MAX_COOKIES: usize = 8192;
/// How long the secret in one of our cookies is, in hexadecimal digits.
pub const SECRET_DIGITS: usize = 64;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Carries a session.
    Session,
    /// Tells browsers apart before anybody signed in: what one began, only it can end.
    Browser,
    /// The same for a sign-in that comes back from an OpenID provider: sent also when a link on another site
    /// is followed, as the provider's answer is.
    Provider,
    /// Where somebody wanted to go before signing in; no secret. Sent along like the one before, or it would be
    /// forgotten on the way back from a provider.
    Next,
}

/// The address under which a browser reaches the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    secure: bool,
    authority: String,
}

impl Site {
    /// The site that a request was made to. The edge has checked before that the name is one of ours.
    ///
    /// `public_url` says how its own name is reached. Names beyond loopback are reached over TLS alone, or
    /// cookies would cross a network for all to read.
    #[must_use]
    pub fn of(parts: &Parts, public_url: Option<&str>) -> Option<Self> {
        let arrival = parts.extensions.get::<Arrival>();
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = arrival.and_then(|arrival| arrival.host.as_deref()).or(host);
        let host = host.or_else(|| parts.uri.authority().map(Authority::as_str))?;
        let authority = host.parse::<Authority>().ok()?;
        let name = authority.host().trim_matches(['[', ']']);
        let loopback = name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let public = public_url.and_then(|url| url.parse::<Uri>().ok()).filter(|public| {
            public.authority().is_some_and(|own| own.as_str().eq_ignore_ascii_case(host))
        });
        let over_tls = arrival.is_some_and(|arrival| arrival.secure);
        let secure =
            over_tls || public.map_or(!loopback, |public| public.scheme_str() == Some("https"));
        Some(Self { secure, authority: host.to_ascii_lowercase() })
    }

    /// The origin, as browsers write it.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The domain that passkeys are bound to; none under a bare address, which has no passkeys.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        let name = match self.authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => self.authority.as_str(),
        };
        let bare = name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
        (!bare && !name.is_empty()).then_some(name)
    }

    /// The same gateway under a name that passkeys work with, where this one is an address of this machine.
    #[must_use]
    pub fn with_name(&self) -> Option<String> {
        let (name, port) = self.authority.rsplit_once(':').unwrap_or((&self.authority, "80"));
        let address: std::net::IpAddr = name.trim_matches(['[', ']']).parse().ok()?;
        address.is_loopback().then(|| format!("http://localhost:{port}"))
    }

    /// The name of a cookie. Over TLS its prefix makes browsers refuse one that another host or an
    /// unencrypted page set.
    #[must_use]
    pub const fn cookie_name(&self, cookie: Cookie) -> &'static str {
        match (cookie, self.secure) {
            (Cookie::Session, true) => "__Host-countersign",
            (Cookie::Session, false) => "countersign_session",
            (Cookie::Browser, true) => "__Host-countersign-browser",
            (Cookie::Browser, false) => "countersign_browser",
            (Cookie::Provider, true) => "__Host-countersign-provider",
            (Cookie::Provider, false) => "countersign_provider",
            (Cookie::Next, true) => "__Host-countersign-next",
            (Cookie::Next, false) => "countersign_next",
        }
    }

    /// A `Set-Cookie` value; without a secret it takes the cookie away. It lives for `seconds`, or as long as
    /// the browser is open.
    #[must_use]
    pub fn set_cookie(&self, cookie: Cookie, secret: Option<&str>, seconds: Option<u64>) -> String {
        let name = self.cookie_name(cookie);
        let site = match cookie {
            Cookie::Provider | Cookie::Next => "Lax",
            Cookie::Session | Cookie::Browser => "Strict",
        };
        let secure = if self.secure { "; Secure" } else { "" };
        let age = match (secret, seconds) {
            (None, _) => "; Max-Age=0".to_owned(),
            (Some(_), Some(seconds)) => format!("; Max-Age={seconds}"),
            (Some(_), None) => String::new(),
        };
        let value = secret.unwrap_or_default();
        format!("{name}={value}; Path=/; HttpOnly; SameSite={site}{secure}{age}")
    }

    /// The secret in a cookie of ours. None when there are two of that name: nobody could say which is ours.
    #[must_use]
    pub fn cookie(&self, headers: &HeaderMap, cookie: Cookie) -> Option<String> {
        let secret = self.cookie_text(headers, cookie)?;
        let fits = secret.len() == SECRET_DIGITS && secret.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| secret.to_owned())
    }

    /// What stands in a cookie of ours, whatever it is. None when there are two of that name.
    #[must_use]
    pub fn cookie_text<'h>(&self, headers: &'h HeaderMap, cookie: Cookie) -> Option<&'h str> {
        let name = self.cookie_name(cookie);
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter(|value| value.len() <= MAX_COOKIES)
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(known, _)| *known == name)
            .map(|(_, secret)| secret);
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether our own page made the request, as far as the browser says. One that says nothing is not
    /// believed: every browser names at least the origin of a request that changes something.
    #[must_use]
    pub fn made_by_us(&self, headers: &HeaderMap) -> bool {
        let said = |name| headers.get(name).map(http::HeaderValue::as_bytes);
        let origin = said(ORIGIN.as_str());
        let ours = origin.map(|origin| origin == self.origin().as_bytes());
        match (said(SITE_HEADER), ours) {
            (_, Some(false)) => false,
            (Some(site), _) => site == b"same-origin",
            (None, ours) => ours == Some(true),
        }
    }
}

/// Whether a request with this method changes nothing.
#[must_use]
pub fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token that a page shows with every change: it follows from the secret in the cookie, which no page's
/// program can read, and does not lead back to it.
#[must_use]
pub fn csrf_token(secret: &str) -> String {
    let digest = Digest::of_parts(&[b"countersign/csrf/1\0", secret.as_bytes()]);
    hex::encode(digest.as_bytes())
}

/// Whether `shown` is the token that belongs to `secret`.
#[must_use]
pub fn is_csrf_token(shown: &str, secret: &str) -> bool {
    let own = csrf_token(secret);
    aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_bytes(), own.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(name, value);
        }
        all
    }

    fn site(host: &str, public_url: Option<&str>) -> Site {
        let request = http::Request::builder().uri("/").header("host", host).body(()).unwrap();
        Site::of(&request.into_parts().0, public_url).unwrap()
    }

    #[test]
    fn cookies_are_bound_to_the_host_wherever_there_is_tls() {
        let public = Some("https://gate.example");
        for (host, secure, domain) in [
            ("127.0.0.1:7420", false, None),
            ("[::1]:7420", false, None),
            ("[::1]", false, None),
            ("LocalHost:7420", false, Some("localhost")),
            ("gate.example", true, Some("gate.example")),
            ("other.example:8443", true, Some("other.example")),
            ("192.0.2.1", true, None),
        ] {
            let site = site(host, public);
            assert_eq!((site.secure, site.domain()), (secure, domain), "{host}");
            let set = site.set_cookie(Cookie::Session, Some("s"), None);
            assert_eq!(set.starts_with("__Host-") && set.contains("; Secure"), secure, "{set}");
            assert!(set.contains("HttpOnly; SameSite=Strict") && !set.contains("Domain"), "{set}");
        }
        assert!(!site("gate.example:80", Some("http://gate.example:80")).secure);
        assert_eq!(site("127.0.0.1:7", None).with_name().unwrap(), "http://localhost:7");
        assert_eq!(site("localhost:7", None).with_name(), None);
    }

    #[test]
    fn a16_only_a_request_of_our_own_page_changes_anything() {
        let site = site("localhost:1", None);
        for (given, ours) in [
            (&[][..], false),
            (&[("origin", "http://localhost:1")][..], true),
            (&[("origin", "http://localhost:2")][..], false),
            (&[("origin", "null")][..], false),
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")][..], false),
            (&[("sec-fetch-site", "cross-site")][..], false),
            (&[("sec-fetch-site", "none")][..], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")][..], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:1")][..], false),
        ] {
            assert_eq!(site.made_by_us(&headers(given)), ours, "{given:?}");
        }
    }

    #[test]
    fn of_two_cookies_with_our_name_none_counts() {
        let site = site("localhost:1", None);
        let (one, two) = ("a".repeat(SECRET_DIGITS), "b".repeat(SECRET_DIGITS));
        let read = |value: &str| site.cookie(&headers(&[("cookie", value)]), Cookie::Session);
        assert_eq!(read(&format!("x=1; countersign_session={one}; y=2")), Some(one.clone()));
        assert_eq!(read(&format!("countersign_session={one}; countersign_session={two}")), None);
        assert_eq!(read("countersign_session=short"), None);
        assert_eq!(read(&format!("__Host-countersign={one}")), None);
    }

    #[test]
    fn a_token_belongs_to_one_secret() {
        let token = csrf_token("secret");
        assert!(is_csrf_token(&token, "secret"));
        assert!(!is_csrf_token(&token, "other") && !is_csrf_token("", "secret"));
    }
}
