//! What a finished command says, as an MCP `CallToolResult`.

use std::borrow::Cow;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::{BackendError, RawResult};
use super::{Finished, Output, Status};
use crate::json;

/// How much of what a failed command wrote is passed on, in bytes: enough for any error message.
const MAX_FAILURE_BYTES: usize = 8 * 1024;

/// Said beside text in which bytes were replaced, so that nobody writes it back as if it were the original.
const LOSSY: &str =
    "(the output is not valid UTF-8; U+FFFD stands for each byte sequence that could not be shown)";

/// The result of a command: its output, or that it failed and what it said.
///
/// # Errors
/// [`BackendError::Nonsense`] when it ended well and its output is not the JSON it should be.
pub fn into_result(finished: Finished, output: Output) -> Result<RawResult, BackendError> {
    let result = match (finished.status, output) {
        (Status::Code(0), Output::Text) => text(&finished.stdout),
        (Status::Code(0), Output::Json) => structured(&finished.stdout)?,
        (Status::Code(_) | Status::Signal(_), Output::Text | Output::Json) => failure(&finished),
    };
    serde_json::value::to_raw_value(&result)
        .map(RawResult)
        .map_err(|error| BackendError::Nonsense(error.to_string()))
}

fn text(stdout: &[u8]) -> Value {
    let shown = String::from_utf8_lossy(stdout);
    let mut content = vec![json!({ "type": "text", "text": shown })];
    if let Cow::Owned(_) = shown {
        content.push(json!({ "type": "text", "text": LOSSY }));
    }
    json!({ "content": content, "isError": false })
}

fn structured(stdout: &[u8]) -> Result<Value, BackendError> {
    let value = json::parse(stdout).map_err(|error| {
        BackendError::Nonsense(format!("the output of the command is not JSON: {error}"))
    })?;
    let content = json!([{ "type": "text", "text": value.to_string() }]);
    Ok(json!({ "content": content, "structuredContent": value, "isError": false }))
}

fn failure(finished: &Finished) -> Value {
    let how = match finished.status {
        Status::Code(code) => format!("the command failed with exit code {code}"),
        Status::Signal(number) => match Signal::try_from(number) {
            Ok(signal) => format!("the command was ended by signal {number} ({signal})"),
            Err(_) => format!("the command was ended by signal {number}"),
        },
    };
    // Some programs say on standard output why they failed.
    let said = [&finished.stderr, &finished.stdout]
        .into_iter()
        .map(|bytes| tail(bytes))
        .find(|said| !said.trim().is_empty());
    let text = said.map_or_else(|| how.clone(), |said| format!("{how}:\n{}", said.trim_end()));
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}

fn tail(bytes: &[u8]) -> Cow<'_, str> {
    let start = bytes.len().saturating_sub(MAX_FAILURE_BYTES);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default())
}
