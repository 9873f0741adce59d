//! Which tools each rule can match: rules that ask the same of a tool are looked at once, and rules that
//! reach the same tools share a shelf.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::matching::{Certainty, Subject};
use super::super::patterns::{self, Glob};
use super::super::rule::Rule;
use super::super::rules::Patterns;
use crate::catalog::Tool;

/// How many tools all shelves may hold together, each time counted that a tool is on one. Rules share
/// shelves, so this is reached by very many rules that each reach very many tools, and no two the same.
const MAX_REACHED: usize = 20_000_000;
/// What conditions ask of the caller, who is not known yet.
const OF_CALLERS: [&str; 3] = ["agent", "group", "client"];

/// The tools of one shelf, by number in their order, each with whether its rules match every call of it.
pub(super) type Tools = Vec<(u32, bool)>;

/// The shelves, and on which of them each rule stands.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) shelves: Vec<Tools>,
    /// By rule; a rule that can match no tool is on none.
    pub(super) of_rule: Vec<Option<u32>>,
    /// The rule at which a limit was reached, and which.
    pub(super) excess: Option<(usize, &'static str)>,
}

/// Conditions on a tool, as a rule writes them.
type OfTool<'r> = Vec<(&'static str, &'r [String])>;

/// Everything that makes out which tools a rule can match, and how surely: what is asked of the tool, and
/// whether anything is asked of the caller.
#[derive(PartialEq, Eq, Hash)]
struct Asked<'r> {
    matches: (OfTool<'r>, bool),
    except: Option<(OfTool<'r>, bool)>,
    /// Whether anything else is asked, which is never certain.
    further: bool,
}

impl Reach {
    /// Works it out for `rules` and `tools`, which are in the order of their names.
    pub(super) fn of(rules: &[Rule], tools: &[&Arc<Tool>]) -> Self {
        let names = Names::of(tools);
        let mut reach = Self::default();
        let mut asked: HashMap<Asked<'_>, Option<u32>> = HashMap::new();
        let mut known: HashMap<Arc<Tools>, u32> = HashMap::new();
        let mut shelves: Vec<Arc<Tools>> = Vec::new();
        let mut reached = 0_usize;
        for (number, rule) in rules.iter().enumerate() {
            let shelf = *asked.entry(Asked::by(rule)).or_insert_with(|| {
                let found = Arc::new(names.reached_by(rule, tools));
                if found.is_empty() {
                    return None;
                }
                let next = u32::try_from(shelves.len()).unwrap_or(u32::MAX);
                Some(*known.entry(found).or_insert_with_key(|found| {
                    reached = reached.saturating_add(found.len());
                    shelves.push(Arc::clone(found));
                    next
                }))
            });
            reach.of_rule.push(shelf);
            if reached > MAX_REACHED {
                let message = "with this rule the policy reaches too many tools in too many ways";
                reach.excess = Some((number, message));
                break;
            }
        }
        drop(known);
        reach.shelves = shelves.into_iter().map(Arc::unwrap_or_clone).collect();
        reach
    }
}

impl<'r> Asked<'r> {
    fn by(rule: &'r Rule) -> Self {
        fn split<'r>(conditions: &'r [(&'static str, Patterns)]) -> (OfTool<'r>, bool) {
            let of_tool = |(key, _): &&(&str, Patterns)| !OF_CALLERS.contains(key);
            let tool = conditions.iter().filter(of_tool);
            let tool: OfTool<'_> = tool.map(|(key, Patterns(any))| (*key, &**any)).collect();
            let of_callers = tool.len() < conditions.len();
            (tool, of_callers)
        }
        let except = rule.written.except.as_deref().map(split);
        let further = !rule.further.is_empty();
        Self { matches: split(&rule.written.matches), except, further }
    }
}

/// The tools by what conditions name most: names, backends, tags.
struct Names<'t> {
    names: Vec<&'t str>,
    backends: HashMap<&'t str, Vec<u32>>,
    tags: HashMap<&'t str, Vec<u32>>,
}

impl<'t> Names<'t> {
    fn of(tools: &[&'t Arc<Tool>]) -> Self {
        let mut names = Self {
            names: tools.iter().map(|tool| tool.name()).collect(),
            backends: HashMap::new(),
            tags: HashMap::new(),
        };
        for (number, tool) in (0..).zip(tools) {
            names.backends.entry(tool.backend()).or_default().push(number);
            for tag in &tool.attribute_specs().tags {
                names.tags.entry(tag).or_default().push(number);
            }
        }
        names
    }

    /// The tools that `rule` can match, in order.
    fn reached_by(&self, rule: &Rule, tools: &[&Arc<Tool>]) -> Tools {
        let consider = |number: u32| {
            let tool = tools.get(number as usize)?;
            let subject = Subject { tool, caller: None, attributes: None };
            let certainty = rule.scope.covers(&subject);
            (certainty != Certainty::Never).then_some((number, certainty == Certainty::Always))
        };
        match self.narrowed(rule) {
            Some(few) => few.into_iter().filter_map(consider).collect(),
            None => (0..).zip(tools).filter_map(|(number, _)| consider(number)).collect(),
        }
    }

    /// The tools that the rule could be about by what is easily found; none where that is any.
    fn narrowed(&self, rule: &Rule) -> Option<BTreeSet<u32>> {
        let asked = |key: &str| {
            let found = rule.written.matches.iter().find(|(other, _)| *other == key);
            found.map(|(_, Patterns(any))| any.as_slice())
        };
        if let Some(patterns) = asked("tool") {
            let mut few = BTreeSet::new();
            for pattern in patterns {
                few.extend(self.named(pattern));
            }
            return Some(few);
        }
        let exact = |patterns: &[String], of: &HashMap<&str, Vec<u32>>| {
            let plain = patterns.iter().all(|pattern| patterns::glob(pattern).is_none());
            let found = patterns.iter().filter_map(|name| of.get(name.as_str()));
            plain.then(|| found.flatten().copied().collect())
        };
        let by_backend = asked("backend").and_then(|patterns| exact(patterns, &self.backends));
        by_backend.or_else(|| asked("tags").and_then(|patterns| exact(patterns, &self.tags)))
    }

    /// The tools whose names fit `pattern`; of those only that begin as it does are compared.
    fn named(&self, pattern: &str) -> Vec<u32> {
        let Some(glob) = patterns::glob(pattern) else {
            return self.range(|name| name == pattern, pattern).collect();
        };
        // What is no glob is a fault that is told already.
        let Ok(glob) = glob else { return Vec::new() };
        let begins = match &glob {
            Glob::Plain(plain) => plain.begins(),
            Glob::Other(_) => "",
        };
        let fits =
            |number: &u32| self.names.get(*number as usize).is_some_and(|name| glob.is_match(name));
        self.range(|name| name.starts_with(begins), begins).filter(fits).collect()
    }

    fn range(&self, fits: impl Fn(&str) -> bool, begins: &str) -> std::ops::Range<u32> {
        let first = self.names.partition_point(|name| *name < begins);
        let rest = self.names.get(first..).unwrap_or_default();
        let end = first + rest.partition_point(|name| fits(name));
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        number(first)..number(end)
    }
}
