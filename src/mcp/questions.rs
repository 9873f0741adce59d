//! Requests of ours to one client of a protocol before 2026-07-28, until it answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::outlet::Outlet;
use super::wire::INTERNAL_ERROR;
use crate::backend::contact::NotAble;
use crate::json::Object;

/// How many requests one client may have to answer.
const MAX_OPEN: usize = 256;
/// How much of an error's text is passed on, in characters.
const MAX_ERROR_CHARS: usize = 500;

type Answer = Result<Value, NotAble>;

/// The requests that one client has yet to answer. They are its session's alone: what another session answers
/// is no answer.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    last: AtomicU64,
}

impl Questions {
    /// Sends `request` (`method` and `params`) and waits for the answer until `over` is cancelled; then the
    /// request is taken back.
    ///
    /// # Errors
    /// With the client's own error, or why there is no answer.
    pub(super) async fn ask(
        &self,
        outlet: &Outlet,
        request: Value,
        over: &CancellationToken,
    ) -> Answer {
        let gone = |message: &str| NotAble {
            code: INTERNAL_ERROR,
            message: message.to_owned(),
            data: None,
        };
        let id = format!("countersign-{}", self.last.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        {
            let mut open = self.lock();
            if open.len() >= MAX_OPEN {
                return Err(gone("the client has too many requests to answer"));
            }
            open.insert(id.clone(), sender);
        }
        let asked = Asked { questions: self, outlet, id: &id };
        let mut message = Object::new();
        message.insert("jsonrpc".into(), "2.0".into());
        message.insert("id".into(), id.clone().into());
        if let Value::Object(request) = request {
            message.extend(request);
        }
        let exchange = async {
            if !outlet.send(Value::Object(message).to_string().into()).await {
                return Err(gone("the client is gone"));
            }
            answer.await.unwrap_or_else(|_| Err(gone("the client is gone")))
        };
        let answer = tokio::select! {
            biased;
            answer = exchange => answer,
            () = over.cancelled() => return Err(gone("nobody waits for the answer")),
        };
        drop(asked);
        answer
    }

    /// Takes a response of the client; false when it answers nothing that is open.
    pub(super) fn answered(&self, message: &Object) -> bool {
        let Some(sender) =
            message.get("id").and_then(Value::as_str).and_then(|id| self.lock().remove(id))
        else {
            return false;
        };
        let answer = match (message.get("result"), message.get("error")) {
            (Some(result @ Value::Object(_)), None) => Ok(result.clone()),
            (None, Some(error)) => Err(read_error(error)),
            (_, _) => Err(NotAble {
                code: INTERNAL_ERROR,
                message: "the client's answer is malformed".to_owned(),
                data: None,
            }),
        };
        // Who no longer waits has been told already.
        drop(sender.send(answer));
        true
    }

    /// Plain data, whole between statements.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_error(error: &Value) -> NotAble {
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    NotAble {
        code: error.get("code").and_then(Value::as_i64).unwrap_or(INTERNAL_ERROR),
        message: message.chars().take(MAX_ERROR_CHARS).collect(),
        data: error.get("data").cloned(),
    }
}

/// A request under way; dropped before its answer, it is taken back.
struct Asked<'a> {
    questions: &'a Questions,
    outlet: &'a Outlet,
    id: &'a str,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.questions.lock().remove(self.id).is_some() {
            let params = json!({ "requestId": self.id, "reason": "nobody waits for the answer" });
            let note =
                json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
            self.outlet.try_send(note.to_string().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_counts_once_and_a_late_one_not_at_all() {
        let (questions, over) = (Questions::default(), CancellationToken::new());
        let (outlet, mut sent) = Outlet::new(None, None);
        let request = json!({ "method": "roots/list" });
        let asking = questions.ask(&outlet, request.clone(), &over);
        let answering = async {
            let message: Value = serde_json::from_slice(&sent.recv().await.unwrap()).unwrap();
            let result =
                json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "roots": [] } });
            let mut foreign = result.clone();
            foreign["id"] = json!("countersign-77");
            assert!(!questions.answered(foreign.as_object().unwrap()));
            assert!(questions.answered(result.as_object().unwrap()));
            assert!(!questions.answered(result.as_object().unwrap()));
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.unwrap(), json!({ "roots": [] }));

        let asking = questions.ask(&outlet, request, &over);
        let leaving = async {
            let message: Value = serde_json::from_slice(&sent.recv().await.unwrap()).unwrap();
            over.cancel();
            message["id"].clone()
        };
        let (answer, id) = tokio::join!(asking, leaving);
        assert!(answer.is_err());
        let note: Value = serde_json::from_slice(&sent.recv().await.unwrap()).unwrap();
        assert_eq!(note["params"]["requestId"], id);
        let late = json!({ "id": id, "result": {} });
        assert!(!questions.answered(late.as_object().unwrap()));
    }
}
