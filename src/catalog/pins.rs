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
    /// What is accepted now, being the first of its name.
    pub first: Vec<Said>,
    /// What is quarantined and was not seen before.
    pub unseen: Vec<Changed>,
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
    pub fn note(&mut self, changed: &Changed) {
        self.noted.insert(changed.now.key.clone(), (changed.now.digest, changed.since));
    }

    /// Holds what the server of `backend` offers at `now` to what was accepted of it.
    #[must_use]
    pub fn vet(&self, backend: &str, offered: Offered, first: First, now: Timestamp) -> Vetted {
        let pinned = self.accepted.keys().filter(|key| key.backend == backend).count();
        let mut vetting = Vetting {
            pins: self,
            backend,
            first,
            now,
            room: MAX_PINS.saturating_sub(pinned),
            seen: HashSet::new(),
            firsts: Vec::new(),
            unseen: Vec::new(),
            changed: Vec::new(),
        };
        let Offered { tools, resources, templates, prompts, quarantined: _ } = offered;
        let tools = vetting.list(DefinitionKind::Tool, tools);
        let mut entries =
            |of, list: Result<Vec<Described>, String>| list.map(|list| vetting.list(of, list));
        let resources = entries(DefinitionKind::Resource, resources);
        let templates = entries(DefinitionKind::Template, templates);
        let prompts = entries(DefinitionKind::Prompt, prompts);
        let Vetting { firsts, unseen, changed, .. } = vetting;
        let offered = Offered { tools, resources, templates, prompts, quarantined: changed };
        Vetted { offered, first: firsts, unseen }
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

    fn written(&self) -> Object {
        self.entry.clone()
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
    seen: HashSet<DefinitionKey>,
    firsts: Vec<Said>,
    unseen: Vec<Changed>,
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
            self.firsts.push(now);
            return Some(words);
        }
        let before = known.map(|known| known.definition.clone());
        let stands = before.as_ref().and_then(|it| T::restored(&now.key.name, it));
        let noted = self.pins.noted.get(&now.key).filter(|(digest, _)| digest.is(&now.digest));
        let since = noted.map_or(self.now, |(_, since)| *since);
        let changed = Changed { now, before, since };
        if noted.is_none() {
            self.unseen.push(changed.clone());
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
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tool(name: &str, description: &str) -> Definition {
        let entry = json!({ "name": name, "description": description, "inputSchema": { "type": "object" } });
        Definition::read(entry.as_object().unwrap()).unwrap()
    }

    fn texts(offered: &Offered) -> Vec<&str> {
        offered.tools.iter().filter_map(|it| it.description.as_deref()).collect()
    }

    fn accepted(pins: &mut Pins, tools: Vec<Definition>) -> Offered {
        let Vetted { offered, first, .. } = pins.vet("b", tools.into(), First::Accept, at(0));
        first.into_iter().for_each(|said| pins.accept(said));
        offered
    }

    #[test]
    fn the_first_is_accepted_and_another_stands_aside() {
        let mut pins = Pins::default();
        assert_eq!(texts(&accepted(&mut pins, vec![tool("a", "one")])), ["one"]);
        let vetted = pins.vet("b", vec![tool("a", "two")].into(), First::Accept, at(5));
        assert_eq!(texts(&vetted.offered), ["one"], "it stands as it was accepted");
        let changed = vetted.offered.quarantined(DefinitionKind::Tool, "a").unwrap().clone();
        assert_eq!(
            (vetted.unseen.as_slice(), changed.since),
            ([changed.clone()].as_slice(), at(5))
        );
        // Another server's tool of the name is another.
        let other = pins.vet("c", vec![tool("a", "two")].into(), First::Accept, at(5));
        assert_eq!(texts(&other.offered), ["two"]);
        pins.note(&changed);
        let again = pins.vet("b", vec![tool("a", "two")].into(), First::Accept, at(9));
        assert!(again.unseen.is_empty(), "it was seen");
        assert_eq!(again.offered.quarantined[0].since, at(5));
        let taken = again.offered.accepting(&changed.now);
        assert_eq!((texts(&taken), taken.quarantined.len()), (vec!["two"], 0));
        pins.accept(changed.now);
        let back = pins.vet("b", vec![tool("a", "one")].into(), First::Accept, at(10));
        assert_eq!(back.unseen.len(), 1, "what was accepted before is another now");
    }

    #[test]
    fn what_is_new_waits_where_that_is_wanted_or_there_is_no_room() {
        let pins = Pins::default();
        let vetted = pins.vet("b", vec![tool("a", "one")].into(), First::Quarantine, at(0));
        assert!(vetted.first.is_empty() && vetted.offered.tools.is_empty());
        assert_eq!(vetted.offered.quarantined[0].before, None);
        let many =
            (0..=MAX_PINS).map(|number| tool(&format!("t{number}"), "d")).collect::<Vec<_>>();
        let vetted = pins.vet("b", many.into(), First::Accept, at(0));
        assert_eq!((vetted.first.len(), vetted.unseen.len()), (MAX_PINS, 1));
    }

    #[test]
    fn of_two_with_one_name_the_first_counts() {
        let mut pins = Pins::default();
        let offered = accepted(&mut pins, vec![tool("a", "one"), tool("a", "two")]);
        assert_eq!(texts(&offered), ["one"]);
    }

    #[test]
    fn t8_whatever_a_server_says_counts() {
        let whole = json!({
            "name": "a", "title": "t", "description": "d",
            "inputSchema": { "type": "object", "properties": { "x": { "enum": ["a"], "default": "a" } } },
            "outputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true },
        });
        let read = |entry: &Value| Definition::read(entry.as_object().unwrap()).unwrap();
        let mut pins = Pins::default();
        accepted(&mut pins, vec![read(&whole)]);
        for (pointer, value) in [
            ("/title", json!("u")),
            ("/description", json!("d ")),
            ("/inputSchema/properties/x/default", json!("b")),
            ("/inputSchema/properties/x/enum", json!(["a", "b"])),
            ("/outputSchema", json!({ "type": "object", "title": "x" })),
            ("/annotations/readOnlyHint", json!(false)),
        ] {
            let mut entry = whole.clone();
            *entry.pointer_mut(pointer).unwrap() = value;
            let vetted = pins.vet("b", vec![read(&entry)].into(), First::Accept, at(0));
            assert_eq!(vetted.unseen.len(), 1, "{pointer}");
            assert_eq!(vetted.offered.tools, [read(&whole)], "{pointer}");
        }
        let same = pins.vet("b", vec![read(&whole)].into(), First::Accept, at(0));
        assert!(same.offered.quarantined.is_empty());
    }
}
