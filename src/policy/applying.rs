//! Holds arguments to constraints: numbers are clamped, values outside a set are refused.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::Edit;
use super::binding::Target;
use super::constraints::{Bounds, Exact, same};
use super::denial::{Denial, DenialKind};
use super::words;
use crate::json::Object;

/// One constraint on one parameter, as a matching rule has it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) rule: &'a str,
    pub(super) constraint: &'a str,
    pub(super) bounds: &'a Bounds,
    pub(super) target: &'a Target,
}

/// Holds `arguments` to all of `parts` together, tightest first, and says what it changed.
pub(super) fn apply(parts: &[Part<'_>], arguments: &mut Object) -> Result<Vec<Edit>, Denial> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    // What stands around a value is settled before the value.
    let mut parameters: BTreeMap<(usize, &str), Vec<Part<'_>>> = BTreeMap::new();
    for part in parts {
        let key = (part.target.steps.len(), part.target.pointer.as_str());
        parameters.entry(key).or_default().push(*part);
    }
    let mut edits = Vec::new();
    for parts in parameters.values() {
        let Some(first) = parts.first() else { continue };
        edits.extend(Parameter { parts, first: *first }.settle(arguments)?);
    }
    Ok(edits)
}

/// One parameter, and everything that matching rules ask of it; at least one thing.
struct Parameter<'a> {
    parts: &'a [Part<'a>],
    first: Part<'a>,
}

/// Where the value that is looked at comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Asked,
    Default,
    Set,
}

impl<'a> Parameter<'a> {
    fn settle(&self, arguments: &mut Object) -> Result<Option<Edit>, Denial> {
        let asked = find(arguments, &self.first.target.steps);
        let (value, origin, stated_by) = self.stated(asked)?;
        let (value, clamped_by) = self.clamped(value, origin)?;
        self.check_sets(&value, if clamped_by.is_some() { Origin::Set } else { origin })?;
        let Some(part) = clamped_by.or(stated_by) else { return Ok(None) };
        let edit = Edit {
            pointer: part.target.pointer.clone(),
            from: asked.cloned(),
            to: value.clone(),
            rule: part.rule.to_owned(),
            constraint: part.constraint.to_owned(),
        };
        if !put(arguments, &part.target.steps, value) {
            return Err(self.unstated());
        }
        Ok(Some(edit))
    }

    /// The value before it is bounded: what a rule sets, what was asked, or the schema's default.
    fn stated(&self, asked: Option<&Value>) -> Result<(Value, Origin, Option<Part<'a>>), Denial> {
        let mut sets = self.parts.iter().filter_map(|part| match part.bounds {
            Bounds::Set(value) => Some((value, *part)),
            Bounds::Max(_) | Bounds::Min(_) | Bounds::Allowed(_) | Bounds::Denied(_) => None,
        });
        if let Some((value, part)) = sets.next() {
            if let Some((_, other)) = sets.find(|(other, _)| !same(value, other)) {
                let rules = [part.rule, other.rule];
                return Err(self.refuse("is set to different values", &rules));
            }
            return Ok(match asked {
                Some(asked) if same(asked, value) => (asked.clone(), Origin::Asked, None),
                Some(_) | None => (value.clone(), Origin::Set, Some(part)),
            });
        }
        match (asked, &self.first.target.default) {
            (Some(asked), _) => Ok((asked.clone(), Origin::Asked, None)),
            (None, Some(default)) => Ok((default.clone(), Origin::Default, Some(self.first))),
            (None, None) => Err(self.unstated()),
        }
    }

