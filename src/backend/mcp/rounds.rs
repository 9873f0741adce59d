//! One call, in as many rounds as the upstream needs: a server of protocol 2026-07-28 that wants something
//! first is asked again with the client's answers and its own state, byte for byte.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::model::{ClientRequest, CustomRequest, RequestMetaObject};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::asking;
use super::connection::Connection;
use super::ticket::Ticket;
use super::wire::{self, Kind, bounded};
use super::{Asking, Call};
use crate::backend::BackendError;
use crate::backend::contact::{Answers, Level, NotAble, Question, Silence};
use crate::catalog::{Ability, Remote};
use crate::json::{self, Object};

/// The request by which a server of an earlier protocol is told what to log; rmcp has no type for it any more.
const SET_LEVEL: &str = "logging/setLevel";
/// How often one call may be asked again.
const MAX_ROUNDS: usize = 16;
/// How soon an upstream that only wants to be asked again is.
const PACE: Duration = Duration::from_millis(250);
/// The longest state that an upstream may give, in bytes.
const MAX_STATE_BYTES: usize = 1 << 20;
/// What the request's own capabilities stand under (MCP 2026-07-28).
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
/// What the level of log messages stands under (MCP 2026-07-28).
const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";

/// What is asked for, with which arguments.
pub(super) struct Asked<'a> {
    pub(super) remote: &'a Remote,
    pub(super) arguments: &'a Object,
}

/// What a round brings along from the one before.
#[derive(Default)]
struct Leg {
    responses: Object,
    state: Option<String>,
}

/// Makes the call, and gives the text of its result. `sent` says whether anything may have left.
///
/// # Errors
/// As [`BackendError`] says.
pub(super) async fn run(
    connection: &Connection,
    asked: Asked<'_>,
    call: &Call,
    may: &Asking,
    sent: &AtomicBool,
) -> Result<Box<RawValue>, BackendError> {
    let mut leg = Leg::default();
    if connection.is_modern {
        let before = call.contact.answered_before();
        leg.responses = if may.allow.is_empty() { Object::new() } else { before };
    } else if let Some(level) = call.contact.client().level {
        set_level(connection, level).await;
    }
    for _ in 0..MAX_ROUNDS {
        let result = send(connection, &asked, call, may, (leg, sent)).await?;
        match wire::kind_of(&result)? {
            Kind::Complete => return Ok(result),
            Kind::InputRequired if !connection.is_modern => {
                let why = "it wants input in a way that its protocol does not have";
                return Err(BackendError::Nonsense(why.to_owned()));
            }
            Kind::InputRequired => leg = input(&result, call, may).await?,
        }
    }
    Err(BackendError::Nonsense(format!("it wanted input more than {MAX_ROUNDS} times")))
}

async fn send(
    connection: &Connection,
    asked: &Asked<'_>,
    call: &Call,
    may: &Asking,
    (leg, sent): (Leg, &AtomicBool),
) -> Result<Box<RawValue>, BackendError> {
    let request = asking::request(asked.remote, asked.arguments)?;
    let request = with_leg(request, leg);
    let mut meta = RequestMetaObject::new();
    if let Some(traceparent) = &call.traceparent {
        meta.0.insert("traceparent".to_owned(), Value::String(traceparent.clone()));
    }
    if connection.is_modern {
        let client = call.contact.client();
        let can = client.abilities.among(|ability| may.allow.contains(&ability));
        meta.0.insert(CAPABILITIES_KEY.to_owned(), can.into());
        if let Some(Ok(level)) = client.level.map(serde_json::to_value) {
            meta.0.insert(LEVEL_KEY.to_owned(), level);
        }
    }
    let (ticket, answer) = Ticket::new(Some(call.contact.clone()));
    let watched = Watched { ticket: &ticket, sent };
    let result = connection.request(request, meta, &ticket, answer).await;
    drop(watched);
    result.map_err(|error| fit(error, call, may))
}

/// What a server needs is for the caller to declare only where the gateway would pass it on, and the caller has
/// not declared it already; else it is a refusal like any other.
fn fit(error: BackendError, call: &Call, may: &Asking) -> BackendError {
    let BackendError::Needs { needed } = &error else { return error };
    let lacking = call.contact.client().abilities.lacking(needed);
    if lacking && may.allow.iter().any(|ability| needed.contains_key(ability.as_str())) {
        return error;
    }
    let message = format!("{error}, which its manifest does not allow, or which was declared");
    BackendError::Refused { code: wire::MISSING_CAPABILITY, message }
}

