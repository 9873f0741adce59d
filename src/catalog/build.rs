//! From manifest files to the catalog: every definition checked, every fault with its place.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Catalog;
use super::manifest::{
    ActionType, AttributeSpecs, AttributeValue, BackendSpec, Durability, Manifest, SecretSource,
    ToolSpec,
};
use super::schema::{Schema, SchemaError};
use super::template::{self, Template};
use super::tool::{Binding, Tool};
use crate::digest::{self, Digest};
use crate::json::Object;
use crate::source::{self, Places, Problem, Problems, SourceFile};

/// All manifests, read and checked one by one.
#[derive(Debug, Default)]
pub struct Manifests {
    files: Vec<Parsed>,
}

#[derive(Debug)]
struct Parsed {
    source: SourceFile,
    places: Places,
    manifest: Manifest,
}

/// A tool's definition as its MCP server gives it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name there.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// The schema of its arguments.
    pub input_schema: Object,
    /// The schema of its structured content.
    pub output_schema: Option<Object>,
    /// Its annotations.
    pub annotations: Option<Value>,
}

/// What the catalog depends on beside the manifests: which programs exist, and what servers offer.
pub struct Environment<'a> {
    /// Finds a program by the name a manifest gives.
    pub find_program: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Says why a secret cannot be had now, if it cannot.
    pub missing_secret: &'a dyn Fn(&SecretSource) -> Option<String>,
    /// By backend: the definitions its server gave, or why it has not given them.
    pub learned: &'a HashMap<String, Result<Vec<Definition>, String>>,
}

impl Manifests {
    /// Reads all files. Names of backends and tools must be unique over all of them.
    ///
    /// # Errors
    /// With every fault that could be found, each with its place.
    pub fn read(files: Vec<SourceFile>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut parsed = Vec::new();
        for source in files {
            match source::read::<Manifest>(&source) {
                Ok((manifest, places)) => parsed.push(Parsed { source, places, manifest }),
                Err(found) => problems.extend(found.into_all()),
            }
        }
        let manifests = Self { files: parsed };
        manifests.check_backends(&mut problems);
        manifests.check_names(&mut problems);
        Problems::check(problems)?;
        Ok(manifests)
    }

    /// The backends, in the order of the files.
    pub fn backends(&self) -> impl Iterator<Item = &BackendSpec> {
        self.files.iter().map(|file| &file.manifest.backend)
    }

    /// The text of all manifests, for the revision's digest.
    pub fn sources(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().map(|file| &file.source)
    }

    /// Builds the catalog.
    ///
    /// # Errors
    /// With every fault of a definition that a manifest gives. What is missing outside (a program, a
    /// server) makes a tool unavailable instead.
    pub fn catalog(&self, environment: &Environment<'_>) -> Result<Catalog, Problems> {
        let mut problems = Vec::new();
        let mut tools = BTreeMap::new();
        for file in &self.files {
            for (index, spec) in file.manifest.tools.iter().enumerate() {
                let building = Building { file, spec, pointer: format!("/tools/{index}") };
                match building.tool(environment) {
                    Ok(tool) => {
                        tools.insert(spec.name.clone(), Arc::new(tool));
                    }
                    Err(problem) => problems.push(*problem),
                }
            }
        }
        Problems::check(problems)?;
        Ok(Catalog { tools })
    }

    fn check_backends(&self, problems: &mut Vec<Problem>) {
        let mut seen: HashMap<&str, &Parsed> = HashMap::new();
        for file in &self.files {
            let backend = &file.manifest.backend;
            let wrong = |pointer: &str, message: String| {
                Problem::new(&file.source, file.places.value(pointer), message)
            };
            if let Some(first) = seen.insert(&backend.name, file) {
                let message = format!("duplicate backend name `{}`", backend.name);
                let hint = format!("{} has one of this name", first.source.name);
                problems.push(wrong("/backend/name", message).hint(hint));
            }
            match (&backend.command, &backend.mcp) {
                (Some(_), None) => {}
                (None, Some(mcp)) if mcp.url.is_some() != mcp.program.is_some() => {}
                (None, Some(_)) => {
                    let message = "an MCP backend has either `url` or `program`";
                    problems.push(wrong("/backend/mcp", message.into()));
                }
                (None, None) | (Some(_), Some(_)) => {
                    let message = "a backend has exactly one of `command` and `mcp`";
                    problems.push(wrong("/backend", message.into()));
                }
            }
            if !(1..=1024).contains(&backend.concurrency) {
                let message = "`concurrency` must be between 1 and 1024".to_owned();
                problems.push(wrong("/backend/concurrency", message));
            }
            if backend.queue > 100_000 {
                problems.push(wrong("/backend/queue", "`queue` is at most 100000".into()));
            }
        }
    }

