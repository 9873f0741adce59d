//! An ID token (`OpenID` Connect Core, section 2): taken apart strictly, verified, and checked against what was asked.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::OidcError;
use crate::authentication::jwk::{Algorithm, Key, bytes};
use crate::json::{self, Object};

/// How long a token may be, in bytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;
/// How far the provider's clock and ours may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A token whose signature was not verified yet.
pub(super) struct IdToken<'a> {
    header: Object,
    claims: Object,
    signed: &'a str,
    signature: Vec<u8>,
}

/// What a token must say to be the answer to what was asked.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

fn wrong(why: &'static str) -> OidcError {
    OidcError::Token(why)
}

impl<'a> IdToken<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, OidcError> {
        let malformed = || wrong("it is no signed token");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let object = |part: &str| match bytes(part).map(|bytes| json::parse(&bytes)) {
            Some(Ok(Value::Object(object))) => Ok(object),
            _ => Err(malformed()),
        };
        let signature = bytes(signature).ok_or_else(malformed)?;
        Ok(Self { header: object(header)?, claims: object(claims)?, signed, signature })
    }

    /// Its algorithm, if that is one of `allowed`, and the name of its key.
    pub(super) fn header(&self, allowed: &[Algorithm]) -> Result<(Algorithm, &str), OidcError> {
        let text = |name: &str| self.header.get(name).and_then(Value::as_str);
        let named = text("alg").unwrap_or_default();
        let algorithm = allowed.iter().find(|it| it.as_str() == named);
        let algorithm = algorithm.ok_or_else(|| wrong("its algorithm is not allowed"))?;
        // Who does not understand a critical member must not take the token (RFC 7515, section 4.1.11).
        if self.header.contains_key("crit") {
            return Err(wrong("it asks for something that is not known here"));
        }
        Ok((*algorithm, text("kid").ok_or_else(|| wrong("it names no key"))?))
    }

    /// The claims, if `key` signed them and they answer what was asked (Core, section 3.1.3.7).
    pub(super) fn claims(
        self,
        (key, algorithm): (&Key, Algorithm),
        expected: &Expected<'_>,
    ) -> Result<Object, OidcError> {
        if !key.verifies(algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(wrong("its signature is wrong"));
        }
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(expected.issuer) {
            return Err(wrong("another issuer made it"));
        }
        let (for_us, for_others) = match self.claims.get("aud") {
            Some(Value::String(one)) => (one == expected.client_id, false),
            Some(Value::Array(all)) => {
                (all.iter().any(|it| it == expected.client_id), all.len() > 1)
            }
            _ => (false, false),
        };
        let party = text("azp");
        let party_is_us = party.map_or(!for_others, |party| party == expected.client_id);
        if !for_us || !party_is_us {
            return Err(wrong("it is for somebody else"));
        }
        if text("nonce") != Some(expected.nonce) {
            return Err(wrong("it does not belong to this sign-in"));
        }
        let time = |name: &str| self.claims.get(name).and_then(second);
        let late = |at: Timestamp| at.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX);
        if time("exp").is_none_or(|end| late(end) <= expected.now) {
            return Err(wrong("it is at its end, or has none"));
        }
        let early = |name: &str| time(name).is_some_and(|begins| begins > late(expected.now));
        if time("iat").is_none() || early("iat") || early("nbf") {
            return Err(wrong("it is not valid yet"));
        }
        Ok(self.claims)
    }
}

/// A time as tokens write it: seconds since 1970, perhaps with a fraction.
fn second(value: &Value) -> Option<Timestamp> {
    let whole = value.as_i64().or_else(|| value.as_f64().map(|it| it as i64))?;
    Timestamp::from_second(whole).ok()
}
