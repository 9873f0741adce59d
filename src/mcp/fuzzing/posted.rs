//! A message as it is posted: headers and a body that may disagree.

use std::sync::OnceLock;

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use rmcp::model::ProtocolVersion;
use serde_json::Value;

use super::super::arriving::{Arriving, Session, is_modern, level_in, unacceptable};
use super::super::calls::{Caller, Era, Params};
use super::super::reads::Asking;
use super::super::sessions::About;
use super::super::wire::Incoming;
use super::super::{agreeing, names};
use super::agent;
use crate::backend::contact::{Abilities, Level};
use crate::catalog::{Kind, Repeated, Schema};
use crate::json::Object;
use crate::principal::Principal;

/// The arguments that the tool of these calls wants repeated as headers.
const REPEATED: &str = r#"{"properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "n":{"type":"integer","x-mcp-header":"N"},
    "deep":{"properties":{"flag":{"type":"boolean","x-mcp-header":"Flag"}}}}}"#;

/// Header lines, an empty line, a body. A body that is not taken is answered with an error of JSON-RPC. One that
/// is says the same when we write it; and where headers and body are said to agree, an intermediary
/// that reads only the headers sees the version, the method, the name and the arguments that we act on.
pub fn jsonrpc_http(data: &[u8]) {
    if data.len() > crate::fuzzing::MAX_INPUT_BYTES {
        return;
    }
    let (headers, body) = split(data);
    if let Some((status, told)) = unacceptable(&headers) {
        assert!(status.is_client_error() && !told.is_empty());
    }
    let incoming = match Incoming::read(body) {
        Ok(incoming) => incoming,
        Err(unread) => return is_error(&unread.answer(), None),
    };
    written_again(&incoming);
    let agrees = agreeing::check(&headers, &incoming);
    if agrees.is_ok() {
        agreed(&headers, &incoming);
    }
    let meta = incoming.message.get("params").and_then(|params| params.get("_meta"));
    let _ = level_in(meta.and_then(Value::as_object));
    let params = incoming.message.get("params");
    let _ = Abilities::of(params.and_then(|params| params.get("capabilities")));
    let _ = params.and_then(|params| params.get("level")).and_then(Level::of);
    let (Some(method), Some(_)) = (incoming.method.as_deref(), &incoming.id) else { return };
    if !Asking::takes(method) {
        return;
    }
    for is_in_session in [false, true] {
        let session = || Session { id: "s".to_owned(), about: About::default() };
        let principal = Principal::authenticated(agent("robot"), Vec::new(), None);
        let session = is_in_session.then(session);
        let arriving = Arriving { principal, session, headers: &headers, incoming: &incoming };
        match arriving.read() {
            Ok((caller, asking)) => {
                assert!(
                    is_in_session || caller.era == Era::Modern,
                    "a legacy call needs a session"
                );
                asked(&incoming, &asking);
                if agrees.is_ok() && caller.era == Era::Modern {
                    named(&headers, (&caller, &asking), &incoming);
                }
            }
            Err(rejected) => {
                let (status, body) = rejected.answer(incoming.id.as_ref());
                assert!(status.is_client_error() || status.is_success(), "{status}");
                is_error(&body, incoming.id.as_ref());
            }
        }
    }
}

fn split(data: &[u8]) -> (HeaderMap, &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 2..]));
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, body)
}

/// Asserts that an answer is an error of JSON-RPC, to the request `id` where that is known.
pub(super) fn is_error(answer: &[u8], id: Option<&Value>) {
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
    assert!(answer["error"]["code"].is_i64() && answer["error"]["message"].is_string());
    if let Some(id) = id {
        assert_eq!(answer["id"], *id, "answered to another request");
    }
}

/// What goes on is our own text, and means the same.
fn written_again(incoming: &Incoming) {
    let again = Incoming::read(&incoming.to_bytes()).expect("what we write is taken");
    assert_eq!(again.message, incoming.message, "as we write it");
    assert_eq!((again.method, again.id), (incoming.method.clone(), incoming.id.clone()));
    assert_eq!(names::other_than_they_look(&incoming.message), None);
    match &incoming.id {
        None => assert!(incoming.method.is_some(), "neither a request nor a response"),
        Some(id) => assert!(id.is_i64() || id.as_str().is_some_and(|id| id.len() <= 256), "{id}"),
    }
}

