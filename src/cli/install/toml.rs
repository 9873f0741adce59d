//! A client's configuration in TOML: one server put in or taken out, everything else left as it stands.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use super::change::{Change, NAME, OWNED};

/// `text` with the change made.
///
/// # Errors
/// Why the text cannot be changed, in words.
pub(super) fn changed(text: &str, change: &Change) -> Result<String, String> {
    let mut whole: DocumentMut =
        text.parse().map_err(|error| format!("it is not TOML: {error}").trim_end().to_owned())?;
    let wrong = |name: &str| format!("`{name}` in it is not a table");
    let Some(entry) = &change.entry else {
        if let Some(servers) = whole.get_mut(change.servers) {
            servers.as_table_like_mut().ok_or_else(|| wrong(change.servers))?.remove(NAME);
        }
        return Ok(whole.to_string());
    };
    let servers = whole.entry(change.servers).or_insert_with(|| {
        let mut table = Table::new();
        // Its own header would say nothing.
        table.set_implicit(true);
        Item::Table(table)
    });
    let servers = servers.as_table_like_mut().ok_or_else(|| wrong(change.servers))?;
    let server = servers.entry(NAME).or_insert_with(|| Item::Table(Table::new()));
    let server = server.as_table_like_mut().ok_or_else(|| wrong(NAME))?;
    for name in OWNED {
        put(server, name, entry.get(name));
    }
    Ok(whole.to_string())
}

/// Makes one member what it is to be; one that is so already stays as it is written.
fn put(server: &mut dyn TableLike, name: &str, wanted: Option<&Value>) {
    match wanted.and_then(item) {
        None => drop(server.remove(name)),
        Some(wanted) => {
            let plain = |item: &Item| plain(item);
            if server.get(name).map(plain) != Some(plain(&wanted)) {
                server.insert(name, wanted);
            }
        }
    }
}

/// The value without what stands around it.
fn plain(item: &Item) -> Option<Value> {
    match item.as_value()? {
        toml_edit::Value::String(text) => Some(Value::String(text.value().clone())),
        toml_edit::Value::Array(items) => {
            let texts = items.iter().map(|it| it.as_str().map(Value::from));
            texts.collect::<Option<Vec<_>>>().map(Value::Array)
        }
        toml_edit::Value::Integer(_)
        | toml_edit::Value::Float(_)
        | toml_edit::Value::Boolean(_)
        | toml_edit::Value::Datetime(_)
        | toml_edit::Value::InlineTable(_) => None,
    }
}

/// Texts and lists of texts are all that a server has.
fn item(wanted: &Value) -> Option<Item> {
    match wanted {
        Value::String(text) => Some(value(text.as_str())),
        Value::Array(texts) => {
            let texts: Array = texts.iter().filter_map(Value::as_str).collect();
            Some(value(texts))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
