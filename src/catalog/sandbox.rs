//! The `sandbox` of a manifest: what a program may reach beyond what every program needs to run.

use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::manifest::Span;

/// The word that leaves a program unconfined.
const UNCONFINED: &str = "unconfined";
/// The largest limit that counts bytes.
const MAX_BYTES: u64 = 1 << 50;
/// How many paths one list may hold.
const MAX_PATHS: usize = 64;

/// How a program is confined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Sandbox {
    /// Not at all: it may do what the gateway's user may.
    Unconfined(Word),
    /// To what every program needs, and to these grants.
    Confined(Grants),
}

/// The word that is written for a program that is not confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The only one.
    Unconfined,
}

/// What a confined program may reach and use. Relative paths are relative to where the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Files and directories, with all below them, that it may read.
    pub read: Vec<PathBuf>,
    /// The same to read, make, change and remove.
    pub write: Vec<PathBuf>,
    /// The same to read and to run programs from.
    pub execute: Vec<PathBuf>,
    /// Whether it may open TCP and UDP connections; never to sockets of this machine that are files.
    pub network: bool,
    /// Whether it may change modes, owners and extended attributes by path. The kernel cannot limit that to
    /// what `write` names, so it reaches every file of the gateway's user.
    pub chmod: bool,
    /// How much address space each process may have, in bytes; not limited when absent.
    pub memory_bytes: Option<u64>,
    /// How much processor time each process may use; not limited when absent.
    pub cpu: Option<Span>,
    /// How many processes one call, or one server, may have.
    #[schemars(range(min = 1, max = 100_000))]
    pub processes: u32,
    /// How many files each process may have open.
    #[schemars(range(min = 8, max = 1_000_000))]
    pub open_files: u64,
    /// How large a file it writes may be, in bytes.
    pub file_bytes: u64,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            execute: Vec::new(),
            network: false,
            chmod: false,
            memory_bytes: None,
            cpu: None,
            processes: 64,
            open_files: 1024,
            file_bytes: 1 << 30,
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::Confined(Grants::default())
    }
}

impl Sandbox {
    /// The grants of a confined program.
    #[must_use]
    pub const fn grants(&self) -> Option<&Grants> {
        match self {
            Self::Unconfined(_) => None,
            Self::Confined(grants) => Some(grants),
        }
    }

    /// What is wrong with what is written, and at which key, if anything is.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        self.grants().and_then(Grants::problem)
    }
}

impl Grants {
    fn problem(&self) -> Option<(&'static str, String)> {
        for (key, paths) in
            [("/read", &self.read), ("/write", &self.write), ("/execute", &self.execute)]
        {
            if paths.len() > MAX_PATHS {
                return Some((key, format!("more than {MAX_PATHS} paths")));
            }
            if let Some(path) = paths.iter().find(|path| !is_plain(path)) {
                let told = format!("`{}` is empty or goes up with `..`", path.display());
                return Some((key, told));
            }
        }
        let bound = |key, value: u64, least: u64, most: u64| {
            let told = || (key, format!("must be between {least} and {most}"));
            (!(least..=most).contains(&value)).then(told)
        };
        bound("/processes", self.processes.into(), 1, 100_000)
            .or_else(|| bound("/open_files", self.open_files, 8, 1_000_000))
            .or_else(|| bound("/file_bytes", self.file_bytes, 1, MAX_BYTES))
            .or_else(|| bound("/memory_bytes", self.memory_bytes?, 1 << 20, MAX_BYTES))
    }
}

fn is_plain(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let up = path.components().any(|part| part == Component::ParentDir);
    !text.is_empty() && !text.contains(&0) && !up
}

impl<'de> Deserialize<'de> for Sandbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Sandbox;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "grants, such as `{{ read: [PATH], network: false }}`, or `{UNCONFINED}`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sandbox, E> {
                if text == UNCONFINED {
                    return Ok(Sandbox::Unconfined(Word::Unconfined));
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sandbox, A::Error> {
                Grants::deserialize(MapAccessDeserializer::new(map)).map(Sandbox::Confined)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
