//! JSON-RPC on the wire: what a message is before anything acts on it, and how ours are written.

use bytes::Bytes;
use http::StatusCode;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::names;
use crate::json::{self, NotIJson, Object};

/// The members of a result object, in order, as they go out.
pub type Members = IndexMap<String, Box<RawValue>>;

/// Invalid JSON was received (JSON-RPC 2.0, section 5.1).
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is not a valid request object.
pub const INVALID_REQUEST: i64 = -32600;
/// The method does not exist.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Invalid parameters; an unknown tool too (MCP).
pub const INVALID_PARAMS: i64 = -32602;
/// The gateway failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// A header says other than the body (MCP 2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The client did not declare what its request needs (MCP 2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// A protocol version that is not spoken here (MCP 2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// A resource that is not there (MCP before 2026-07-28).
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// A read, a prompt or a completion is refused. Outside what JSON-RPC and MCP keep for themselves.
pub const REFUSED: i64 = -31000;
/// A read or a prompt waits for people: not refused, to be asked for again.
pub const PENDING: i64 = -31002;

/// The longest text that may be a request's id, in bytes.
const MAX_ID_BYTES: usize = 256;

/// One message from a client.
#[derive(Debug)]
pub struct Incoming {
    /// The whole message, strictly read.
    pub message: Object,
    /// Its method; absent in a response.
    pub method: Option<String>,
    /// Its id; absent in a notification.
    pub id: Option<Value>,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RpcError {
    /// The code.
    pub code: i64,
    /// In words.
    pub message: String,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// An error with `code` that says `message`.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The HTTP status of an answer that is this error alone (MCP 2026-07-28, Streamable HTTP).
    #[must_use]
    pub fn status(&self) -> StatusCode {
        if self.code == MISSING_CAPABILITY { StatusCode::BAD_REQUEST } else { StatusCode::OK }
    }

    /// The whole message, answering the request `id`.
    #[must_use]
    pub fn answer(&self, id: Option<&Value>) -> Bytes {
        json!({ "jsonrpc": "2.0", "id": id, "error": self }).to_string().into()
    }
}

/// A message that nothing can act on.
#[derive(Debug)]
pub struct Unread {
    error: RpcError,
    id: Option<Value>,
}

impl Unread {
    /// A message with `id`, as far as one could be read, that is no request for the reason `why`.
    #[must_use]
    pub fn invalid(why: &str, id: Option<Value>) -> Box<Self> {
        Box::new(Self { error: RpcError::new(INVALID_REQUEST, why), id })
    }

    /// The request `id`, for which `error` is told.
    #[must_use]
    pub fn told(error: RpcError, id: Option<Value>) -> Box<Self> {
        Box::new(Self { error, id })
    }

    /// The error message that answers it.
    #[must_use]
    pub fn answer(&self) -> Bytes {
        self.error.answer(self.id.as_ref())
    }
}

impl Incoming {
    /// Reads one message strictly.
    ///
    /// # Errors
    /// With the error to answer.
    pub fn read(bytes: &[u8]) -> Result<Self, Box<Unread>> {
        let value = json::parse(bytes).map_err(|error| {
            let error = RpcError::new(PARSE_ERROR, format!("Parse error: {error}"));
            Box::new(Unread { error, id: None })
        })?;
        let invalid = |why: &str, id| Err(Unread::invalid(why, id));
        let Value::Object(message) = value else {
            return invalid("Invalid Request: one JSON-RPC object is expected, no batch", None);
        };
        let id = match message.get("id") {
            None => None,
            Some(Value::String(text)) if text.len() <= MAX_ID_BYTES => Some(text.clone().into()),
            Some(Value::Number(number)) if number.is_i64() => Some(Value::Number(number.clone())),
            Some(_) => {
                return invalid("Invalid Request: an id is an integer or a short text", None);
            }
        };
        if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return invalid("Invalid Request: `jsonrpc` must be \"2.0\"", id);
        }
        if let Some(why) = names::other_than_they_look(&message) {
            return Err(Unread::invalid(&format!("Invalid Request: {why}"), id));
        }
        let method = match message.get("method") {
            None => None,
            Some(Value::String(method)) => Some(method.clone()),
            Some(_) => return invalid("Invalid Request: `method` must be a text", id),
        };
        let answers = message.contains_key("result") || message.contains_key("error");
        if method.is_none() && !(answers && id.is_some()) || method.is_some() && answers {
            return invalid("Invalid Request: neither a request nor a response", id);
        }
        if let Some(method) = &method
            && let Err(error) = check_numbers(method, &message)
        {
            return Err(Unread::invalid(&format!("Invalid Request: {error}"), id));
        }
        Ok(Self { message, method, id })
    }

    /// The parameters; an empty object when there are none.
    ///
    /// # Errors
    /// When they are no object.
    pub fn params(&self) -> Result<Object, RpcError> {
        match self.message.get("params") {
            None => Ok(Object::new()),
            Some(Value::Object(params)) => Ok(params.clone()),
            Some(_) => Err(RpcError::new(INVALID_PARAMS, "Invalid params: an object is expected")),
        }
    }

    /// The message as we write it: what goes on is never the caller's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.message).unwrap_or_default().into()
    }
}

/// Numbers that readers take for different ones are refused in all that is asked. Arguments of a call
/// are checked with their tool, and refused and recorded as the call they belong to.
fn check_numbers(method: &str, message: &Object) -> Result<(), NotIJson> {
    for (key, value) in message {
        let Some(params) = value.as_object().filter(|_| key == "params") else {
            json::check_i_json_at(key, value)?;
            continue;
        };
        for (key, value) in params {
            if method == "tools/call" && key == "arguments" {
                continue;
            }
            json::check_i_json_at(key, value).map_err(|error| NotIJson {
                pointer: format!("/params{}", error.pointer),
                ..error
            })?;
        }
    }
    Ok(())
}

/// A response with `result`, answering the request `id`.
#[must_use]
pub fn response(id: &Value, result: &Members) -> Bytes {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'static str,
        id: &'a Value,
        result: &'a Members,
    }
    match serde_json::to_vec(&Response { jsonrpc: "2.0", id, result }) {
        Ok(bytes) => bytes.into(),
        Err(error) => RpcError::new(INTERNAL_ERROR, error.to_string()).answer(Some(id)),
    }
}

/// A progress notification for the request that gave `token`.
#[must_use]
pub fn progress(token: &Value, progress: &crate::backend::contact::Progress) -> Bytes {
    let mut params = Object::new();
    params.insert("progressToken".into(), token.clone());
    params.insert("progress".into(), progress.progress.into());
    params.extend(progress.total.map(|total| ("total".to_owned(), total.into())));
    let message = progress.message.clone();
    params.extend(message.map(|message| ("message".to_owned(), message.into())));
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
        .to_string()
        .into()
}

/// Members with the values of `object`.
#[must_use]
pub fn members(object: &Value) -> Members {
    let Value::Object(object) = object else { return Members::new() };
    object
        .iter()
        .filter_map(|(key, value)| {
            serde_json::value::to_raw_value(value).ok().map(|raw| (key.clone(), raw))
        })
        .collect()
}
