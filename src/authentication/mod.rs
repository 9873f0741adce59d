//! A credential becomes a `Principal` or a `Person`: gateway tokens, tokens of authorization servers, sessions of
//! people, and the local operating-system user.

mod agents;
pub mod attempts;
pub mod browser;
mod denied;
mod jwk;
pub mod jwks;
mod jwt;
pub mod oidc;
pub mod passkeys;
pub mod passwords;
mod people;
mod public_url;
mod sessions;
mod settings;
mod sign_in;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use rmcp::model::RequestStateCodec;

use crate::digest::Digest;
use crate::hold::Hold;
use crate::principal::Principal;
use crate::storage::StoreError;

pub use agents::{Agents, Tokens};
pub use denied::{Denied, Reason};
pub use jwk::{Algorithm, Key};
pub use jwt::Settings;
pub use jwt::{Claims, IssuerSettings, Issuers};
pub use people::{PERSON_TOKEN_PREFIX, People};
pub use public_url::PublicUrl;
pub use settings::SessionSettings;
pub use sign_in::{From, LINK_FOR, SignIn, SignInError, Visitor, new_secret, registered};

/// What an agent's token starts with, so that scanners for leaked secrets can find one.
const TOKEN_PREFIX: &str = "cs_";

/// The principal whose agent shows `token` at `now`.
///
/// # Errors
/// With why nobody is let in.
pub async fn agent(
    token: &str,
    (agents, issuers): (&Agents, &Issuers),
    now: Timestamp,
) -> Result<Principal, Denied> {
    if token.starts_with(TOKEN_PREFIX) {
        return agents.of_token(token, now).ok_or_else(|| Reason::Unknown.into());
    }
    if token.starts_with(PERSON_TOKEN_PREFIX) || issuers.is_empty() {
        return Err(Reason::Unknown.into());
    }
    issuers.verify(token, agents, now).await
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1); none when there are two.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let value = given.next().filter(|_| given.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The principal that opened `hold`, as it was verified then.
#[must_use]
pub fn of_hold(hold: &Hold) -> Principal {
    Principal::authenticated(hold.agent.clone(), hold.groups.clone(), hold.owner.clone())
        .through(hold.via.clone())
}

/// A new token of an agent (256 random bits) and the digest that is stored of it.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_token() -> Result<(String, Digest), StoreError> {
    random_token(TOKEN_PREFIX)
}

/// A new token of a person, likewise.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_person_token() -> Result<(String, Digest), StoreError> {
    random_token(PERSON_TOKEN_PREFIX)
}

fn random_token(prefix: &str) -> Result<(String, Digest), StoreError> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StoreError::Engine("no random bytes from the system".into()))?;
    let token = format!("{prefix}{}", hex::encode(bytes));
    let digest = Digest::of(token.as_bytes());
    Ok((token, digest))
}

/// The key that seals `requestState`, made on first use and kept in the data directory (mode 0600).
///
/// # Errors
/// When it cannot be read or made.
pub fn seal_key(data: &Path) -> Result<RequestStateCodec, String> {
    let path = data.join("request-state.key");
    let key = match std::fs::read(&path) {
        Ok(key) => key,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = vec![0; 32];
            SystemRandom::new().fill(&mut key).map_err(|_| "no random bytes from the system")?;
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| std::io::Write::write_all(&mut file, &key))
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            key
        }
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    RequestStateCodec::try_new(key).map_err(|error| format!("{}: {error}", path.display()))
}
