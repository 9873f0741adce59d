//! Which workflow a request belongs to: by its own word, else by its trace, else by its session (design §11).

use serde_json::Value;

use super::wire::{INVALID_PARAMS, RpcError};
use crate::digest::Digest;
use crate::json::Object;

/// The longest name of a workflow, in characters; halts take names of the same length.
const MAX_NAME: usize = 256;
/// How many bytes of a session's digest name its workflow: too few to be looked up, enough to differ.
const SESSION_BYTES: usize = 8;

/// The name of the workflow of a request with this `_meta`, in this session. It counts within its agent only.
///
/// # Errors
/// When `countersign/workflow` is there and no text of 1 to 256 characters: a name that were cut or passed
/// over would put the call into a workflow that its caller does not mean.
pub(super) fn named(meta: &Object, session: Option<&str>) -> Result<Option<String>, RpcError> {
    match meta.get("countersign/workflow") {
        Some(Value::String(name)) if !name.is_empty() && name.chars().count() <= MAX_NAME => {
            return Ok(Some(name.clone()));
        }
        Some(_) => {
            let told = format!(
                "Invalid params: `_meta[\"countersign/workflow\"]` must be a text of 1 to {MAX_NAME} characters"
            );
            return Err(RpcError::new(INVALID_PARAMS, told));
        }
        None => {}
    }
    let trace = meta.get("traceparent").and_then(Value::as_str).and_then(trace_of);
    Ok(trace.map(|trace| format!("trace:{trace}")).or_else(|| session.map(of_session)))
}

/// Who knows a session's id can act in it, so only a digest of it may stand in records.
fn of_session(id: &str) -> String {
    let digest = Digest::of_parts(&[b"workflow of session ", id.as_bytes()]);
    let short: String =
        digest.as_bytes().iter().take(SESSION_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("session:{short}")
}

/// The trace id of a `traceparent`, if it is valid (W3C Trace Context, 3.2).
fn trace_of(parent: &str) -> Option<&str> {
    let mut parts = parent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let rest = parts.next();
    let hexadecimal = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |text: &str| text.bytes().any(|it| it != b'0');
    let valid = hexadecimal(version, 2)
        && version != "ff"
        // Later versions may add parts, this one has none.
        && (version != "00" || rest.is_none())
        && hexadecimal(trace, 32)
        && some(trace)
        && hexadecimal(span, 16)
        && some(span)
        && hexadecimal(flags, 2);
    valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{named, trace_of};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn name(meta: &serde_json::Value, session: Option<&str>) -> Result<Option<String>, i64> {
        let meta = meta.as_object().unwrap().clone();
        named(&meta, session).map_err(|error| error.code)
    }

    #[test]
    fn the_callers_word_goes_before_the_trace_and_the_trace_before_the_session() {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let all = json!({ "countersign/workflow": "w", "traceparent": parent });
        assert_eq!(name(&all, Some("s")).unwrap().unwrap(), "w");
        let traced = json!({ "traceparent": parent });
        assert_eq!(name(&traced, Some("s")).unwrap().unwrap(), format!("trace:{TRACE}"));
        let of_session = name(&json!({ "traceparent": "00-x" }), Some("s")).unwrap().unwrap();
        assert!(of_session.starts_with("session:") && of_session.len() == 24, "{of_session}");
        assert_ne!(name(&json!({}), Some("another")).unwrap().unwrap(), of_session);
        assert_eq!(name(&json!({}), None).unwrap(), None);
    }

    #[test]
    fn a_name_that_is_none_is_refused_not_passed_over() {
        for bad in [json!(""), json!(7), json!(null), json!(["w"]), json!("x".repeat(257))] {
            let meta = json!({ "countersign/workflow": bad });
            assert_eq!(name(&meta, Some("s")), Err(-32602), "{bad}");
        }
        let longest = "ü".repeat(256);
        let meta = json!({ "countersign/workflow": longest });
        assert_eq!(name(&meta, None).unwrap().unwrap(), longest);
    }

    #[test]
    fn only_a_valid_traceparent_names_a_trace() {
        let span = "00f067aa0ba902b7";
        for good in [format!("00-{TRACE}-{span}-00"), format!("cc-{TRACE}-{span}-01-more-parts")] {
            assert_eq!(trace_of(&good), Some(TRACE), "{good}");
        }
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}"),
            format!("00-{TRACE}-{span}"),
            format!("00-{TRACE}-{span}-01-"),
            format!("00-{TRACE}-{span}-01-more"),
            format!("ff-{TRACE}-{span}-01"),
            format!("0-{TRACE}-{span}-01"),
            format!("00-{zeros}-{span}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{span}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}0-{span}-01"),
            format!("00-{TRACE}-{span}-1"),
            format!(" 00-{TRACE}-{span}-01"),
        ] {
            assert_eq!(trace_of(&bad), None, "{bad}");
        }
    }
}
