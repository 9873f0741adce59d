//! What undoes a tool's calls: `rollback` of a manifest, compiled when it loads, filled in from the record.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::build::Parsed;
use super::manifest::RollbackSpec;
use super::template::{Token, tokens};
use super::tool::Tool;
use crate::json::Object;
use crate::source::Problem;

/// The compensations of a catalog, by the name of the tool that they undo.
pub(super) type Compensations = BTreeMap<String, Compensation>;

/// The call that undoes a call of one tool.
#[derive(Debug)]
pub struct Compensation {
    tool: String,
    arguments: Shape,
    defaults: Object,
    unfit: Option<String>,
}

/// Arguments in which values of another call are put.
#[derive(Debug)]
enum Shape {
    Fixed(Value),
    Whole(String),
    Text(Vec<Token>),
    List(Vec<Self>),
    Members(Vec<(String, Self)>),
}

/// What is wrong with a `rollback`, and where below it.
type Wrong = (String, String);

impl Compensation {
    /// The tool that undoes.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The arguments that undo a call with `arguments`; they are not checked against the tool's schema yet.
    ///
    /// # Errors
    /// When there are none, with why.
    pub fn arguments(&self, arguments: &Object) -> Result<Object, String> {
        if let Some(why) = &self.unfit {
            return Err(why.clone());
        }
        let value = |name: &str| arguments.get(name).or_else(|| self.defaults.get(name));
        match self.arguments.filled(&value)? {
            Some(Value::Object(filled)) => Ok(filled),
            Some(_) | None => Err("its `rollback` gives no arguments".to_owned()),
        }
    }
}

/// Compiles every `rollback`. What cannot work with schemas that manifests give is a problem; what does not fit
/// the schemas that servers give now is kept as that, since the server may mend it.
pub(super) fn compile(
    files: &[Parsed],
    tools: &BTreeMap<String, Arc<Tool>>,
    problems: &mut Vec<Problem>,
) -> Compensations {
    let written: BTreeMap<&str, bool> = files
        .iter()
        .flat_map(|file| &file.manifest.tools)
        .map(|spec| (spec.name.as_str(), spec.input_schema.is_some()))
        .collect();
    let is_written = |name: &str| written.get(name).copied().unwrap_or_default();
    let mut all = Compensations::new();
    for file in files {
        for (index, spec) in file.manifest.tools.iter().enumerate() {
            let Some(rollback) = &spec.rollback else { continue };
            let (Some(undone), Some(undoing)) = (tools.get(&spec.name), tools.get(&rollback.tool))
            else {
                continue;
            };
            let mut wrong = |(pointer, message): Wrong| {
                let pointer = format!("/tools/{index}/rollback/arguments{pointer}");
                problems.push(Problem::new(&file.source, file.places.value(&pointer), message));
            };
            let shape = match Shape::read(&Value::Object(rollback.arguments.clone()), "") {
                Ok(shape) => shape,
                Err(found) => {
                    wrong(found);
                    continue;
                }
            };
            let unfit = match fits(&shape, undone, undoing) {
                Err(found) if is_written(&spec.name) && is_written(&rollback.tool) => {
                    wrong(found);
                    continue;
                }
                Err((pointer, message)) => Some(format!("its `rollback`{pointer}: {message}")),
                Ok(()) => None,
            };
            let made = made_of(rollback, shape, undone, unfit);
            all.insert(spec.name.clone(), made);
        }
    }
    all
}

fn made_of(
    rollback: &RollbackSpec,
    arguments: Shape,
    undone: &Tool,
    unfit: Option<String>,
) -> Compensation {
    let properties = undone.input().text().get("properties").and_then(Value::as_object);
    let defaults = properties
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())));
    Compensation { tool: rollback.tool.clone(), arguments, defaults: defaults.collect(), unfit }
}

