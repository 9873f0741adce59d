//! Verdicts signed with SSH keys: what is signed, and whether a signature of it is a registered key's.
//!
//! The form is SSHSIG (OpenSSH, `PROTOCOL.sshsig`), so that `ssh-keygen -Y sign` makes signatures and anybody
//! can check them without this program. RSA keys are not taken: the other kinds are shorter and never weak.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use ssh_key::public::KeyData;
use ssh_key::{EcdsaCurve, HashAlg, PublicKey, SshSig};

use crate::digest::{self, Digest, NotCanonical};
use crate::hold::{Decision, Resolution};
use crate::ids::{CallId, HoldId};

/// The namespace of a verdict's signature, which no signature for anything else has.
pub const NAMESPACE: &str = "countersign-verdict@v1";

/// How the form begins, and its version.
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
/// The longest signature in its armour, in bytes; the longest of a kind that is taken has about 1 KiB.
pub const MAX_ARMOUR: usize = 4096;
/// The longest public key, in bytes.
const MAX_PUBLIC: usize = 4096;
/// How many bytes follow the signature of a security key: flags and a counter (`PROTOCOL.u2f`).
const TRAILER: usize = 5;
/// The flag of a security key that somebody touched it.
const TOUCHED: u8 = 1;

/// What a person signs: one verdict on one call, so that the signature is good for nothing else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Statement<'a> {
    /// The hold.
    pub hold: HoldId,
    /// The call digest that the person saw.
    pub digest: &'a Digest,
    /// Approve or reject.
    pub decision: Decision,
    /// The person's name.
    pub person: &'a str,
    /// The reason given.
    pub reason: Option<&'a str>,
    /// Until when people may decide.
    pub decide_by: Timestamp,
    /// Where it says what became of an execution: so that an approval's signature is none of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolves: Option<Resolves>,
}

/// What a person says of an execution whose outcome nobody recorded.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Resolves {
    /// What became of it.
    pub resolution: Resolution,
    /// The execution.
    pub call: CallId,
}

impl Statement<'_> {
    /// The bytes that are signed: canonical JSON.
    ///
    /// # Errors
    /// As [`digest::canonical`].
    pub fn message(&self) -> Result<Vec<u8>, NotCanonical> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            v: u8,
            #[serde(flatten)]
            statement: &'a Statement<'a>,
        }
        digest::canonical(&Versioned { v: 1, statement: self })
    }
}

/// Why a signature, or a key, is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is no signature in this form.
    #[error("this is not an SSH signature (`-----BEGIN SSH SIGNATURE-----`)")]
    NotASignature,
    /// It was made for something else.
    #[error("the signature is for the namespace `{0}`; a verdict's is for `{NAMESPACE}`")]
    Namespace(String),
    /// The key is nobody's, or another person's.
    #[error(
        "the key {0} is not registered for this person; an operator registers it with \
         `countersign reviewers key add NAME FILE.pub`"
    )]
    NotRegistered(String),
    /// A security key signed without being touched.
    #[error("the security key {0} signed without being touched")]
    NotTouched(String),
    /// It is a registered key's, but not over this message.
    #[error("the signature of {0} is not over this verdict")]
    Wrong(String),
    /// It is no public key in this form.
    #[error("this is not a public key in OpenSSH's one-line form; give the `.pub` file")]
    NotAKey,
    /// A kind of key that is not taken.
    #[error("keys of the kind `{0}` are not taken; use Ed25519 or ECDSA, on a security key or not")]
    Kind(String),
}

/// A public key as it is registered: without its comment, and its fingerprint (`SHA256:…`).
///
/// # Errors
/// When `text` is not one public key in OpenSSH's one-line form, or of a kind that is not taken.
pub fn public_key(text: &str) -> Result<(String, String), SignatureError> {
    let text = text.trim();
    if text.len() > MAX_PUBLIC || text.lines().count() != 1 {
        return Err(SignatureError::NotAKey);
    }
    let key = PublicKey::from_openssh(text).map_err(|_| SignatureError::NotAKey)?;
    Verifier::of(key.key_data())?;
    let bare = PublicKey::new(key.key_data().clone(), "");
    let public = bare.to_openssh().map_err(|_| SignatureError::NotAKey)?;
    Ok((public.trim_end().to_owned(), fingerprint(key.key_data())))
}

