//! What an upstream of a protocol before 2026-07-28 asks while a call runs: kept as it was written, while
//! rmcp, which would read it into types, carries only its number.

use rmcp::model::{CustomRequest, RequestId, ServerJsonRpcMessage, ServerRequest};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::backend::contact::{Contact, MAX_QUESTION_BYTES, NotAble, Question, Silence};
use crate::catalog::Ability;
use crate::json;

/// The method under which a question goes through rmcp.
pub(super) const METHOD: &str = "countersign/asked";
/// The name of the only question of a round.
const KEY: &str = "question";
/// The JSON-RPC code for a question that got no answer (MCP 2025-11-25, sampling: rejected by the user).
const REJECTED: i64 = -1;

/// A question, and who is to be asked.
pub(super) struct AskedBy {
    contact: Contact,
    question: Question,
}

impl AskedBy {
    /// Reads the parameters strictly; `None` if they are not JSON as we take it, or too long.
    pub(super) fn read(
        ability: Ability,
        params: Option<&RawValue>,
        contact: Contact,
    ) -> Option<Self> {
        if params.is_some_and(|params| params.get().len() > MAX_QUESTION_BYTES) {
            return None;
        }
        let params = params.map(|params| json::parse(params.get().as_bytes())).transpose().ok()?;
        if params.as_ref().is_some_and(|params| !params.is_object()) {
            return None;
        }
        Some(Self { contact, question: Question::new(KEY.to_owned(), ability, params) })
    }

    /// Asks, and gives the client's result.
    ///
    /// # Errors
    /// With the JSON-RPC error for the upstream.
    pub(super) async fn ask(self, within: std::time::Duration) -> Result<Value, NotAble> {
        let Self { contact, question } = self;
        let mut answers =
            contact.ask(vec![question], within).await.map_err(|silence| silent(&silence))?;
        match answers.results.remove(KEY) {
            Some(result) => Ok(result),
            None => Err(answers.errors.pop().map_or_else(|| silent(&Silence::Nobody), |it| it.1)),
        }
    }
}

fn silent(silence: &Silence) -> NotAble {
    NotAble { code: REJECTED, message: silence.to_string(), data: None }
}

/// What rmcp gets in place of the question `number`; `None` if its id is none.
pub(super) fn stand_in(id: &RawValue, number: u64) -> Option<ServerJsonRpcMessage> {
    let id: RequestId = serde_json::from_str(id.get()).ok()?;
    let request = CustomRequest::new(METHOD, Some(json!({ "number": number })));
    Some(ServerJsonRpcMessage::request(ServerRequest::CustomRequest(request), id))
}

/// The number in what [`stand_in`] made.
pub(super) fn number(request: &CustomRequest) -> Option<u64> {
    if request.method != METHOD {
        return None;
    }
    request.params.as_ref()?.get("number")?.as_u64()
}
