//! What is wrong with a value, in words that a model can act on: where, and what would be accepted.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

/// The longest list or pattern that is repeated in a fault, in characters.
const MAX_SHOWN: usize = 400;

/// One way in which a value does not fit a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the value, as a JSON pointer; empty for the value itself.
    pub pointer: String,
    /// What is wrong, in words, without the value.
    pub message: String,
}

impl Fault {
    /// The faults that `error` stands for: one, or one for each property that is not known.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "two kinds are told apart, the rest are alike"
    )]
    pub(super) fn of(error: &ValidationError<'_>) -> Vec<Self> {
        let at = error.instance_path().to_string();
        let inner = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        let one = |pointer: String, message: String| vec![Self { pointer, message }];
        match error.kind() {
            Kind::Required { property } => match property.as_str() {
                Some(name) => one(inner(name), "is required".to_owned()),
                None => one(at, error.masked_with("the value").to_string()),
            },
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => unexpected
                .iter()
                .map(|name| Self { pointer: inner(name), message: "is not known here".to_owned() })
                .collect(),
            kind => {
                one(at, words(kind).unwrap_or_else(|| error.masked_with("the value").to_string()))
            }
        }
    }
}

/// Our own words where the library's would show the value, or a schema that means little to a reader.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's words serve for the rest")]
fn words(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Type { kind: TypeKind::Single(kind) } => format!("must be of type {kind}"),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
            format!("must be of type {}", kinds.join(" or "))
        }
        Kind::Enum { options } => format!("must be one of {}", shown(options)),
        Kind::Constant { expected_value } => format!("must be {}", shown(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::UniqueItems => "must not have an item twice".to_owned(),
        Kind::Pattern { pattern } => format!("must match the pattern `{}`", cut(pattern)),
        Kind::Format { format } => format!("must be a valid {format}"),
        Kind::Not { .. } => {
            "is of a form that is not allowed here; read the argument's description".to_owned()
        }
        _ => return None,
    })
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Array(options) => {
            options.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    cut(&text)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
