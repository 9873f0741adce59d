//! What a rule takes out of results: patterns of text, checked when the policy is loaded.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// How many patterns one constraint has at the most.
const MAX_PATTERNS: usize = 64;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1_000;
/// How large the program of one pattern may become, in bytes.
const MAX_PROGRAM_BYTES: usize = 1 << 20;
/// How to write one.
const LIKE: &str = "like `redact: ['[0-9]{3}-[0-9]{2}-[0-9]{4}']`: regular expressions, in quotes";

/// Patterns whose matches are taken out of results. What they match takes time in proportion to the text.
#[derive(Clone, Debug)]
pub struct Patterns(Arc<[Regex]>);

impl Patterns {
    /// Reads the value of `redact`: a list of patterns, or one; an error is what is wrong, and a hint.
    pub(super) fn parse(value: &Value) -> Result<Self, (String, String)> {
        let wrong = |message: String| (message, LIKE.to_owned());
        let texts: Vec<&str> = match value {
            Value::String(text) => vec![text.as_str()],
            Value::Array(texts) => texts
                .iter()
                .map(|text| text.as_str().ok_or_else(|| wrong("`redact` lists texts".to_owned())))
                .collect::<Result<_, _>>()?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(wrong(format!("`redact` cannot be `{value}`")));
            }
        };
        if !(1..=MAX_PATTERNS).contains(&texts.len()) {
            return Err(wrong(format!("`redact` lists 1 to {MAX_PATTERNS} patterns")));
        }
        let compiled = texts.into_iter().map(|text| compiled(text).map_err(wrong));
        compiled.collect::<Result<Vec<_>, _>>().map(|all| Self(all.into()))
    }

    /// These patterns.
    #[cfg(test)]
    pub(crate) fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| compiled(text).unwrap()).collect())
    }

    /// The patterns.
    pub fn each(&self) -> impl Iterator<Item = &Regex> {
        self.0.iter()
    }
}

fn compiled(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_PATTERN_BYTES {
        return Err(format!("`redact` has a pattern of more than {MAX_PATTERN_BYTES} bytes"));
    }
    let built = RegexBuilder::new(text).size_limit(MAX_PROGRAM_BYTES).build();
    // The library's text shows the place in several lines; the last says what is wrong.
    let told =
        |error: regex::Error| error.to_string().lines().last().unwrap_or_default().to_owned();
    let pattern = built.map_err(|error| format!("`redact` cannot be `{text}`: {}", told(error)))?;
    if pattern.is_match("") {
        return Err(format!("`redact` cannot be `{text}`, which matches where nothing stands"));
    }
    Ok(pattern)
}

/// The patterns that one rule takes out of a result.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// The rule, which stands in the result in place of what was taken out.
    pub rule: String,
    /// The patterns.
    pub patterns: Patterns,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_that_could_take_out_everything_or_too_much_time_are_refused() {
        for (value, why) in [
            (json!(7), "cannot be `7`"),
            (json!([]), "lists 1 to 64"),
            (json!([1]), "lists texts"),
            (json!("x*"), "where nothing stands"),
            (json!("a{1000}{1000}"), "size limit"),
            (json!("x".repeat(1_001)), "more than 1000 bytes"),
            (json!(["x", "[a"]), "unclosed character class"),
        ] {
            let (message, hint) = Patterns::parse(&value).unwrap_err();
            assert!(message.contains(why) && hint.contains("redact: ["), "{value}: {message}");
        }
        assert_eq!(Patterns::parse(&json!("x+")).unwrap().each().count(), 1);
    }
}
