//! What is changed in a client's configuration: the one server that is the gateway.

use serde_json::{Map, Value};

use super::client::Form;
use super::{json, toml};

/// What the gateway is called among a client's servers.
pub(super) const NAME: &str = "countersign";
/// The members of a server that are ours to set; whatever else stands in it is the user's.
pub(super) const OWNED: [&str; 6] =
    ["type", "command", "args", "url", "headers", "bearer_token_env_var"];
/// What some editors write before a file's text.
const MARK: &str = "\u{feff}";

/// A change of one file.
pub(super) struct Change {
    pub(super) form: Form,
    /// The member that holds the servers.
    pub(super) servers: &'static str,
    /// The server as it is to be; none takes it out.
    pub(super) entry: Option<Map<String, Value>>,
    /// What the client is to ask the person for.
    pub(super) input: Option<Map<String, Value>>,
}

impl Change {
    /// `text` with the change made.
    ///
    /// # Errors
    /// Why the text cannot be changed, in words.
    pub(super) fn apply(&self, text: &str) -> Result<String, String> {
        let (mark, text) = match text.strip_prefix(MARK) {
            Some(rest) => (MARK, rest),
            None => ("", text),
        };
        let changed = match self.form {
            Form::Json => json::changed(text, self)?,
            Form::Toml => toml::changed(text, self)?,
        };
        Ok(format!("{mark}{changed}"))
    }

    /// The change as a whole file, for whoever puts it in by hand.
    pub(super) fn snippet(&self) -> String {
        self.apply("").unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
