//! One tool of a manifest, from what is written (and what its server offers) to what can be called.

use serde_json::{Value, json};

use super::annotations::Repeated;
use super::build::{Environment, Parsed};
use super::context::{Offer, Remote};
use super::keywords::lint_keywords;
use super::label;
use super::manifest::{
    ActionType, AttributeSpecs, AttributeValue, BackendSpec, Durability, ToolSpec,
};
use super::pins::DefinitionKind;
use super::sandbox::Sandbox;
use super::schema::{Schema, SchemaError};
use super::template::{self, Template};
use super::tool::{Binding, Tool};
use crate::digest::{self, Digest};
use crate::json::Object;
use crate::source::Problem;

/// One tool while it is built.
pub(super) struct Building<'a> {
    /// The file it stands in.
    pub(super) file: &'a Parsed,
    /// What the file says of it.
    pub(super) spec: &'a ToolSpec,
    /// Where that stands.
    pub(super) pointer: String,
}

/// The parts of a definition that a manifest may leave to an MCP server.
struct Described {
    title: Option<String>,
    description: String,
    input: Schema,
    output: Option<Schema>,
    annotations: Option<Value>,
    unavailable: Option<String>,
}

impl Building<'_> {
    /// The tool, or the first fault of its definition.
    pub(super) fn tool(&self, environment: &Environment<'_>) -> Result<Tool, Box<Problem>> {
        let spec = self.spec;
        let backend = &self.file.manifest.backend;
        let attributes = self.attributes()?;
        let (described, binding) = match &backend.command {
            Some(command) => self.command(&command.program, environment)?,
            None => self.mcp(environment)?,
        };
        if let Some(message) = not_required(&attributes, &described.input) {
            return Err(self.wrong("/attributes", message));
        }
        if let Some((key, message)) = spec.cache.and_then(|cache| cache.problem(&attributes)) {
            return Err(self.wrong(&format!("/cache{key}"), message));
        }
        if let Some(message) = label::too_many(spec.brings.len()) {
            return Err(self.wrong("/brings", message));
        }
        let durability = spec.durability.unwrap_or(match &attributes.action_type {
            Some(AttributeValue::Fixed(ActionType::Read)) => Durability::Read,
            Some(AttributeValue::Fixed(_) | AttributeValue::Chosen(_)) | None => Durability::Write,
        });
        Ok(Tool {
            name: spec.name.clone(),
            fingerprint: self.fingerprint(&described)?,
            title: described.title,
            description: described.description,
            backend: backend.name.as_str().into(),
            attributes,
            input: described.input,
            output: described.output,
            annotations: described.annotations,
            binding,
            constraint_pointers: spec.constraints.clone(),
            timeout: spec.timeout.unwrap_or(backend.timeout).0,
            max_result_bytes: spec.max_output_bytes.unwrap_or(backend.max_output_bytes),
            idempotent: spec.idempotent,
            durability,
            cache: spec.cache,
            brings: spec.brings.iter().cloned().collect(),
            cost: spec.cost.map(|cost| cost.usd).unwrap_or_default(),
            unavailable: described.unavailable,
            offer: Offer::Tool,
            completion: None,
        })
    }

    fn command(
        &self,
        program: &str,
        environment: &Environment<'_>,
    ) -> Result<(Described, Binding), Box<Problem>> {
        let spec = self.spec;
        let Some(run) = &spec.run else {
            return Err(self.wrong("", "a tool of a `command` backend needs `run`"));
        };
        if let Some(from) = &spec.from {
            return Err(self.wrong("/from", format!("`from: {from}` is for `mcp` backends only")));
        }
        let Some(description) = spec.description.clone() else {
            return Err(self.wrong("", "a tool of a `command` backend needs `description`"));
        };
        let Some(mut input) = spec.input_schema.clone() else {
            return Err(self.wrong("", "a tool of a `command` backend needs `input_schema`"));
        };
        input.entry("additionalProperties").or_insert(Value::Bool(false));
        lint_keywords(&input).map_err(|fault| self.wrong_schema("input_schema", &fault))?;
        let input = self.schema("input_schema", input)?;
        let template =
            Template::compile(run, spec.stdin.as_deref(), input.text()).map_err(|fault| {
                let pointer = match fault.place {
                    template::Place::Run(index) => format!("/run/{index}"),
                    template::Place::Args(index, inner) => format!("/run/{index}/args/{inner}"),
                    template::Place::Stdin => "/stdin".to_owned(),
                };
                self.wrong(&pointer, fault.to_string())
            })?;
        let found = (environment.find_program)(program);
        let backend = &self.file.manifest.backend;
        let sandbox = self.sandbox()?.or_else(|| backend.sandbox.clone()).unwrap_or_default();
        let missing = || {
            let why = backend.secrets.values().find_map(environment.missing_secret);
            why.map(|why| format!("a secret is missing: {why}"))
                .or_else(|| (environment.unconfinable)(backend, &sandbox))
        };
        let unavailable = match &found {
            None => Some(format!("the program `{program}` is not installed")),
            Some(_) => missing(),
        };
        let output = spec
            .output_schema
            .clone()
            .map(|text| self.schema("output_schema", text))
            .transpose()?;
        let described = Described {
            title: spec.title.clone(),
            description,
            input,
            output,
            annotations: None,
            unavailable,
        };
        let (output, sandbox) = (spec.output, sandbox.into());
        Ok((described, Binding::Command { program: found, template, output, sandbox }))
    }

    /// The tool's own sandbox.
    fn sandbox(&self) -> Result<Option<Sandbox>, Box<Problem>> {
        match self.spec.sandbox.as_ref().and_then(Sandbox::problem) {
            Some((key, message)) => Err(self.wrong(&format!("/sandbox{key}"), message)),
            None => Ok(self.spec.sandbox.clone()),
        }
    }

    fn mcp(&self, environment: &Environment<'_>) -> Result<(Described, Binding), Box<Problem>> {
        let spec = self.spec;
        if spec.run.is_some() || spec.stdin.is_some() {
            return Err(self.wrong("/run", "`run` and `stdin` are for `command` backends only"));
        }
        if spec.sandbox.is_some() {
            let message =
                "a tool of an `mcp` backend has no `sandbox` of its own: all run in one process";
            return Err(self.wrong("/sandbox", message));
        }
        let from = spec.from.clone().unwrap_or_else(|| spec.name.clone());
        let learned = match environment.learned.get(&self.file.manifest.backend.name) {
            None => Err("its server has not been asked yet".to_owned()),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(offered)) => Ok((
                offered.tools.iter().find(|definition| definition.name == from),
                offered.quarantined(DefinitionKind::Tool, &from),
            )),
        };
        let mut unavailable = match &learned {
            Err(why) => Some(why.clone()),
            Ok((_, Some(changed))) => Some(changed.told(&spec.name)),
            Ok((None, None)) => Some(format!("its server offers no tool `{from}`")),
            Ok((Some(_), None)) => None,
        };
        let learned = learned.ok().and_then(|(definition, _)| definition);
        if let Some(fault) = learned.and_then(|it| Repeated::fault(&it.input_schema)) {
            unavailable = Some(format!("its server's input schema is refused: {fault}"));
        }
        let input = match (&spec.input_schema, learned) {
            (Some(text), _) => self.schema("input_schema", text.clone())?,
            (None, Some(definition)) => Schema::compile(definition.input_schema.clone())
                .or_else(|fault| {
                    unavailable = Some(format!("its server's input schema is refused: {fault}"));
                    Schema::compile(closed())
                })
                .map_err(|fault| self.wrong_schema("input_schema", &fault))?,
            (None, None) => Schema::compile(closed())
                .map_err(|fault| self.wrong_schema("input_schema", &fault))?,
        };
        let output = match (&spec.output_schema, learned.and_then(|it| it.output_schema.clone())) {
            (Some(text), _) => Some(self.schema("output_schema", text.clone())?),
            (None, Some(text)) => Schema::compile(text)
                .inspect_err(|fault| {
                    unavailable = Some(format!("its server's output schema is refused: {fault}"));
                })
                .ok(),
            (None, None) => None,
        };
        let described = Described {
            title: spec.title.clone().or_else(|| learned.and_then(|it| it.title.clone())),
            description: spec
                .description
                .clone()
                .or_else(|| learned.and_then(|it| it.description.clone()))
                .unwrap_or_default(),
            input,
            output,
            annotations: learned.and_then(|it| it.annotations.clone()),
            unavailable,
        };
        Ok((described, Binding::Mcp(Remote::Tool { from })))
    }

    /// The manifest's attributes under the tool's own.
    fn attributes(&self) -> Result<AttributeSpecs, Box<Problem>> {
        let attributes = self.spec.attributes.clone().over(&self.file.manifest.attributes);
        if attributes.action_type.is_none() {
            let message = format!("tool `{}` has no `action_type`", self.spec.name);
            return Err(self
                .wrong("/name", message)
                .hinted("say `read`, `write`, `delete` or `admin` under `attributes`"));
        }
        Ok(attributes)
    }

    fn fingerprint(&self, described: &Described) -> Result<Digest, Box<Problem>> {
        let backend = &self.file.manifest.backend;
        let mut definition = json!({
            "name": self.spec.name,
            "title": described.title,
            "description": described.description,
            "input_schema": described.input.text(),
            "output_schema": described.output.as_ref().map(Schema::text),
            "annotations": described.annotations,
            "backend": backend_of(backend),
            "from": self.spec.from,
            "run": self.spec.run,
            "stdin": self.spec.stdin,
            "output": self.spec.output,
        });
        // Left out where nothing is confined, which is what definitions from before there were sandboxes say.
        let written = self.spec.sandbox.as_ref().or(backend.sandbox.as_ref()).cloned();
        let sandbox = written.or_else(|| backend.command.is_some().then(Sandbox::default));
        let confined = sandbox.filter(|sandbox| sandbox.grants().is_some());
        if let (Some(sandbox), Some(members)) = (confined, definition.as_object_mut()) {
            members.insert("sandbox".to_owned(), json!(sandbox));
        }
        digest::canonical(&definition)
            .map(|bytes| Digest::of(&bytes))
            .map_err(|error| self.wrong("", error.to_string()))
    }

    fn schema(&self, key: &str, text: Object) -> Result<Schema, Box<Problem>> {
        if key == "input_schema" && text.get("type").and_then(Value::as_str) != Some("object") {
            return Err(self.wrong("/input_schema", "`input_schema` must have `type: object`"));
        }
        Schema::compile(text).map_err(|fault| self.wrong_schema(key, &fault))
    }

    fn wrong_schema(&self, key: &str, fault: &SchemaError) -> Box<Problem> {
        self.wrong(&format!("/{key}{}", fault.pointer), fault.why.clone())
    }

    fn wrong(&self, pointer: &str, message: impl Into<String>) -> Box<Problem> {
        let place = self.file.places.value(&format!("{}{pointer}", self.pointer));
        Box::new(Problem::new(&self.file.source, place, message))
    }
}

