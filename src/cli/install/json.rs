//! A client's configuration in JSON: one server put in or taken out, everything else left as it stands, comments
//! and order included.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use serde_json::{Map, Value};

use super::change::{Change, NAME, OWNED};
use super::client::INPUT;

/// Comments and trailing commas are what some clients take; anything else is no JSON.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};
/// The member that holds what VS Code asks for.
const INPUTS: &str = "inputs";

/// `text` with the change made.
///
/// # Errors
/// Why the text cannot be changed, in words.
pub(super) fn changed(text: &str, change: &Change) -> Result<String, String> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root =
        CstRootNode::parse(text, &OPTIONS).map_err(|error| format!("it is not JSON: {error}"))?;
    let whole = root.object_value().ok_or("it is not a JSON object")?;
    let servers = object(&whole, change.servers)?;
    match &change.entry {
        Some(entry) => {
            let servers = match servers {
                Some(servers) => servers,
                None => whole
                    .append(change.servers, CstInputValue::Object(Vec::new()))
                    .object_value()
                    .ok_or("no servers can be put into it")?,
            };
            match single(&servers, NAME)? {
                None => drop(servers.append(NAME, input(&Value::Object(entry.clone())))),
                Some(there) => match there.object_value() {
                    Some(there) => merge(&there, entry)?,
                    None => there.set_value(input(&Value::Object(entry.clone()))),
                },
            }
            put_input(&whole, change.input.as_ref())?;
        }
        None => {
            if let Some(there) = servers.map(|it| single(&it, NAME)).transpose()?.flatten() {
                there.remove();
            }
            take_input(&whole)?;
        }
    }
    Ok(root.to_string())
}

/// The member `name`. One that is there twice is read by each program in its own way.
fn single(object: &CstObject, name: &str) -> Result<Option<CstObjectProp>, String> {
    let mut named =
        object.properties().into_iter().filter(|it| it.decoded_name().as_deref() == Some(name));
    let found = named.next();
    match named.next() {
        Some(_) => Err(format!("`{name}` stands in it twice; keep one of the two")),
        None => Ok(found),
    }
}

fn object(within: &CstObject, name: &str) -> Result<Option<CstObject>, String> {
    let Some(member) = single(within, name)? else { return Ok(None) };
    member.object_value().map(Some).ok_or_else(|| format!("`{name}` in it is not an object"))
}

/// Makes the members of `there` that are ours those of `entry`; others stay, such as a time limit.
fn merge(there: &CstObject, entry: &Map<String, Value>) -> Result<(), String> {
    for name in OWNED {
        let member = single(there, name)?;
        match (member, entry.get(name)) {
            (Some(member), None) => member.remove(),
            (None, Some(value)) => drop(there.append(name, input(value))),
            (Some(member), Some(value)) => {
                if member.value().and_then(|it| it.to_serde_value()).as_ref() != Some(value) {
                    member.set_value(input(value));
                }
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// Puts what VS Code is to ask for into its list, unless it is there. One that is needed no more goes.
fn put_input(whole: &CstObject, wanted: Option<&Map<String, Value>>) -> Result<(), String> {
    let Some(wanted) = wanted else { return take_input(whole) };
    let wanted = Value::Object(wanted.clone());
    let there = single(whole, INPUTS)?;
    let Some(there) = there else {
        whole.insert(0, INPUTS, CstInputValue::Array(vec![input(&wanted)]));
        return Ok(());
    };
    let list = there.array_value().ok_or("`inputs` in it is not a list")?;
    let is_ours = |value: Value| value.get("id").and_then(Value::as_str) == Some(INPUT);
    if !list.elements().iter().filter_map(|it| it.to_serde_value()).any(is_ours) {
        list.append(input(&wanted));
    }
    Ok(())
}

fn take_input(whole: &CstObject) -> Result<(), String> {
    let Some(list) = single(whole, INPUTS)?.and_then(|it| it.array_value()) else { return Ok(()) };
    for element in list.elements() {
        let value = element.to_serde_value();
        let id = value.as_ref().and_then(|it| it.get("id")).and_then(Value::as_str);
        if id == Some(INPUT) {
            element.remove();
        }
    }
    Ok(())
}

/// A value to be written.
fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(it) => CstInputValue::Bool(*it),
        Value::Number(it) => CstInputValue::Number(it.to_string()),
        Value::String(it) => CstInputValue::String(it.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members.iter().map(|(name, value)| (name.clone(), input(value))).collect(),
        ),
    }
}
