//! Arguments that have passed their tool's schema.

use std::sync::Arc;

use serde_json::Value;

use super::fault::Fault;
use super::tool::{Attributes, Tool};
use crate::json::{self, Object};

/// Arguments of one tool that have passed its schema, with the attributes they give the call.
///
/// ```compile_fail
/// let forged = countersign::catalog::CheckedArguments { };
/// ```
#[derive(Clone, Debug)]
pub struct CheckedArguments {
    tool: Arc<Tool>,
    arguments: Object,
    attributes: Attributes,
}

impl CheckedArguments {
    pub(super) fn check(tool: Arc<Tool>, arguments: Object) -> Result<Self, Vec<Fault>> {
        json::check_i_json(&arguments).map_err(|error| {
            vec![Fault { pointer: error.pointer, message: error.why.to_owned() }]
        })?;
        let value = Value::Object(arguments);
        tool.input().check(&value)?;
        let Value::Object(arguments) = value else { return Err(Vec::new()) };
        let attributes = tool.attributes(&arguments).map_err(|fault| vec![fault])?;
        Ok(Self { tool, arguments, attributes })
    }

    /// The tool.
    #[must_use]
    pub const fn tool(&self) -> &Arc<Tool> {
        &self.tool
    }

    /// The arguments.
    #[must_use]
    pub const fn arguments(&self) -> &Object {
        &self.arguments
    }

    /// What policy matches on.
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The arguments alone.
    #[must_use]
    pub fn into_arguments(self) -> Object {
        self.arguments
    }
}
