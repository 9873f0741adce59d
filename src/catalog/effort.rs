//! How many steps it takes to check one value against one schema, counted before the check is made: the
//! validator itself cannot be stopped.

use serde_json::Value;

use super::cost::{Cost, ENUM_PER_STEP, Found, IN_PLACE, UNEVALUATED, referred};
use super::fault::Fault;
use crate::json::Object;

/// How many steps one check may take; a step is one subschema at one place of the value.
const MAX_STEPS: u64 = 2_000_000;
/// How many steps may be under way within one another.
const MAX_WITHIN: usize = 1_000;
/// How many bytes of a text are read in the time of one step.
const TEXT_PER_STEP: usize = 64;

/// The steps that are left for one check.
pub(super) struct Effort<'a> {
    root: &'a Object,
    left: u64,
}

/// There are none left.
struct Spent;

impl Effort<'_> {
    /// Whether checking `value` against `schema`, of this cost, takes no more steps than one check may. Every
    /// branch is counted as if it were taken.
    ///
    /// # Errors
    /// When it takes more.
    pub(super) fn afford(schema: &Object, cost: Cost, value: &Value) -> Result<(), Fault> {
        if !cost.is_recursive && cost.paths.saturating_mul(weight(value)) <= MAX_STEPS {
            return Ok(());
        }
        let mut effort = Effort { root: schema, left: MAX_STEPS };
        effort.object(schema, value, 0).map_err(|Spent| Fault {
            pointer: String::new(),
            message: format!(
                "takes too long to check against its schema (more than {MAX_STEPS} steps, or \
                 {MAX_WITHIN} within one another); send less, or nest it less deeply"
            ),
        })
    }

    fn spend(&mut self, steps: u64) -> Result<(), Spent> {
        self.left = self.left.checked_sub(steps).ok_or(Spent)?;
        Ok(())
    }

    fn any(&mut self, schema: &Value, value: &Value, within: usize) -> Result<(), Spent> {
        match schema {
            Value::Object(schema) => self.object(schema, value, within),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => self.spend(1),
        }
    }

    fn object(&mut self, schema: &Object, value: &Value, within: usize) -> Result<(), Spent> {
        self.spend(1)?;
        if within >= MAX_WITHIN {
            return Err(Spent);
        }
        let within = within + 1;
        let times = if UNEVALUATED.iter().any(|key| schema.contains_key(*key)) { 2 } else { 1 };
        for (key, inner) in schema {
            match (key.as_str(), inner) {
                ("enum", Value::Array(values)) => self.spend(steps(values.len(), ENUM_PER_STEP))?,
                ("required", Value::Array(names)) => {
                    self.spend(steps(names.len(), ENUM_PER_STEP))?
                }
                ("pattern" | "format" | "minLength" | "maxLength", _) => self.text(value)?,
                ("uniqueItems", Value::Bool(true)) => self.spend(weight(value))?,
                (key, inner) if IN_PLACE.contains(&key) => {
                    for _ in 0..times {
                        self.in_place(key, inner, value, within)?;
                    }
                }
                (key, inner) => self.inside(schema, (key, inner), value, within)?,
            }
        }
        Ok(())
    }

    fn text(&mut self, value: &Value) -> Result<(), Spent> {
        self.spend(value.as_str().map_or(0, |text| steps(text.len(), TEXT_PER_STEP)))
    }

    fn in_place(
        &mut self,
        key: &str,
        inner: &Value,
        value: &Value,
        within: usize,
    ) -> Result<(), Spent> {
        match (key, inner) {
            ("$ref" | "$dynamicRef", Value::String(target)) => match referred(self.root, target) {
                Some(Found::Object(schema)) => self.object(schema, value, within),
                Some(Found::Other) | None => Ok(()),
            },
            ("dependentSchemas" | "dependencies", Value::Object(members)) => {
                let here = members.iter().filter(|(name, _)| value.get(name.as_str()).is_some());
                here.map(|(_, schema)| schema)
                    .try_for_each(|schema| self.any(schema, value, within))
            }
            (_, Value::Array(schemas)) => {
                schemas.iter().try_for_each(|schema| self.any(schema, value, within))
            }
            (_, schema) => self.any(schema, value, within),
        }
    }

    /// The keywords for what is in a value.
    fn inside(
        &mut self,
        schema: &Object,
        (key, inner): (&str, &Value),
        value: &Value,
        within: usize,
    ) -> Result<(), Spent> {
        let named = |name: &str| schema.get("properties").is_some_and(|it| it.get(name).is_some());
        let listed =
            || ["prefixItems", "items"].iter().find_map(|key| schema.get(*key)?.as_array());
        match (key, inner, value) {
            ("properties", Value::Object(members), Value::Object(value)) => {
                self.spend(steps(members.len().min(value.len()), ENUM_PER_STEP))?;
                value.iter().try_for_each(|(name, value)| match members.get(name) {
                    Some(schema) => self.any(schema, value, within),
                    None => Ok(()),
                })
            }
            ("patternProperties", Value::Object(members), Value::Object(value)) => {
                let schemas = members.values();
                schemas.flat_map(|it| value.iter().map(move |of| (it, of))).try_for_each(
                    |(schema, (name, value))| {
                        self.spend(steps(name.len(), TEXT_PER_STEP))?;
                        self.any(schema, value, within)
                    },
                )
            }
            ("additionalProperties" | "unevaluatedProperties", inner, Value::Object(value)) => {
                let others = value.iter().filter(|(name, _)| !named(name.as_str()));
                others.map(|(_, value)| value).try_for_each(|it| self.any(inner, it, within))
            }
            ("propertyNames", inner, Value::Object(value)) => value
                .keys()
                .try_for_each(|name| self.any(inner, &Value::String(name.clone()), within)),
            ("prefixItems" | "items", Value::Array(schemas), Value::Array(values)) => {
                schemas.iter().zip(values).try_for_each(|(it, of)| self.any(it, of, within))
            }
            ("items" | "additionalItems" | "unevaluatedItems", inner, Value::Array(values)) => {
                let first = listed().map_or(0, Vec::len);
                values.iter().skip(first).try_for_each(|it| self.any(inner, it, within))
            }
            ("contains", inner, Value::Array(values)) => {
                values.iter().try_for_each(|it| self.any(inner, it, within))
            }
            _ => Ok(()),
        }
    }
}

/// How many steps `amount` takes, rounded up, at so many for one.
fn steps(amount: usize, for_one: usize) -> u64 {
    amount.div_ceil(for_one) as u64
}

/// How many steps it takes to look at all of a value once.
fn weight(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + steps(text.len(), TEXT_PER_STEP),
        Value::Array(items) => items.iter().map(weight).sum::<u64>() + 1,
        Value::Object(members) => {
            let names = members.keys().map(|name| steps(name.len(), TEXT_PER_STEP)).sum::<u64>();
            names + members.values().map(weight).sum::<u64>() + 1
        }
    }
}