/// Whether `armoured` is a signature over `message` by one of the `registered` public keys; gives the
/// key's fingerprint.
///
/// # Errors
/// When it is not, with the reason.
pub fn verify(
    armoured: &str,
    message: &[u8],
    registered: &[String],
) -> Result<String, SignatureError> {
    if armoured.len() > MAX_ARMOUR {
        return Err(SignatureError::NotASignature);
    }
    let signed =
        SshSig::from_pem(armoured.as_bytes()).map_err(|_| SignatureError::NotASignature)?;
    if signed.namespace() != NAMESPACE {
        return Err(SignatureError::Namespace(signed.namespace().to_owned()));
    }
    if encoded(&signed).is_none_or(|bytes| bytes != unarmoured(armoured)) {
        return Err(SignatureError::NotASignature);
    }
    let key = signed.public_key();
    let print = fingerprint(key);
    let is_it =
        |known: &String| PublicKey::from_openssh(known).is_ok_and(|it| it.key_data() == key);
    if !registered.iter().any(is_it) {
        return Err(SignatureError::NotRegistered(print));
    }
    let verifier = Verifier::of(key)?;
    if signed.algorithm() != key.algorithm() {
        return Err(SignatureError::Wrong(print));
    }
    // Made here of what is expected, so that nothing that the signature says of itself is believed.
    let wrong = || SignatureError::Wrong(print.clone());
    let data = SshSig::signed_data(NAMESPACE, signed.hash_alg(), message).map_err(|_| wrong())?;
    if verifier.is_untouched(signed.signature_bytes()) {
        return Err(SignatureError::NotTouched(print));
    }
    verifier.verify(&data, signed.signature_bytes()).ok_or_else(wrong)?;
    Ok(print)
}

/// What `signed` is in bytes. The crate reads other bytes as the same too; a signature has one form only.
fn encoded(signed: &SshSig) -> Option<Vec<u8>> {
    let all = signed.signature_bytes();
    let key = signed.public_key();
    let trailer = if key.is_sk_ed25519() || key.is_sk_ecdsa_p256() { TRAILER } else { 0 };
    let (raw, trailer) = all.split_at_checked(all.len().checked_sub(trailer)?)?;
    let mut signature = field(signed.algorithm().as_str().as_bytes());
    signature.extend(field(raw));
    signature.extend(trailer);
    let public = PublicKey::new(key.clone(), "").to_bytes().ok()?;
    let mut bytes = [MAGIC, &VERSION.to_be_bytes()].concat();
    let hash = signed.hash_alg();
    for part in [&public, NAMESPACE.as_bytes(), b"", hash.as_str().as_bytes(), &signature] {
        bytes.extend(field(part));
    }
    Some(bytes)
}

/// A field of SSH's own form: its length in four bytes, and itself (`string`, RFC 4251 section 5).
fn field(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), content].concat()
}

/// The bytes inside the armour; none when they are not base64.
fn unarmoured(armoured: &str) -> Vec<u8> {
    let body: String = armoured.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap_or_default()
}

fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// How signatures of one public key are verified.
struct Verifier<'a> {
    public: &'a [u8],
    algorithm: &'static dyn VerificationAlgorithm,
    /// The size of each of an ECDSA signature's two numbers, in bytes.
    number: Option<usize>,
    /// What a security key signs along with the message.
    application: Option<&'a str>,
}

impl<'a> Verifier<'a> {
    fn of(key: &'a KeyData) -> Result<Self, SignatureError> {
        let (public, curve, application): (&[u8], _, _) = if let Some(key) = key.ed25519() {
            (&key.0, None, None)
        } else if let Some(key) = key.sk_ed25519() {
            (&key.public_key().0, None, Some(key.application()))
        } else if let Some(key) = key.ecdsa() {
            (key.as_sec1_bytes(), Some(key.curve()), None)
        } else if let Some(key) = key.sk_ecdsa_p256() {
            (key.ec_point().as_bytes(), Some(EcdsaCurve::NistP256), Some(key.application()))
        } else {
            return Err(SignatureError::Kind(key.algorithm().to_string()));
        };
        let (algorithm, number): (&'static dyn VerificationAlgorithm, _) = match curve {
            None => (&ED25519, None),
            Some(EcdsaCurve::NistP256) => (&ECDSA_P256_SHA256_FIXED, Some(32)),
            Some(EcdsaCurve::NistP384) => (&ECDSA_P384_SHA384_FIXED, Some(48)),
            Some(EcdsaCurve::NistP521) => (&ECDSA_P521_SHA512_FIXED, Some(66)),
        };
        Ok(Self { public, algorithm, number, application })
    }

    fn is_untouched(&self, signature: &[u8]) -> bool {
        let flags = signature.len().checked_sub(TRAILER).and_then(|at| signature.get(at));
        self.application.is_some() && flags.is_none_or(|flags| flags & TOUCHED == 0)
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Option<()> {
        let (signature, data) = match self.application {
            None => (signature, data.to_vec()),
            Some(application) => {
                let (signature, trailer) =
                    signature.split_at_checked(signature.len().checked_sub(TRAILER)?)?;
                let application = Digest::of(application.as_bytes());
                let data = Digest::of(data);
                (signature, [application.as_bytes(), trailer, data.as_bytes()].concat())
            }
        };
        let signature = match self.number {
            None => signature.to_vec(),
            Some(size) => two_numbers(signature, size)?,
        };
        UnparsedPublicKey::new(self.algorithm, self.public).verify(&data, &signature).ok()
    }
}

/// Two numbers of `size` bytes each, from two of SSH's own form (`mpint`, RFC 4251 section 5).
fn two_numbers(text: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut fixed = Vec::with_capacity(2 * size);
    let mut rest = text;
    for _ in 0..2 {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (number, after) = after.split_at_checked(length)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        fixed.resize(fixed.len() + size.checked_sub(number.len())?, 0);
        fixed.extend_from_slice(number);
        rest = after;
    }
    rest.is_empty().then_some(fixed)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
