//! stand-in
use crate::json::Object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
/// Part.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Part {
    /// Text.
    Text(String),
    /// Optional.
    Optional {
        /// When.
        when: String,
        /// Args.
        args: Vec<String>,
    },
}
/// Template.
#[derive(Clone, Debug)]
pub struct Template;
/// Error
#[derive(Clone, Debug, thiserror::Error)]
#[error("x")]
pub struct TemplateError {
    /// index
    pub index: Option<usize>,
}
/// Error
#[derive(Clone, Debug, thiserror::Error)]
#[error("x")]
pub struct RenderError;
/// Rendered
#[derive(Clone, Debug)]
pub struct Rendered {
    /// argv
    pub argv: Vec<String>,
    /// stdin
    pub stdin: Option<Vec<u8>>,
}
impl Template {
    /// compile
    pub fn compile(
        _run: &[Part],
        _stdin: Option<&str>,
        _schema: &Object,
    ) -> Result<Self, TemplateError> {
        Ok(Self)
    }
    /// render
    pub fn render(&self, _arguments: &Object) -> Result<Rendered, RenderError> {
        Err(RenderError)
    }
}
