//! Arguments as a text that a person edits, read back strictly, and what the edit changed.

use serde_json::Value;

use crate::cli::output::is_hidden;
use crate::json::{self, Object};

/// One value that an edit changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// Where, as a JSON pointer (RFC 6901) into the arguments.
    pub(super) pointer: String,
    /// The value before; none where there was none.
    pub(super) from: Option<Value>,
    /// The value now; none where it was taken away.
    pub(super) to: Option<Value>,
}

/// Pretty JSON in which hidden characters are JSON escapes, so that an editor shows them and the same value
/// is read back.
pub(super) fn document(arguments: &Object) -> String {
    let pretty = serde_json::to_string_pretty(arguments).unwrap_or_default();
    let mut text = String::with_capacity(pretty.len() + 1);
    for c in pretty.chars() {
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    text
}

/// The edited arguments, or none if they are those from before.
///
/// # Errors
/// With what is wrong with the text, and where.
pub(super) fn read_back(text: &str, before: &Object) -> Result<Option<Object>, String> {
    let value = json::parse(text.as_bytes()).map_err(|error| format!("not valid JSON: {error}"))?;
    let Value::Object(new) = value else {
        return Err("arguments are a JSON object, in `{` and `}`".to_owned());
    };
    json::check_i_json(&new).map_err(|error| error.to_string())?;
    Ok((new != *before).then_some(new))
}

/// What differs between two sets of arguments, each change at the deepest place that holds it.
pub(super) fn differences(before: &Object, after: &Object) -> Vec<Difference> {
    let mut found = Vec::new();
    compare_objects("", before, after, &mut found);
    found
}

fn compare_objects(path: &str, before: &Object, after: &Object, found: &mut Vec<Difference>) {
    let at = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    for (key, from) in before {
        match after.get(key) {
            Some(to) => compare(at(key), from, to, found),
            None => {
                found.push(Difference { pointer: at(key), from: Some(from.clone()), to: None });
            }
        }
    }
    for (key, to) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        found.push(Difference { pointer: at(key), from: None, to: Some(to.clone()) });
    }
}

/// Both came from a text that nests at most `json::MAX_DEPTH` levels, so this does.
fn compare(pointer: String, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => compare_objects(&pointer, from, to, found),
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            for (index, (from, to)) in from.iter().zip(to).enumerate() {
                compare(format!("{pointer}/{index}"), from, to, found);
            }
        }
        (from, to) if from != to => {
            found.push(Difference { pointer, from: Some(from.clone()), to: Some(to.clone()) });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else { panic!("no object") };
        object
    }

    #[test]
    fn hidden_characters_are_seen_in_the_editor_and_read_back_unchanged() {
        let arguments =
            object(json!({ "a\u{200b}": "x\u{202e}\u{e0041}\u{1b}[2J\n\\u{202e}", "größe": 1.50 }));
        let text = document(&arguments);
        assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
        assert!(text.contains("größe") && text.contains("\\u202e"), "{text}");
        assert_eq!(read_back(&text, &arguments), Ok(None));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let before = object(json!({ "a": 1 }));
        let told = read_back("{\n  \"a\": ,\n}", &before).unwrap_err();
        assert!(told.contains("line 2 column"), "{told}");
        let told = read_back("{\"a\":1,\"a\":2}", &before).unwrap_err();
        assert!(told.contains("not valid JSON"), "{told}");
        assert!(read_back("[]", &before).unwrap_err().contains("JSON object"));
        assert!(read_back("{\"a\":9007199254740993}", &before).unwrap_err().contains("/a"));
        assert!(read_back("", &before).is_err());
    }

    #[test]
    fn finds_each_difference_at_its_place() {
        let before = object(json!({ "a": 1, "b": { "c/d": [1, 2], "e": "x" }, "gone": null }));
        let after = object(json!({ "b": { "c/d": [1, 3], "e": "x" }, "a": 1, "new": [] }));
        let found = differences(&before, &after);
        let pointers: Vec<&str> = found.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, ["/b/c~1d/1", "/gone", "/new"]);
        assert_eq!((found[0].from.clone(), found[0].to.clone()), (Some(json!(2)), Some(json!(3))));
        assert_eq!((found[1].to.clone(), found[2].from.clone()), (None, None));
        assert!(differences(&before, &before).is_empty());
    }
}
