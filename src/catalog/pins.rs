//! What servers said of what they offer when it was accepted. What is said otherwise later is quarantined: nobody is
//! shown it, and nothing of it runs, until an operator accepts the change (design §4; threats T1, T2, T8).

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::context::Described;
use super::offered::{Definition, Offered};
use crate::digest::{self, Digest};
use crate::json::Object;

/// How many definitions of one server are accepted; what is new beyond them is quarantined.
const MAX_PINS: usize = 10_000;
/// How many new definitions of one server that nobody accepted are recorded; beyond them they wait all the same,
/// and no entry says so.
const MAX_NOTED: usize = 1_000;

/// What a definition is of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// A tool.
    Tool,
    /// A resource.
    Resource,
    /// A template of resources.
    Template,
    /// A prompt.
    Prompt,
}

impl DefinitionKind {
    /// Its name, as entries of the log have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Template => "template",
            Self::Prompt => "prompt",
        }
    }
}

/// Something that a server offers, by the name or address that it has there.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct DefinitionKey {
    /// The backend.
    pub backend: String,
    /// What it is.
    pub of: DefinitionKind,
    /// Its name, URI or template at the server.
    pub name: String,
}

/// A definition as the server said it: everything of it that could reach an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Of what.
    pub key: DefinitionKey,
    /// SHA-256 of its canonical JSON.
    pub digest: Digest,
    /// The words.
    pub definition: Object,
}

impl Said {
    /// Whether its digest is that of its words.
    #[must_use]
    pub fn is_itself(&self) -> bool {
        digest::canonical(&self.definition).is_ok_and(|bytes| Digest::of(&bytes).is(&self.digest))
    }
}

/// A definition that waits for an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// As it is now.
    pub now: Said,
    /// As it was accepted; nothing where it is new.
    pub before: Option<Object>,
    /// Since when it is so.
    pub since: Timestamp,
}

/// What is done with a definition that nobody has accepted and that is the first of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// It is taken as accepted, and the record says so.
    #[default]
    Accept,
    /// It is quarantined as changed ones are.
    Quarantine,
}

/// What was accepted, by what it is of.
#[derive(Debug, Default)]
pub struct Pins {
    accepted: HashMap<DefinitionKey, Said>,
    /// What was seen that is not accepted, last of each.
    noted: HashMap<DefinitionKey, (Digest, Timestamp)>,
}

/// What came of looking at what a server offers.
#[derive(Debug)]
pub struct Vetted {
    /// What may be offered on: what is quarantined stands there as it was accepted, or not at all.
    pub offered: Offered,
    /// What is to be recorded before anything of it is offered on.
    pub news: DefinitionNews,
}

/// What one look at a server showed that was not known.
#[derive(Clone, Debug, Default)]
pub struct DefinitionNews {
    /// The first of their names, accepted as that.
    pub first: Vec<Said>,
    /// What is not as it was accepted, and was not seen so before: it waits for an operator.
    pub changed: Vec<Changed>,
    /// What was not as it was accepted, and is again, or is gone: it waits no more.
    pub ended: Vec<DefinitionKey>,
}

impl DefinitionNews {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.changed.is_empty() && self.ended.is_empty()
    }
}

impl Pins {
    /// What was accepted, and what was seen besides.
    #[must_use]
    pub fn new(accepted: Vec<Said>, noted: Vec<(DefinitionKey, Digest, Timestamp)>) -> Self {
        Self {
            accepted: accepted.into_iter().map(|said| (said.key.clone(), said)).collect(),
            noted: noted.into_iter().map(|(key, digest, at)| (key, (digest, at))).collect(),
        }
    }

    /// Takes note of what was accepted.
    pub fn accept(&mut self, said: Said) {
        self.noted.remove(&said.key);
        self.accepted.insert(said.key.clone(), said);
    }

