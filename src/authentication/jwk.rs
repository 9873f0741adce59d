//! Public keys as issuers publish them (RFC 7517, RFC 7518), and the signatures that they verify.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The longest name of a key, in bytes.
pub(super) const MAX_KEY_ID_BYTES: usize = 256;
/// The longest number of an RSA key, in bytes (8192 bits).
const MAX_NUMBER_BYTES: usize = 1024;

/// How a token may be signed (RFC 7518, RFC 8037). Algorithms whose key both sides share are not among them:
/// a public key would be such a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum Algorithm {
    ES256,
    ES384,
    EdDSA,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
}

impl Algorithm {
    /// Its name, as `alg` of a token's header says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
        }
    }

    const fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
            Self::ES256 | Self::ES384 | Self::EdDSA => None,
        }
    }
}

/// A public key that may verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: String,
    /// The one algorithm that its issuer says it is for.
    only: Option<String>,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

impl Key {
    /// Reads one element of a key set; none when it is not of a kind that is used here, is meant for something
    /// else than signatures, or has no name.
    #[must_use]
    pub fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let number = |name: &str| text(name).and_then(bytes);
        let id = text("kid").filter(|id| (1..=MAX_KEY_ID_BYTES).contains(&id.len()))?;
        if jwk.get("use").is_some_and(|it| it != "sig") {
            return None;
        }
        let verifies =
            |all: &Value| all.as_array().is_some_and(|all| all.iter().any(|it| it == "verify"));
        if jwk.get("key_ops").is_some_and(|all| !verifies(all)) {
            return None;
        }
        let only = match jwk.get("alg") {
            Some(only) => Some(only.as_str()?.to_owned()),
            None => None,
        };
        let public = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => Public::P256(point(number("x")?, &number("y")?, 32)?),
            ("EC", Some("P-384")) => Public::P384(point(number("x")?, &number("y")?, 48)?),
            ("OKP", Some("Ed25519")) => {
                Public::Ed25519(number("x").filter(|bytes| bytes.len() == 32)?)
            }
            ("RSA", None) => Public::Rsa { modulus: number("n")?, exponent: number("e")? },
            _ => return None,
        };
        Some(Self { id: id.to_owned(), only, public })
    }

    /// The name that tokens call it by (`kid`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is a key of `algorithm`.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let of_its_kind = match self.public {
            Public::P256(_) => algorithm == Algorithm::ES256,
            Public::P384(_) => algorithm == Algorithm::ES384,
            Public::Ed25519(_) => algorithm == Algorithm::EdDSA,
            Public::Rsa { .. } => algorithm.rsa().is_some(),
        };
        of_its_kind && self.only.as_deref().is_none_or(|only| only == algorithm.as_str())
    }

    /// Whether `signature` is one of `algorithm` over `message`, made with the private half of this key.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let whole = |with: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(with, key).verify(message, signature).is_ok()
        };
        match &self.public {
            Public::P256(key) => whole(&ECDSA_P256_SHA256_FIXED, key),
            Public::P384(key) => whole(&ECDSA_P384_SHA384_FIXED, key),
            Public::Ed25519(key) => whole(&ED25519, key),
            Public::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|with| {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(with, message, signature).is_ok()
            }),
        }
    }
}

/// The bytes behind their form in tokens and keys (RFC 7515, appendix C); one text has one value.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// An uncompressed point (SEC 1, section 2.3.3) of a curve whose coordinates have `size` bytes.
fn point(mut x: Vec<u8>, y: &[u8], size: usize) -> Option<Vec<u8>> {
    if x.len() != size || y.len() != size {
        return None;
    }
    x.insert(0, 4);
    x.extend_from_slice(y);
    Some(x)
}

/// Whether every number of the set's element is of a size that a key may have.
pub(super) fn is_bounded(jwk: &Value) -> bool {
    let longest = MAX_NUMBER_BYTES * 4 / 3 + 4;
    ["n", "e", "x", "y"]
        .iter()
        .all(|name| jwk.get(name).and_then(Value::as_str).is_none_or(|it| it.len() <= longest))
}
