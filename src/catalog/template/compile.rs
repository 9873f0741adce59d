//! Reads a template and checks every argument it names against the tool's input schema.

use serde_json::Value;

use super::{Element, Fault, Part, Piece, Place, Slot, Stdin, Template, TemplateError};
use crate::json::Object;

/// How alike two names must be, from 0 to 1, for one to be offered in place of the other.
const NEAR: f64 = 0.75;

impl Template {
    /// Compiles `run` and `stdin` (`json` or `${x}`) of a tool whose arguments `input_schema` describes.
    ///
    /// # Errors
    /// With the first element that cannot work for some arguments the schema allows.
    pub fn compile(
        run: &[Part],
        stdin: Option<&str>,
        input_schema: &Object,
    ) -> Result<Self, TemplateError> {
        let scope = Scope { schema: input_schema, present: None };
        let elements = run
            .iter()
            .enumerate()
            .map(|(index, part)| compile_part(index, part, scope))
            .collect::<Result<_, _>>()?;
        let stdin = stdin
            .map(|text| compile_stdin(text, scope))
            .transpose()
            .map_err(|fault| TemplateError { place: Place::Stdin, fault })?;
        Ok(Self { elements, stdin })
    }
}

/// What is known about arguments at one place: the schema, and the one that a `when` vouches for.
#[derive(Clone, Copy)]
struct Scope<'a> {
    schema: &'a Object,
    present: Option<&'a str>,
}

fn compile_part(index: usize, part: &Part, scope: Scope<'_>) -> Result<Element, TemplateError> {
    match part {
        Part::Text(text) => {
            element(text, scope).map_err(|fault| TemplateError { place: Place::Run(index), fault })
        }
        Part::Optional(optional) => {
            let when = scope
                .slot(&optional.when)
                .map_err(|fault| TemplateError { place: Place::Run(index), fault })?;
            let inner = Scope { present: Some(&optional.when), ..scope };
            let elements = optional
                .args
                .iter()
                .enumerate()
                .map(|(inside, text)| {
                    element(text, inner)
                        .map_err(|fault| TemplateError { place: Place::Args(index, inside), fault })
                })
                .collect::<Result<_, _>>()?;
            Ok(Element::When(when, elements))
        }
    }
}

fn compile_stdin(text: &str, scope: Scope<'_>) -> Result<Stdin, Fault> {
    if text == "json" {
        return Ok(Stdin::Json);
    }
    let pieces = read(text)?;
    let [Token::Insert(name)] = pieces.as_slice() else { return Err(Fault::NotStdin) };
    scope.certain(name).map(Stdin::Argument)
}

fn element(text: &str, scope: Scope<'_>) -> Result<Element, Fault> {
    if text.contains('\0') {
        return Err(Fault::Nul);
    }
    let tokens = read(text)?;
    if let [Token::Spread(name)] = tokens.as_slice() {
        return scope.spreadable(name).map(Element::Spread);
    }
    tokens
        .into_iter()
        .map(|token| match token {
            Token::Literal(text) => Ok(Piece::Literal(text)),
            Token::Insert(name) => scope.insertable(&name).map(Piece::Argument),
            Token::Spread(name) => Err(Fault::SpreadNotAlone(name)),
        })
        .collect::<Result<_, _>>()
        .map(Element::One)
}

/// A part of a text in which values are put.
#[derive(Debug)]
pub(in crate::catalog) enum Token {
    Literal(String),
    Insert(String),
    Spread(String),
}

/// Splits `text` at its `${...}`; `$${` is a literal `${`, any other `$` is itself.
pub(in crate::catalog) fn read(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            literal.push_str(before);
            literal.push_str("${");
            rest = after;
            continue;
        }
        literal.push_str(before);
        if !literal.is_empty() {
            tokens.push(Token::Literal(std::mem::take(&mut literal)));
        }
        let (inside, after) = after.split_once('}').ok_or(Fault::Unbalanced)?;
        tokens.push(match inside.strip_suffix("...") {
            Some("") => return Err(Fault::Unnamed),
            Some(name) => Token::Spread(name.to_owned()),
            None if inside.is_empty() => return Err(Fault::Unnamed),
            None => Token::Insert(inside.to_owned()),
        });
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() || tokens.is_empty() {
        tokens.push(Token::Literal(literal));
    }
    Ok(tokens)
}

impl Scope<'_> {
    fn properties(&self) -> Option<&Object> {
        self.schema.get("properties").and_then(Value::as_object)
    }

    fn property(&self, name: &str) -> Result<&Value, Fault> {
        let properties = self.properties();
        properties.and_then(|known| known.get(name)).ok_or_else(|| Fault::Unknown {
            name: name.to_owned(),
            nearest: properties.and_then(|known| nearest(name, known)),
        })
    }

    fn slot(&self, name: &str) -> Result<Slot, Fault> {
        let default = self.property(name)?.get("default").filter(|value| !value.is_null());
        Ok(Slot { name: name.to_owned(), default: default.cloned() })
    }

    /// An argument that has a value whenever this place is rendered.
    fn certain(&self, name: &str) -> Result<Slot, Fault> {
        let slot = self.slot(name)?;
        let required = self
            .schema
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|known| known == name));
        if required || slot.default.is_some() || self.present == Some(name) {
            Ok(slot)
        } else {
            Err(Fault::MayBeAbsent(name.to_owned()))
        }
    }

    fn insertable(&self, name: &str) -> Result<Slot, Fault> {
        let types = types(self.property(name)?);
        if types.iter().any(|one| matches!(*one, "array" | "object")) {
            return Err(Fault::NotScalar(name.to_owned()));
        }
        self.certain(name)
    }

    fn spreadable(&self, name: &str) -> Result<Slot, Fault> {
        let property = self.property(name)?;
        let outer = types(property);
        let inner = property.get("items").map(types).unwrap_or_default();
        let nested = inner.iter().any(|one| matches!(*one, "array" | "object"));
        if nested || outer.iter().any(|one| !matches!(*one, "array" | "null")) {
            return Err(Fault::NotSpreadable(name.to_owned()));
        }
        self.certain(name)
    }
}

/// The types that a schema names outright; empty when it leaves them to a reference or composition,
/// in which case rendering looks at the value itself.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

fn nearest(name: &str, known: &Object) -> Option<String> {
    known
        .keys()
        .map(|key| (strsim::jaro_winkler(name, key), key))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key.clone())
}
