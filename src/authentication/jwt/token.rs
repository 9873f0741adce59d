//! A signed token in its compact form (RFC 7515, section 3.1), taken apart strictly and believed in nothing yet.

use serde_json::Value;

use crate::authentication::Algorithm;
use crate::authentication::denied::Reason;
use crate::authentication::jwk::{Key, MAX_KEY_ID_BYTES, bytes};
use crate::json::{self, Object};

/// How long a token may be, in bytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The kinds of token that are access tokens (RFC 9068, section 4; RFC 7519, section 5.1), in lower case.
const KINDS: [&str; 3] = ["at+jwt", "application/at+jwt", "jwt"];

/// A token whose signature was not verified yet.
pub(super) struct Unverified<'a> {
    header: Object,
    claims: Object,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes `token` apart. Both parts are read as strictly as messages are, so that nobody reads them otherwise.
    pub(super) fn read(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Reason::Malformed)?;
        let signature = bytes(signature).ok_or(Reason::Malformed)?;
        Ok(Self { header: object(header)?, claims: object(claims)?, signed, signature })
    }

    /// Who says to have issued it.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Checks that the header asks for nothing that is not done here, and gives its algorithm if that is one of
    /// `allowed`, and the name of its key.
    pub(super) fn header(&self, allowed: &[Algorithm]) -> Result<(Algorithm, &str), Reason> {
        let text = |name: &str| self.header.get(name).and_then(Value::as_str);
        let named = text("alg").ok_or(Reason::Algorithm)?;
        let algorithm = allowed.iter().find(|it| it.as_str() == named).ok_or(Reason::Algorithm)?;
        let kind = text("typ").ok_or(Reason::Kind)?.to_ascii_lowercase();
        // Who does not understand a critical member must not take the token (RFC 7515, section 4.1.11).
        if !KINDS.contains(&kind.as_str()) || self.header.contains_key("crit") {
            return Err(Reason::Kind);
        }
        let id = text("kid").filter(|id| (1..=MAX_KEY_ID_BYTES).contains(&id.len()));
        Ok((*algorithm, id.ok_or(Reason::Key)?))
    }

    /// The claims, if `key` signed them.
    pub(super) fn verify(self, key: &Key, algorithm: Algorithm) -> Result<Object, Reason> {
        if key.verifies(algorithm, self.signed.as_bytes(), &self.signature) {
            Ok(self.claims)
        } else {
            Err(Reason::Signature)
        }
    }
}

fn object(part: &str) -> Result<Object, Reason> {
    let bytes = bytes(part).ok_or(Reason::Malformed)?;
    match json::parse(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Reason::Malformed),
    }
}
