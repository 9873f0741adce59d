//! The names of members that the protocol gives a meaning: none may stand in another case.
//!
//! Some readers of JSON take `Method` for `method`. Between one of those and one that does not, a message
//! says two things; so it is refused, whether the true name stands beside it or not.

use serde_json::Value;

use crate::json::Object;

/// The members of a message.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// The members of its parameters by which it is decided what is done, and for whom.
const PARAMS: [&str; 11] = [
    "name",
    "arguments",
    "_meta",
    "cursor",
    "uri",
    "ref",
    "argument",
    "taskId",
    "requestId",
    "requestState",
    "inputResponses",
];
/// The longest name, in bytes; a longer key cannot look like one. A letter takes at most 3 bytes in place of one.
const MAX_LOOKALIKE: usize = 3 * 14;

/// Says which member has a name in another case, if one has.
pub(super) fn other_than_they_look(message: &Object) -> Option<String> {
    let told = |(key, name): (&str, &str)| {
        format!("the member `{}` is not `{name}`; names are told apart by case", key.escape_debug())
    };
    if let Some(found) = lookalike(message, &ENVELOPE) {
        return Some(told(found));
    }
    match message.get("params") {
        Some(Value::Object(params)) if message.contains_key("method") => {
            lookalike(params, &PARAMS).map(told)
        }
        Some(_) | None => None,
    }
}

fn lookalike<'a>(object: &'a Object, names: &[&'static str]) -> Option<(&'a str, &'static str)> {
    object.keys().filter(|key| key.len() <= MAX_LOOKALIKE).find_map(|key| {
        let folded = folded(key);
        let name = names.iter().find(|name| folded == folded_name(name))?;
        (key != name).then_some((key.as_str(), *name))
    })
}

/// In lower case by way of the upper one, as readers do it: then `\u{17f}` is an `s` and `\u{212a}` a `k`.
fn folded(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}

fn folded_name(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn found(text: &str) -> bool {
        let Value::Object(message) = json::parse(text.as_bytes()).unwrap() else {
            panic!("{text}")
        };
        other_than_they_look(&message).is_some()
    }

    #[test]
    fn cve_2026_27896_no_name_stands_in_another_case() {
        for text in [
            r#"{"Method":"tools/call"}"#,
            r#"{"method":"ping","METHOD":"tools/call"}"#,
            r#"{"method":"ping","Id":2}"#,
            r#"{"JSONRPC":"2.0","method":"ping"}"#,
            r#"{"method":"ping","param\u017f":{}}"#,
            r#"{"re\u017fult":{}}"#,
            r#"{"method":"tools/call","params":{"Name":"x"}}"#,
            r#"{"method":"tools/call","params":{"name":"x","ARGUMENTS":{}}}"#,
            r#"{"method":"tools/call","params":{"name":"x","_Meta":{}}}"#,
            r#"{"method":"tasks/get","params":{"taskid":"x"}}"#,
            r#"{"method":"tasks/get","params":{"tas\u212aId":"x"}}"#,
        ] {
            assert!(found(text), "{text}");
        }
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"Name":1,"NAME":2}}}"#,
            r#"{"method":"tasks/get","params":{"taskId":"x","requestState":"y","vendor":1}}"#,
            r#"{"method":"x","methods":1,"__proto__":{},"params":{"constructor":1}}"#,
        ] {
            assert!(!found(text), "{text}");
        }
    }
}