    fn check_names(&self, problems: &mut Vec<Problem>) {
        let mut seen: HashMap<&str, String> = HashMap::new();
        for file in &self.files {
            for (index, tool) in file.manifest.tools.iter().enumerate() {
                let place = file.places.value(&format!("/tools/{index}/name"));
                let here = Problem::new(&file.source, place, String::new()).location();
                let fits = (1..=128).contains(&tool.name.len())
                    && tool.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
                if !fits {
                    let message = format!("`{}` is not a tool name", tool.name);
                    let hint = "use 1 to 128 characters of `A-Z a-z 0-9 _ . -`";
                    problems.push(Problem::new(&file.source, place, message).hint(hint));
                }
                if let Some(first) = seen.insert(&tool.name, here) {
                    let message = format!("duplicate tool name `{}`", tool.name);
                    let hint = format!("{first} has one of this name");
                    problems.push(Problem::new(&file.source, place, message).hint(hint));
                }
            }
        }
        for file in &self.files {
            for (index, tool) in file.manifest.tools.iter().enumerate() {
                let Some(rollback) = &tool.rollback else { continue };
                if !seen.contains_key(rollback.tool.as_str()) {
                    let place = file.places.value(&format!("/tools/{index}/rollback/tool"));
                    let message = format!("`{}` is not a tool of any manifest", rollback.tool);
                    problems.push(Problem::new(&file.source, place, message));
                }
            }
        }
    }
}

