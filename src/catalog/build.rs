//! From manifest files to the catalog: every definition checked, every fault with its place.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::Catalog;
use super::context;
use super::definition::Building;
use super::lookalike;
use super::manifest::{BackendSpec, Manifest, SecretSource, ToolSpec};
use super::offered::Offered;
use super::rollback;
use super::sandbox::Sandbox;
use super::tool::Tool;
use crate::digest::Digest;
use crate::source::{self, Places, Problem, Problems, SourceFile};

/// What the names of the gateway's own tools begin with.
const RESERVED: &str = "countersign_";

/// All manifests, read and checked one by one.
#[derive(Debug, Default)]
pub struct Manifests {
    files: Vec<Parsed>,
}

/// One file.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Its text.
    pub(super) source: SourceFile,
    /// Where everything stands in it.
    pub(super) places: Places,
    /// What it says.
    pub(super) manifest: Manifest,
}

/// What the catalog depends on beside the manifests: which programs exist, and what servers offer.
pub struct Environment<'a> {
    /// Finds a program by the name a manifest gives.
    pub find_program: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Says why a secret cannot be had now, if it cannot.
    pub missing_secret: &'a dyn Fn(&SecretSource) -> Option<String>,
    /// Says why the program of a backend cannot be confined as its tool demands, if it cannot.
    pub unconfinable: &'a dyn Fn(&BackendSpec, &Sandbox) -> Option<String>,
    /// By backend: what its server offers, or why it has not said.
    pub learned: &'a HashMap<String, Result<Offered, String>>,
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
        context::check_names(&manifests.files, &mut problems);
        Problems::check(problems)?;
        Ok(manifests)
    }

    /// SHA-256 of the file that says all there is to a backend and its tools.
    pub fn digest(&self, backend: &str) -> Option<Digest> {
        let mut files = self.files.iter();
        let file = files.find(|file| file.manifest.backend.name == backend)?;
        Some(Digest::of(file.source.text.as_bytes()))
    }

    /// The backends, in the order of the files.
    pub fn backends(&self) -> impl Iterator<Item = &BackendSpec> {
        self.files.iter().map(|file| &file.manifest.backend)
    }

    /// How the programs of a backend are confined: as its tools say, or else as it says itself, once for each
    /// tool.
    pub fn sandboxes(&self, backend: &str) -> Vec<Sandbox> {
        let files = self.files.iter().filter(|file| file.manifest.backend.name == backend);
        let tools = files.flat_map(|file| file.manifest.tools.iter().map(move |tool| (file, tool)));
        let own = |(file, tool): (&Parsed, &ToolSpec)| {
            tool.sandbox.clone().or_else(|| file.manifest.backend.sandbox.clone())
        };
        tools.map(|both| own(both).unwrap_or_default()).collect()
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
        let mut add = |built: Result<Tool, Box<Problem>>| match built {
            Ok(tool) => drop(tools.insert(tool.name().to_owned(), Arc::new(tool))),
            Err(problem) => problems.push(*problem),
        };
        for file in &self.files {
            for (index, spec) in file.manifest.tools.iter().enumerate() {
                let building = Building { file, spec, pointer: format!("/tools/{index}") };
                add(building.tool(environment));
            }
            let building = |pointer| context::Building { file, pointer, environment };
            for (index, spec) in file.manifest.resources.iter().enumerate() {
                add(building(format!("/resources/{index}")).resource(spec));
            }
            for (index, spec) in file.manifest.prompts.iter().enumerate() {
                add(building(format!("/prompts/{index}")).prompt(spec));
            }
        }
        let compensations = rollback::compile(&self.files, &tools, &mut problems);
        Problems::check(problems)?;
        Ok(Catalog::new(tools, compensations))
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
            let manifest = &file.manifest;
            let offers = [manifest.tools.len(), manifest.resources.len(), manifest.prompts.len()];
            if offers == [0; 3] {
                let message = "a manifest offers something: `tools`, `resources` or `prompts`";
                problems.push(wrong("", message.to_owned()));
            }
            if let Some((key, message)) = backend.sandbox.as_ref().and_then(Sandbox::problem) {
                problems.push(wrong(&format!("/backend/sandbox{key}"), message));
            }
            if backend.sandbox.is_some() && backend.mcp.as_ref().is_some_and(|it| it.url.is_some())
            {
                let message = "`sandbox` is for programs, not for a `url`".to_owned();
                problems.push(wrong("/backend/sandbox", message));
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
        let mut looks: HashMap<String, (&str, String)> = HashMap::new();
        for file in &self.files {
            for (index, tool) in file.manifest.tools.iter().enumerate() {
                let place = file.places.value(&format!("/tools/{index}/name"));
                let here = Problem::new(&file.source, place, String::new()).location();
                if !is_name(&tool.name) {
                    let message = format!("`{}` is not a tool name", tool.name);
                    let hint = "use 1 to 128 characters of `A-Z a-z 0-9 _ . -`";
                    problems.push(Problem::new(&file.source, place, message).hint(hint));
                }
                let look = lookalike::skeleton(&tool.name);
                if look.starts_with(&lookalike::skeleton(RESERVED)) {
                    let message = format!("`{}` is a name of the gateway's own tools", tool.name);
                    let hint = format!("use a name that does not begin with `{RESERVED}`");
                    problems.push(Problem::new(&file.source, place, message).hint(hint));
                }
                let (like, there) = looks.entry(look).or_insert((&tool.name, here.clone()));
                if *like != tool.name {
                    let message = format!("`{}` looks like the tool `{like}`", tool.name);
                    let hint = format!(
                        "{there} has that one; names must differ in more than case, \
                        separators and letters drawn alike"
                    );
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

/// Whether this can be the name of a tool or a prompt.
pub(super) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}
