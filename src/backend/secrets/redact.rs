//! Takes secret values out of what a backend says, in each form that text can carry them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::{NoExpand, Regex};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::Named;
use crate::json::Object;
use crate::policy::Redaction;

/// How long a secret must be to be looked for, in bytes. Shorter ones stand everywhere by chance.
pub const MIN_SECRET_BYTES: usize = 4;

/// Finds the values of a set of secrets: as they are, and JSON-escaped, base64-encoded (inside longer
/// base64 as well) and percent-encoded. Make it again when the secrets change.
///
/// Besides, what the patterns of rules match.
pub struct Redactor {
    finder: Option<AhoCorasick>,
    replacements: Vec<String>,
    /// A pattern, and what stands in place of what it matches.
    patterns: Vec<(Regex, String)>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The finder holds the values.
        f.debug_struct("Redactor").field("forms", &self.replacements.len()).finish()
    }
}

impl Redactor {
    /// A redactor for `secrets`; those under [`MIN_SECRET_BYTES`] are left alone.
    ///
    /// # Errors
    /// With what the search automaton says when it would be too large.
    pub fn new(secrets: &[Named]) -> Result<Self, aho_corasick::BuildError> {
        let mut forms: Vec<(String, String)> = Vec::new();
        for (name, value) in secrets {
            let value = value.expose_secret();
            if value.len() >= MIN_SECRET_BYTES {
                let replacement = format!("[redacted:{name}]");
                forms.extend(written(value).map(|form| (form, replacement.clone())));
            }
        }
        let (patterns, replacements): (Vec<String>, Vec<String>) = forms.into_iter().unzip();
        let finder = (!patterns.is_empty())
            .then(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns))
            .transpose()?;
        Ok(Self { finder, replacements, patterns: Vec::new() })
    }

    /// A redactor for what `redactions` match, and for all that `secrets` finds.
    #[must_use]
    pub fn with(secrets: Option<&Self>, redactions: &[Redaction]) -> Self {
        let patterns = redactions.iter().flat_map(|redaction| {
            let replacement = format!("[redacted:{}]", redaction.rule);
            redaction.patterns.each().map(move |pattern| (pattern.clone(), replacement.clone()))
        });
        let (finder, replacements) =
            secrets.map(|it| (it.finder.clone(), it.replacements.clone())).unwrap_or_default();
        Self { finder, replacements, patterns: patterns.collect() }
    }

    /// `text` with each secret in it replaced by `[redacted:NAME]`, and what a rule takes out by
    /// `[redacted:RULE]`.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut left = match &self.finder {
            Some(finder) if finder.is_match(text) => {
                Cow::Owned(finder.replace_all(text, &self.replacements))
            }
            Some(_) | None => Cow::Borrowed(text),
        };
        for (pattern, replacement) in &self.patterns {
            if let Cow::Owned(redacted) = pattern.replace_all(&left, NoExpand(replacement)) {
                left = Cow::Owned(redacted);
            }
        }
        left
    }

    /// Whether the JSON text `json` certainly holds no secret, seen without reading it: where nothing is
    /// escaped, whatever a value or key says stands in the text as it is.
    #[must_use]
    pub fn finds_nothing(&self, json: &str) -> bool {
        // A pattern may be about what is written in another way.
        if !self.patterns.is_empty() {
            return false;
        }
        match &self.finder {
            Some(finder) => !json.contains('\\') && !finder.is_match(json),
            None => true,
        }
    }

    /// Redacts every text in `value`, keys included; a number that holds a secret becomes text. True
    /// when anything was replaced. JSON is redacted this way and not as bytes, where a match could
    /// begin in the middle of an escape.
    pub fn redact_json(&self, value: &mut Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => {
                let digits = number.to_string();
                let redacted = self.redact(&digits);
                let found = matches!(redacted, Cow::Owned(_));
                if found {
                    *value = Value::String(redacted.into_owned());
                }
                found
            }
            Value::String(text) => match self.redact(text) {
                Cow::Borrowed(_) => false,
                Cow::Owned(redacted) => {
                    *text = redacted;
                    true
                }
            },
            Value::Array(items) => {
                items.iter_mut().fold(false, |found, item| self.redact_json(item) | found)
            }
            Value::Object(object) => self.redact_object(object),
        }
    }

    fn redact_object(&self, object: &mut Object) -> bool {
        let mut found = false;
        for value in object.values_mut() {
            found |= self.redact_json(value);
        }
        if object.keys().any(|key| matches!(self.redact(key), Cow::Owned(_))) {
            found = true;
            for (key, value) in std::mem::take(object) {
                let redacted = self.redact(&key).into_owned();
                let (mut name, mut count) = (redacted.clone(), 1);
                // Two that look the same now are still two.
                while object.contains_key(&name) {
                    count += 1;
                    name = format!("{redacted} ({count})");
                }
                object.insert(name, value);
            }
        }
        found
    }
}

/// The forms in which text can hold `value`.
fn written(value: &str) -> impl Iterator<Item = String> {
    let mut forms = vec![value.to_owned(), json_escaped(value)];
    forms.push(json_escaped(value).replace('/', "\\/"));
    forms.extend([percent_encoded(value, true), percent_encoded(value, false)]);
    forms.push(percent_encoded(value, true).replace("%20", "+"));
    for engine in [STANDARD, URL_SAFE] {
        forms.push(engine.encode(value));
        forms
            .extend((0..3).map(|offset| {
                base64_inside(&engine.encode(shifted(value, offset)), value, offset)
            }));
    }
    forms.sort_unstable();
    forms.dedup();
    forms.into_iter().filter(|form| form.len() >= MIN_SECRET_BYTES)
}

fn json_escaped(value: &str) -> String {
    let quoted = Value::String(value.to_owned()).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

/// RFC 3986, section 2: every byte that is not unreserved.
fn percent_encoded(value: &str, upper: bool) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        let _infallible = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.write_char(char::from(byte))
            }
            _ if upper => write!(text, "%{byte:02X}"),
            _ => write!(text, "%{byte:02x}"),
        };
        text
    })
}

fn shifted(value: &str, offset: usize) -> Vec<u8> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// Of the base64 of `offset` bytes and then `value`, the characters that `value` alone decides: what
/// stands in longer base64 wherever the value begins at such an offset.
fn base64_inside(encoded: &str, value: &str, offset: usize) -> String {
    let first = (offset * 8).div_ceil(6);
    let end = (offset + value.len()) * 8 / 6;
    encoded.get(first..end).unwrap_or_default().to_owned()
}