/// One tool while it is built.
struct Building<'a> {
    file: &'a Parsed,
    spec: &'a ToolSpec,
    pointer: String,
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
    fn tool(&self, environment: &Environment<'_>) -> Result<Tool, Box<Problem>> {
        let spec = self.spec;
        let backend = &self.file.manifest.backend;
        let attributes = self.attributes()?;
        let (described, binding) = match &backend.command {
            Some(command) => self.command(&command.program, environment)?,
            None => self.mcp(environment)?,
        };
        self.check_chosen(&attributes, &described.input)?;
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
            unavailable: described.unavailable,
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
        let missing = || {
            let secrets = &self.file.manifest.backend.secrets;
            let why = secrets.values().find_map(environment.missing_secret);
            why.map(|why| format!("a secret is missing: {why}"))
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
        Ok((described, Binding::Command { program: found, template, output: spec.output }))
    }

    fn mcp(&self, environment: &Environment<'_>) -> Result<(Described, Binding), Box<Problem>> {
        let spec = self.spec;
        if spec.run.is_some() || spec.stdin.is_some() {
            return Err(self.wrong("/run", "`run` and `stdin` are for `command` backends only"));
        }
        let from = spec.from.clone().unwrap_or_else(|| spec.name.clone());
        let learned = match environment.learned.get(&self.file.manifest.backend.name) {
            None => Err("its server has not been asked yet".to_owned()),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(definitions)) => definitions
                .iter()
                .find(|definition| definition.name == from)
                .ok_or_else(|| format!("its server offers no tool `{from}`")),
        };
        let mut unavailable = learned.as_ref().err().cloned();
        let learned = learned.ok();
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
        Ok((described, Binding::Mcp { from }))
    }

    /// The manifest's attributes under the tool's own.
    fn attributes(&self) -> Result<AttributeSpecs, Box<Problem>> {
        let own = self.spec.attributes.clone();
        let shared = self.file.manifest.attributes.clone();
        let attributes = AttributeSpecs {
            capability: own.capability.or(shared.capability),
            action: own.action.or(shared.action),
            action_type: own.action_type.or(shared.action_type),
            environment: own.environment.or(shared.environment),
            risk: own.risk.or(shared.risk),
            tags: shared.tags.into_iter().chain(own.tags).collect(),
        };
        if attributes.action_type.is_none() {
            let message = format!("tool `{}` has no `action_type`", self.spec.name);
            return Err(self
                .wrong("/name", message)
                .hinted("say `read`, `write`, `delete` or `admin` under `attributes`"));
        }
        Ok(attributes)
    }

    /// An argument that chooses an attribute must be one the schema knows and demands.
    fn check_chosen(&self, specs: &AttributeSpecs, input: &Schema) -> Result<(), Box<Problem>> {
        let chosen_by = [
            chosen(specs.capability.as_ref()),
            chosen(specs.action.as_ref()),
            chosen(specs.action_type.as_ref()),
            chosen(specs.environment.as_ref()),
            chosen(specs.risk.as_ref()),
        ];
        for argument in chosen_by.into_iter().flatten() {
            let required = input
                .text()
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|names| names.iter().any(|name| name.as_str() == Some(argument)));
            if !required {
                let message = format!(
                    "the argument `{argument}` chooses an attribute, so `input_schema` must require it"
                );
                return Err(self.wrong("/attributes", message));
            }
        }
        Ok(())
    }

    fn fingerprint(&self, described: &Described) -> Result<Digest, Box<Problem>> {
        let backend = &self.file.manifest.backend;
        let definition = json!({
            "name": self.spec.name,
            "title": described.title,
            "description": described.description,
            "input_schema": described.input.text(),
            "output_schema": described.output.as_ref().map(Schema::text),
            "annotations": described.annotations,
            "backend": {
                "name": backend.name,
                "program": backend.command.as_ref().map(|it| &it.program)
                    .or_else(|| backend.mcp.as_ref().and_then(|it| it.program.as_ref())),
                "args": backend.mcp.as_ref().map(|it| &it.args),
                "url": backend.mcp.as_ref().and_then(|it| it.url.as_ref()),
                "working_directory": backend.working_directory,
                "environment": backend.environment,
            },
            "from": self.spec.from,
            "run": self.spec.run,
            "stdin": self.spec.stdin,
            "output": self.spec.output,
        });
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

fn chosen<T>(value: Option<&AttributeValue<T>>) -> Option<&str> {
    match value {
        Some(AttributeValue::Chosen(chosen)) => Some(&chosen.argument),
        Some(AttributeValue::Fixed(_)) | None => None,
    }
}

/// A schema that accepts no argument: for a tool that cannot be called anyway.
fn closed() -> Object {
    Object::from_iter([
        ("type".to_owned(), "object".into()),
        ("additionalProperties".to_owned(), false.into()),
    ])
}

/// JSON Schema ignores keywords it does not know, so a slip of the pen would loosen a schema in silence.
fn lint_keywords(schema: &Object) -> Result<(), SchemaError> {
    lint_at(schema, "")
}

fn lint_at(schema: &Object, pointer: &str) -> Result<(), SchemaError> {
    for (key, value) in schema {
        let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        if !KEYWORDS.contains(&key.as_str()) && !key.starts_with("x-") {
            let near = source::nearest(key, KEYWORDS.iter().copied());
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let why = format!("`{key}` is not a keyword of JSON Schema{hint}");
            return Err(SchemaError { pointer: place, why });
        }
        match (key.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(members),
            ) => {
                for (name, member) in members {
                    if let Value::Object(inner) = member {
                        lint_at(
                            inner,
                            &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")),
                        )?;
                    }
                }
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(members)) => {
                for (index, member) in members.iter().enumerate() {
                    if let Value::Object(inner) = member {
                        lint_at(inner, &format!("{place}/{index}"))?;
                    }
                }
            }
            (
                "items"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "additionalProperties"
                | "propertyNames",
                Value::Object(inner),
            ) => {
                lint_at(inner, &place)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The keywords of JSON Schema 2020-12 and draft 7.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "$ref",
    "$defs",
    "$comment",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "definitions",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "dependentSchemas",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
];
