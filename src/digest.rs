//! SHA-256 digests, canonical JSON (RFC 8785) and the digest that binds an approval to one exact call.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, InvalidId};
use crate::json::Object;

/// A SHA-256 value, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// The digest of `parts`, one after the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        let mut value = [0; 32];
        value.copy_from_slice(context.finish().as_ref());
        Self(value)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same; how long it takes tells nothing about where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// The digest whose value is `bytes`.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut value = [0; 32];
        let digits = text.strip_prefix("sha256:").ok_or(InvalidId("digest"))?;
        hex::decode_to_slice(digits, &mut value).map_err(|_| InvalidId("digest"))?;
        Ok(Self(value))
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$", "description": "A SHA-256." })
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The canonical form of `value` (RFC 8785, JSON Canonicalization Scheme).
///
/// # Errors
/// When a number cannot be written as RFC 8785 asks; arguments were checked for that on arrival
/// ([`crate::json::check_i_json`]).
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| NotCanonical(error.to_string()))
}

/// A value that RFC 8785 cannot write.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no canonical form: {0}")]
pub struct NotCanonical(String);

/// What an approval is bound to: version, agent, tool, its definition and the arguments, nothing
/// trimmed and nothing dropped.
///
/// # Errors
/// As [`canonical`].
pub fn call_digest(
    agent: &AgentName,
    tool: &str,
    definition_fingerprint: &Digest,
    arguments: &Object,
) -> Result<Digest, NotCanonical> {
    #[derive(Serialize)]
    struct Bound<'a> {
        v: u8,
        agent: &'a AgentName,
        tool: &'a str,
        definition_fingerprint: &'a Digest,
        arguments: &'a Object,
    }
    canonical(&Bound { v: 1, agent, tool, definition_fingerprint, arguments })
        .map(|bytes| Digest::of(&bytes))
}
