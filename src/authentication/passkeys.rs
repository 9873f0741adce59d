//! Passkeys (`WebAuthn`): a challenge that one browser can answer once, and what a right answer proves.
//!
//! The few checks that are left without attestation are made here, over aws-lc-rs, which is in the program
//! anyway: the libraries for it bring a second set of cryptography with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::browser::Site;
use super::sign_in::new_secret;
use crate::clock::Clock;
use crate::digest::Digest;
use crate::evidence::passkey::{
    AuthenticatorData, ClientData, MAX_ID, PublicKey, decoded, encoded,
};
use crate::storage::{Passkey, StoreError};

pub use crate::evidence::passkey::ALGORITHMS;

/// How long a challenge can be answered.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(300);
/// How many challenges may be open; beyond that the oldest is forgotten.
const MAX_OPEN: usize = 10_000;
/// The longest name of a passkey, in characters.
const MAX_NAME: usize = 64;

/// The challenges that nobody has answered.
pub struct Ceremonies {
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<String, Ceremony>>,
}

/// What a challenge is for, and who may answer it.
#[derive(Clone, Debug)]
struct Ceremony {
    /// The browser that asked, by the digest of its secret.
    browser: Digest,
    domain: String,
    origin: String,
    purpose: Purpose,
    until: Duration,
}

/// What a challenge is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To sign in.
    SignIn,
    /// To register a passkey.
    Register {
        /// The session or invitation under which this may be done, by its digest.
        under: Digest,
        /// By what authenticators are to know the person, in base64url.
        handle: String,
    },
}

/// What a browser is asked for.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// The challenge, in base64url.
    pub challenge: String,
    /// The domain.
    pub domain: String,
    /// How long there is, in milliseconds.
    pub timeout: u64,
}

/// A browser's answer with a new passkey; bytes in base64url.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    name: Option<String>,
    id: String,
    client_data: String,
    authenticator_data: String,
}

/// A browser's answer with a known one; bytes in base64url.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    id: String,
    client_data: String,
    authenticator_data: String,
    signature: String,
    handle: Option<String>,
}

/// A right answer by whoever has the key of the passkey that it names.
#[derive(Debug)]
pub struct Answered {
    /// The passkey's identifier, in base64url.
    pub id: String,
    domain: String,
    message: Vec<u8>,
    signature: Vec<u8>,
    handle: Option<String>,
    counter: u32,
}

impl std::fmt::Debug for Ceremonies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ceremonies").finish_non_exhaustive()
    }
}

impl Ceremonies {
    /// None is open.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, open: Mutex::default() }
    }

    /// A challenge for the browser with this secret; none under an address that has no passkeys.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn begin(
        &self,
        site: &Site,
        browser: &str,
        purpose: Purpose,
    ) -> Result<Option<Asked>, StoreError> {
        let Some(domain) = site.domain().map(str::to_owned) else { return Ok(None) };
        let challenge = encoded(Digest::of(new_secret()?.0.as_bytes()).as_bytes());
        let now = self.clock.monotonic();
        let ceremony = Ceremony {
            browser: Digest::of(browser.as_bytes()),
            domain: domain.clone(),
            origin: site.origin(),
            purpose,
            until: now + ANSWERED_WITHIN,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_OPEN {
            open.retain(|_, ceremony| ceremony.until > now);
        }
        if open.len() >= MAX_OPEN
            && let Some(oldest) =
                open.iter().min_by_key(|(_, it)| it.until).map(|(challenge, _)| challenge.clone())
        {
            open.remove(&oldest);
        }
        open.insert(challenge.clone(), ceremony);
        let timeout = u64::try_from(ANSWERED_WITHIN.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Asked { challenge, domain, timeout }))
    }

    /// The new passkey that a browser answers with, under the session or invitation `under`; none when it is no
    /// right answer to a challenge of that browser.
    #[must_use]
    pub fn registered(
        &self,
        answer: &Registered,
        (browser, under): (&str, Digest),
        now: Timestamp,
    ) -> Option<Passkey> {
        let client_data = decoded(&answer.client_data)?;
        let client = ClientData::read(&client_data)?;
        let ceremony = self.take(&client.challenge, browser)?;
        let Purpose::Register { under: begun_under, handle } = ceremony.purpose else {
            return None;
        };
        let bytes = decoded(&answer.authenticator_data)?;
        let data = AuthenticatorData::read(&bytes)?;
        let ours = client.is_for("webauthn.create", &ceremony.origin);
        if begun_under != under || !ours || !data.is_for(&ceremony.domain) {
            return None;
        }
        let (id, key, written) = data.key?;
        if decoded(&answer.id)? != id {
            return None;
        }
        let name = answer.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let shown = |c: &char| !c.is_control();
        Some(Passkey {
            id: encoded(id),
            name: name.unwrap_or("Passkey").chars().filter(shown).take(MAX_NAME).collect(),
            algorithm: key.algorithm().to_owned(),
            key: encoded(written),
            handle,
            domain: ceremony.domain,
            signs: true,
            counter: data.counter,
            added_at: now,
            used_at: None,
        })
    }

    /// What a browser answers with to sign in; none when it is no right answer to a challenge of that browser,
    /// whoever signed it.
    #[must_use]
    pub fn answered(&self, answer: &Signed, browser: &str) -> Option<Answered> {
        let client_data = decoded(&answer.client_data)?;
        let client = ClientData::read(&client_data)?;
        let ceremony = self.take(&client.challenge, browser)?;
        let mut message = decoded(&answer.authenticator_data)?;
        let data = AuthenticatorData::read(&message)?;
        let ours = client.is_for("webauthn.get", &ceremony.origin);
        if ceremony.purpose != Purpose::SignIn || !ours || !data.is_for(&ceremony.domain) {
            return None;
        }
        let counter = data.counter;
        message.extend(Digest::of(&client_data).as_bytes());
        Some(Answered {
            id: encoded(&decoded(&answer.id).filter(|id| id.len() <= MAX_ID)?),
            domain: ceremony.domain,
            message,
            signature: decoded(&answer.signature)?,
            handle: answer.handle.clone(),
            counter,
        })
    }

    /// Takes a challenge, which nobody can answer again.
    fn take(&self, challenge: &str, browser: &str) -> Option<Ceremony> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ceremony = open.remove(challenge)?;
        let theirs = ceremony.browser == Digest::of(browser.as_bytes());
        (theirs && self.clock.monotonic() < ceremony.until).then_some(ceremony)
    }
}

impl Answered {
    /// Whether this passkey signed the answer; then with its counter.
    #[must_use]
    pub fn signed_by(&self, passkey: &Passkey) -> Option<u32> {
        let (key, _) = decoded(&passkey.key)
            .and_then(|bytes| PublicKey::read(&bytes).map(|(key, left)| (key, left.len())))?;
        let theirs = self.handle.as_ref().is_none_or(|handle| *handle == passkey.handle);
        let same = self.id == passkey.id && self.domain == passkey.domain && theirs;
        (same && key.signed(&self.message, &self.signature)).then_some(self.counter)
    }
}

/// A name by which authenticators are to know a person who has no passkey yet.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_handle() -> Result<String, StoreError> {
    Ok(encoded(Digest::of(new_secret()?.0.as_bytes()).as_bytes()))
}
