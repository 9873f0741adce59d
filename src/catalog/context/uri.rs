//! URIs of resources, and templates of them (RFC 6570, level 1) that one URI fits in one way only.

use serde_json::Value;

use crate::json::Object;

/// The longest URI or template, in bytes.
const MAX_BYTES: usize = 2048;

/// A URI, or a template of URIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

impl UriTemplate {
    /// A URI that stands for itself.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn exact(uri: &str) -> Result<Self, String> {
        check_text(uri)?;
        if uri.contains(['{', '}']) {
            return Err("a URI has no braces; a template is given as `uri_template`".into());
        }
        Ok(Self { text: uri.to_owned(), parts: vec![Part::Literal(uri.to_owned())] })
    }

    /// A template with at least one variable.
    ///
    /// # Errors
    /// With what is wrong with it; also when some URI could fit it in two ways.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_text(text)?;
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
            check_variable(name)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Self { text: text.to_owned(), parts };
        template.check_parts()?;
        Ok(template)
    }

    fn check_parts(&self) -> Result<(), String> {
        let literals = self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text),
            Part::Variable(_) => None,
        });
        if literals.clone().any(|text| text.contains('}')) {
            return Err("a `}` was not opened".into());
        }
        let mut names: Vec<&str> = self.variables().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if count == 0 {
            return Err("a template needs a variable like `{id}`; give a URI as `uri`".into());
        }
        if names.len() != count {
            return Err("a variable stands in it twice".into());
        }
        let mut before: Option<&str> = None;
        let mut after_variable = false;
        for part in &self.parts {
            match part {
                Part::Literal(text) => before = Some(text),
                Part::Variable(name) => {
                    let parted = before.is_some_and(|text| text.bytes().any(|it| !expands(it)));
                    if after_variable && !parted {
                        return Err(format!(
                            "between `{{{name}}}` and the variable before it must stand a character that \
                             no value can have, like `/`"
                        ));
                    }
                    (before, after_variable) = (None, true);
                }
            }
        }
        Ok(())
    }

    /// The text as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable(name) => Some(name.as_str()),
        })
    }

    /// How much of it is fixed, in bytes: of two templates that a URI fits, the one with more is meant.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.len(),
                Part::Variable(_) => 0,
            })
            .sum()
    }

    /// The values of the variables in `uri`, if it is a URI that this template expands to.
    #[must_use]
    pub fn values(&self, uri: &str) -> Option<Object> {
        if uri.len() > MAX_BYTES {
            return None;
        }
        let mut values = Object::new();
        let mut rest = uri;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Variable(name) => {
                    let end = rest.bytes().position(|byte| !expands(byte)).unwrap_or(rest.len());
                    let run = rest.get(..end)?;
                    let tail = match parts.peek() {
                        Some(Part::Literal(next)) => {
                            let end = next.bytes().position(|byte| !expands(byte));
                            next.get(..end.unwrap_or(next.len()))?
                        }
                        Some(Part::Variable(_)) | None => "",
                    };
                    let value = run.strip_suffix(tail)?;
                    values.insert(name.clone(), decoded(value)?.into());
                    rest = rest.get(value.len()..)?;
                }
            }
        }
        // One spelling of each URI: what its server makes of another is not known.
        let same = rest.is_empty() && self.expand(&values).is_ok_and(|it| it == uri);
        same.then_some(values)
    }

    /// The URI with these values.
    ///
    /// # Errors
    /// With what is wrong with a value.
    pub fn expand(&self, values: &Object) -> Result<String, String> {
        let mut uri = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => uri.push_str(text),
                Part::Variable(name) => {
                    let Some(value) = values.get(name).and_then(Value::as_str) else {
                        return Err(format!("`{name}` must be a text"));
                    };
                    check_value(name, value)?;
                    encode(value, &mut uri);
                }
            }
        }
        if uri.len() > MAX_BYTES {
            return Err(format!("the URI has more than {MAX_BYTES} bytes"));
        }
        Ok(uri)
    }
}

