//! The envelope of one JSON-RPC message, taken apart without reading what is inside it.

use std::borrow::Cow;
use std::fmt;

use rmcp::model::{
    CustomResult, ListToolsResult, RequestId, ServerJsonRpcMessage, ServerResult, Tool,
};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::backend::BackendError;
use crate::backend::contact::{Level, Log, Progress};
use crate::catalog::Ability;
use crate::json::{self, Object};

/// How much of a text from upstream is kept in an error, in characters.
const MAX_ERROR_CHARS: usize = 500;
/// How much of a progress message is passed on, in characters.
const MAX_PROGRESS_CHARS: usize = 1000;
/// The longest log message that is passed on, in bytes; a longer one is dropped.
const MAX_LOG_BYTES: usize = 16 * 1024;
/// The JSON-RPC code for a request whose client did not declare what it takes (MCP 2026-07-28).
pub(super) const MISSING_CAPABILITY: i64 = -32021;
/// The annotation by which a modern server asks for an argument as an HTTP header (SEP-2243).
pub(super) const HEADER_ANNOTATION: &str = "x-mcp-header";

/// The members of a JSON-RPC message, as slices of its text.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Takes one message apart, after it was read strictly to its end.
    ///
    /// # Errors
    /// In words, if it is not taken ([`json::check`]) or is no object.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, String> {
        let text = json::check(bytes).map_err(|error| error.to_string())?;
        if !text.trim_start().starts_with('{') {
            return Err("no JSON object".to_owned());
        }
        serde_json::from_str(text).map_err(|_| "a member of the wrong type".to_owned())
    }

    /// The id as the number we sent; a server may have turned it into a string.
    pub(super) fn number(&self) -> Option<i64> {
        self.id.and_then(number)
    }
}

/// The whole number in a JSON number or string.
fn number(raw: &RawValue) -> Option<i64> {
    raw.get().trim_matches('"').parse().ok()
}

/// The id of a message that is cut short or otherwise broken, if it stands before the break. Where the text
/// ends with its number, more digits may have followed, and it may be another's.
pub(super) fn id_of(broken: &[u8]) -> Option<i64> {
    struct Seek<'a> {
        found: Option<i64>,
        broken: &'a [u8],
    }
    impl<'de> Visitor<'de> for &mut Seek<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON-RPC message")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
            while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
                if key != "id" {
                    entries.next_value::<IgnoredAny>()?;
                } else if self.found.is_some() {
                    self.found = None;
                    return Err(de::Error::custom("two ids"));
                } else {
                    let raw = entries.next_value::<&'de RawValue>()?;
                    let end = raw.get().as_bytes().as_ptr_range().end;
                    let is_whole = end != self.broken.as_ptr_range().end;
                    self.found = number(raw).filter(|_| is_whole);
                }
            }
            Ok(())
        }
    }
    let mut seek = Seek { found: None, broken };
    // The error is expected: the text ends where it was cut.
    let _ = serde_json::Deserializer::from_slice(broken).deserialize_map(&mut seek);
    seek.found
}

/// The token and content of a `notifications/progress`.
pub(super) fn progress(params: &RawValue) -> Option<(i64, Progress)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        #[serde(borrow)]
        progress_token: &'a RawValue,
        progress: f64,
        #[serde(default)]
        total: Option<f64>,
        #[serde(default)]
        message: Option<String>,
    }
    let params: Params<'_> = serde_json::from_str(params.get()).ok()?;
    let message = params.message.map(|message| cut(&message, MAX_PROGRESS_CHARS));
    let progress = Progress { progress: params.progress, total: params.total, message };
    Some((number(params.progress_token)?, progress))
}

/// The content of a `notifications/message`, if it is not too long.
pub(super) fn log(params: &RawValue) -> Option<Log> {
    #[derive(Deserialize)]
    struct Params {
        level: Level,
        #[serde(default)]
        logger: Option<String>,
        data: serde_json::Value,
    }
    if params.get().len() > MAX_LOG_BYTES {
        return None;
    }
    let Params { level, logger, data } = serde_json::from_str(params.get()).ok()?;
    Some(Log { level, logger, data })
}

