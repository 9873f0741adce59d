//! One resource or prompt of a manifest, from what is written (and what its server offers) to an item of
//! the catalog.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::found::{self, Found};
use super::spec::{PromptSpec, ResourceSpec};
use super::{Kind, Offer, Remote, UriTemplate};
use crate::catalog::build::{Environment, Parsed};
use crate::catalog::definition::{backend_of, closed, not_required};
use crate::catalog::label::{self, Label};
use crate::catalog::manifest::{ActionType, AttributeSpecs, AttributeValue, Durability, Span};
use crate::catalog::offered::Offered;
use crate::catalog::price::Usd;
use crate::catalog::schema::Schema;
use crate::catalog::tool::{Binding, Tool};
use crate::digest::{self, Digest};
use crate::json::Object;
use crate::source::Problem;

/// The longest value of a variable or an argument that is completed, in characters.
const MAX_VALUE: usize = 2048;

/// One item while it is built.
pub(in crate::catalog) struct Building<'a> {
    /// The file it stands in.
    pub(in crate::catalog) file: &'a Parsed,
    /// Where in it.
    pub(in crate::catalog) pointer: String,
    /// What it depends on besides.
    pub(in crate::catalog) environment: &'a Environment<'a>,
}

/// What resources and prompts have in common.
struct Common<'a> {
    name: String,
    input: Schema,
    offer: Offer,
    remote: Remote,
    completion: Option<(Remote, Vec<String>)>,
    unavailable: Option<String>,
    attributes: &'a AttributeSpecs,
    constraints: &'a BTreeMap<String, String>,
    timeout: Option<Span>,
    max_output_bytes: Option<usize>,
    brings: &'a BTreeSet<Label>,
}

