//! Posting one message: signed as Standard Webhooks demands, to where it was said, and nowhere else.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use jiff::Timestamp;
use reqwest::{Client, Response};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::settings::receiver;
use crate::backend::outgoing::{self, Trust};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a message may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read, so that its connection can be used again, in bytes. What it says is of
/// no use.
const MAX_ANSWER: usize = 4 << 10;
/// The shortest key of a signature, in bytes (Standard Webhooks, "Signature scheme").
const MIN_KEY: usize = 24;
/// What a secret begins with whose rest is the key in base64 (Standard Webhooks).
const KEY_PREFIX: &str = "whsec_";

/// Why a message was not delivered, in words without URL and secrets.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
pub(super) struct Trouble {
    pub(super) told: String,
    /// The receiver did not take this message; another it might.
    pub(super) refused: bool,
    /// How long the receiver wants to be left alone.
    pub(super) leave_alone: Option<Duration>,
}

impl Trouble {
    pub(super) fn new(told: impl Into<String>) -> Self {
        Self { told: told.into(), refused: false, leave_alone: None }
    }
}

/// The client that one channel posts with.
///
/// # Errors
/// In words, when TLS cannot be set up.
pub(super) fn client(trust: &Trust) -> Result<Client, String> {
    outgoing::client(trust)
        .map_err(|why| why.to_string())?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(1)
        .build()
        .map_err(|error| error.to_string())
}

/// A message on its way.
pub(super) struct Parcel<'a> {
    pub(super) id: &'a str,
    /// When it is sent, which is part of what is signed.
    pub(super) at: Timestamp,
    pub(super) body: Vec<u8>,
}

impl Parcel<'_> {
    /// Posts it, signed if there is a `secret`.
    pub(super) async fn post(
        self,
        client: &Client,
        url: &str,
        secret: Option<&SecretString>,
    ) -> Result<(), Trouble> {
        let url =
            receiver(url).map_err(|why| Trouble::new(format!("`url` cannot be used: {why}")))?;
        let timestamp = self.at.as_second().to_string();
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", self.id)
            .header("webhook-timestamp", &timestamp);
        if let Some(secret) = secret {
            let signature = signature(secret, self.id, &timestamp, &self.body)?;
            request = request.header("webhook-signature", signature);
        }
        match request.body(self.body).send().await {
            Ok(response) => taken(response).await,
            Err(error) => Err(Trouble::new(unreachable(error))),
        }
    }
}

/// The signature of a message: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
fn signature(
    secret: &SecretString,
    id: &str,
    timestamp: &str,
    body: &[u8],
) -> Result<String, Trouble> {
    let key = key(secret.expose_secret())?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut context = hmac::Context::with_key(&key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    Ok(format!("v1,{}", STANDARD.encode(context.sign())))
}

fn key(secret: &str) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let key = match secret.strip_prefix(KEY_PREFIX) {
        Some(encoded) => STANDARD_NO_PAD
            .decode(encoded.trim_end_matches('='))
            .map_err(|_| Trouble::new(format!("`secret`: no base64 after `{KEY_PREFIX}`")))?,
        None => secret.as_bytes().to_vec(),
    };
    if key.len() < MIN_KEY {
        return Err(Trouble::new(format!("`secret` is shorter than {MIN_KEY} bytes")));
    }
    Ok(Zeroizing::new(key))
}

/// Why a secret cannot sign, if it cannot.
pub(super) fn unusable(secret: &SecretString) -> Option<String> {
    key(secret.expose_secret()).err().map(|trouble| trouble.told)
}

async fn taken(mut response: Response) -> Result<(), Trouble> {
    let status = response.status();
    let leave_alone = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .map(Duration::from_secs);
    let mut read = 0_usize;
    // Whether its rest comes does not matter: the status has said it all.
    while let Ok(Some(part)) = response.chunk().await {
        read = read.saturating_add(part.len());
        if read > MAX_ANSWER {
            break;
        }
    }
    if status.is_success() {
        return Ok(());
    }
    let told = match status.as_u16() {
        code @ 300..400 => format!("the receiver answers {code}; redirects are not followed"),
        code => format!("the receiver answers {code}"),
    };
    let refused = matches!(status.as_u16(), 400 | 413 | 415 | 422);
    Err(Trouble { told, refused, leave_alone })
}

fn unreachable(error: reqwest::Error) -> String {
    if error.is_timeout() && !error.is_connect() {
        return format!("the receiver does not answer within {TIMEOUT:?}");
    }
    format!("the receiver cannot be reached: {:#}", anyhow::Error::from(error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_does() {
        // The example of the Standard Webhooks specification.
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = signature(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        for secret in ["short", "whsec_c2hvcnQ=", "whsec_%%%"] {
            assert!(key(secret).is_err(), "{secret}");
        }
        assert!(key("0123456789abcdef01234567").is_ok());
    }
}
