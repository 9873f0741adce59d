//! How two policies differ: by their rules and limits, and by what can be decided about tools.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::rules::PolicyFile;
use super::{Cell, Policy};
use crate::catalog::{Catalog, Tool};
use crate::ids::AgentName;
use crate::source;

/// How many callers are compared.
const MAX_CALLERS: usize = 200;
/// How many cells that differ are told.
const MAX_CELLS: usize = 1_000;
/// How many comparisons of a rule with a call one side may take.
const MAX_WORK: usize = 10_000_000;
/// The name that stands for every agent that nothing is known of.
const ANY: &str = "any-other-agent";

/// How one revision differs from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Rules, by name.
    pub rules: Changes,
    /// Limits and budgets, by name.
    pub limits: Changes,
    /// Tools, by name; changed where what they are to rules and callers is another.
    pub tools: Changes,
    /// What is decided where no rule matches, before and after, if that differs.
    pub default: Option<(String, String)>,
    /// What of the decision table differs; at most 1000.
    pub cells: Vec<CellChange>,
    /// Whether there is more that differs, or that was too much to compare.
    pub more: bool,
}

/// What was added, taken away or changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Only in the new.
    pub added: Vec<String>,
    /// Only in the old.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

/// A cell of the decision table that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CellChange {
    /// The agent; absent for all in the groups, or all others.
    pub agent: Option<AgentName>,
    /// Its groups.
    pub groups: Vec<String>,
    /// The tool.
    pub tool: String,
    /// What could be decided; absent where there was no such tool.
    pub before: Option<Cell>,
    /// What can be decided; absent where there is no such tool.
    pub after: Option<Cell>,
}

impl Difference {
    /// Whether the two are the same, as far as this tells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares two policies, each with the catalog it was loaded for.
    #[must_use]
    pub fn between(old: (&Policy, &Catalog), new: (&Policy, &Catalog)) -> Self {
        let tools = |catalog: &Catalog| -> BTreeMap<String, String> {
            let told = |tool: &Tool| format!("{}", tool.fingerprint());
            catalog.tools().map(|tool| (tool.name().to_owned(), told(tool))).collect()
        };
        let defaults = [old.0, new.0].map(|it| it.default_ruling().as_str().to_owned());
        let [before, after] = defaults;
        let mut difference = Self {
            rules: Changes::of(&rules(old.0), &rules(new.0)),
            limits: Changes::of(&limits(old.0), &limits(new.0)),
            tools: Changes::of(&tools(old.1), &tools(new.1)),
            default: (before != after).then_some((before, after)),
            ..Self::default()
        };
        difference.compare(old, new);
        difference
    }

    fn compare(&mut self, old: (&Policy, &Catalog), new: (&Policy, &Catalog)) {
        let callers = callers(old.0, new.0);
        self.more = callers.len() > MAX_CALLERS;
        let names = old.1.tools().chain(new.1.tools()).map(|tool| tool.name());
        let names: BTreeSet<&str> = names.collect();
        let mut budgets = (MAX_WORK, MAX_WORK);
        for (agent, groups) in callers.into_iter().take(MAX_CALLERS) {
            let Some(name) = agent.clone().or_else(|| ANY.parse().ok()) else { continue };
            for tool in &names {
                let before = cell(old, (&name, &groups), tool, &mut budgets.0);
                let after = cell(new, (&name, &groups), tool, &mut budgets.1);
                let (Some(before), Some(after)) = (before, after) else {
                    self.more = true;
                    return;
                };
                let decisions =
                    |cell: &Option<Cell>| cell.as_ref().map(|cell| cell.decisions.clone());
                if decisions(&before) == decisions(&after) {
                    continue;
                }
                if self.cells.len() >= MAX_CELLS {
                    self.more = true;
                    return;
                }
                let (agent, groups, tool) = (agent.clone(), groups.clone(), (*tool).to_owned());
                self.cells.push(CellChange { agent, groups, tool, before, after });
            }
        }
    }
}

/// What can be decided about a tool, where there is one; nothing at all where that takes too much.
fn cell(
    (policy, catalog): (&Policy, &Catalog),
    (agent, groups): (&AgentName, &[String]),
    tool: &str,
    budget: &mut usize,
) -> Option<Option<Cell>> {
    let Some(tool) = catalog.tool(tool) else { return Some(None) };
    policy.cell(agent, groups, tool, budget).map(Some)
}

/// Everybody of whom either speaks by name, and all others.
fn callers(old: &Policy, new: &Policy) -> Vec<(Option<AgentName>, Vec<String>)> {
    let (mut agents, mut groups) = old.names_callers();
    let more = new.names_callers();
    agents.extend(more.0);
    groups.extend(more.1);
    let mut callers = vec![(None, Vec::new())];
    callers.extend(groups.into_iter().map(|group| (None, vec![group.to_owned()])));
    let named = agents.into_iter().filter_map(|name| name.parse().ok());
    callers.extend(named.map(|name| (Some(name), Vec::new())));
    callers
}

impl Changes {
    fn of(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Self {
        let not_in = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
            these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
        };
        let changed =
            old.iter().filter(|(name, told)| new.get(*name).is_some_and(|it| it != *told));
        Self {
            added: not_in(new, old),
            removed: not_in(old, new),
            changed: changed.map(|(name, _)| name.clone()).collect(),
        }
    }
}

/// What each rule says, by its name: two texts are the same where two rules say the same.
fn rules(policy: &Policy) -> BTreeMap<String, String> {
    written(policy, |file| {
        file.rules.iter().map(|rule| (rule.name.clone(), format!("{rule:?}"))).collect()
    })
}

fn limits(policy: &Policy) -> BTreeMap<String, String> {
    written(policy, |file| {
        let limits = file.limits.iter().map(|it| (it.name.clone(), format!("{it:?}")));
        limits.chain(file.budgets.iter().map(|it| (it.name.clone(), format!("{it:?}")))).collect()
    })
}

fn written(
    policy: &Policy,
    named: impl Fn(&PolicyFile) -> Vec<(String, String)>,
) -> BTreeMap<String, String> {
    let files = policy.sources().filter_map(|it| source::read::<PolicyFile>(it).ok());
    files.flat_map(|(file, _)| named(&file)).collect()
}