impl Building<'_> {
    /// The item that a resource makes.
    pub(in crate::catalog) fn resource(&self, spec: &ResourceSpec) -> Result<Tool, Box<Problem>> {
        let (template, key, is_template) = match (&spec.uri, &spec.uri_template) {
            (Some(uri), None) => (UriTemplate::exact(uri), "uri", false),
            (None, Some(text)) => (UriTemplate::parse(text), "uri_template", true),
            (Some(_), Some(_)) | (None, None) => {
                return Err(
                    self.wrong("", "a resource has exactly one of `uri` and `uri_template`")
                );
            }
        };
        let template =
            template.map_err(|why| self.wrong(&format!("/{key}"), format!("`{key}`: {why}")))?;
        let name = Kind::Resource.named(template.text());
        let (described, unavailable) =
            self.described(&name, |offered| found::resource(offered, &template, is_template));
        let mut entry = described;
        let member = if is_template { "uriTemplate" } else { "uri" };
        entry.insert(member.to_owned(), template.text().into());
        set(&mut entry, "name", spec.name.as_ref());
        set(&mut entry, "title", spec.title.as_ref());
        set(&mut entry, "description", spec.description.as_ref());
        set(&mut entry, "mimeType", spec.mime_type.as_ref());
        entry.entry("name").or_insert_with(|| template.text().into());
        let variables: Vec<String> = template.variables().map(str::to_owned).collect();
        let completion =
            is_template.then(|| (Remote::TemplateCompletion(template.clone()), variables));
        self.item(Common {
            name,
            input: self.variables(spec, &template)?,
            offer: if is_template { Offer::Template(entry) } else { Offer::Resource(entry) },
            remote: Remote::Resource(template),
            completion,
            unavailable,
            attributes: &spec.attributes,
            constraints: &spec.constraints,
            timeout: spec.timeout,
            max_output_bytes: spec.max_output_bytes,
            brings: &spec.brings,
        })
    }

    /// The item that a prompt makes.
    pub(in crate::catalog) fn prompt(&self, spec: &PromptSpec) -> Result<Tool, Box<Problem>> {
        let from = spec.from.clone().unwrap_or_else(|| spec.name.clone());
        let name = Kind::Prompt.named(&spec.name);
        let (described, mut unavailable) =
            self.described(&name, |offered| found::prompt(offered, &from));
        let mut entry = described;
        set(&mut entry, "title", spec.title.as_ref());
        set(&mut entry, "description", spec.description.as_ref());
        entry.insert("name".into(), spec.name.as_str().into());
        let (input, arguments) = if unavailable.is_some() {
            (closed(), Vec::new())
        } else {
            arguments_of(&entry).unwrap_or_else(|why| {
                unavailable = Some(format!("its server's arguments are refused: {why}"));
                (closed(), Vec::new())
            })
        };
        let input = Schema::compile(input).map_err(|fault| self.wrong("", fault.why))?;
        let completion = Remote::PromptCompletion { from: from.clone() };
        self.item(Common {
            name,
            input,
            offer: Offer::Prompt(entry),
            remote: Remote::Prompt { from },
            completion: (!arguments.is_empty()).then_some((completion, arguments)),
            unavailable,
            attributes: &spec.attributes,
            constraints: &spec.constraints,
            timeout: spec.timeout,
            max_output_bytes: spec.max_output_bytes,
            brings: &spec.brings,
        })
    }

    /// What the server says of an item, or why it cannot be had.
    fn described(
        &self,
        name: &str,
        find: impl for<'o> FnOnce(&'o Offered) -> Result<Found<'o>, String>,
    ) -> (Object, Option<String>) {
        let backend = &self.file.manifest.backend;
        let found = match self.environment.learned.get(&backend.name) {
            None => Err("its server has not been asked yet".to_owned()),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(offered)) => find(offered),
        };
        match found {
            Ok(Found::Said(described)) => (described.entry.clone(), None),
            // As it was accepted, for people to see what stands.
            Ok(Found::Waits(changed)) => {
                (changed.before.clone().unwrap_or_default(), Some(changed.told(name)))
            }
            Err(why) => (Object::new(), Some(why)),
        }
    }

    /// The schema of a template's variables.
    fn variables(
        &self,
        spec: &ResourceSpec,
        template: &UriTemplate,
    ) -> Result<Schema, Box<Problem>> {
        let names: Vec<&str> = template.variables().collect();
        if let Some(unknown) = spec.variables.keys().find(|it| !names.contains(&it.as_str())) {
            let message = format!("`{unknown}` is not a variable of the URI");
            return Err(self.wrong(&format!("/variables/{unknown}"), message));
        }
        let mut properties = Object::new();
        for name in &names {
            let mut schema = spec.variables.get(*name).cloned().unwrap_or_default();
            let kind = schema.entry("type").or_insert_with(|| "string".into());
            if kind.as_str() != Some("string") {
                let message = format!("the variable `{name}` is a text: `type: string`");
                return Err(self.wrong(&format!("/variables/{name}"), message));
            }
            schema.entry("maxLength").or_insert_with(|| MAX_VALUE.into());
            properties.insert((*name).to_owned(), schema.into());
        }
        Schema::compile(object_schema(properties, json!(names)))
            .map_err(|fault| self.wrong("/variables", fault.why))
    }

    fn item(&self, common: Common<'_>) -> Result<Tool, Box<Problem>> {
        let backend = &self.file.manifest.backend;
        if backend.mcp.is_none() {
            let message = "resources and prompts are offered by `mcp` backends only";
            return Err(self.wrong("", message));
        }
        let mut attributes = common.attributes.clone().over(&self.file.manifest.attributes);
        attributes.action_type.get_or_insert(AttributeValue::Fixed(ActionType::Read));
        // Arguments of a prompt are its server's to name, so they are known only when it has been asked.
        let known = common.unavailable.is_none() || common.offer.kind() == Kind::Resource;
        if let Some(message) = not_required(&attributes, &common.input).filter(|_| known) {
            return Err(self.wrong("/attributes", message));
        }
        if let Some(message) = label::too_many(common.brings.len()) {
            return Err(self.wrong("/brings", message));
        }
        let is_read =
            matches!(attributes.action_type, Some(AttributeValue::Fixed(ActionType::Read)));
        let text = |key: &str| match &common.offer {
            Offer::Resource(entry) | Offer::Template(entry) | Offer::Prompt(entry) => {
                entry.get(key).and_then(Value::as_str).map(str::to_owned)
            }
            Offer::Tool | Offer::Completion => None,
        };
        let mut item = Tool {
            fingerprint: self.fingerprint(&common)?,
            title: text("title"),
            description: text("description").unwrap_or_default(),
            name: common.name,
            backend: backend.name.as_str().into(),
            attributes,
            input: common.input,
            output: None,
            annotations: None,
            binding: Binding::Mcp(common.remote),
            constraint_pointers: common.constraints.clone(),
            timeout: common.timeout.unwrap_or(backend.timeout).0,
            max_result_bytes: common.max_output_bytes.unwrap_or(backend.max_output_bytes),
            idempotent: is_read,
            durability: if is_read { Durability::Read } else { Durability::Write },
            cost: Usd::default(),
            cache: None,
            brings: common.brings.iter().cloned().collect(),
            unavailable: common.unavailable,
            offer: common.offer,
            completion: None,
        };
        if let Some((remote, names)) = common.completion {
            item.completion = completion_of(&item, remote, &names).map(Arc::new);
        }
        Ok(item)
    }

    fn fingerprint(&self, common: &Common<'_>) -> Result<Digest, Box<Problem>> {
        let (kind, entry) = match &common.offer {
            Offer::Resource(entry) => ("resource", Some(entry)),
            Offer::Template(entry) => ("template", Some(entry)),
            Offer::Prompt(entry) => ("prompt", Some(entry)),
            Offer::Tool | Offer::Completion => ("", None),
        };
        let from = match &common.remote {
            Remote::Prompt { from } => Some(from),
            Remote::Tool { .. }
            | Remote::Resource(_)
            | Remote::PromptCompletion { .. }
            | Remote::TemplateCompletion(_) => None,
        };
        let definition = json!({
            "name": common.name,
            "kind": kind,
            "entry": entry,
            "input_schema": common.input.text(),
            "backend": backend_of(&self.file.manifest.backend),
            "from": from,
        });
        digest::canonical(&definition)
            .map(|bytes| Digest::of(&bytes))
            .map_err(|error| self.wrong("", error.to_string()))
    }

    fn wrong(&self, pointer: &str, message: impl Into<String>) -> Box<Problem> {
        let place = self.file.places.value(&format!("{}{pointer}", self.pointer));
        Box::new(Problem::new(&self.file.source, place, message))
    }
}

