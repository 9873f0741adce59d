//! What a process that carries messages has to remember of them: how the client began, and which requests
//! have no answer yet. No I/O.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::mcp::stdio::LEAVING;
use crate::mcp::wire::{Incoming, RpcError};

/// How many requests without an answer are remembered, of each side; a gateway has no more under way.
const MAX_REMEMBERED: usize = 1024;
/// The longest request that is sent again to the next gateway, in bytes; a longer one is answered with an error.
const MAX_AGAIN: usize = 16 << 10;
/// What answers a request that the gateway did not (outside the codes that JSON-RPC reserves).
const WENT_AWAY: i64 = -31_001;
/// Requests that change nothing, so that the next gateway may be asked again.
const SAFE: [&str; 11] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "tasks/get",
    "subscriptions/listen",
];

/// What a model is told of a call that was under way when the gateway went away.
const CHANGED_HANDS: &str = "NOT ANSWERED: the gateway changed hands while this call was under way, and \
    another has taken its place. If the call waits for a person, it still does: call again with exactly \
    the same arguments to join it and to collect its result; nothing runs twice. If it needed nobody's \
    approval, it may have run: look whether it did before you repeat what must not happen twice.";

/// The state of a client's stream.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The client's `initialize`, once a gateway has answered it.
    greeting: Option<Greeting>,
    in_flight: HashMap<String, Flight>,
    /// The requests of this gateway that the client has not answered.
    asked: HashSet<String>,
    /// By URI: the request by which the client subscribed to a resource.
    subscribed: HashMap<String, (String, Bytes)>,
    /// The requests that are said again besides, whose answers the client has had.
    resubscribing: HashSet<String>,
    /// The request that is said again to this gateway, whose answer the client has had.
    replayed: Option<String>,
    /// Whether this gateway was sent a request.
    begun: bool,
    /// Whether this is not the first gateway.
    later: bool,
}

#[derive(Debug)]
struct Greeting {
    id: String,
    line: Bytes,
    /// `notifications/initialized`, once the client has said it.
    ready: Option<Bytes>,
}

#[derive(Debug)]
struct Flight {
    id: Value,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A `tools/call`, with the type that results have in its era.
    Call {
        result_type: Option<&'static str>,
    },
    /// What may be asked again.
    Safe {
        line: Bytes,
        initialize: bool,
        subscription: Option<Subscription>,
    },
    Other,
}

#[derive(Debug)]
struct Subscription {
    uri: String,
    begins: bool,
}

/// What to do with a line of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// It is for the client.
    Pass,
    /// It is not.
    Swallow,
    /// The answer to what was replayed; the client's own messages may follow.
    Replayed,
    /// The gateway goes away.
    Leaving,
}

/// The members of a gateway's message that matter here.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    error: Option<IgnoredAny>,
}

impl Session {
    /// Notes a line of the client; false when it must not go to this gateway.
    pub(super) fn up(&mut self, line: &Bytes) -> bool {
        // What cannot be read is the gateway's to refuse.
        let Ok(message) = Incoming::read(line) else { return true };
        match (&message.method, &message.id) {
            (Some(method), Some(id)) => {
                self.begun = true;
                let flight = Flight { id: id.clone(), kind: kind_of(method, &message, line) };
                let key = id.to_string();
                if self.in_flight.len() < MAX_REMEMBERED {
                    self.in_flight.entry(key).or_insert(flight);
                }
                true
            }
            (Some(method), None) => {
                if method == "notifications/initialized"
                    && let Some(greeting) = &mut self.greeting
                {
                    greeting.ready = Some(line.clone());
                }
                let requested = message.message.get("params").and_then(|it| it.get("requestId"));
                if method == "notifications/cancelled"
                    && let Some(id) = requested
                {
                    // A request that was taken back has no answer.
                    return self.in_flight.remove(&id.to_string()).is_some() || !self.later;
                }
                // It can only be about what another gateway was asked, and is no way to begin.
                self.begun || !self.later
            }
            // What another gateway asked, this one must not take for an answer to its own question.
            (None, Some(id)) => self.asked.remove(&id.to_string()),
            (None, None) => true,
        }
    }

    /// Notes a line of the gateway.
    pub(super) fn down(&mut self, line: &[u8]) -> Down {
        // The end of a gateway that was killed while it wrote.
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(line) else { return Down::Swallow };
        match (seen.method, seen.id) {
            (Some(method), None) if method == LEAVING => Down::Leaving,
            (Some(_), Some(id)) => {
                if self.asked.len() < MAX_REMEMBERED {
                    self.asked.insert(id.get().to_owned());
                }
                Down::Pass
            }
            (None, Some(id)) => self.answered(id.get(), line, seen.error.is_some()),
            (Some(_) | None, None) => Down::Pass,
        }
    }

