//! Assertions as authenticators make them with each kind of key, and what is wrong with each of their parts.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use serde_json::json;

use super::*;

const MESSAGE: &[u8] = br#"{"decision":"approve","v":1}"#;

enum Key {
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
    Rs256(Box<RsaKeyPair>),
}

impl Key {
    fn all() -> Vec<Self> {
        let es256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let rs256 = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        vec![
            Self::Es256(Box::new(es256)),
            Self::EdDsa(Box::new(Ed25519KeyPair::generate().unwrap())),
            Self::Rs256(Box::new(rs256)),
        ]
    }

    /// The public key as authenticators write it.
    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                let begin: &[u8] = &[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
                [begin, &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat()
            }
            Self::EdDsa(key) => {
                let begin: &[u8] = &[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
                [begin, key.public_key().as_ref()].concat()
            }
            Self::Rs256(key) => {
                let public = key.public_key();
                let n = public.modulus().big_endian_without_leading_zero().to_vec();
                let e = public.exponent().big_endian_without_leading_zero().to_vec();
                let begin: &[u8] = &[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59, 1, 0];
                [begin, &n, &[0x21, 0x40 | e.len() as u8], &e].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn registered(&self) -> Registered {
        Registered {
            id: "AQ".to_owned(),
            name: "Laptop".to_owned(),
            key: encoded(&self.cose()),
            domain: "gate.example".to_owned(),
        }
    }

    fn assertion(&self, origin: &str, domain: &str, flags: u8) -> Assertion {
        let client = json!({
            "type": "webauthn.get", "challenge": challenge(MESSAGE), "origin": origin,
            "crossOrigin": false,
        });
        let client = client.to_string().into_bytes();
        let mut data = Digest::of(domain.as_bytes()).as_bytes().to_vec();
        data.push(flags);
        data.extend([0; 4]);
        let signed = [data.as_slice(), Digest::of(&client).as_bytes()].concat();
        Assertion {
            kind: Form::Webauthn,
            credential: "AQ".to_owned(),
            authenticator_data: encoded(&data),
            client_data: encoded(&client),
            signature: encoded(&self.sign(&signed)),
            name: None,
        }
    }
}

#[test]
fn each_kind_of_key_that_can_be_registered_signs_verdicts() {
    for key in Key::all() {
        let known = [key.registered()];
        let good = key.assertion("https://gate.example", "gate.example", 0x05);
        assert_eq!(verify(&good, MESSAGE, &known), Ok(&known[0]));
        let named = Assertion { name: Some("Laptop".to_owned()), ..good.clone() };
        assert!(verify(&named, MESSAGE, &known).is_ok());
        let name = || "Laptop".to_owned();
        let wrong = [
            (
                Assertion { credential: "Ag".to_owned(), ..good.clone() },
                PasskeyError::NotRegistered,
            ),
            (Assertion { signature: encoded(b"x"), ..good.clone() }, PasskeyError::Wrong(name())),
            (Assertion { signature: "=".to_owned(), ..good.clone() }, PasskeyError::Unreadable),
            (Assertion { client_data: encoded(b"{}"), ..good.clone() }, PasskeyError::Unreadable),
            (
                Assertion { authenticator_data: encoded(&[0; 36]), ..good.clone() },
                PasskeyError::Unreadable,
            ),
            (
                Assertion { signature: "A".repeat(MAX_PART + 1), ..good.clone() },
                PasskeyError::Unreadable,
            ),
            (
                Assertion { name: Some("Another".to_owned()), ..good.clone() },
                PasskeyError::OtherName(name()),
            ),
            (
                key.assertion("https://gate.example", "evil.example", 0x05),
                PasskeyError::Domain(name()),
            ),
            (
                key.assertion("https://gate.example", "gate.example", 0x01),
                PasskeyError::NotVerified(name()),
            ),
            (
                key.assertion("https://gate.example", "gate.example", 0x04),
                PasskeyError::NotVerified(name()),
            ),
        ];
        for (given, error) in wrong {
            assert_eq!(verify(&given, MESSAGE, &known), Err(error));
        }
        let origin = "http://gate.example";
        let asked = key.assertion(origin, "gate.example", 0x05);
        assert!(matches!(verify(&asked, MESSAGE, &known), Err(PasskeyError::Origin { .. })));
        let other = verify(&good, b"another verdict", &known);
        assert_eq!(other, Err(PasskeyError::OtherVerdict(name())));
    }
}

#[test]
fn a_signature_of_one_key_is_not_anothers_with_the_same_identifier() {
    let (all, others) = (Key::all(), Key::all());
    for key in &all {
        let good = key.assertion("https://gate.example", "gate.example", 0x05);
        for other in &others {
            let known = [other.registered()];
            let wrong = Err(PasskeyError::Wrong("Laptop".to_owned()));
            assert_eq!(verify(&good, MESSAGE, &known), wrong);
        }
    }
}

#[test]
fn a_stored_signature_of_either_form_is_read_as_it_was_written() {
    use crate::evidence::Signature;
    let key = &Key::all()[1];
    let good = key.assertion("https://gate.example", "gate.example", 0x05);
    for signature in [Signature::Ssh("armour".to_owned()), Signature::Passkey(Box::new(good))] {
        let written = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<Signature>(&written).unwrap(), signature);
    }
    // What verdicts carried before there was another form.
    let read: Signature = serde_json::from_str("\"-----BEGIN SSH SIGNATURE-----\"").unwrap();
    assert!(matches!(read, Signature::Ssh(_)));
    for other in ["[]", "null", "{}", "7", r#"["webauthn","a","b","c","d",null]"#] {
        assert!(serde_json::from_str::<Signature>(other).is_err(), "{other}");
    }
}
