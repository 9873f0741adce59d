//! Puts one call's arguments into a compiled template.

use serde_json::Value;

use super::{Element, MAX_ARGV_BYTES, Piece, RenderError, Rendered, Slot, Stdin, Template};
use crate::json::Object;

const SCALAR: &str = "a string, a number or a boolean";

impl Template {
    /// The argument vector and standard input for `arguments`.
    ///
    /// # Errors
    /// When an argument would be taken for an option, holds a NUL byte, is missing, has a type that
    /// cannot stand where it is used, or the vector is longer than [`MAX_ARGV_BYTES`].
    pub fn render(&self, arguments: &Object) -> Result<Rendered, RenderError> {
        let mut vector = Vector { arguments, argv: Vec::new(), bytes: 0, options_ended: false };
        vector.add_all(&self.elements)?;
        let stdin = match &self.stdin {
            None => None,
            Some(Stdin::Json) => Some(Value::Object(arguments.clone()).to_string().into_bytes()),
            Some(Stdin::Argument(slot)) => Some(input(slot, arguments)?.into_bytes()),
        };
        Ok(Rendered { argv: vector.argv, stdin })
    }
}

struct Vector<'a> {
    arguments: &'a Object,
    argv: Vec<String>,
    bytes: usize,
    /// Whether the template itself has written `--`, after which programs read no options.
    options_ended: bool,
}

impl Vector<'_> {
    fn add_all(&mut self, elements: &[Element]) -> Result<(), RenderError> {
        elements.iter().try_for_each(|element| self.add(element))
    }

    fn add(&mut self, element: &Element) -> Result<(), RenderError> {
        match element {
            Element::One(pieces) => self.add_one(pieces),
            Element::Spread(slot) => self.add_spread(slot),
            Element::When(slot, elements) => match slot.value(self.arguments) {
                None | Some(Value::Bool(false)) => Ok(()),
                Some(_) => self.add_all(elements),
            },
        }
    }

    fn add_one(&mut self, pieces: &[Piece]) -> Result<(), RenderError> {
        if let [Piece::Literal(text)] = pieces
            && text == "--"
        {
            self.options_ended = true;
        }
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Argument(slot) => {
                    let value = present(slot, self.arguments)?;
                    if text.is_empty() {
                        self.refuse_dash(slot, value)?;
                    }
                    text.push_str(&scalar(slot, value)?);
                }
            }
        }
        self.push(text)
    }

    fn add_spread(&mut self, slot: &Slot) -> Result<(), RenderError> {
        let wanted = "an array of strings, numbers or booleans";
        let wrong = || RenderError::Type { argument: slot.name.clone(), wanted };
        let value = present(slot, self.arguments)?;
        for item in value.as_array().ok_or_else(wrong)? {
            self.refuse_dash(slot, item)?;
            let text = scalar(slot, item).map_err(|error| match error {
                RenderError::Type { .. } => wrong(),
                RenderError::Dash { .. }
                | RenderError::Nul { .. }
                | RenderError::Missing { .. }
                | RenderError::TooLong { .. } => error,
            })?;
            self.push(text)?;
        }
        Ok(())
    }

    /// A negative number is what it is; only text could name an option the tool's author never meant.
    fn refuse_dash(&self, slot: &Slot, value: &Value) -> Result<(), RenderError> {
        let dashed = value.as_str().is_some_and(|text| text.starts_with('-'));
        if dashed && !self.options_ended {
            return Err(RenderError::Dash { argument: slot.name.clone() });
        }
        Ok(())
    }

    fn push(&mut self, text: String) -> Result<(), RenderError> {
        self.bytes = self.bytes.saturating_add(text.len()).saturating_add(1);
        if self.bytes > MAX_ARGV_BYTES {
            return Err(RenderError::TooLong { limit: MAX_ARGV_BYTES });
        }
        self.argv.push(text);
        Ok(())
    }
}

fn present<'a>(slot: &'a Slot, arguments: &'a Object) -> Result<&'a Value, RenderError> {
    slot.value(arguments).ok_or_else(|| RenderError::Missing { argument: slot.name.clone() })
}

fn scalar(slot: &Slot, value: &Value) -> Result<String, RenderError> {
    match value {
        Value::String(text) if text.contains('\0') => {
            Err(RenderError::Nul { argument: slot.name.clone() })
        }
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(RenderError::Type { argument: slot.name.clone(), wanted: SCALAR })
        }
    }
}

/// Standard input has no elements to break out of, so arrays and objects may stand there as JSON.
fn input(slot: &Slot, arguments: &Object) -> Result<String, RenderError> {
    match present(slot, arguments)? {
        value @ (Value::Array(_) | Value::Object(_)) => Ok(value.to_string()),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            scalar(slot, value)
        }
    }
}
