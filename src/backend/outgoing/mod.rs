//! The guard of every connection that the gateway opens: whose address it is, is looked at when a name has been
//! resolved, and only what was looked at is connected to.
//!
//! What an operator wrote is reached as it is written: a literal address is that address, `localhost` is
//! this machine, and any other name leads to public addresses only, unless the operator says otherwise.
//! Where an issuer's metadata leads is reached over https and at public addresses only, if that is not where
//! the metadata came from. Redirects are never followed, and proxies that the environment names are never used.

mod addresses;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Url, redirect};

pub use self::addresses::{Place, place};

/// How many addresses of one name are looked at.
const MAX_ADDRESSES: usize = 64;
/// The largest file of certificates, in bytes.
const MAX_CA_BYTES: u64 = 1 << 20;

/// Resolves names. The system's does; tests bring others.
pub trait Names: Send + Sync + 'static {
    /// The addresses of `name` now.
    fn addresses(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// What the system says.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Names for System {
    fn addresses(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
        })
    }
}

/// Where one client may connect to, and whom it believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Whether names may lead to addresses that are not public.
    pub allow_private: bool,
    /// A file of certificates (PEM) that are believed in place of the system's.
    pub ca: Option<PathBuf>,
}

/// Why a URL is not for the gateway to go to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// The URL that an operator wrote, or a secret holds.
///
/// # Errors
/// When it is none, carries a user or password, hides an address behind another way to write it, or names
/// an address that nobody means.
pub fn configured(text: &str, trust: &Trust) -> Result<Url, Refused> {
    let url = parse(text)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Refused("neither `https` nor `http`".to_owned()));
    }
    let Some(address) = literal(&url) else { return Ok(url) };
    let address = address.to_canonical();
    // `127.1`, `0x7f000001` and the like are how an address is hidden, not how it is written.
    let authority = text.split_once("//").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    if !host.is_some_and(|host| host.eq_ignore_ascii_case(&address.to_string())) {
        return Err(Refused(format!("it is another way to write {address}; write the address")));
    }
    let hides = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(own) => !own.is_loopback() && !own.is_unique_local(),
    };
    match place(address) {
        Place::Loopback | Place::Private if hides => {
            Err(Refused(format!("{address} is another way to write an address that is not public")))
        }
        Place::Public | Place::Loopback | Place::Private => Ok(url),
        Place::Other(_) if trust.allow_private => Ok(url),
        Place::Other(what) => Err(Refused(format!("{address} is {what}"))),
    }
}

/// A URL that somebody else wrote, in metadata that came from `told_by`. It is only ever fetched.
///
/// # Errors
/// When it is none, carries a user or password, or leads to another origin than `told_by` and is not https or
/// names an address that is not public.
pub fn discovered(text: &str, told_by: &Url) -> Result<Url, Refused> {
    let url = parse(text)?;
    if url.origin() == told_by.origin() {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return Err(Refused("not `https`".to_owned()));
    }
    match literal(&url).map(|address| (address, place(address))) {
        None | Some((_, Place::Public)) => {}
        Some((address, _)) => return Err(Refused(format!("{address} is not public"))),
    }
    if is_localhost(url.host_str().unwrap_or_default()) {
        return Err(Refused("it names this machine".to_owned()));
    }
    Ok(url)
}

/// A builder of clients that connect to configured URLs, and to those that are discovered from there.
///
/// # Errors
/// When the certificates of `trust` cannot be read.
pub fn client(trust: &Trust) -> Result<ClientBuilder, Refused> {
    let guard = Guard { allow_private: trust.allow_private, names: Arc::new(System) };
    Ok(match &trust.ca {
        Some(ca) => guarded(guard).tls_certs_only(certificates(ca)?),
        None => guarded(guard),
    })
}

fn guarded(guard: Guard) -> ClientBuilder {
    Client::builder().redirect(redirect::Policy::none()).no_proxy().dns_resolver(Arc::new(guard))
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, Refused> {
    let wrong = |why: &dyn std::fmt::Display| Refused(format!("`ca` {}: {why}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| wrong(&error))?.len();
    if length > MAX_CA_BYTES {
        return Err(wrong(&format!("larger than {MAX_CA_BYTES} bytes")));
    }
    let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
    let found =
        Certificate::from_pem_bundle(&pem).map_err(|_| wrong(&"no certificates in PEM form"))?;
    if found.is_empty() {
        return Err(wrong(&"no certificates in PEM form"));
    }
    Ok(found)
}

fn parse(text: &str) -> Result<Url, Refused> {
    let url = Url::parse(text).map_err(|error| Refused(format!("not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused("a user or password stands in the URL".to_owned()));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.[]:".contains(c);
    if url.host_str().is_none_or(|host| host.is_empty() || !host.chars().all(fits)) {
        return Err(Refused("no host that a name or an address can be".to_owned()));
    }
    Ok(url)
}

/// The address, if the host of a URL is one.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// The resolver of one client: of what a name leads to, only what may be connected to is told.
struct Guard {
    allow_private: bool,
    names: Arc<dyn Names>,
}

impl Guard {
    fn allows(&self, name: &str, address: IpAddr) -> bool {
        match place(address) {
            Place::Public => true,
            _ if self.allow_private => true,
            Place::Loopback => name.eq_ignore_ascii_case("localhost"),
            Place::Private | Place::Other(_) => false,
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let found = self.names.addresses(name.clone());
        let guard = Self { allow_private: self.allow_private, names: Arc::clone(&self.names) };
        Box::pin(async move {
            let found = found.await?;
            let (allowed, not): (Vec<IpAddr>, Vec<IpAddr>) =
                found.into_iter().partition(|address| guard.allows(&name, *address));
            if allowed.is_empty() {
                let led = not.first().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
                let told = format!(
                    "the name leads to {led}, which is not public; if that is meant, say `allow_private: true`"
                );
                return Err(std::io::Error::other(told).into());
            }
            let allowed = allowed.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(allowed.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}