    fn answered(&mut self, id: &str, answer: &[u8], failed: bool) -> Down {
        // Written anew, so that the id is spelt as the request's was.
        let id =
            serde_json::from_str::<Value>(id).map_or_else(|_| id.to_owned(), |id| id.to_string());
        if self.replayed.as_ref() == Some(&id) {
            self.replayed = None;
            if failed {
                let answer = String::from_utf8_lossy(answer);
                tracing::warn!(%answer, "the gateway does not take the client's `initialize` again");
            }
            return Down::Replayed;
        }
        if self.resubscribing.remove(&id) {
            return Down::Swallow;
        }
        match self.in_flight.remove(&id).map(|flight| flight.kind) {
            Some(Kind::Safe { line, initialize: true, .. }) if !failed => {
                self.greeting = Some(Greeting { id, line, ready: None });
            }
            Some(Kind::Safe { line, subscription: Some(it), .. }) if !failed => {
                if !it.begins {
                    self.subscribed.remove(&it.uri);
                } else if self.subscribed.len() < MAX_REMEMBERED {
                    self.subscribed.insert(it.uri, (id, line));
                }
            }
            Some(_) | None => {}
        }
        Down::Pass
    }

    /// The gateway has gone: what the client is told of its requests. What may be asked again stays in flight.
    pub(super) fn lost(&mut self) -> Vec<Bytes> {
        self.asked.clear();
        self.resubscribing.clear();
        let lost = self.in_flight.extract_if(|_, flight| !matches!(flight.kind, Kind::Safe { .. }));
        lost.map(|(_, flight)| flight.lost()).collect()
    }

    /// Begins with another gateway: what it is told first, whose answer is awaited, and what follows then.
    pub(super) fn next(&mut self) -> (Option<Bytes>, Vec<Bytes>) {
        let again = self.in_flight.values().filter_map(|flight| match &flight.kind {
            Kind::Safe { line, initialize, .. } => Some((!initialize, line.clone())),
            Kind::Call { .. } | Kind::Other => None,
        });
        let mut again: Vec<(bool, Bytes)> = again.collect();
        again.sort();
        let mut then: Vec<Bytes> = again.into_iter().map(|(_, line)| line).collect();
        self.begun = !then.is_empty();
        let Some(greeting) = &self.greeting else { return (None, then) };
        self.begun = true;
        self.replayed = Some(greeting.id.clone());
        let subscribed = self.subscribed.values().map(|(_, line)| line.clone());
        then.splice(0..0, greeting.ready.iter().cloned().chain(subscribed));
        self.resubscribing = self.subscribed.values().map(|(id, _)| id.clone()).collect();
        (Some(greeting.line.clone()), then)
    }

    /// From now on it is a later gateway that is spoken to.
    pub(super) fn ended(&mut self) {
        self.later = true;
        self.replayed = None;
    }
}

impl Flight {
    fn lost(&self) -> Bytes {
        let Kind::Call { result_type } = self.kind else {
            let told = "The gateway changed hands while this request was under way; ask again";
            return RpcError::new(WENT_AWAY, told).answer(Some(&self.id));
        };
        let mut result = json!({
            "content": [{ "type": "text", "text": CHANGED_HANDS }],
            "isError": true,
        });
        if let (Some(kind), Value::Object(members)) = (result_type, &mut result) {
            members.insert("resultType".into(), kind.into());
        }
        json!({ "jsonrpc": "2.0", "id": self.id, "result": result }).to_string().into()
    }
}

fn kind_of(method: &str, message: &Incoming, line: &Bytes) -> Kind {
    if method == "tools/call" {
        let meta = message.message.get("params").and_then(|params| params.get("_meta"));
        let version =
            meta.and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion")).is_some();
        return Kind::Call { result_type: version.then_some("complete") };
    }
    if SAFE.contains(&method) && line.len() <= MAX_AGAIN {
        let begins = method == "resources/subscribe";
        let uri = message.message.get("params").and_then(|it| it.get("uri")?.as_str());
        let subscription = uri
            .filter(|_| begins || method == "resources/unsubscribe")
            .map(|uri| Subscription { uri: uri.to_owned(), begins });
        return Kind::Safe { line: line.clone(), initialize: method == "initialize", subscription };
    }
    Kind::Other
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
