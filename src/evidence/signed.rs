//! The signature of a verdict, in either form: an SSH key's or a passkey's.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::passkey::{self, Assertion, Registered};
use super::signature::{self, MAX_ARMOUR};

/// A person's signature over a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Signature {
    /// Of an SSH key (SSHSIG, armored).
    Ssh(#[schemars(length(max = 4096))] String),
    /// Of a passkey.
    Passkey(Box<Assertion>),
}

impl<'de> Deserialize<'de> for Signature {
    /// By the kind of value: serde's own way to try one form after the other would take an array too.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(armoured) => Ok(Self::Ssh(armoured)),
            object @ Value::Object(_) => {
                let assertion = Assertion::deserialize(object).map_err(D::Error::custom)?;
                Ok(Self::Passkey(Box::new(assertion)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                Err(D::Error::custom("a signature is a text (SSHSIG) or an object (a passkey's)"))
            }
        }
    }
}

impl Signature {
    /// Whether it is not longer than any that is taken.
    #[must_use]
    pub fn fits(&self) -> bool {
        match self {
            Self::Ssh(armoured) => armoured.len() <= MAX_ARMOUR,
            Self::Passkey(assertion) => assertion.fits(),
        }
    }

    /// Checks that it is over `message`, by one of a person's SSH keys or passkeys.
    ///
    /// # Errors
    /// When it is not, why in words.
    pub fn verify(
        &self,
        message: &[u8],
        keys: &[String],
        passkeys: &[Registered],
    ) -> Result<(), String> {
        match self {
            Self::Ssh(armoured) => signature::verify(armoured, message, keys)
                .map(drop)
                .map_err(|error| error.to_string()),
            Self::Passkey(assertion) => passkey::verify(assertion, message, passkeys)
                .map(drop)
                .map_err(|error| error.to_string()),
        }
    }

    /// With what it was made, in words.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Ssh(_) => "signed".to_owned(),
            Self::Passkey(assertion) => match &assertion.name {
                Some(name) => format!("signed with the passkey `{name}`"),
                None => "signed with a passkey".to_owned(),
            },
        }
    }
}