trait Hinted {
    fn hinted(self, hint: &str) -> Self;
}

impl Hinted for Box<Problem> {
    fn hinted(self, hint: &str) -> Self {
        Self::new((*self).hint(hint))
    }
}

/// What is wrong where an argument that chooses an attribute is not one that the schema demands.
pub(super) fn not_required(specs: &AttributeSpecs, input: &Schema) -> Option<String> {
    let required = input.text().get("required").and_then(Value::as_array);
    let demands =
        |name: &str| required.is_some_and(|names| names.iter().any(|it| it.as_str() == Some(name)));
    let argument = specs.chosen_by().find(|argument| !demands(argument))?;
    Some(format!(
        "the argument `{argument}` chooses an attribute, so `input_schema` must require it"
    ))
}

/// What a fingerprint says of the backend.
pub(super) fn backend_of(backend: &BackendSpec) -> Value {
    json!({
        "name": backend.name,
        "program": backend.command.as_ref().map(|it| &it.program)
            .or_else(|| backend.mcp.as_ref().and_then(|it| it.program.as_ref())),
        "args": backend.mcp.as_ref().map(|it| &it.args),
        "url": backend.mcp.as_ref().and_then(|it| it.url.as_ref()),
        "working_directory": backend.working_directory,
        "environment": backend.environment,
    })
}

/// A schema that accepts no argument: for a tool that cannot be called anyway.
pub(super) fn closed() -> Object {
    Object::from_iter([
        ("type".to_owned(), "object".into()),
        ("additionalProperties".to_owned(), false.into()),
    ])
}
