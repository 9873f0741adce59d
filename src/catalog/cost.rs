//! What a schema can cost at most, found out when it is loaded: composition multiplies, and a reference is
//! as costly as what it names.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::schema::SchemaError;
use crate::json::Object;

/// How many subschemas checking one value may walk through, every path counted.
const MAX_PATHS: u64 = 10_000;
/// How many subschemas may stand within one another, references followed.
const MAX_NESTING: usize = 128;
/// How many values of an `enum` are compared in the time of one subschema.
pub(super) const ENUM_PER_STEP: usize = 16;

/// The cost of a schema that is within the bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// How many subschemas one value can be walked through, below a recursion none.
    pub(super) paths: u64,
    /// Whether it refers to itself: then how often depends on the value.
    pub(super) is_recursive: bool,
}

impl Cost {
    /// The cost of checking a value against `root`.
    ///
    /// # Errors
    /// When it is above the bounds, or cannot be known: references to anything but a place in the schema,
    /// and places that have a base of their own (`$id`), from which the same reference names something else.
    pub(super) fn of(root: &Object) -> Result<Self, SchemaError> {
        let mut count =
            Count { root, known: HashMap::new(), open: HashSet::new(), recursive: false };
        let paths = count.object(root, "")?;
        if paths > MAX_PATHS {
            let why = format!(
                "checking a value could walk through more than {MAX_PATHS} subschemas; \
                 flatten the composition (allOf, anyOf, oneOf, $ref)"
            );
            return Err(SchemaError { pointer: String::new(), why });
        }
        Ok(Self { paths, is_recursive: count.recursive })
    }
}

/// The schema that `target` names, if it is a place of this schema.
pub(super) fn referred<'a>(root: &'a Object, target: &str) -> Option<Found<'a>> {
    let pointer = target.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(Found::Object(root));
    }
    let (first, rest) = match pointer.strip_prefix('/')?.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (pointer.strip_prefix('/')?, String::new()),
    };
    match root.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(&rest)? {
        Value::Object(schema) => Some(Found::Object(schema)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Some(Found::Other)
        }
    }
}

/// What a reference names.
pub(super) enum Found<'a> {
    /// A schema with keywords.
    Object(&'a Object),
    /// `true`, `false`, or no schema.
    Other,
}

struct Count<'a> {
    root: &'a Object,
    known: HashMap<String, u64>,
    open: HashSet<String>,
    recursive: bool,
}

impl Count<'_> {
    fn any(&mut self, node: &Value, pointer: &str) -> Result<u64, SchemaError> {
        let Value::Object(schema) = node else { return Ok(1) };
        self.object(schema, pointer)
    }

    fn object(&mut self, schema: &Object, pointer: &str) -> Result<u64, SchemaError> {
        if let Some(cost) = self.known.get(pointer) {
            return Ok(*cost);
        }
        // How often a recursion is walked depends on the value, and is counted when there is one.
        if !self.open.insert(pointer.to_owned()) {
            self.recursive = true;
            return Ok(1);
        }
        if self.open.len() > MAX_NESTING {
            let why = format!("more than {MAX_NESTING} subschemas within one another");
            return Err(SchemaError { pointer: pointer.to_owned(), why });
        }
        if !pointer.is_empty() {
            self.has_no_base(schema, pointer)?;
        }
        // What `unevaluated…` asks for is found by walking through the composition once more.
        let again = u64::from(UNEVALUATED.iter().any(|key| schema.contains_key(*key))) + 1;
        let mut cost: u64 = 1;
        for (key, inner) in schema {
            let place = format!("{pointer}/{}", escaped(key));
            let added = self.keyword(key, inner, &place)?;
            let times = if IN_PLACE.contains(&key.as_str()) { again } else { 1 };
            cost = cost.saturating_add(added.saturating_mul(times));
        }
        self.open.remove(pointer);
        self.known.insert(pointer.to_owned(), cost);
        Ok(cost)
    }

    fn keyword(&mut self, key: &str, inner: &Value, place: &str) -> Result<u64, SchemaError> {
        match (key, inner) {
            ("$ref" | "$dynamicRef", Value::String(target)) => self.reference(target, place),
            ("enum", Value::Array(values)) => Ok((values.len() / ENUM_PER_STEP) as u64),
            (key, Value::Object(members)) if BY_NAME.contains(&key) => {
                self.sum(members.iter().map(|(name, member)| (escaped(name), member)), place)
            }
            (key, Value::Array(members)) if LISTS.contains(&key) => {
                let members = members.iter().enumerate();
                self.sum(members.map(|(index, member)| (index.to_string(), member)), place)
            }
            (key, Value::Object(schema)) if SINGLE.contains(&key) => self.object(schema, place),
            _ => Ok(0),
        }
    }

    fn sum<'v>(
        &mut self,
        members: impl Iterator<Item = (String, &'v Value)>,
        place: &str,
    ) -> Result<u64, SchemaError> {
        let mut sum: u64 = 0;
        for (name, member) in members {
            sum = sum.saturating_add(self.any(member, &format!("{place}/{name}"))?);
        }
        Ok(sum)
    }

    fn reference(&mut self, target: &str, place: &str) -> Result<u64, SchemaError> {
        let refused = |why: String| SchemaError { pointer: place.to_owned(), why };
        let Some(pointer) = target.strip_prefix('#') else {
            return Err(refused(format!(
                "`{target}` is outside the schema; references must start with `#`"
            )));
        };
        if pointer.contains('%') {
            return Err(refused(format!("`{target}`: write the reference without `%`")));
        }
        // An anchor (`#name`) names nothing here: rare, and not worth a second way to find what is meant.
        let Some(found) = referred(self.root, target) else {
            return Err(refused(format!("`{target}` names nothing in the schema")));
        };
        let ends = pointer.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0);
        for above in ends.filter_map(|end| pointer.get(..end)) {
            if let Some(Found::Object(schema)) = referred(self.root, &format!("#{above}")) {
                self.has_no_base(schema, above)?;
            }
        }
        match found {
            Found::Object(schema) => self.object(schema, pointer),
            Found::Other => Ok(1),
        }
    }

    /// From below an `$id`, `#/…` does not begin at the root, and another draft reads keywords differently.
    fn has_no_base(&self, schema: &Object, pointer: &str) -> Result<(), SchemaError> {
        let refused = |key: &str, why: &str| {
            Err(SchemaError { pointer: format!("{pointer}/{key}"), why: why.to_owned() })
        };
        if schema.get("$id").is_some_and(Value::is_string) {
            return refused("$id", "a subschema with an `$id` of its own is not accepted");
        }
        match schema.get("$schema") {
            Some(Value::String(_)) if schema.get("$schema") != self.root.get("$schema") => {
                refused("$schema", "a subschema of another draft is not accepted")
            }
            _ => Ok(()),
        }
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Keywords whose subschemas have names.
const BY_NAME: &[&str] = &["properties", "patternProperties", "dependentSchemas", "dependencies"];

/// Keywords that hold a list of subschemas.
const LISTS: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems", "items"];

/// Keywords that hold one subschema.
const SINGLE: &[&str] = &[
    "not",
    "if",
    "then",
    "else",
    "items",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
    "contentSchema",
];

/// Keywords that hold subschemas for the value itself, not for what is in it.
pub(super) const IN_PLACE: &[&str] = &[
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];

/// Keywords that ask what others have evaluated.
pub(super) const UNEVALUATED: &[&str] = &["unevaluatedItems", "unevaluatedProperties"];
