//! Results that have passed their checks: size, shape, declared output schema.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::context::Kind;
use super::fault::Fault;
use super::tool::Tool;
use crate::json::Object;

/// A result that may go to the caller: the text of an MCP `CallToolResult`, or of what resources, prompts
/// and completions give, members as the backend gave them, byte for byte, in their order.
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

/// What a completion must hold (MCP, `completion/complete`).
#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow, rename = "values")]
    _values: Vec<std::borrow::Cow<'a, str>>,
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
        let result = Self::read(text, tool.kind())?;
        if let Some(schema) = tool.output().filter(|_| !result.is_error) {
            let structured = result.member::<Value>("structuredContent")?.unwrap_or(Value::Null);
            schema.check(&structured).map_err(ResultFault::Schema)?;
        }
        Ok(result)
    }

    /// Reads a result of an item of this kind that was checked when it was stored.
    ///
    /// # Errors
    /// When it is no result at all.
    pub fn stored(text: Box<RawValue>, kind: Kind) -> Result<Self, ResultFault> {
        Self::read(text, kind)
    }

    fn read(text: Box<RawValue>, kind: Kind) -> Result<Self, ResultFault> {
        let members: IndexMap<String, Box<RawValue>> = serde_json::from_str(text.get())
            .map_err(|error| ResultFault::NotAResult(error.to_string()))?;
        let bytes = text.get().len();
        let mut result = Self { members, is_error: false, bytes, text };
        let (member, is_there) = match kind {
            Kind::Tool => {
                result.is_error = result.member::<bool>("isError")?.unwrap_or(false);
                let content = result.member::<Vec<&RawValue>>("content")?;
                let structured = result.members.contains_key("structuredContent");
                ("content", content.is_some() || structured)
            }
            Kind::Resource => ("contents", result.member::<Vec<&RawValue>>("contents")?.is_some()),
            Kind::Prompt => ("messages", result.member::<Vec<&RawValue>>("messages")?.is_some()),
            Kind::Completion => {
                ("completion", result.member::<Completion<'_>>("completion")?.is_some())
            }
        };
        if is_there {
            return Ok(result);
        }
        Err(ResultFault::NotAResult(format!("it has no `{member}`")))
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
