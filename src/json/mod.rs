//! JSON from outside: read strictly, kept exactly, and checked for what a digest can bind.

mod i_json;
mod reader;

use serde_json::Value;

pub use i_json::{NotIJson, check_i_json, check_i_json_at};
pub use reader::Fault;
use reader::Reader;

/// A JSON object that keeps the order of its keys and the digits of its numbers.
pub type Object = serde_json::Map<String, Value>;

/// How deep a JSON text from outside may nest, in levels.
pub const MAX_DEPTH: usize = 64;

/// A text that is not taken, told in words without the text itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at line {line} column {column}")]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// Where, from 1.
    pub line: usize,
    /// Where in the line, in bytes from 1.
    pub column: usize,
}

impl Malformed {
    fn at(fault: Fault, bytes: &[u8], at: usize) -> Self {
        let before = bytes.get(..at).unwrap_or(bytes);
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Self { fault, line: line + 1, column: before.len() - begin + 1 }
    }
}

/// Reads one JSON text that something will act on. Not taken are: what is not JSON (RFC 8259) or not
/// UTF-8, lone surrogates, a key that stands twice in an object however it is spelt, a key with the
/// character NUL, nesting beyond [`MAX_DEPTH`], and text after the end.
///
/// # Errors
/// With what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<Value, Malformed> {
    let text = taken(bytes, false)?;
    serde_json::from_str(text).map_err(|_| Malformed::at(Fault::Syntax, bytes, 0))
}

/// Checks one JSON text that is passed on as it is, in the same way; only that its keys may hold the
/// character NUL. Gives it as text.
///
/// # Errors
/// With what is wrong and where.
pub fn check(bytes: &[u8]) -> Result<&str, Malformed> {
    taken(bytes, true)
}

fn taken(bytes: &[u8], takes_nul: bool) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Malformed::at(Fault::Encoding, bytes, error.valid_up_to()))?;
    let mut reader = Reader::new(text, takes_nul);
    match reader.whole() {
        Ok(()) => Ok(text),
        Err(fault) => Err(Malformed::at(fault, bytes, reader.at)),
    }
}

#[cfg(test)]
mod tests;
