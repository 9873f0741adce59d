//! The form of a file in `tool-manifests/` (design §4).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ability::Ability;
use super::caching::Cache;
use super::context::{PromptSpec, ResourceSpec};
use super::label::Label;
use super::price::Cost;
use super::sandbox::Sandbox;
use super::template::{Output, Part};
use crate::json::Object;

/// One backend and what it offers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What runs the tools.
    pub backend: BackendSpec,
    /// Attributes that every tool below has unless it says otherwise.
    #[serde(default)]
    pub attributes: AttributeSpecs,
    /// The tools.
    #[serde(default)]
    pub tools: Vec<ToolSpec>,
    /// Resources of an MCP server.
    #[serde(default)]
    pub resources: Vec<ResourceSpec>,
    /// Prompts of an MCP server.
    #[serde(default)]
    pub prompts: Vec<PromptSpec>,
}

/// What runs the tools of a manifest; exactly one of `command` and `mcp`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// Its name, unique over all manifests.
    pub name: String,
    /// A program that is run once per call.
    #[serde(default)]
    pub command: Option<CommandSpec>,
    /// An MCP server.
    #[serde(default)]
    pub mcp: Option<McpSpec>,
    /// How many calls run at once; 1 to 1024.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: usize,
    /// How many more may wait; at most 100000.
    #[serde(default = "default_queue")]
    #[schemars(range(max = 100_000))]
    pub queue: usize,
    /// How long one call may take, from the moment it has a slot.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// The largest result, in bytes.
    #[serde(default = "default_max_output_bytes")]
    pub max_output_bytes: usize,
    /// Names and where their values come from: environment variables of a command or a child process;
    /// for an MCP server over HTTP, values for `${NAME}` in `headers`.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Plain environment variables of a command or a child process.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The directory the program runs in; relative to where the gateway runs.
    #[serde(default)]
    pub working_directory: Option<PathBuf>,
    /// What the program may reach: grants, or `unconfined`. A `command` is confined when this is absent, a
    /// child that speaks MCP is not.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
}

const fn default_concurrency() -> usize {
    8
}

const fn default_queue() -> usize {
    64
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(30))
}

const fn default_max_output_bytes() -> usize {
    1 << 20
}

/// A program that is run once per call.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// An absolute path, or a name that is looked up in `PATH`.
    pub program: String,
}

/// An MCP server: a program that speaks over its standard streams, or a URL.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpSpec {
    /// Where it listens (streamable HTTP).
    #[serde(default)]
    pub url: Option<String>,
    /// Headers sent with every request; `${NAME}` stands for a secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether a name in `url` may lead to addresses that are not public.
    #[serde(default)]
    pub allow_private: bool,
    /// A file of certificates (PEM) that are believed in place of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The program that is started.
    #[serde(default)]
    pub program: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// What the server may ask of the client whose call it runs; nothing by default.
    #[serde(default)]
    pub allow: BTreeSet<Ability>,
    /// How long a client may take to answer what it is asked; the call's own time stands still meanwhile.
    #[serde(default = "default_answer_within")]
    pub answer_within: Span,
}

fn default_answer_within() -> Span {
    Span(Duration::from_secs(300))
}

/// Where the value of a secret comes from; it is read when a call is dispatched. Written `{ env: NAME }`,
/// `{ file: PATH }` or `{ path: PATH }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A variable of the gateway's own environment.
    Env(String),
    /// A file, read again when it changes; one newline at its end is not part of the secret.
    File(PathBuf),
    /// A file that the program reads itself: it is given the path, and only if the file can be read.
    Path(PathBuf),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            env: Option<String>,
            file: Option<PathBuf>,
            path: Option<PathBuf>,
        }
        // Written out, because YAML readers take a derived enum for a tag and not for a map.
        match Written::deserialize(deserializer)? {
            Written { env: Some(name), file: None, path: None } => Ok(Self::Env(name)),
            Written { env: None, file: Some(path), path: None } => Ok(Self::File(path)),
            Written { env: None, file: None, path: Some(path) } => Ok(Self::Path(path)),
            Written { .. } => Err(serde::de::Error::custom(
                "expected one of `{ env: NAME }`, `{ file: PATH }` and `{ path: PATH }`",
            )),
        }
    }
}

