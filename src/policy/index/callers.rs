//! What rules ask of callers, as keys under which a call finds them: whole names, and parts that a name must
//! contain for a glob to fit.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use super::super::matching::{Caller, Client};
use super::super::patterns::{self, Glob};
use super::super::rule::Rule;
use super::super::rules::Patterns;

/// The key of rules that any caller may find.
const ANYBODY: u32 = 0;
/// How short a part of a name may be, in bytes, to be a key: shorter ones stand in nearly every name.
const MIN_PART: usize = 2;

/// The keys of all rules.
#[derive(Debug, Default)]
pub(super) struct Callers {
    agents: Words,
    groups: Words,
    clients: Words,
    /// How many keys there are beside [`ANYBODY`].
    keys: u32,
}

/// The keys that rules have in one kind of name.
#[derive(Debug, Default)]
struct Words {
    whole: HashMap<Box<str>, u32>,
    parts: HashMap<Box<str>, u32>,
    /// Finds the parts, whose keys are at their places in `found`.
    finder: Option<AhoCorasick>,
    found: Vec<u32>,
}

impl Callers {
    /// How many keys there are.
    pub(super) const fn len(&self) -> usize {
        self.keys as usize + 1
    }

    /// The keys under which `rule` stands: of the one condition on the caller that fits the fewest, or of none.
    pub(super) fn keys_of(&mut self, rule: &Rule) -> Vec<u32> {
        let asked = |key: &str| {
            let found = rule.written.matches.iter().find(|(other, _)| *other == key);
            found.map(|(_, Patterns(any))| any.as_slice())
        };
        let conditions = [
            (asked("agent"), &mut self.agents),
            (asked("group"), &mut self.groups),
            (asked("client"), &mut self.clients),
        ];
        let is_whole = |pattern: &String| patterns::glob(pattern).is_none();
        let mut best: Option<(&[String], &mut Words)> = None;
        for (patterns, words) in conditions {
            let Some(patterns) = patterns.filter(|it| it.iter().all(|it| key(it).is_some())) else {
                continue;
            };
            let whole = patterns.iter().all(is_whole);
            if best.as_ref().is_none_or(|(best, _)| whole && !best.iter().all(is_whole)) {
                best = Some((patterns, words));
            }
        }
        let Some((patterns, words)) = best else { return vec![ANYBODY] };
        let next = &mut self.keys;
        let mut keys: Vec<u32> =
            patterns.iter().filter_map(|pattern| words.key(key(pattern)?, next)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Makes the parts ready to be found, once all rules have their keys.
    pub(super) fn settle(&mut self) {
        for words in [&mut self.agents, &mut self.groups, &mut self.clients] {
            words.settle();
        }
    }

    /// The keys under which a call of `caller` finds its rules; none where it may be by any client.
    pub(super) fn keys(&self, caller: &Caller<'_>) -> Option<Vec<u32>> {
        let Client::Said(client) = caller.client else { return None };
        let mut keys = vec![ANYBODY];
        self.agents.hit(caller.agent.as_str(), &mut keys);
        caller.groups.iter().for_each(|group| self.groups.hit(group, &mut keys));
        client.into_iter().for_each(|client| self.clients.hit(client, &mut keys));
        keys.sort_unstable();
        keys.dedup();
        Some(keys)
    }
}

/// What a name must be, or contain, for a pattern to fit.
enum Key<'p> {
    Whole(&'p str),
    Part(String),
}

fn key(pattern: &str) -> Option<Key<'_>> {
    match patterns::glob(pattern) {
        None => Some(Key::Whole(pattern)),
        Some(Ok(Glob::Plain(plain))) => {
            let part = plain.longest();
            (part.len() >= MIN_PART).then(|| Key::Part(part.to_owned()))
        }
        Some(Ok(Glob::Other(_)) | Err(_)) => None,
    }
}

impl Words {
    fn key(&mut self, key: Key<'_>, next: &mut u32) -> Option<u32> {
        let (known, name): (_, Box<str>) = match key {
            Key::Whole(name) => (&mut self.whole, name.into()),
            Key::Part(part) => (&mut self.parts, part.into()),
        };
        Some(*known.entry(name).or_insert_with(|| {
            *next += 1;
            *next
        }))
    }

    fn settle(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let (parts, found): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        self.found = found;
        // Without a finder every one of these rules is looked at.
        self.finder = AhoCorasick::new(parts.iter().map(|part| part.as_bytes())).ok();
    }

    /// Adds the keys that `name` has.
    fn hit(&self, name: &str, keys: &mut Vec<u32>) {
        keys.extend(self.whole.get(name));
        match &self.finder {
            _ if self.found.is_empty() => {}
            None => keys.extend(&self.found),
            Some(finder) => {
                let hits = finder.find_overlapping_iter(name);
                keys.extend(hits.filter_map(|hit| self.found.get(hit.pattern().as_usize())));
            }
        }
    }
}
