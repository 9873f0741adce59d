//! How rules and values are named in texts for agents and reviewers: short, whatever was sent.

use serde_json::Value;

/// How many values or rules one text names.
const MAX_NAMED: usize = 10;
/// How much of one value a text shows, in characters.
const MAX_SHOWN: usize = 64;

/// `rule `a`` or `rules `a`, `b``.
pub(super) fn rules<S: AsRef<str>>(names: &[S]) -> String {
    let noun = if names.len() == 1 { "rule" } else { "rules" };
    let quoted = names.iter().map(|name| format!("`{}`", name.as_ref()));
    format!("{noun} {}", listed(quoted, names.len()))
}

/// A value: texts as they are, everything else as JSON; cut short, and without control characters.
pub(super) fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    let mut shown: String =
        text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    if shown.is_empty() { "an empty text".to_owned() } else { shown }
}

/// Several values.
pub(super) fn values(all: &[&Value]) -> String {
    listed(all.iter().map(|one| value(one)), all.len())
}

fn listed(items: impl Iterator<Item = String>, count: usize) -> String {
    let named = items.take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    match count.saturating_sub(MAX_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