/// What the server says of a resource: in its list, or by a template of its own that covers the URI.
/// The schema of a prompt's arguments, which are texts, and their names.
fn arguments_of(entry: &Object) -> Result<(Object, Vec<String>), &'static str> {
    let arguments = match entry.get("arguments") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(arguments)) => arguments,
        Some(_) => return Err("they are no list"),
    };
    let (mut properties, mut required, mut names) = (Object::new(), Vec::new(), Vec::new());
    for argument in arguments {
        let name = argument.get("name").and_then(Value::as_str).ok_or("one has no name")?;
        let mut schema = Object::from_iter([("type".to_owned(), "string".into())]);
        if let Some(Value::String(text)) = argument.get("description") {
            schema.insert("description".into(), text.as_str().into());
        }
        if argument.get("required") == Some(&Value::Bool(true)) {
            required.push(name);
        }
        if properties.insert(name.to_owned(), schema.into()).is_some() {
            return Err("two have the same name");
        }
        names.push(name.to_owned());
    }
    Ok((object_schema(properties, json!(required)), names))
}

/// The item by which values of an argument or a variable are completed: whoever may use the whole may.
/// None where an argument chooses an attribute, for while it is typed nobody knows what it will choose.
fn completion_of(whole: &Tool, remote: Remote, names: &[String]) -> Option<Tool> {
    if !whole.attributes.are_fixed() {
        return None;
    }
    let text = json!({ "type": "string", "maxLength": MAX_VALUE });
    let argument = object_schema(
        Object::from_iter([
            ("name".to_owned(), json!({ "enum": names })),
            ("value".to_owned(), text.clone()),
        ]),
        json!(["name", "value"]),
    );
    let known = json!({ "type": "object", "additionalProperties": text });
    let context = object_schema(Object::from_iter([("arguments".to_owned(), known)]), json!([]));
    let input = object_schema(
        Object::from_iter([
            ("argument".to_owned(), argument.into()),
            ("context".to_owned(), context.into()),
        ]),
        json!(["argument"]),
    );
    Some(Tool {
        name: Kind::Completion.named(&whole.name),
        title: None,
        description: String::new(),
        backend: Arc::clone(&whole.backend),
        attributes: whole.attributes.clone(),
        input: Schema::compile(input).ok()?,
        output: None,
        annotations: None,
        binding: Binding::Mcp(remote),
        constraint_pointers: BTreeMap::new(),
        timeout: whole.timeout,
        max_result_bytes: whole.max_result_bytes,
        idempotent: true,
        durability: Durability::Read,
        cost: Usd::default(),
        cache: None,
        brings: whole.brings.clone(),
        fingerprint: Digest::of_parts(&[b"completion\0", whole.fingerprint.to_string().as_bytes()]),
        unavailable: whole.unavailable.clone(),
        offer: Offer::Completion,
        completion: None,
    })
}

