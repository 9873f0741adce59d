//! How a tool's arguments become the argument vector and standard input of a command: compiled and
//! checked against the schema when the manifest loads, rendered without a shell when a call runs.

mod compile;
mod render;
#[cfg(test)]
mod tests;

pub(super) use compile::{Token, read as tokens};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Object;

/// How long a rendered argument vector may be, in bytes, each element counted with its end mark.
/// Linux takes no single element longer than this.
pub const MAX_ARGV_BYTES: usize = 128 * 1024;

/// One entry of `run:` as it is written in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected an element of `run`: a string, or `{ when: argument, args: [...] }`"
)]
pub enum Part {
    /// One element: text in which `${x}` inserts the argument `x`, or `${x...}` alone, which spreads
    /// an array into elements. `$${` is a literal `${`.
    Text(String),
    /// Elements that are there only when an argument is.
    Optional(OptionalPart),
}

/// Elements that are there only when an argument is present and neither `false` nor `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionalPart {
    /// The argument that decides.
    pub when: String,
    /// The elements, written like any other.
    pub args: Vec<String>,
}

/// How the standard output of a command is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// As text.
    #[default]
    Text,
    /// As one JSON value, which becomes structured content.
    Json,
}

/// A tool's `run` and `stdin`, checked against its input schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    elements: Vec<Element>,
    stdin: Option<Stdin>,
}

/// What a command is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The arguments after the program's name.
    pub argv: Vec<String>,
    /// The standard input; nothing can be read from it when absent.
    pub stdin: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Element {
    One(Vec<Piece>),
    Spread(Slot),
    When(Slot, Vec<Element>),
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Literal(String),
    Argument(Slot),
}

#[derive(Clone, Debug, PartialEq)]
enum Stdin {
    Json,
    Argument(Slot),
}

/// An argument by its name, with the value that the schema gives it when the caller does not.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    name: String,
    default: Option<Value>,
}

impl Slot {
    /// The argument's value; `null` counts as absent.
    fn value<'a>(&'a self, arguments: &'a Object) -> Option<&'a Value> {
        arguments.get(&self.name).or(self.default.as_ref()).filter(|value| !value.is_null())
    }
}

/// Why a template cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct TemplateError {
    /// Where the fault is.
    pub place: Place,
    /// What is wrong.
    pub fault: Fault,
}

/// A place in a tool's templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Place {
    /// An entry of `run`, counted from 0.
    #[error("`run[{0}]`")]
    Run(usize),
    /// An entry of `args` in an optional entry of `run`, both counted from 0.
    #[error("`run[{0}].args[{1}]`")]
    Args(usize, usize),
    /// The standard input.
    #[error("`stdin`")]
    Stdin,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It names an argument that the input schema does not have.
    #[error("unknown argument `{name}`{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The name as written.
        name: String,
        /// The argument that is written most alike.
        nearest: Option<String>,
    },
    /// `${` without `}`.
    #[error("`${{` without `}}`; write `$${{` for a literal `${{`")]
    Unbalanced,
    /// `${}`.
    #[error("`${{}}` names no argument")]
    Unnamed,
    /// Text beside `${x...}`.
    #[error("`${{{0}...}}` must stand alone in its element")]
    SpreadNotAlone(String),
    /// `${x...}` of what is not an array of scalars.
    #[error("`{0}` cannot be spread: it is not an array of strings, numbers or booleans")]
    NotSpreadable(String),
    /// `${x}` of an array or object.
    #[error(
        "`{0}` is an array or object and cannot stand in an element; spread an array with `${{{0}...}}`"
    )]
    NotScalar(String),
    /// An argument that may be absent.
    #[error(
        "`{0}` may be absent: make it required, give it a default, or put it in `{{ when: {0}, args: [...] }}`"
    )]
    MayBeAbsent(String),
    /// A `stdin` that is neither `json` nor one argument.
    #[error("must be `json` or `${{argument}}`")]
    NotStdin,
    /// A NUL byte in the manifest's own text.
    #[error("holds a NUL byte")]
    Nul,
}

/// Why arguments cannot be rendered; the text is for the model that sent them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It would be taken for an option.
    #[error("`{argument}` must not start with `-`")]
    Dash {
        /// The argument.
        argument: String,
    },
    /// No operating system passes it on.
    #[error("`{argument}` must not contain a NUL byte")]
    Nul {
        /// The argument.
        argument: String,
    },
    /// It is not there, or `null`.
    #[error("`{argument}` is missing")]
    Missing {
        /// The argument.
        argument: String,
    },
    /// It has a type that cannot stand where it is used.
    #[error("`{argument}` must be {wanted}")]
    Type {
        /// The argument.
        argument: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The arguments are too long together.
    #[error("the arguments take more than {limit} bytes together; send less")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}
