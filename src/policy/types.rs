//! Which types of values a parameter can have, as far as its schema says: a constraint that names values of
//! another type would refuse everything, or nothing, and nobody would be told.

use std::collections::BTreeSet;

use serde_json::Value;

use super::binding::resolve;
use super::constraints::{Bounds, Exact};
use crate::json::Object;

/// How many lists within one another are looked into.
const MAX_LISTS: usize = 8;

/// Types of JSON Schema; none where the schema leaves them open.
type Types<'s> = Option<BTreeSet<&'s str>>;

/// The first value of `bounds` that the parameter described by `node` of `schema` can never have, and the types that
/// it could.
pub(super) fn misfit<'b>(
    schema: &Object,
    node: &Object,
    bounds: &'b Bounds,
) -> Option<(&'b Value, String)> {
    let (types, values) = match bounds {
        Bounds::Max(_) | Bounds::Min(_) => return None,
        Bounds::Set(value) => (own(schema, node), std::slice::from_ref(value)),
        Bounds::Allowed(values) => (plain(schema, node, false, MAX_LISTS), values.as_slice()),
        Bounds::Denied(values) => (plain(schema, node, true, MAX_LISTS), values.as_slice()),
    };
    let types = types?;
    let value = values.iter().find(|value| !is_one_of(&types, value))?;
    Some((value, types.into_iter().collect::<Vec<_>>().join(" or ")))
}

fn is_one_of(types: &BTreeSet<&str>, value: &Value) -> bool {
    types.contains(match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Number(number) => {
            let whole = Exact::of(number).is_some_and(Exact::is_integer);
            if whole && types.contains("integer") { "integer" } else { "number" }
        }
    })
}

/// The types that `node` itself names.
pub(super) fn own<'s>(schema: &'s Object, node: &'s Object) -> Types<'s> {
    let node = resolve(schema, node)?;
    let branches = node.get("anyOf").or_else(|| node.get("oneOf")).and_then(Value::as_array);
    match (node.get("type"), branches) {
        (Some(named), _) => listed(named),
        (None, Some(branches)) => {
            let of = |branch: &'s Value| listed(resolve(schema, branch.as_object()?)?.get("type")?);
            let all: Option<Vec<BTreeSet<&str>>> = branches.iter().map(of).collect();
            Some(all?.into_iter().flatten().collect())
        }
        (None, None) => None,
    }
}

/// What stands at `type`: one type, or several.
fn listed(named: &Value) -> Types<'_> {
    match named.as_array() {
        Some(types) => types.iter().map(Value::as_str).collect(),
        None => Some(BTreeSet::from([named.as_str()?])),
    }
}

/// The types of the texts, numbers and booleans that may stand at `node`, or in the lists there; and anywhere below it
/// where `anywhere` says so.
fn plain<'s>(schema: &'s Object, node: &'s Object, anywhere: bool, lists: usize) -> Types<'s> {
    let mut types = own(schema, node)?;
    types.remove("null");
    if types.remove("object") && anywhere {
        return None;
    }
    if types.remove("array") {
        let list = resolve(schema, node)?;
        if lists == 0 || list.contains_key("prefixItems") {
            return None;
        }
        types.extend(plain(schema, list.get("items")?.as_object()?, anywhere, lists - 1)?);
    }
    Some(types)
}
