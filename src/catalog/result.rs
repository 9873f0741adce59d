//! Results that have passed their checks: size, shape, declared output schema.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fault::Fault;
use super::tool::Tool;
use crate::json::Object;

/// A result that may go to the caller: the text of an MCP `CallToolResult`, members as the tool gave
/// them, byte for byte, in their order.
///
/// ```compile_fail
/// let forged = countersign::catalog::CheckedResult { };
/// ```
#[derive(Clone, Debug)]
pub struct CheckedResult {
    members: IndexMap<String, Box<RawValue>>,
    is_error: bool,
    bytes: usize,
    text: Box<RawValue>,
}

/// Why a result is kept from the caller.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResultFault {
    /// It is larger than the limit.
    #[error("the result is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It is not an MCP result.
    #[error("the backend answered what is not a tool result: {0}")]
    NotAResult(String),
    /// `structuredContent` does not fit the declared `output_schema`.
    #[error("the result does not fit its declared output schema: {}", faults_in_words(.0))]
    Schema(Vec<Fault>),
}

fn faults_in_words(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(|fault| format!("`{}` {}", fault.pointer, fault.message))
        .collect::<Vec<_>>()
        .join("; ")
}

impl CheckedResult {
    /// Checks what a backend gave back for `tool`, with at most `max_bytes` bytes.
    ///
    /// # Errors
    /// When it is too large, no result at all, or does not fit `output_schema` (a result that reports an
    /// error is not held to it, as the MCP specification has it).
    pub fn check(tool: &Tool, text: Box<RawValue>, max_bytes: usize) -> Result<Self, ResultFault> {
        let bytes = text.get().len();
        if bytes > max_bytes {
            return Err(ResultFault::TooLarge { limit: max_bytes });
        }
        let result = Self::read(text)?;
        if let Some(schema) = tool.output().filter(|_| !result.is_error) {
            let structured = result.member::<Value>("structuredContent")?.unwrap_or(Value::Null);
            schema.check(&structured).map_err(ResultFault::Schema)?;
        }
        Ok(result)
    }

    /// Reads a result that was checked when it was stored.
    ///
    /// # Errors
    /// When it is no result at all.
    pub fn stored(text: Box<RawValue>) -> Result<Self, ResultFault> {
        Self::read(text)
    }

    fn read(text: Box<RawValue>) -> Result<Self, ResultFault> {
        let members: IndexMap<String, Box<RawValue>> = serde_json::from_str(text.get())
            .map_err(|error| ResultFault::NotAResult(error.to_string()))?;
        let bytes = text.get().len();
        let mut result = Self { members, is_error: false, bytes, text };
        result.is_error = result.member::<bool>("isError")?.unwrap_or(false);
        let content = result.member::<Vec<&RawValue>>("content")?;
        if content.is_none() && !result.members.contains_key("structuredContent") {
            return Err(ResultFault::NotAResult("it has no `content`".into()));
        }
        Ok(result)
    }

    fn member<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, ResultFault> {
        self.members
            .get(name)
            .map(|raw| serde_json::from_str(raw.get()))
            .transpose()
            .map_err(|error| ResultFault::NotAResult(format!("`{name}`: {error}")))
    }

    /// Whether the tool says that it failed.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.is_error
    }

    /// The size of the text, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The text, as the tool gave it.
    #[must_use]
    pub const fn text(&self) -> &RawValue {
        &self.text
    }

    /// The members for the wire, with `meta` added to the result's own `_meta`.
    #[must_use]
    pub fn into_members(mut self, meta: Object) -> IndexMap<String, Box<RawValue>> {
        let mut own: Object = self
            .members
            .get("_meta")
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        own.extend(meta);
        if let Ok(raw) = serde_json::value::to_raw_value(&own)
            && !own.is_empty()
        {
            self.members.insert("_meta".into(), raw);
        }
        self.members
    }
}