impl Shape {
    fn read(value: &Value, pointer: &str) -> Result<Self, Wrong> {
        let shape = match value {
            Value::String(text) => return Self::text(text, pointer),
            Value::Array(values) => {
                let read = |(index, value)| Self::read(value, &format!("{pointer}/{index}"));
                Self::List(values.iter().enumerate().map(read).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let read = |(name, value): (&String, &Value)| {
                    let shape = Self::read(value, &below(pointer, name))?;
                    Ok((name.clone(), shape))
                };
                Self::Members(members.iter().map(read).collect::<Result<_, Wrong>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Fixed(value.clone()),
        };
        Ok(if shape.names().is_empty() { Self::Fixed(value.clone()) } else { shape })
    }

    fn text(text: &str, pointer: &str) -> Result<Self, Wrong> {
        let wrong = |message: String| (pointer.to_owned(), message);
        let mut found = tokens(text).map_err(|fault| wrong(fault.to_string()))?;
        for token in &mut found {
            let name = match &*token {
                Token::Literal(_) => continue,
                Token::Spread(name) => {
                    let told = format!(
                        "`${{{name}...}}` stands in `run` only; `${{{name}}}` is the whole value"
                    );
                    return Err(wrong(told));
                }
                Token::Insert(name) => name,
            };
            let result = name == "result" || name.starts_with("result.");
            let inner = name.strip_prefix("arguments.").filter(|inner| !inner.is_empty());
            let inner = inner.map(str::to_owned).ok_or_else(|| {
                wrong(if result {
                    let told = "results are not kept, only their digests";
                    format!("{told}: `${{{name}}}` cannot be filled in; use `${{arguments.x}}`")
                } else {
                    format!("`${{{name}}}` is not known here; write `${{arguments.x}}`")
                })
            })?;
            *token = Token::Insert(inner);
        }
        Ok(match found.as_slice() {
            [Token::Literal(text)] => Self::Fixed(text.clone().into()),
            [Token::Insert(name)] => Self::Whole(name.clone()),
            _ => Self::Text(found),
        })
    }

    /// The arguments it is filled from, and whether there must be a value for each.
    fn names(&self) -> Vec<(&str, bool)> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Whole(name) => vec![(name, false)],
            Self::Text(parts) => {
                let named = parts.iter().filter_map(|part| match part {
                    Token::Insert(name) => Some((name.as_str(), true)),
                    Token::Literal(_) | Token::Spread(_) => None,
                });
                named.collect()
            }
            Self::List(inner) => {
                inner.iter().flat_map(Self::names).map(|(name, _)| (name, true)).collect()
            }
            Self::Members(inner) => inner.iter().flat_map(|(_, shape)| shape.names()).collect(),
        }
    }

    /// The value; none where it is a whole argument that is absent.
    fn filled<'a>(
        &self,
        value: &dyn Fn(&str) -> Option<&'a Value>,
    ) -> Result<Option<Value>, String> {
        Ok(Some(match self {
            Self::Fixed(fixed) => fixed.clone(),
            Self::Whole(name) => return Ok(value(name).cloned()),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Token::Literal(literal) => text.push_str(literal),
                        Token::Insert(name) | Token::Spread(name) => match value(name) {
                            Some(Value::String(it)) => text.push_str(it),
                            Some(it @ (Value::Number(_) | Value::Bool(_))) => {
                                text.push_str(&it.to_string());
                            }
                            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {
                                return Err(format!("`{name}` of the call cannot stand in a text"));
                            }
                        },
                    }
                }
                text.into()
            }
            Self::List(inner) => {
                let mut list = Vec::with_capacity(inner.len());
                for shape in inner {
                    list.push(shape.filled(value)?.ok_or("an argument of the call is absent")?);
                }
                list.into()
            }
            Self::Members(inner) => {
                let mut members = Object::new();
                for (name, shape) in inner {
                    if let Some(filled) = shape.filled(value)? {
                        members.insert(name.clone(), filled);
                    }
                }
                members.into()
            }
        }))
    }

    /// The value with nothing in the places that are filled in, which are noted.
    fn bare(&self, pointer: &str, places: &mut Vec<String>) -> Value {
        match self {
            Self::Fixed(fixed) => fixed.clone(),
            Self::Whole(_) | Self::Text(_) => {
                places.push(pointer.to_owned());
                Value::Null
            }
            Self::List(inner) => {
                let bare = |(index, shape): (usize, &Self)| {
                    shape.bare(&format!("{pointer}/{index}"), places)
                };
                inner.iter().enumerate().map(bare).collect()
            }
            Self::Members(inner) => {
                let members = inner
                    .iter()
                    .map(|(name, shape)| (name.clone(), shape.bare(&below(pointer, name), places)));
                Value::Object(members.collect())
            }
        }
    }
}

