//! Verdicts signed with passkeys (`WebAuthn` Level 3): what is signed, and whether a registered key signed it.
//!
//! The challenge of such a signature is the SHA-256 of the verdict's statement, so nothing has to be remembered
//! between asking and answering, and the signature can be checked again from the record alone.

mod data;
mod key;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub use self::data::{AuthenticatorData, ClientData, MAX_ID};
pub use self::key::{ALGORITHMS, PublicKey};

/// The longest part of an assertion, in base64url characters: browsers collect some hundred bytes, and the
/// signature of the longest key that is taken has 1024.
pub const MAX_PART: usize = 4096;

/// The form of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// An authentication assertion (`WebAuthn` Level 3, section 7.2).
    Webauthn,
}

/// A passkey's signature of a verdict; bytes in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The form.
    pub kind: Form,
    /// The passkey's identifier.
    #[schemars(length(max = 4096))]
    pub credential: String,
    /// What the authenticator says (`authenticatorData`).
    #[schemars(length(max = 4096))]
    pub authenticator_data: String,
    /// What the browser collected (`clientDataJSON`).
    #[schemars(length(max = 4096))]
    pub client_data: String,
    /// The signature over both.
    #[schemars(length(max = 4096))]
    pub signature: String,
    /// The person's name for the passkey, as the gateway knew it; what a sender says here counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub name: Option<String>,
}

impl Assertion {
    /// Whether no part is longer than [`MAX_PART`].
    #[must_use]
    pub fn fits(&self) -> bool {
        let parts = [
            &self.credential,
            &self.authenticator_data,
            &self.client_data,
            &self.signature,
            self.name.as_ref().unwrap_or(&self.credential),
        ];
        parts.iter().all(|part| part.len() <= MAX_PART)
    }

    /// The origin of the page that asked for it, as the browser says; none when that cannot be read.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let bytes = decoded(&self.client_data)?;
        ClientData::read(&bytes).map(|client| client.origin().to_owned())
    }
}

/// A passkey whose signatures are a person's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The identifier, in base64url.
    pub id: String,
    /// The person's name for it.
    pub name: String,
    /// The public key (`COSE_Key`), in base64url.
    pub key: String,
    /// The domain that it was registered for.
    pub domain: String,
}

/// Why an assertion is no signature of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// It cannot be read.
    #[error("this is no answer of a passkey")]
    Unreadable,
    /// The passkey is nobody's, or another person's.
    #[error(
        "this passkey is not registered for this person, or cannot sign verdicts; add one under `/account`"
    )]
    NotRegistered,
    /// It is a passkey's answer to something else: to sign in, or to another verdict.
    #[error("the signature of the passkey `{0}` is not over this verdict")]
    OtherVerdict(String),
    /// A page of somebody else asked for it.
    #[error("the signature of the passkey `{name}` was asked for by {origin}, not by this gateway")]
    Origin {
        /// The passkey.
        name: String,
        /// Who asked.
        origin: String,
    },
    /// The authenticator made it for another domain.
    #[error("the signature of the passkey `{0}` was made for another domain")]
    Domain(String),
    /// Nobody was there, or nobody was verified.
    #[error(
        "the passkey `{0}` signed without verifying who was there (by a PIN, a finger, a face)"
    )]
    NotVerified(String),
    /// The key did not sign this.
    #[error("the signature is not of the passkey `{0}`")]
    Wrong(String),
    /// The passkey has another name in the register.
    #[error("the passkey is called `{0}`")]
    OtherName(String),
}

/// The challenge by which a passkey signs `message`, in base64url: its SHA-256.
#[must_use]
pub fn challenge(message: &[u8]) -> String {
    encoded(Digest::of(message).as_bytes())
}

/// Whether `given` is a signature of `message` by one of the `registered` passkeys; gives that one.
///
/// The origin must be one of the passkey's own domain, over TLS or on the same machine; whether it is exactly
/// the gateway's, only the gateway knows. The counter says nothing here: a signature is for one verdict.
///
/// # Errors
/// When it is not, with the reason.
pub fn verify<'r>(
    given: &Assertion,
    message: &[u8],
    registered: &'r [Registered],
) -> Result<&'r Registered, PasskeyError> {
    if !given.fits() {
        return Err(PasskeyError::Unreadable);
    }
    let known = registered.iter().find(|known| known.id == given.credential);
    let known = known.ok_or(PasskeyError::NotRegistered)?;
    let name = || known.name.clone();
    let read = |text: &str| decoded(text).ok_or(PasskeyError::Unreadable);
    let client_data = read(&given.client_data)?;
    let client = ClientData::read(&client_data).ok_or(PasskeyError::Unreadable)?;
    if !client.is_under(&known.domain) {
        let origin = client.origin().chars().take(256).collect();
        return Err(PasskeyError::Origin { name: name(), origin });
    }
    if !client.is_answer_to(&challenge(message)) {
        return Err(PasskeyError::OtherVerdict(name()));
    }
    let mut signed = read(&given.authenticator_data)?;
    let data = AuthenticatorData::read(&signed).ok_or(PasskeyError::Unreadable)?;
    if !data.is_of(&known.domain) {
        return Err(PasskeyError::Domain(name()));
    }
    if !data.is_verified() {
        return Err(PasskeyError::NotVerified(name()));
    }
    signed.extend(Digest::of(&client_data).as_bytes());
    let public = read(&known.key)?;
    let (key, left) = PublicKey::read(&public).ok_or(PasskeyError::Unreadable)?;
    if !left.is_empty() || !key.signed(&signed, &read(&given.signature)?) {
        return Err(PasskeyError::Wrong(name()));
    }
    if given.name.as_ref().is_some_and(|given| *given != known.name) {
        return Err(PasskeyError::OtherName(name()));
    }
    Ok(known)
}

/// Bytes as `WebAuthn` writes them in JSON.
#[must_use]
pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes that a text is in base64url; none when it is not.
#[must_use]
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