/// The request with what it brings along, where its method can.
fn with_leg(mut request: ClientRequest, leg: Leg) -> ClientRequest {
    let Leg { responses, state } = leg;
    let responses: BTreeMap<String, Value> = responses.into_iter().collect();
    let responses = (!responses.is_empty()).then_some(responses);
    if let ClientRequest::CallToolRequest(call) = &mut request {
        (call.params.input_responses, call.params.request_state) = (responses, state);
    } else if let ClientRequest::GetPromptRequest(get) = &mut request {
        (get.params.input_responses, get.params.request_state) = (responses, state);
    } else if let ClientRequest::ReadResourceRequest(read) = &mut request {
        (read.params.input_responses, read.params.request_state) = (responses, state);
    }
    request
}

/// Notes that a request left, also when its future is dropped.
struct Watched<'a> {
    ticket: &'a Ticket,
    sent: &'a AtomicBool,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.sent.fetch_or(self.ticket.was_sent(), Ordering::AcqRel);
    }
}

/// Asks the client what the upstream wants, and gives what the next round brings along.
async fn input(result: &RawValue, call: &Call, may: &Asking) -> Result<Leg, BackendError> {
    let (questions, state) = wanted(result, may)?;
    if questions.is_empty() {
        // Which is nothing that a client would have to do.
        tokio::time::sleep(PACE).await;
        return Ok(Leg { responses: Object::new(), state });
    }
    let answers = call.contact.ask(questions, may.within).await.map_err(unanswered)?;
    let Answers { results, errors, .. } = answers;
    if let Some((_, error)) = errors.into_iter().next() {
        return Err(declined(&error));
    }
    Ok(Leg { responses: results, state })
}

fn unanswered(silence: Silence) -> BackendError {
    BackendError::Unanswered(silence.to_string())
}

fn declined(error: &NotAble) -> BackendError {
    BackendError::Unanswered(format!("{} (code {})", bounded(&error.message), error.code))
}

/// What an `input_required` wants, and the state to come back with.
pub(super) fn wanted(
    result: &RawValue,
    may: &Asking,
) -> Result<(Vec<Question>, Option<String>), BackendError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        #[serde(default)]
        input_requests: Option<Object>,
        #[serde(default)]
        request_state: Option<String>,
    }
    let nonsense = |why: &str| BackendError::Nonsense(why.to_owned());
    let malformed = || nonsense("a malformed wish for input");
    let strict = json::parse(result.get().as_bytes()).map_err(|_| malformed())?;
    let wanted: Wanted = serde_json::from_value(strict).map_err(|_| malformed())?;
    let Wanted { input_requests, request_state } = wanted;
    if input_requests.is_none() && request_state.is_none() {
        return Err(malformed());
    }
    if request_state.as_ref().is_some_and(|state| state.len() > MAX_STATE_BYTES) {
        return Err(BackendError::TooLarge { limit: MAX_STATE_BYTES });
    }
    let mut questions = Vec::new();
    for (key, request) in input_requests.unwrap_or_default() {
        let method = request.get("method").and_then(Value::as_str);
        let ability = method.and_then(Ability::of_method).ok_or_else(malformed)?;
        if !may.allow.contains(&ability) {
            let why = format!("its manifest does not allow it to ask for {}", ability.as_str());
            return Err(BackendError::Unanswered(why));
        }
        questions.push(Question { key, ability, request });
    }
    Ok((questions, request_state))
}

/// Lets a server of an earlier protocol say as much as this caller wants to hear. One that has no log says
/// so, which changes nothing.
async fn set_level(connection: &Connection, level: Level) {
    if !connection.hears_less_than(level) {
        return;
    }
    let request = CustomRequest::new(SET_LEVEL, Some(json!({ "level": level })));
    let request = ClientRequest::CustomRequest(request);
    let (ticket, answer) = Ticket::new(None);
    let asked = connection.request(request, RequestMetaObject::new(), &ticket, answer);
    if let Err(error) = asked.await {
        tracing::debug!(%error, "a server does not take a level for its log");
    }
}