/// The only value of a header, as its bytes are.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    assert!(values.next().is_none(), "`{name}` stands twice, and was taken");
    first
}

/// The text that a header stands for: SEP-2243, read once more.
fn meant(value: &[u8]) -> Option<Vec<u8>> {
    let encoded = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?="));
    match encoded {
        Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).ok(),
        None => Some(value.to_vec()),
    }
}

fn agreed(headers: &HeaderMap, incoming: &Incoming) {
    let said = ["mcp-protocol-version", "mcp-method", "mcp-name"].map(|name| only(headers, name));
    let version = incoming.message.get("params").and_then(|params| {
        params.get("_meta")?.get("io.modelcontextprotocol/protocolVersion")?.as_str()
    });
    let known =
        |version: &str| ProtocolVersion::KNOWN_VERSIONS.iter().any(|it| it.as_str() == version);
    let modern = version.filter(|version| is_modern(version) && known(version));
    if let (Some(method), Some(version)) = (&incoming.method, modern) {
        assert_eq!(said[0], Some(version.as_bytes()), "another version");
        assert_eq!(said[1], Some(method.as_bytes()), "another method");
    }
}

/// What is acted on is what the body says.
fn asked(incoming: &Incoming, asking: &Asking) {
    let params = incoming.message.get("params").and_then(Value::as_object).expect("parameters");
    let empty = Object::new();
    let object = |key: &str| params.get(key).and_then(Value::as_object).unwrap_or(&empty);
    assert_eq!(asking.meta(), object("_meta"));
    let (name, read) = match asking {
        Asking::Call(call) => {
            assert_eq!(call.arguments(), object("arguments"));
            ("name", call)
        }
        Asking::Read(Kind::Prompt, prompt) => {
            assert_eq!(prompt.arguments(), object("arguments"));
            ("name", prompt)
        }
        Asking::Read(Kind::Resource, resource) => {
            assert!(resource.arguments().is_empty(), "a resource has no arguments of a caller");
            ("uri", resource)
        }
        Asking::Read(Kind::Completion | Kind::Tool, other) => {
            return assert_ne!(Kind::of(other.name()), Kind::Tool, "completions are for no tools");
        }
    };
    assert_eq!(params.get(name).and_then(Value::as_str), Some(read.name()));
}

/// What stands in the headers is what is acted on.
fn named(headers: &HeaderMap, (caller, asking): (&Caller, &Asking), incoming: &Incoming) {
    let said = |name: &str| only(headers, name).and_then(meant);
    let version = asking.meta().get("io.modelcontextprotocol/protocolVersion");
    let version = version.and_then(Value::as_str).map(str::as_bytes);
    assert_eq!(only(headers, "mcp-protocol-version"), version);
    assert_eq!(only(headers, "mcp-method"), incoming.method.as_deref().map(str::as_bytes));
    assert_eq!(caller.session, None, "a session of a protocol without sessions");
    match asking {
        Asking::Call(call) => {
            assert_eq!(said("mcp-name").as_deref(), Some(call.name().as_bytes()));
            repeated(headers, call);
        }
        Asking::Read(Kind::Prompt | Kind::Resource, read) => {
            assert_eq!(said("mcp-name").as_deref(), Some(read.name().as_bytes()));
        }
        Asking::Read(Kind::Completion | Kind::Tool, _) => {}
    }
}

fn repeated(headers: &HeaderMap, call: &Params) {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        Schema::compile(serde_json::from_str(REPEATED).expect("an object")).expect("a schema")
    });
    let all: &[Repeated] = schema.repeated();
    assert_eq!(all.len(), 3);
    if agreeing::check_arguments(headers, all, call.arguments()).is_err() {
        return;
    }
    for (header, path) in
        [("mcp-param-region", "/region"), ("mcp-param-n", "/n"), ("mcp-param-flag", "/deep/flag")]
    {
        let value = Value::Object(call.arguments().clone()).pointer(path).cloned();
        let text = match value {
            Some(Value::String(text)) => Some(text.into_bytes()),
            Some(Value::Bool(_) | Value::Number(_)) => value.map(|it| it.to_string().into_bytes()),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => None,
        };
        assert_eq!(only(headers, header).and_then(meant), text, "{header} says something else");
    }
}
