//! The keys of one issuer: fetched, kept for a while, and asked for again when a token names one that is not known.
//!
//! No token and no network fault makes a request wait longer than one fetch, and nobody can make the gateway
//! fetch more often than [`UNKNOWN_EVERY`] allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reqwest::{Client, Url};
use serde_json::Value;

use super::jwk::{self, Algorithm, Key};
use crate::backend::outgoing::{self, Trust};
use crate::clock::Clock;
use crate::json;

/// After how long keys are fetched anew: half of the time that a set counts as fresh.
const REFRESH: Duration = Duration::from_secs(300);
/// How soon after a failure they are asked for again.
const AGAIN: Duration = Duration::from_secs(30);
/// For how long the last good set is used while no newer one can be had; then no token is valid.
const KEPT: Duration = Duration::from_secs(3600);
/// How often a token with an unknown key may make the gateway fetch, over all tokens.
const UNKNOWN_EVERY: Duration = Duration::from_secs(30);
/// How long one fetch may take, discovery included.
const FETCH: Duration = Duration::from_secs(5);
/// How long a document may be, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// How many keys a set may have.
const MAX_KEYS: usize = 100;

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// At this address.
    At(Url),
    /// Where the issuer's own metadata says (RFC 8414, OpenID Connect Discovery).
    Discovered {
        /// The issuer, exactly as its metadata must name it.
        issuer: String,
        /// The same as an address.
        url: Url,
    },
}

/// The keys of one issuer.
pub struct Jwks {
    source: Source,
    client: Client,
    clock: Arc<dyn Clock>,
    known: ArcSwapOption<Known>,
    fault: Mutex<Option<String>>,
    /// Held during a fetch: when a token with an unknown key was the reason for one.
    asked: Arc<tokio::sync::Mutex<Option<Duration>>>,
}

/// A set that was fetched.
struct Known {
    keys: Vec<Key>,
    at: Duration,
}

/// How it stands with an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How many keys are at hand.
    pub keys: usize,
    /// Why the last fetch failed, if it did.
    pub fault: Option<String>,
}

impl Jwks {
    /// Keys that were not fetched yet, and come from where `trust` lets them.
    ///
    /// # Errors
    /// In words, when there is no HTTP client to fetch them with.
    pub fn open(source: Source, trust: &Trust, clock: Arc<dyn Clock>) -> Result<Arc<Self>, String> {
        let client = outgoing::client(trust).map_err(|error| error.to_string())?;
        let client = client.timeout(FETCH).build().map_err(|error| error.to_string())?;
        let (known, fault, asked) = Default::default();
        Ok(Arc::new(Self { source, client, clock, known, fault, asked }))
    }

    /// The key `id` for `algorithm`. One that is not known is asked for, if that was not done a moment ago.
    pub async fn key(self: &Arc<Self>, id: &str, algorithm: Algorithm) -> Option<Key> {
        if let Some(key) = self.at_hand(id, algorithm) {
            return Some(key);
        }
        let mut asked = Arc::clone(&self.asked).lock_owned().await;
        // Who fetched while this one waited may have brought it.
        if let Some(key) = self.at_hand(id, algorithm) {
            return Some(key);
        }
        let now = self.clock.monotonic();
        if asked.is_none_or(|last| now.saturating_sub(last) >= UNKNOWN_EVERY) {
            *asked = Some(now);
            let this = Arc::clone(self);
            // In a task of its own: a caller that hangs up must not end what others would have had of it.
            let fetched = tokio::spawn(async move {
                this.fetch().await;
                drop(asked);
            });
            drop(fetched.await);
        }
        self.at_hand(id, algorithm)
    }

    /// Keeps the keys fresh, for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        loop {
            let fetching = self.asked.lock().await;
            let fetched = self.fetch().await;
            drop(fetching);
            self.clock.sleep(if fetched { REFRESH } else { AGAIN }).await;
        }
    }

    /// How it stands with the keys.
    #[must_use]
    pub fn health(&self) -> Health {
        let keys = self.fresh().map_or(0, |known| known.keys.len());
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Health { keys, fault }
    }

    fn fresh(&self) -> Option<Arc<Known>> {
        let now = self.clock.monotonic();
        self.known.load_full().filter(|known| now.saturating_sub(known.at) < KEPT)
    }

    fn at_hand(&self, id: &str, algorithm: Algorithm) -> Option<Key> {
        let known = self.fresh()?;
        known.keys.iter().find(|key| key.id() == id && key.fits(algorithm)).cloned()
    }

    /// Fetches the set; when that fails, the last good one stays. Says whether it was fetched.
    async fn fetch(&self) -> bool {
        let fetched = tokio::time::timeout(FETCH, self.set()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {FETCH:?}")));
        let fault = match fetched {
            Ok(keys) => {
                self.known.store(Some(Arc::new(Known { keys, at: self.clock.monotonic() })));
                None
            }
            Err(why) => {
                tracing::warn!(source = %self.source.name(), %why, "an issuer's keys could not be fetched");
                Some(why)
            }
        };
        let fetched = fault.is_none();
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        fetched
    }

    async fn set(&self) -> Result<Vec<Key>, String> {
        let set = match &self.source {
            Source::At(url) => self.document(url.clone()).await?,
            Source::Discovered { issuer, url } => {
                let found = self.discover(issuer, url).await?;
                self.document(found).await?
            }
        };
        read_set(&set)
    }

    /// Where the issuer's metadata says that its keys are.
    async fn discover(&self, issuer: &str, url: &Url) -> Result<Url, String> {
        let mut why = String::new();
        for place in places(url) {
            match self.document(place).await {
                Ok(metadata) => return keys_of(&metadata, issuer, url),
                Err(fault) => why = fault,
            }
        }
        Err(format!("no metadata: {why}"))
    }

    async fn document(&self, url: Url) -> Result<Value, String> {
        // The library's own words only say that it failed; the causes say why.
        let told = |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error));
        let mut response = self.client.get(url.clone()).send().await.map_err(told)?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("{url} answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("{url} answered more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        json::parse(&body).map_err(|error| format!("{url} answered no JSON: {error}"))
    }
}