/// The URI in a `notifications/resources/updated`.
pub(super) fn updated(params: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Params {
        uri: String,
    }
    serde_json::from_str::<Params>(params.get()).ok().map(|params| params.uri)
}

/// What a JSON-RPC `error` member says.
pub(super) fn refusal(error: &RawValue) -> BackendError {
    #[derive(Deserialize)]
    struct Said {
        code: i64,
        #[serde(default)]
        message: String,
        #[serde(default)]
        data: Option<serde_json::Value>,
    }
    let Ok(Said { code, message, data }) = serde_json::from_str(error.get()) else {
        return BackendError::Nonsense("an error object without a code".to_owned());
    };
    let data = data.filter(|_| code == MISSING_CAPABILITY);
    match data.as_ref().and_then(|data| data.get("requiredCapabilities")) {
        Some(needed) => BackendError::Needs { needed: needed_of(needed) },
        None => BackendError::Refused { code, message: bounded(&message) },
    }
}

/// What of `capabilities` the gateway knows how to pass on; a server's own words are not repeated.
fn needed_of(capabilities: &serde_json::Value) -> Object {
    let known = Ability::ALL.into_iter().filter_map(|ability| {
        let how = capabilities.get(ability.as_str())?.as_object()?;
        let ways = ability.ways().iter().filter(|way| how.contains_key(**way));
        let ways: Object = ways.map(|way| ((*way).to_owned(), Object::new().into())).collect();
        Some((ability.as_str().to_owned(), ways.into()))
    });
    known.collect()
}

/// What a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The result of a call.
    Complete,
    /// The upstream wants something first (MCP 2026-07-28, multi round-trip requests).
    InputRequired,
}

/// What a result says it is, in its `resultType`.
pub(super) fn kind_of(result: &RawValue) -> Result<Kind, BackendError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        #[serde(default)]
        result_type: Option<String>,
    }
    if !result.get().starts_with('{') {
        return Err(BackendError::Nonsense("a result that is not an object".to_owned()));
    }
    let said: Said = serde_json::from_str(result.get())
        .map_err(|_| BackendError::Nonsense("a result with a malformed type".to_owned()))?;
    let why = match said.result_type.as_deref() {
        None | Some("complete") => return Ok(Kind::Complete),
        Some("input_required") => return Ok(Kind::InputRequired),
        Some("task") => "it answers with a task that nobody asked for".to_owned(),
        Some(other) => format!("a result of the unknown type `{}`", bounded(other)),
    };
    Err(BackendError::Nonsense(why))
}

/// What rmcp gets in place of an answer that went to its caller another way.
pub(super) fn placeholder(id: i64) -> ServerJsonRpcMessage {
    let mark = serde_json::json!({ "countersign/raw": true });
    let result = ServerResult::CustomResult(CustomResult::new(mark));
    ServerJsonRpcMessage::response(result, RequestId::Number(id))
}