/// What policy matches on. The values come from operators, never from callers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeSpecs {
    /// What kind of thing is acted on (`kubernetes`, `database`, `files`).
    #[serde(default)]
    pub capability: Option<AttributeValue<String>>,
    /// What is done (`deploy`, `drop`, `read`).
    #[serde(default)]
    pub action: Option<AttributeValue<String>>,
    /// `read`, `write`, `delete` or `admin`; the last two are writes too.
    #[serde(default)]
    pub action_type: Option<AttributeValue<ActionType>>,
    /// Where it takes effect (`production`, `staging`).
    #[serde(default)]
    pub environment: Option<AttributeValue<String>>,
    /// How bad it can get.
    #[serde(default)]
    pub risk: Option<AttributeValue<Risk>>,
    /// Free words.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A fixed value, or one that an argument chooses out of a closed list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AttributeValue<T> {
    /// Always this.
    Fixed(T),
    /// Chosen by an argument; a value that is not listed is refused.
    Chosen(ChosenBy<T>),
}

/// An attribute that an argument chooses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChosenBy<T> {
    /// The argument's name.
    pub argument: String,
    /// What each of its values means.
    pub values: BTreeMap<String, T>,
}

/// What a tool does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionType {
    /// Looks only.
    Read,
    /// Changes something.
    Write,
    /// Removes something.
    Delete,
    /// Changes who may do what.
    Admin,
}

impl ActionType {
    /// The type as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }
}

/// How bad it can get.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

impl Risk {
    /// The risk as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One tool.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// Its name: 1 to 128 characters of `A-Z a-z 0-9 _ . -`, unique over all manifests.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub title: Option<String>,
    /// For the model. An `mcp` tool may take its server's.
    #[serde(default)]
    pub description: Option<String>,
    /// The tool's name at its MCP server, when it is another.
    #[serde(default)]
    pub from: Option<String>,
    /// What policy matches on.
    #[serde(default)]
    pub attributes: AttributeSpecs,
    /// JSON Schema (2020-12, or draft 7 as declared) of the arguments. An `mcp` tool may take its server's.
    #[serde(default)]
    pub input_schema: Option<Object>,
    /// JSON Schema of `structuredContent`.
    #[serde(default)]
    pub output_schema: Option<Object>,
    /// The argument vector of a `command` tool.
    #[serde(default)]
    pub run: Option<Vec<Part>>,
    /// What a `command` tool reads on its standard input: `json` (all arguments) or `${x}`.
    #[serde(default)]
    pub stdin: Option<String>,
    /// How a `command` tool's standard output is understood.
    #[serde(default)]
    pub output: Output,
    /// Where constraints of rules bind when the parameter has another name, as JSON pointers.
    #[serde(default)]
    pub constraints: BTreeMap<String, String>,
    /// The call that undoes this one.
    #[serde(default)]
    pub rollback: Option<RollbackSpec>,
    /// How long a call may take; the backend's when absent.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The largest result, in bytes; the backend's when absent.
    #[serde(default)]
    pub max_output_bytes: Option<usize>,
    /// Running it twice does what running it once does.
    #[serde(default)]
    pub idempotent: bool,
    /// What the program of a `command` tool may reach, in place of the backend's `sandbox`.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// What recording waits for; by default `write` unless `action_type` is `read`.
    #[serde(default)]
    pub durability: Option<Durability>,
    /// What one call costs; nothing when absent.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// For how long results are kept; not at all when absent. Of tools with `action_type: read` only.
    #[serde(default)]
    pub cache: Option<Cache>,
    /// What its results bring to the agent; at most 16 words.
    #[serde(default)]
    pub brings: BTreeSet<Label>,
}

/// The call that undoes another.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackSpec {
    /// The tool.
    pub tool: String,
    /// Its arguments; `${arguments.x}` stands for a value of the call that is undone.
    pub arguments: Object,
}

/// What recording an intent waits for (design §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Until it is in the commit queue.
    Read,
    /// Until it is on disk.
    Write,
}

/// A length of time, written like `30s`, `5m`, `1h`, `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span: jiff::SignedDuration = text.parse().map_err(|_| {
            serde::de::Error::custom(format!(
                "`{text}` is not a length of time; write it like `30s`, `5m` or `1h`"
            ))
        })?;
        Duration::try_from(span).ok().filter(|duration| !duration.is_zero()).map(Self).ok_or_else(
            || serde::de::Error::custom(format!("`{text}` must be longer than nothing")),
        )
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", self.0.as_millis()))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A length of time, like `30s`, `5m`, `1h`, `250ms`."
        })
    }
}
