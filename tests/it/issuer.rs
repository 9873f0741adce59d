//! An authorization server for tests: a real HTTP server on loopback with real keys, that can also do wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::LOCATION;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::RUNTIME;

/// A private key, and its public half as issuers publish it.
#[derive(Clone)]
pub(crate) struct Signer {
    private: EncodingKey,
    algorithm: Algorithm,
    pub(crate) public: Value,
    /// The public half in its bytes.
    pub(crate) point: Vec<u8>,
}

impl Signer {
    /// A new key for ES256.
    pub(crate) fn p256(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = pkcs8.unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref());
        let point = pair.unwrap().public_key().as_ref().to_vec();
        let (x, y) = (&point[1..33], &point[33..]);
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
        let public =
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "use": "sig" });
        let private = EncodingKey::from_ec_der(pkcs8.as_ref());
        Self { private, algorithm: Algorithm::ES256, public, point }
    }

    /// A new key for EdDSA.
    pub(crate) fn ed25519(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let x = URL_SAFE_NO_PAD.encode(&point);
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id });
        let private = EncodingKey::from_ed_der(pkcs8.as_ref());
        Self { private, algorithm: Algorithm::EdDSA, public, point }
    }

    pub(crate) fn id(&self) -> &str {
        self.public["kid"].as_str().unwrap()
    }

    /// A token with these claims, and the header that `change` makes of the usual one.
    pub(crate) fn sign_with(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header::new(self.algorithm);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.id().to_owned());
        change(&mut header);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, |_| {})
    }
}

#[derive(Default)]
struct Inner {
    keys: Vec<Value>,
    metadata: Value,
    wrong: Option<StatusCode>,
    asked: usize,
    fetched: usize,
    others: usize,
}

/// An authorization server that publishes keys.
pub(crate) struct Issuer {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    pub(crate) key: Signer,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    /// One with one key, `k1`.
    pub(crate) fn start() -> Self {
        let key = Signer::p256("k1");
        let listener = RUNTIME.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let serving = RUNTIME.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let issuer = Self { address, inner, key, serving };
        issuer.publish(&[&issuer.key]);
        issuer.describe(json!({ "issuer": issuer.name(), "jwks_uri": issuer.url("/keys") }));
        issuer
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The public keys from now on.
    pub(crate) fn publish(&self, keys: &[&Signer]) {
        self.inner.lock().unwrap().keys = keys.iter().map(|key| key.public.clone()).collect();
    }

    /// The metadata from now on.
    pub(crate) fn describe(&self, metadata: Value) {
        self.inner.lock().unwrap().metadata = metadata;
    }

    /// Answers every request with this status, and a place elsewhere; as it should again with none.
    pub(crate) fn go_wrong(&self, status: Option<u16>) {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        self.inner.lock().unwrap().wrong = status;
    }

    /// How often anything was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }

    /// How often the keys were fetched.
    pub(crate) fn fetched(&self) -> usize {
        self.inner.lock().unwrap().fetched
    }

    /// How often something was asked for that it does not have.
    pub(crate) fn strayed(&self) -> usize {
        self.inner.lock().unwrap().others
    }

    /// The configuration of a gateway that takes its tokens, with more keys as they stand in YAML.
    pub(crate) fn config(&self, more: &str) -> String {
        format!("authentication:\n  jwt:\n    - {{ issuer: '{}'{more} }}\n", self.name())
    }

    /// The claims of a token of `agent` that is good for the gateway at `gateway`, ten minutes from `now`.
    pub(crate) fn claims(&self, agent: &str, gateway: &str) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({ "iss": self.name(), "sub": agent, "aud": format!("{gateway}/mcp"), "iat": now, "exp": now + 600 })
    }

    /// A token of `agent` for the gateway at `gateway`.
    pub(crate) fn token(&self, agent: &str, gateway: &str) -> String {
        self.key.sign(&self.claims(agent, gateway))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let mut inner = inner.lock().unwrap();
    let path = request.uri().path();
    inner.asked += 1;
    if path == "/keys" {
        inner.fetched += 1;
    }
    if let Some(status) = inner.wrong {
        return (status, [(LOCATION, "/elsewhere")], "wrong").into_response();
    }
    match path {
        "/keys" => axum::Json(json!({ "keys": inner.keys })).into_response(),
        "/.well-known/oauth-authorization-server" => {
            axum::Json(inner.metadata.clone()).into_response()
        }
        _ => {
            inner.others += 1;
            StatusCode::NOT_FOUND.into_response()
        }
    }
}