/// What rmcp gets in place of a page of tools: the tools that ask for arguments as headers, so that
/// its HTTP worker can send those.
pub(super) fn listing_placeholder(id: i64, page: &RawValue) -> ServerJsonRpcMessage {
    #[derive(Deserialize)]
    struct Page {
        tools: Vec<Annotated>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Annotated {
        name: String,
        input_schema: Object,
    }
    if !page.get().contains(HEADER_ANNOTATION) {
        return placeholder(id);
    }
    let Ok(page) = serde_json::from_str::<Page>(page.get()) else { return placeholder(id) };
    let tools = page.tools.into_iter().map(|tool| Tool::new(tool.name, "", tool.input_schema));
    let result = ServerResult::ListToolsResult(ListToolsResult::with_all_items(tools.collect()));
    ServerJsonRpcMessage::response(result, RequestId::Number(id))
}

/// A text from elsewhere, short enough for an error.
pub(super) fn bounded(text: &str) -> String {
    cut(text, MAX_ERROR_CHARS)
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_message_apart_to_the_byte() {
        let text = br#" {"result" : {"z":1.50 , "a":[]},"jsonrpc":"2.0","id":"7"} "#;
        let envelope = Envelope::of(text).unwrap();
        assert_eq!(envelope.number(), Some(7));
        assert_eq!(envelope.result.unwrap().get(), r#"{"z":1.50 , "a":[]}"#);
        for broken in [&b"[1]"[..], b"{}x", b"{\"id\":1,\"id\":2}", b"{\"a\":\"\xff\"}", b""] {
            assert!(Envelope::of(broken).is_err());
        }
        let inside = [
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\u0024serde_json::private::Number":"1"}"#,
            &format!(r#"{{"a":{}{}}}"#, "[".repeat(64), "]".repeat(64)),
        ];
        for text in inside {
            let message = format!(r#"{{"id":1,"result":{text}}}"#);
            assert!(Envelope::of(message.as_bytes()).is_err(), "{message}");
        }
    }

    #[test]
    fn finds_the_id_of_a_message_that_was_cut() {
        assert_eq!(id_of(br#"{"jsonrpc":"2.0","id":12,"result":{"id":99,"a":"xxx"#), Some(12));
        assert_eq!(id_of(br#"{"result":{"id":99,"a":"xxx"#), None);
        assert_eq!(id_of(br#"{"id":1,"result":{},"id":2,"x":"#), None);
        assert_eq!(id_of(b"{\"id\":3,\"result\":\"\xff\xfe"), Some(3));
        assert_eq!(id_of(b"garbage"), None);
    }

    #[test]
    fn a_number_that_is_cut_is_nobodys_id() {
        for cut in [r#"{"id":1"#, r#"{"result":{},"id":12"#, r#"{"id":"1"#, r#"{"id":-"#] {
            assert_eq!(id_of(cut.as_bytes()), None, "{cut}");
        }
        assert_eq!(id_of(br#"{"id":12,"result":{"a":12"#), Some(12));
        assert_eq!(id_of(br#"{"id":"12","#), Some(12));
    }

    #[test]
    fn placeholders_survive_the_trip_through_text() {
        let text = serde_json::to_string(&placeholder(4)).unwrap();
        let read: ServerJsonRpcMessage = serde_json::from_str(&text).unwrap();
        let ServerJsonRpcMessage::Response(response) = read else { panic!("{text}") };
        assert!(matches!(response.result, ServerResult::CustomResult(_)), "{text}");

        let page = r#"{"tools":[{"name":"t","x":1,"inputSchema":{"type":"object","properties":
            {"r":{"type":"string","x-mcp-header":"Region"}}}}]}"#;
        let page = RawValue::from_string(page.to_owned()).unwrap();
        let text = serde_json::to_string(&listing_placeholder(4, &page)).unwrap();
        let read: ServerJsonRpcMessage = serde_json::from_str(&text).unwrap();
        let ServerJsonRpcMessage::Response(response) = read else { panic!("{text}") };
        assert!(matches!(response.result, ServerResult::ListToolsResult(_)), "{text}");
    }

    #[test]
    fn tells_kinds_of_result_apart() {
        let check = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            kind_of(&raw).map_err(|error| error.to_string())
        };
        assert_eq!(check(r#"{"content":[]}"#), Ok(Kind::Complete));
        assert_eq!(check(r#"{"resultType":"complete","content":[]}"#), Ok(Kind::Complete));
        assert_eq!(check(r#"{"resultType":"input_required"}"#), Ok(Kind::InputRequired));
        assert!(check(r#"{"resultType":"task"}"#).is_err());
        assert!(check(r#"{"resultType":"other"}"#).unwrap_err().contains("`other`"));
        assert!(check("[]").is_err());
        assert!(check("null").is_err());
    }
}