    /// Takes note of what was seen.
    pub fn note(&mut self, news: DefinitionNews) {
        news.first.into_iter().for_each(|said| self.accept(said));
        for Changed { now, since, .. } in news.changed {
            self.noted.insert(now.key, (now.digest, since));
        }
        for key in &news.ended {
            self.noted.remove(key);
        }
    }

    /// Holds what the server of `backend` offers at `now` to what was accepted of it.
    #[must_use]
    pub fn vet(&self, backend: &str, offered: Offered, first: First, now: Timestamp) -> Vetted {
        let of_backend = |key: &&DefinitionKey| key.backend == backend;
        let mut vetting = Vetting {
            pins: self,
            backend,
            first,
            now,
            room: MAX_PINS.saturating_sub(self.accepted.keys().filter(of_backend).count()),
            to_note: MAX_NOTED.saturating_sub(self.noted.keys().filter(of_backend).count()),
            seen: HashSet::new(),
            news: DefinitionNews::default(),
            changed: Vec::new(),
        };
        let Offered { tools, resources, templates, prompts, quarantined: _ } = offered;
        // What a server did not tell of is neither changed nor gone.
        let told = [
            (DefinitionKind::Tool, true),
            (DefinitionKind::Resource, resources.is_ok()),
            (DefinitionKind::Template, templates.is_ok()),
            (DefinitionKind::Prompt, prompts.is_ok()),
        ];
        let told = told.iter().filter(|(_, told)| *told).map(|(of, _)| *of).collect::<Vec<_>>();
        let tools = vetting.list(DefinitionKind::Tool, tools);
        let mut entries =
            |of, list: Result<Vec<Described>, String>| list.map(|list| vetting.list(of, list));
        let resources = entries(DefinitionKind::Resource, resources);
        let templates = entries(DefinitionKind::Template, templates);
        let prompts = entries(DefinitionKind::Prompt, prompts);
        let Vetting { mut news, changed, .. } = vetting;
        let waits: HashSet<&DefinitionKey> = changed.iter().map(|it| &it.now.key).collect();
        let ended = |key: &&DefinitionKey| {
            key.backend == backend && told.contains(&key.of) && !waits.contains(key)
        };
        news.ended = self.noted.keys().filter(ended).cloned().collect();
        news.ended.sort();
        let offered = Offered { tools, resources, templates, prompts, quarantined: changed };
        Vetted { offered, news }
    }
}

/// Something that a server says, told apart by a name.
trait Words: Sized {
    fn name(&self) -> &str;

    /// Everything that is said, as one object.
    fn written(&self) -> Object;

    /// What [`Words::written`] gave.
    fn restored(name: &str, written: &Object) -> Option<Self>;
}

impl Words for Definition {
    fn name(&self) -> &str {
        &self.name
    }

    fn written(&self) -> Object {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let members = [
            ("name", Some(Value::String(self.name.clone()))),
            ("title", text(&self.title)),
            ("description", text(&self.description)),
            ("inputSchema", Some(Value::Object(self.input_schema.clone()))),
            ("outputSchema", self.output_schema.clone().map(Value::Object)),
            ("annotations", self.annotations.clone()),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    fn restored(_: &str, written: &Object) -> Option<Self> {
        Self::read(written)
    }
}

impl Words for Described {
    fn name(&self) -> &str {
        &self.key
    }

    /// A resource's size and time of change are of what it holds, and not of what it is: a document that is
    /// edited stays the one that was accepted.
    fn written(&self) -> Object {
        let mut entry = self.entry.clone();
        if entry.get("size").is_some_and(Value::is_u64) {
            entry.remove("size");
        }
        let Some(Value::Object(annotations)) = entry.get_mut("annotations") else { return entry };
        // Anything else in its place is words that could reach a model.
        let is_time =
            |value: &Value| value.as_str().is_some_and(|it| it.parse::<Timestamp>().is_ok());
        if annotations.get("lastModified").is_some_and(is_time) {
            annotations.remove("lastModified");
        }
        if annotations.is_empty() {
            entry.remove("annotations");
        }
        entry
    }

    fn restored(name: &str, written: &Object) -> Option<Self> {
        Some(Self { key: name.to_owned(), entry: written.clone() })
    }
}

struct Vetting<'a> {
    pins: &'a Pins,
    backend: &'a str,
    first: First,
    now: Timestamp,
    /// How many more definitions may be accepted.
    room: usize,
    /// How many more new ones may be noted.
    to_note: usize,
    seen: HashSet<DefinitionKey>,
    news: DefinitionNews,
    changed: Vec<Changed>,
}

impl Vetting<'_> {
    fn list<T: Words>(&mut self, of: DefinitionKind, list: Vec<T>) -> Vec<T> {
        list.into_iter().filter_map(|words| self.one(of, words)).collect()
    }

