//! An authenticator in software: it makes a key for a site, and signs what the site asks.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What goes wrong on purpose.
#[derive(Clone, Default)]
pub(super) struct Flaw {
    pub(super) origin: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) unverified: bool,
    pub(super) kind: Option<&'static str>,
    pub(super) cross_origin: bool,
    pub(super) handle: Option<String>,
    pub(super) counter: Option<u32>,
    pub(super) signature: bool,
}

pub(super) struct Authenticator {
    key: EcdsaKeyPair,
    id: [u8; 16],
    handle: String,
    pub(super) counter: u32,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Authenticator {
    pub(super) fn new(number: u8) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref());
        Self { key: key.unwrap(), id: [number; 16], handle: String::new(), counter: 0 }
    }

    fn client_data(asked: &Value, kind: &str, origin: &str, flaw: &Flaw) -> Vec<u8> {
        let data = json!({
            "type": flaw.kind.unwrap_or(kind),
            "challenge": asked["challenge"],
            "origin": flaw.origin.as_deref().unwrap_or(origin),
            "crossOrigin": flaw.cross_origin,
        });
        data.to_string().into_bytes()
    }

    fn data(&mut self, asked: &Value, flags: u8, flaw: &Flaw) -> Vec<u8> {
        let domain = flaw.domain.as_deref().unwrap_or(asked["domain"].as_str().unwrap());
        let mut data = digest(&SHA256, domain.as_bytes()).as_ref().to_vec();
        data.push(if flaw.unverified { flags & !0x04 } else { flags });
        self.counter += 1;
        data.extend(flaw.counter.unwrap_or(self.counter).to_be_bytes());
        data
    }

    /// The answer of a browser at `origin` to being asked to register.
    pub(super) fn register(&mut self, asked: &Value, origin: &str, flaw: &Flaw) -> Value {
        self.handle = asked["handle"].as_str().unwrap().to_owned();
        let client_data = Self::client_data(asked, "webauthn.create", origin, flaw);
        let mut data = self.data(asked, 0x45, flaw);
        data.extend([0; 16]);
        data.extend([0, 16]);
        data.extend(self.id);
        let point = self.key.public_key().as_ref();
        data.extend([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 32]);
        data.extend(&point[33..]);
        json!({
            "name": "A test's",
            "id": text(&self.id),
            "client_data": text(&client_data),
            "authenticator_data": text(&data),
        })
    }

    /// The answer to being asked to sign in.
    pub(super) fn sign(&mut self, asked: &Value, origin: &str, flaw: &Flaw) -> Value {
        let client_data = Self::client_data(asked, "webauthn.get", origin, flaw);
        let data = self.data(asked, 0x05, flaw);
        let mut message = data.clone();
        message.extend(digest(&SHA256, &client_data).as_ref());
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap();
        let mut signature = signature.as_ref().to_vec();
        if flaw.signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        json!({
            "id": text(&self.id),
            "client_data": text(&client_data),
            "authenticator_data": text(&data),
            "signature": text(&signature),
            "handle": flaw.handle.as_deref().unwrap_or(&self.handle),
        })
    }
}
