//! A receiver of notices: a real HTTP server on loopback that keeps what it was sent and answers as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::harness::{PATIENCE, RUNTIME, until};

/// What messages to it are signed with.
pub(crate) const SECRET: &str = "a secret of the tests, long enough";

/// One message that came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: Option<String>,
    pub(crate) body: String,
    pub(crate) at: Instant,
    /// What was answered.
    pub(crate) status: u16,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether the signature is that of `secret`, as a receiver checks it.
    pub(crate) fn is_signed_with(&self, secret: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let given = self.signature.as_deref().and_then(|given| given.strip_prefix("v1,"));
        let given = given.map(|given| base64::engine::general_purpose::STANDARD.decode(given));
        given.is_some_and(|given| hmac::verify(&key, signed.as_bytes(), &given.unwrap()).is_ok())
    }
}

#[derive(Default)]
struct Inner {
    got: Vec<Got>,
    answers: VecDeque<(u16, &'static str)>,
    stopped: bool,
    delay: Duration,
}

/// A receiver that can be stopped and started again at the same address.
pub(crate) struct Receiver {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Receiver {
    /// One that answers 204.
    pub(crate) fn start() -> Self {
        let mut receiver = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            inner: Arc::default(),
            serving: None,
        };
        receiver.resume();
        receiver
    }

    /// Where messages are posted.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The settings of a generic channel `ops` to it, with more keys as they stand in YAML.
    pub(crate) fn generic(&self, more: &str) -> String {
        let url = self.url();
        format!(
            "notifications:\n  channels:\n    - {{ name: ops, form: generic, url: '{url}', \
             secret: {{ env: HOOK_SECRET }}{more} }}\n"
        )
    }

    /// The same for a channel `chat` in Slack's form, whose URL is a secret.
    pub(crate) fn slack(&self, more: &str) -> String {
        format!(
            "notifications:\n  base_url: https://gate.example.com\n  channels:\n    \
             - {{ name: chat, form: slack, url: {{ env: HOOK_URL }}{more} }}\n"
        )
    }

    /// Answers the next requests with these codes and a location, one after the other.
    pub(crate) fn answer(&self, codes: &[u16]) {
        let answers = codes.iter().map(|code| (*code, "/elsewhere"));
        self.inner.lock().unwrap().answers.extend(answers);
    }

    /// Answers only after this long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.inner.lock().unwrap().delay = delay;
    }

    /// Refuses connections from now on, and takes nothing from those that are open.
    pub(crate) fn stop(&mut self) {
        self.inner.lock().unwrap().stopped = true;
        let serving = self.serving.take().unwrap();
        serving.abort();
        drop(RUNTIME.block_on(serving));
    }

    /// Listens at the same address again.
    pub(crate) fn resume(&mut self) {
        let listener = until("the receiver's address to be free", || {
            RUNTIME.block_on(tokio::net::TcpListener::bind(self.address)).ok()
        });
        self.address = listener.local_addr().unwrap();
        self.inner.lock().unwrap().stopped = false;
        let routes = Router::new().fallback(take).with_state(Arc::clone(&self.inner));
        self.serving = Some(RUNTIME.spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        }));
    }

    /// Everything that came, oldest first.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.inner.lock().unwrap().got.clone()
    }

    /// What was taken, each message once: what a receiver that drops repeats sees.
    pub(crate) fn taken(&self) -> Vec<Got> {
        let mut taken: Vec<Got> = Vec::new();
        for got in self.got().into_iter().filter(|got| got.status < 300) {
            if !taken.iter().any(|known| known.id == got.id) {
                taken.push(got);
            }
        }
        taken
    }

    /// Waits until at least `count` messages were taken, and gives them.
    #[track_caller]
    pub(crate) fn when_taken(&self, count: usize) -> Vec<Got> {
        until(&format!("{count} messages to be taken"), || {
            let taken = self.taken();
            (taken.len() >= count).then_some(taken)
        })
    }
}

async fn take(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (delay, (status, location)) = {
        let mut inner = inner.lock().unwrap();
        if inner.stopped {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let (status, location) = inner.answers.pop_front().unwrap_or((204, ""));
        inner.got.push(Got {
            id: text("webhook-id").unwrap_or_default(),
            timestamp: text("webhook-timestamp").unwrap_or_default(),
            signature: text("webhook-signature"),
            body: String::from_utf8(body.to_vec()).unwrap(),
            at: Instant::now(),
            status,
        });
        (inner.delay, (status, location))
    };
    tokio::time::sleep(delay.min(PATIENCE)).await;
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("location", location)]).into_response()
}