    /// What stands for a definition in the catalog.
    fn one<T: Words>(&mut self, of: DefinitionKind, words: T) -> Option<T> {
        let name = words.name().to_owned();
        let key = DefinitionKey { backend: self.backend.to_owned(), of, name };
        // A second one of the name would be another than was looked at.
        if !self.seen.insert(key.clone()) {
            return None;
        }
        let definition = words.written();
        // What has no canonical form cannot be told from another.
        let digest = Digest::of(&digest::canonical(&definition).ok()?);
        let known = self.pins.accepted.get(&key);
        if known.is_some_and(|known| known.digest.is(&digest)) {
            return Some(words);
        }
        let now = Said { key, digest, definition };
        if known.is_none() && self.first == First::Accept && self.room > 0 {
            self.room -= 1;
            self.news.first.push(now);
            return Some(words);
        }
        let before = known.map(|known| known.definition.clone());
        let stands = before.as_ref().and_then(|it| T::restored(&now.key.name, it));
        let noted = self.pins.noted.get(&now.key).filter(|(digest, _)| digest.is(&now.digest));
        let since = noted.map_or(self.now, |(_, since)| *since);
        let changed = Changed { now, before, since };
        // One that was accepted is always noted: there are so many at most.
        if noted.is_none() && (changed.before.is_some() || self.to_note > 0) {
            self.to_note = self.to_note.saturating_sub(usize::from(changed.before.is_none()));
            self.news.changed.push(changed.clone());
        }
        self.changed.push(changed);
        stands
    }
}

impl Offered {
    /// The definition of this kind and name that waits for an operator.
    #[must_use]
    pub fn quarantined(&self, of: DefinitionKind, name: &str) -> Option<&Changed> {
        self.quarantined.iter().find(|it| it.now.key.of == of && it.now.key.name == name)
    }

    /// The same, with one definition as it was quarantined in place of what stands for it.
    #[must_use]
    pub fn accepting(mut self, said: &Said) -> Self {
        fn put<T: Words>(list: &mut Vec<T>, said: &Said) {
            list.retain(|it| it.name() != said.key.name);
            list.extend(T::restored(&said.key.name, &said.definition));
        }
        self.quarantined.retain(|changed| changed.now.key != said.key);
        let (resources, templates, prompts) =
            (&mut self.resources, &mut self.templates, &mut self.prompts);
        match said.key.of {
            DefinitionKind::Tool => put(&mut self.tools, said),
            DefinitionKind::Resource => resources.iter_mut().for_each(|list| put(list, said)),
            DefinitionKind::Template => templates.iter_mut().for_each(|list| put(list, said)),
            DefinitionKind::Prompt => prompts.iter_mut().for_each(|list| put(list, said)),
        }
        self
    }
}

impl Changed {
    /// Why what it is of cannot be had, for operators.
    #[must_use]
    pub fn told(&self, tool: &str) -> String {
        let how = if self.before.is_some() { "changed" } else { "is new" };
        format!("its definition {how}; look at it with `countersign catalog diff {tool}`")
    }
}

#[cfg(test)]
#[path = "pins_tests.rs"]
mod tests;