fn check_text(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters that must be percent-encoded".into());
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let fits = scheme.is_some_and(|scheme| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    if fits { Ok(()) } else { Err("it does not begin with a scheme, like `file:`".into()) }
}

fn check_variable(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits {
        return Ok(());
    }
    Err(format!("`{{{name}}}` is not accepted: only names like `{{id}}` are (RFC 6570, level 1)"))
}

/// A value must be something, and must not lead a server that takes it for a path elsewhere.
fn check_value(name: &str, value: &str) -> Result<(), String> {
    let leads_out = value.split(['/', '\\']).any(|step| matches!(step, "." | ".."));
    if value.is_empty() || value.chars().any(char::is_control) || leads_out {
        return Err(format!("`{name}` must not be empty, have control characters or a step `..`"));
    }
    Ok(())
}

/// Whether a byte can stand in what a value expands to: unreserved characters, and percent-encodings.
const fn expands(byte: u8) -> bool {
    is_unreserved(byte) || byte == b'%'
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encode(value: &str, uri: &mut String) {
    for byte in value.bytes() {
        if is_unreserved(byte) {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            uri.push_str(&hex::encode_upper([byte]));
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        bytes.extend(hex::decode(piece.get(..2)?).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(template: &str, uri: &str) -> Option<Value> {
        UriTemplate::parse(template).unwrap().values(uri).map(Value::Object)
    }

    #[test]
    fn a_uri_fits_a_template_in_one_way_and_one_spelling() {
        let template = "test://template/{id}/data";
        assert_eq!(values(template, "test://template/5/data"), Some(json!({ "id": "5" })));
        assert_eq!(
            values(template, "test://template/a%20b%2Fc/data"),
            Some(json!({ "id": "a b/c" }))
        );
        for other in [
            "test://template//data",
            "test://template/5/data/",
            "test://template/a/b/data",
            "test://template/%61/data",
            "test://template/a%2fb/data",
            "test://template/%GG/data",
            "test://template/%FF/data",
            "test://template/%00/data",
            "test://template/../data",
            "test://template/..%2F..%2Fetc/data",
            "test://template/x%5C..%5Cy/data",
            "test://template/ä/data",
            "TEST://template/5/data",
        ] {
            assert_eq!(values(template, other), None, "{other}");
        }
        let two = "repo:{owner}/x-{name}.md";
        assert_eq!(
            values(two, "repo:me/x-read.md"),
            Some(json!({ "owner": "me", "name": "read" }))
        );
        assert_eq!(
            values(two, "repo:me/x-a.md.md"),
            Some(json!({ "owner": "me", "name": "a.md" }))
        );
        assert_eq!(values(two, "repo:me/x-.md"), None);
        let middle = "x:{a}.v1/{b}";
        assert_eq!(values(middle, "x:k.v1/z"), Some(json!({ "a": "k", "b": "z" })));
    }

    #[test]
    fn what_a_template_gives_it_takes_back() {
        let template = UriTemplate::parse("db:{table}?key={key}").unwrap();
        for (table, key) in [("t", "k"), ("a/b c", "ü&=%"), ("-", "~._-"), ("100%", "{x}")] {
            let given = json!({ "table": table, "key": key });
            let uri = template.expand(given.as_object().unwrap()).unwrap();
            assert_eq!(template.values(&uri).map(Value::Object), Some(given), "{uri}");
        }
        assert!(template.expand(json!({ "table": "t" }).as_object().unwrap()).is_err());
        assert!(template.expand(json!({ "table": "", "key": "" }).as_object().unwrap()).is_err());
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        for wrong in [
            "x:{a}{b}",
            "x:{a}-{b}",
            "x:{a}/{a}",
            "x:{+a}",
            "x:{?a}",
            "x:{a",
            "x:a}{b}",
            "x:{}",
            "x:plain",
            "{a}:b",
            "noscheme/{a}",
            "x:{a} b",
            "x:ä{a}",
        ] {
            assert!(UriTemplate::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "a b:c", "x:{a}", "1x:a", "x:\u{7f}"] {
            assert!(UriTemplate::exact(wrong).is_err(), "{wrong}");
        }
        let exact = UriTemplate::exact("demo://a/b.md?c=%20").unwrap();
        assert_eq!(exact.values("demo://a/b.md?c=%20"), Some(Object::new()));
        assert_eq!(exact.values("demo://a/b.md?c=%2"), None);
    }
}
