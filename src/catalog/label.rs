//! What a tool's results bring to the agent that calls it, as its manifest says: `private_data`, the text of
//! strangers. The words are the operator's own.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest label, in characters.
const MAX_LENGTH: usize = 64;
/// How many labels one tool can bring.
pub(super) const MAX_BROUGHT: usize = 16;
/// What a label looks like, with [`MAX_LENGTH`].
const PATTERN: &str = "^[a-z][a-z0-9_]{0,63}$";

/// A word for something that results hold: a lowercase letter, then lowercase letters, digits and `_`; at most
/// 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl TryFrom<String> for Label {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let begins = word.starts_with(|c: char| c.is_ascii_lowercase());
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if begins && word.len() <= MAX_LENGTH && word.chars().all(rest) {
            return Ok(Self(word));
        }
        Err(format!(
            "a label is a lowercase letter, then lowercase letters, digits and `_`; \
             at most {MAX_LENGTH} characters"
        ))
    }
}

impl JsonSchema for Label {
    fn schema_name() -> Cow<'static, str> {
        "Label".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "What results hold, in a word of the operator's, like `private_data`."
        })
    }
}

/// What is wrong with so many labels of one tool, in words.
pub(super) fn too_many(count: usize) -> Option<String> {
    (count > MAX_BROUGHT).then(|| format!("one tool brings at most {MAX_BROUGHT} labels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_plain_word() {
        let check = |word: &str| Label::try_from(word.to_owned()).is_ok();
        let longest = "x".repeat(MAX_LENGTH);
        for fits in ["a", "private_data", "pii2", &longest] {
            assert!(check(fits), "{fits}");
        }
        let too_long = "x".repeat(MAX_LENGTH + 1);
        for wrong in ["", "_a", "2a", "Private", "private-data", "a b", "é", "aé", &too_long] {
            assert!(!check(wrong), "{wrong}");
        }
    }
}
