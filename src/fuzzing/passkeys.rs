//! What a browser brings of a passkey.

use super::PART;
use crate::evidence::passkey::{
    Assertion, AuthenticatorData, ClientData, Form, MAX_ID, PublicKey, Registered, encoded, verify,
};

/// A `COSE_Key` whose private half no input has: the public key of RFC 8032, section 7.1, test 1.
const KNOWN: &str =
    "a4010103272006215820d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// A kind of text, then its bytes: what is read is what was written, and no bytes are a signature of a key that
/// nobody has.
pub fn passkey_answer(data: &[u8]) {
    match data.split_first() {
        Some((b'a', rest)) => authenticator(rest),
        Some((b'c', rest)) => client(rest),
        Some((b'k', rest)) => key(rest),
        Some(_) => assertion(data),
        None => {}
    }
}

fn authenticator(bytes: &[u8]) {
    let Some(read) = AuthenticatorData::read(bytes) else { return };
    assert!(bytes.len() >= 37, "too short for what it must hold");
    let Some((id, public, written)) = &read.key else { return };
    assert!(!id.is_empty() && id.len() <= MAX_ID, "an identifier without bounds");
    let again = PublicKey::read(written).expect("the key that was read");
    assert_eq!(&again.0, public, "another key than was written");
    assert!(again.1.is_empty(), "more than the key");
}

fn client(bytes: &[u8]) {
    let Some(read) = ClientData::read(bytes) else { return };
    if read.is_under("gate.example") {
        let origin = read.origin().to_ascii_lowercase();
        let rest = origin.strip_prefix("https://gate.example").expect("another origin");
        let port = rest.strip_prefix(':').is_none_or(|port| port.parse::<u16>().is_ok());
        assert!(port && (rest.is_empty() || rest.starts_with(':')), "more than a port: {origin}");
    }
}

fn key(bytes: &[u8]) {
    let Some((read, left)) = PublicKey::read(bytes) else { return };
    let used = bytes.len().checked_sub(left.len()).and_then(|used| bytes.get(..used));
    let again = PublicKey::read(used.expect("what is left is of the input"));
    assert_eq!(again, Some((read, &[][..])), "what follows a key changes it");
}

fn assertion(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == PART);
    let mut part = || encoded(parts.next().unwrap_or_default());
    let given = Assertion {
        kind: Form::Webauthn,
        credential: "AQ".to_owned(),
        authenticator_data: part(),
        client_data: part(),
        signature: part(),
        name: None,
    };
    let known = Registered {
        id: "AQ".to_owned(),
        name: "a".to_owned(),
        key: encoded(&hex::decode(KNOWN).expect("hexadecimal digits")),
        domain: "gate.example".to_owned(),
    };
    assert!(verify(&given, b"a verdict", &[known]).is_err(), "signed by nobody");
}
