//! What goes to a client while its call runs: progress and log messages, which a slow reader loses, and
//! requests of ours, which it does not.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::wire;
use crate::backend::contact::{Level, Listener, Log, News};
use crate::json::Object;

/// How many messages wait for a slow reader before more news are dropped.
const QUEUE: usize = 16;

/// Where messages to one request's client go, before its answer.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    messages: mpsc::Sender<Bytes>,
    /// What the client calls the progress of its request; none if it wants none.
    token: Option<Value>,
    /// The least severe log messages it wants; none if it wants none.
    level: Option<Level>,
}

impl Outlet {
    /// An outlet, and where its messages come out.
    pub(super) fn new(token: Option<Value>, level: Option<Level>) -> (Self, mpsc::Receiver<Bytes>) {
        let (messages, out) = mpsc::channel(QUEUE);
        (Self { messages, token, level }, out)
    }

    /// Whether the client wants to hear of progress.
    #[must_use]
    pub(super) const fn wants_progress(&self) -> bool {
        self.token.is_some()
    }

    /// Sends a whole message; gives up when nobody reads any more.
    pub(super) async fn send(&self, message: Bytes) -> bool {
        self.messages.send(message).await.is_ok()
    }

    /// Sends a whole message if there is room.
    pub(super) fn try_send(&self, message: Bytes) {
        // A client that does not read loses news, never the call.
        drop(self.messages.try_send(message));
    }
}

impl Listener for Outlet {
    fn tell(&self, news: News) {
        match news {
            News::Progress(progress) => {
                if let Some(token) = &self.token {
                    self.try_send(wire::progress(token, &progress));
                }
            }
            News::Log(log) => {
                if self.level.is_some_and(|level| log.level >= level) {
                    self.try_send(log_message(log));
                }
            }
        }
    }
}

fn log_message(log: Log) -> Bytes {
    let mut params = Object::new();
    params.insert("level".into(), json!(log.level));
    params.extend(log.logger.map(|logger| ("logger".to_owned(), logger.into())));
    params.insert("data".into(), log.data);
    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params })
        .to_string()
        .into()
}