/// Whether arguments of this shape can fit `undoing`, when they are filled from calls of `undone`.
fn fits(shape: &Shape, undone: &Tool, undoing: &Tool) -> Result<(), Wrong> {
    let (from, to) = (undone.input().text(), undoing.input().text());
    for (name, must) in shape.names() {
        let known = property(from, name).ok_or_else(|| {
            (String::new(), format!("`{}` has no argument `{name}`", undone.name()))
        })?;
        if must && !is_certain(from, name, known) {
            let told = format!("`{name}` may be absent: make it required or give it a default");
            return Err((String::new(), told));
        }
    }
    let Shape::Members(members) = shape else { return fixed(shape, undoing) };
    for (key, member) in members {
        let pointer = below("", key);
        let closed = to.get("additionalProperties") == Some(&Value::Bool(false));
        let Some(wanted) = property(to, key) else {
            if closed {
                return Err((pointer, format!("`{}` has no argument `{key}`", undoing.name())));
            }
            continue;
        };
        let Shape::Whole(name) = member else { continue };
        let Some(given) = property(from, name) else { continue };
        if required(to, key) && !is_certain(from, name, given) {
            let told = format!("`{name}` may be absent, and `{}` requires `{key}`", undoing.name());
            return Err((pointer, told));
        }
        if !meet(&types(given), &types(wanted)) {
            let told = format!("`{name}` never has the type of `{key}` of `{}`", undoing.name());
            return Err((pointer, told));
        }
    }
    fixed(shape, undoing)
}

/// Whether the parts that are not filled in fit the schema.
fn fixed(shape: &Shape, undoing: &Tool) -> Result<(), Wrong> {
    let mut places = Vec::new();
    let bare = shape.bare("", &mut places);
    let Err(faults) = undoing.input().check(&bare) else { return Ok(()) };
    let touches = |fault: &str, place: &str| {
        let under = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        under(fault, place) || under(place, fault)
    };
    let sure =
        faults.into_iter().find(|it| !places.iter().any(|place| touches(&it.pointer, place)));
    sure.map_or(Ok(()), |fault| {
        let told =
            format!("never fits `{}`: `{}` {}", undoing.name(), fault.pointer, fault.message);
        Err((String::new(), told))
    })
}

fn property<'a>(schema: &'a Object, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn required(schema: &Object, name: &str) -> bool {
    let names = schema.get("required").and_then(Value::as_array);
    names.is_some_and(|names| names.iter().any(|known| known == name))
}

fn is_certain(schema: &Object, name: &str, property: &Value) -> bool {
    required(schema, name) || property.get("default").is_some_and(|value| !value.is_null())
}

/// The types that a schema names outright; none where it leaves them open.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

fn meet(given: &[&str], wanted: &[&str]) -> bool {
    let alike = |a: &str, b: &str| {
        a == b || matches!((a, b), ("number", "integer") | ("integer", "number"))
    };
    given.is_empty()
        || wanted.is_empty()
        || given.iter().any(|given| wanted.iter().any(|wanted| alike(given, wanted)))
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
#[path = "rollback_tests.rs"]
mod tests;