fn object_schema(properties: Object, required: Value) -> Object {
    let mut schema = closed();
    schema.insert("properties".into(), properties.into());
    schema.insert("required".into(), required);
    schema
}

fn set(entry: &mut Object, key: &str, value: Option<&String>) {
    if let Some(value) = value {
        entry.insert(key.to_owned(), value.as_str().into());
    }
}

/// URIs of resources and names of prompts must be unique over all files.
pub(in crate::catalog) fn check_names(files: &[Parsed], problems: &mut Vec<Problem>) {
    let mut seen: HashMap<String, String> = HashMap::new();
    for file in files {
        let resources = file.manifest.resources.iter().enumerate().filter_map(|(index, spec)| {
            let (uri, key) = match (&spec.uri, &spec.uri_template) {
                (Some(uri), None) => (uri, "uri"),
                (None, Some(template)) => (template, "uri_template"),
                (Some(_), Some(_)) | (None, None) => return None,
            };
            Some((Kind::Resource.named(uri), format!("/resources/{index}/{key}"), true))
        });
        let prompts = file.manifest.prompts.iter().enumerate().map(|(index, spec)| {
            let fits = super::super::build::is_name(&spec.name);
            (Kind::Prompt.named(&spec.name), format!("/prompts/{index}/name"), fits)
        });
        for (name, pointer, fits) in resources.chain(prompts) {
            let wrong = |message: String, hint: String| {
                let place = file.places.value(&pointer);
                Problem::new(&file.source, place, message).hint(hint)
            };
            let kind = Kind::of(&name);
            let (what, bare) =
                (if kind == Kind::Prompt { "prompt" } else { "resource" }, kind.bare(&name));
            if !fits {
                let hint = "use 1 to 128 characters of `A-Z a-z 0-9 _ . -`".to_owned();
                problems.push(wrong(format!("`{bare}` is not a name of a prompt"), hint));
            }
            let here = wrong(String::new(), String::new()).location();
            if let Some(first) = seen.insert(name.clone(), here) {
                let hint = format!("{first} has one of this name");
                problems.push(wrong(format!("duplicate {what} `{bare}`"), hint));
            }
        }
    }
}