    fn clamped(&self, value: Value, origin: Origin) -> Result<(Value, Option<Part<'a>>), Denial> {
        let max = self.tightest(Ordering::Less, |bounds| match bounds {
            Bounds::Max(number) => Some(number),
            Bounds::Min(_) | Bounds::Allowed(_) | Bounds::Denied(_) | Bounds::Set(_) => None,
        });
        let min = self.tightest(Ordering::Greater, |bounds| match bounds {
            Bounds::Min(number) => Some(number),
            Bounds::Max(_) | Bounds::Allowed(_) | Bounds::Denied(_) | Bounds::Set(_) => None,
        });
        if max.is_none() && min.is_none() {
            return Ok((value, None));
        }
        if let (Some((max, _, below)), Some((min, _, above))) = (max, min)
            && max.compare(min) == Ordering::Less
        {
            return Err(self.refuse(
                &format!("has no value that all rules accept: it must be {}", self.demands()),
                &[above.rule, below.rule],
            ));
        }
        let number = match &value {
            Value::Number(number) => Exact::of(number),
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        let Some(number) = number else {
            return Err(self.outside(&format!("a number, {}", self.demands()), &value, origin));
        };
        Ok(match (max, min) {
            (Some((max, to, part)), _) if number.compare(max) == Ordering::Greater => {
                (Value::Number(to.clone()), Some(part))
            }
            (_, Some((min, to, part))) if number.compare(min) == Ordering::Less => {
                (Value::Number(to.clone()), Some(part))
            }
            (_, _) => (value, None),
        })
    }

    /// The bound that `of` picks out and that comes first in the direction of `towards`.
    fn tightest(
        &self,
        towards: Ordering,
        of: impl Fn(&'a Bounds) -> Option<&'a Number>,
    ) -> Option<(Exact, &'a Number, Part<'a>)> {
        let bounds = self.parts.iter().filter_map(|part| {
            let number = of(part.bounds)?;
            Some((Exact::of(number)?, number, *part))
        });
        bounds.reduce(|best, next| if next.0.compare(best.0) == towards { next } else { best })
    }

    fn check_sets(&self, value: &Value, origin: Origin) -> Result<(), Denial> {
        let allowed = match value {
            Value::Array(items) => items.iter().find(|item| !self.is_allowed(item)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => Some(value).filter(|value| !self.is_allowed(value)),
        };
        match allowed.or_else(|| self.denied_in(value)) {
            None => Ok(()),
            Some(culprit) => Err(self.outside(&self.demands(), culprit, origin)),
        }
    }

    fn is_allowed(&self, value: &Value) -> bool {
        self.parts.iter().all(|part| match part.bounds {
            Bounds::Allowed(set) => set.iter().any(|member| same(member, value)),
            Bounds::Denied(_) | Bounds::Max(_) | Bounds::Min(_) | Bounds::Set(_) => true,
        })
    }

    fn is_denied(&self, value: &Value) -> bool {
        self.parts.iter().any(|part| match part.bounds {
            Bounds::Denied(set) => set.iter().any(|member| same(member, value)),
            Bounds::Allowed(_) | Bounds::Max(_) | Bounds::Min(_) | Bounds::Set(_) => false,
        })
    }

    fn is_in_range(&self, value: &Value) -> bool {
        let number = value.as_number().and_then(Exact::of);
        let beyond = |bound: &Number, side: Ordering| {
            number.zip(Exact::of(bound)).is_none_or(|(number, bound)| number.compare(bound) == side)
        };
        self.parts.iter().all(|part| match part.bounds {
            Bounds::Max(bound) => !beyond(bound, Ordering::Greater),
            Bounds::Min(bound) => !beyond(bound, Ordering::Less),
            Bounds::Allowed(_) | Bounds::Denied(_) | Bounds::Set(_) => true,
        })
    }

    /// The first denied value at any depth, so that wrapping one in a list hides nothing.
    fn denied_in<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match value {
            Value::Array(items) => items.iter().find_map(|item| self.denied_in(item)),
            Value::Object(members) => members.values().find_map(|item| self.denied_in(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Some(value).filter(|value| self.is_denied(value))
            }
        }
    }

    /// What the value must be, in words: every demand of every rule taken together.
    fn demands(&self) -> String {
        let mut sets = self.parts.iter().filter_map(|part| match part.bounds {
            Bounds::Allowed(set) => Some(set),
            Bounds::Denied(_) | Bounds::Max(_) | Bounds::Min(_) | Bounds::Set(_) => None,
        });
        if let Some(first) = sets.next() {
            let fits = |value: &&Value| {
                self.is_allowed(value) && !self.is_denied(value) && self.is_in_range(value)
            };
            let open: Vec<&Value> = first.iter().filter(fits).collect();
            return match open.as_slice() {
                [] => "a value that all rules accept, of which there is none".to_owned(),
                [one] => words::value(one),
                several => format!("one of {}", words::values(several)),
            };
        }
        let each = self.parts.iter().filter_map(|part| match part.bounds {
            Bounds::Max(number) => Some(format!("at most {number}")),
            Bounds::Min(number) => Some(format!("at least {number}")),
            Bounds::Denied(set) => {
                Some(format!("none of {}", words::values(&set.iter().collect::<Vec<_>>())))
            }
            Bounds::Allowed(_) | Bounds::Set(_) => None,
        });
        each.collect::<Vec<_>>().join(" and ")
    }

    fn outside(&self, demands: &str, value: &Value, origin: Origin) -> Denial {
        let shown = words::value(value);
        let why = match origin {
            Origin::Asked => format!("you asked for {shown}"),
            Origin::Default => format!("its default is {shown}, so state another"),
            Origin::Set => format!("a rule sets it to {shown}"),
        };
        self.refuse(&format!("must be {demands}; {why}"), &self.rules())
    }

    fn unstated(&self) -> Denial {
        let demands = self.demands();
        let must =
            if demands.is_empty() { String::new() } else { format!(" and must be {demands}") };
        self.refuse(&format!("must be stated{must}"), &self.rules())
    }

    fn rules(&self) -> Vec<&'a str> {
        self.parts.iter().map(|part| part.rule).collect()
    }

    fn refuse(&self, what: &str, rules: &[&str]) -> Denial {
        let pointer = &self.first.target.pointer;
        let name = match self.first.target.steps.as_slice() {
            [only] => only,
            _ => pointer,
        };
        let mut rules: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
        rules.dedup();
        let reason = format!("`{name}` {what} ({})", words::rules(&rules));
        Denial { rules, reason, kind: DenialKind::Constraint }
    }
}

fn find<'v>(arguments: &'v Object, steps: &[String]) -> Option<&'v Value> {
    let (first, rest) = steps.split_first()?;
    rest.iter().try_fold(arguments.get(first)?, |value, step| match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// Puts `value` where `steps` lead; `false` when there is nothing there that could hold it.
pub(super) fn put(arguments: &mut Object, steps: &[String], value: Value) -> bool {
    let Some((last, around)) = steps.split_last() else { return false };
    let Some((first, between)) = around.split_first() else {
        arguments.insert(last.clone(), value);
        return true;
    };
    let holder = between.iter().try_fold(arguments.get_mut(first), |holder, step| {
        let inner = match holder? {
            Value::Object(members) => members.get_mut(step),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        Some(inner)
    });
    match holder.flatten() {
        Some(Value::Object(members)) => {
            members.insert(last.clone(), value);
            true
        }
        Some(Value::Array(items)) => {
            let place = last.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            place.map(|place| *place = value).is_some()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => false,
    }
}