impl Source {
    /// The address that an operator wrote.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::At(url) => url.as_str(),
            Self::Discovered { issuer, .. } => issuer,
        }
    }
}

/// An address that an operator wrote for something to be fetched from: `https`, or `http` on this machine.
///
/// # Errors
/// In words, when it is none, or hides another.
pub fn configured(text: &str, trust: &Trust) -> Result<Url, String> {
    address(text)?;
    outgoing::configured(text, trust).map_err(|refused| refused.to_string())
}

/// An address of the form that issuers have: `https`, or `http` on this machine.
///
/// # Errors
/// In words, when it is none.
pub fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    let host = url.host_str().map(|host| host.trim_matches(['[', ']']));
    let on_loopback = host.is_some_and(|host| {
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("a user, a password or a fragment has no place in it".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if on_loopback => Ok(url),
        "http" => {
            Err("`http` beyond loopback: anybody between could give keys of their own".into())
        }
        _ => Err("neither `https` nor `http`".to_owned()),
    }
}

/// Where an issuer's metadata may be, in the order of the MCP specification (authorization, server metadata
/// discovery).
fn places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

/// The `jwks_uri` of an issuer's metadata. Metadata that names another issuer is another's (RFC 8414, section
/// 3.3), and away from the issuer's own origin only `https` and what is public is fetched from.
fn keys_of(metadata: &Value, issuer: &str, url: &Url) -> Result<Url, String> {
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err("its metadata names another issuer".to_owned());
    }
    let Some(found) = metadata.get("jwks_uri").and_then(Value::as_str) else {
        return Err("its metadata names no `jwks_uri`".to_owned());
    };
    let wrong = |why: &dyn std::fmt::Display| format!("the `jwks_uri` of its metadata: {why}");
    address(found).map_err(|why| wrong(&why))?;
    outgoing::discovered(found, url).map_err(|why| wrong(&why))
}

fn read_set(set: &Value) -> Result<Vec<Key>, String> {
    let Some(all) = set.get("keys").and_then(Value::as_array) else {
        return Err("not a set of keys: no array `keys`".to_owned());
    };
    if all.len() > MAX_KEYS {
        return Err(format!("a set of more than {MAX_KEYS} keys"));
    }
    let keys: Vec<Key> =
        all.iter().filter(|jwk| jwk::is_bounded(jwk)).filter_map(Key::read).collect();
    if keys.is_empty() {
        return Err("a set without a key that signatures could be verified with".to_owned());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cve_2025_6514_only_addresses_that_are_fetched_and_never_run() {
        for good in ["https://login.example.com/x", "http://127.0.0.1:9/keys", "http://[::1]:9/"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "$(id)",
            "a://x&calc",
            "https://user@login.example.com/",
            "//login.example.com",
            "data:application/json,{}",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cve_2025_6514_metadata_leads_to_no_other_scheme_and_speaks_for_its_own_issuer() {
        let issuer = "http://127.0.0.1:9/realm";
        let url = Url::parse(issuer).unwrap();
        let keys = |uri: &str| keys_of(&json!({ "issuer": issuer, "jwks_uri": uri }), issuer, &url);
        assert!(keys("http://127.0.0.1:9/keys").is_ok());
        assert!(keys("https://keys.example.com/").is_ok());
        for bad in [
            "http://127.0.0.1:10/keys",
            "https://10.0.0.1/keys",
            "file:///keys",
            "javascript:1",
            "a://x&calc",
            "",
        ] {
            assert!(keys(bad).is_err(), "{bad}");
        }
        let of_another = json!({ "issuer": "http://127.0.0.1:9/", "jwks_uri": "https://x/" });
        assert!(keys_of(&of_another, issuer, &url).is_err());
    }

    #[test]
    fn metadata_is_looked_for_where_the_specifications_say() {
        let places =
            |issuer: &str| places(&Url::parse(issuer).unwrap()).into_iter().map(String::from);
        assert_eq!(
            places("https://login.example.com").collect::<Vec<_>>(),
            [
                "https://login.example.com/.well-known/oauth-authorization-server",
                "https://login.example.com/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            places("https://login.example.com/realm/").collect::<Vec<_>>(),
            [
                "https://login.example.com/.well-known/oauth-authorization-server/realm",
                "https://login.example.com/.well-known/openid-configuration/realm",
                "https://login.example.com/realm/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn a_set_is_bounded_and_holds_only_keys_for_signatures() {
        let key = |id: &str, more: &str, value: &str| {
            let x = "A".repeat(43);
            let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x });
            key[more] = value.into();
            key
        };
        let good = key("a", "use", "sig");
        assert_eq!(read_set(&json!({ "keys": [good, key("b", "use", "enc")] })).unwrap().len(), 1);
        let shared = json!({ "kty": "oct", "kid": "s", "k": "AAAA" });
        for bad in [
            json!({}),
            json!({ "keys": [] }),
            json!({ "keys": [shared] }),
            json!({ "keys": [key("", "use", "sig")] }),
            json!({ "keys": vec![good; MAX_KEYS + 1] }),
        ] {
            assert!(read_set(&bad).is_err(), "{bad}");
        }
    }
}
