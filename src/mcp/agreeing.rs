//! Whether the headers of a message of protocol 2026-07-28 say what its body says (SEP-2243). Whoever stands
//! before the gateway may have decided by the headers; the gateway reads the body only.

use base64::Engine;
use http::{HeaderMap, HeaderName};
use rmcp::model::ProtocolVersion;
use serde_json::Value;

use super::arriving::{VERSION, VERSION_KEY, is_modern};
use super::calls::{Caller, Era, Params};
use super::wire::Incoming;
use crate::catalog::Repeated;
use crate::gateway::Gateway;
use crate::json::Object;

const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// Checks version, method and name of a message.
///
/// # Errors
/// With what differs, in words.
pub(super) fn check(headers: &HeaderMap, incoming: &Incoming) -> Result<(), String> {
    // Two of them are two answers to one question, in every version.
    let said = only(headers, VERSION)?;
    let only_method = only(headers, METHOD)?;
    let only_name = only(headers, NAME)?;
    let params = incoming.message.get("params");
    let meta = params.and_then(|params| params.get("_meta"));
    let version = meta.and_then(|meta| meta.get(VERSION_KEY)).and_then(Value::as_str);
    let Some(method) = incoming.method.as_deref() else { return Ok(()) };
    let modern = match version {
        Some(version) => is_modern(version) && is_known(version),
        // A notification need not name its version.
        None => incoming.id.is_none() && said.is_some_and(|said| is_modern(said) && is_known(said)),
    };
    if !modern {
        return Ok(());
    }
    if version.is_some() && said != version {
        return Err("the MCP-Protocol-Version header differs from the body".to_owned());
    }
    if only_method != Some(method) {
        return Err("the Mcp-Method header differs from the body".to_owned());
    }
    let named = key(method).and_then(|key| params?.get(key)?.as_str());
    match named {
        Some(named) if only_name.and_then(decoded).as_deref() != Some(named) => {
            Err("the Mcp-Name header differs from the body".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks the headers that repeat arguments of a tool which the caller sees.
///
/// # Errors
/// With what differs, in words.
pub(super) fn check_call(
    gateway: &Gateway,
    headers: &HeaderMap,
    caller: &Caller,
    params: &Params,
) -> Result<(), String> {
    if caller.era == Era::Legacy {
        return Ok(());
    }
    let revision = gateway.revision();
    let Some(tool) = revision.catalog.tool(params.name()) else { return Ok(()) };
    let repeated = tool.input().repeated();
    // Of a hidden tool nothing is told, not even which headers it wants.
    let seen = || revision.policy.lists(&caller.principal, caller.client.as_deref(), tool);
    if repeated.is_empty() || !seen() {
        return Ok(());
    }
    check_arguments(headers, repeated, params.arguments())
}

pub(super) fn check_arguments(
    headers: &HeaderMap,
    repeated: &[Repeated],
    arguments: &Object,
) -> Result<(), String> {
    for argument in repeated {
        let header = argument.header().as_str();
        let said = only(headers, header)?;
        let agrees = match (said, argument.expected(arguments)) {
            (None, None) => true,
            (Some(said), Some(expected)) => decoded(said) == Some(expected),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !agrees {
            return Err(format!("the {header} header differs from the body"));
        }
    }
    Ok(())
}

/// Which parameter `Mcp-Name` repeats.
fn key(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn is_known(version: &str) -> bool {
    ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == version)
}

/// The value of a header that may stand once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is no header"))
        .map(|name| headers.get_all(name).iter())?;
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the {name} header stands twice"));
    }
    let text = value.to_str().map_err(|_| format!("the {name} header is no ASCII text"))?;
    Ok(Some(text))
}

/// A header value that may be written `=?base64?…?=`, in exactly this case; anything else is itself.
fn decoded(value: &str) -> Option<String> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="))
    else {
        return Some(value.to_owned());
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: &str = "2026-07-28";

    fn body(method: &str, params: &str) -> Incoming {
        let meta = format!(r#""_meta":{{"{VERSION_KEY}":"{MODERN}"}}"#);
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{meta}{params}}}}}"#
        );
        Incoming::read(text.as_bytes()).unwrap()
    }

    fn agree(pairs: &[(&str, &[u8])], incoming: &Incoming) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        check(&headers, incoming).is_ok()
    }

    #[test]
    fn c8_every_method_with_a_name_says_it_in_its_header() {
        for (method, key) in [
            ("tools/call", "name"),
            ("prompts/get", "name"),
            ("resources/read", "uri"),
            ("tasks/get", "taskId"),
            ("tasks/cancel", "taskId"),
        ] {
            let incoming = body(method, &format!(r#","{key}":"safe""#));
            let with = |name: &[u8]| {
                let version = ("mcp-protocol-version", MODERN.as_bytes());
                agree(&[version, ("mcp-method", method.as_bytes()), ("mcp-name", name)], &incoming)
            };
            assert!(with(b"safe"), "{method}");
            assert!(with(b"=?base64?c2FmZQ==?="), "{method}");
            for wrong in [
                &b"other"[..],
                b"SAFE",
                b"",
                b"safe safe",
                b"safe\xff",
                b"=?BASE64?c2FmZQ==?=",
                b"=?base64?c2FmZQ?=",
                b"=?base64?c2FmZQ== ?=",
                b"=?base64?/w==?=",
                b"=?base64??=",
                b"=?base64?c2FmZQ==",
            ] {
                assert!(!with(wrong), "{method} {wrong:?}");
            }
            let version = ("mcp-protocol-version", MODERN.as_bytes());
            let named = ("mcp-name", &b"safe"[..]);
            let right = ("mcp-method", method.as_bytes());
            assert!(!agree(&[version, right], &incoming), "{method}: no name");
            assert!(!agree(&[version, named], &incoming), "{method}: no method");
            assert!(!agree(&[right, named], &incoming), "{method}: no version");
            let old = ("mcp-protocol-version", &b"2025-11-25"[..]);
            assert!(!agree(&[old, right, named], &incoming), "{method}: another version");
            for twice in [version, right, named] {
                assert!(!agree(&[version, right, named, twice], &incoming), "{method} {twice:?}");
            }
        }
    }

    #[test]
    fn c8_a_name_that_looks_encoded_has_to_be_encoded() {
        let incoming = body("prompts/get", r#","name":"=?base64?c2FmZQ==?=""#);
        let version = ("mcp-protocol-version", MODERN.as_bytes());
        let method = ("mcp-method", &b"prompts/get"[..]);
        assert!(!agree(&[version, method, ("mcp-name", b"=?base64?c2FmZQ==?=")], &incoming));
        let encoded = b"=?base64?PT9iYXNlNjQ/YzJGbVpRPT0/PQ==?=";
        assert!(agree(&[version, method, ("mcp-name", encoded)], &incoming));
    }

    #[test]
    fn c8_numbers_are_repeated_as_they_are_written() {
        let schema = r#"{"properties":{"n":{"type":"integer","x-mcp-header":"N"}}}"#;
        let schema =
            crate::catalog::Schema::compile(serde_json::from_str(schema).unwrap()).unwrap();
        let says = |header: Option<&str>, arguments: &str| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("mcp-param-n", value.parse().unwrap());
            }
            let arguments: Object = serde_json::from_str(arguments).unwrap();
            check_arguments(&headers, schema.repeated(), &arguments).is_ok()
        };
        assert!(says(Some("42"), r#"{"n":42}"#));
        assert!(says(Some("=?base64?NDI=?="), r#"{"n":42}"#));
        assert!(says(None, "{}"));
        assert!(says(None, r#"{"n":null}"#));
        for (header, arguments) in [
            (Some("42.0"), r#"{"n":42}"#),
            (Some("42"), r#"{"n":42.0}"#),
            (Some("042"), r#"{"n":42}"#),
            (Some("43"), r#"{"n":42}"#),
            (Some("42"), "{}"),
            (Some("null"), r#"{"n":null}"#),
            (None, r#"{"n":42}"#),
        ] {
            assert!(!says(header, arguments), "{header:?} {arguments}");
        }
    }
}
