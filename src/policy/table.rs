//! The decision table: what can be decided about the calls of one tool by one agent.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Policy;
use super::decide::Matched;
use super::matching::{Caller, Certainty, Client, Subject};
use super::patterns;
use super::rules::{Patterns, Ruling};
use crate::catalog::Tool;
use crate::ids::AgentName;

/// How many combinations of attributes that arguments choose are looked at for one cell.
const MAX_COMBINATIONS: usize = 1_000;
/// How many rules one cell names.
const MAX_NAMED: usize = 8;

/// What can be decided about the calls of one tool by one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Every decision that some call can get by the rules, the mildest first.
    pub decisions: Vec<Ruling>,
    /// On what it depends which: names of arguments, `client`, and `conditions` for `when` and `active` of rules.
    /// Nothing where there is one decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// The rules that make these decisions, or constrain what is held; at most 8.
    pub rules: Vec<String>,
}

impl Policy {
    /// What can be decided about calls of `tool` by this agent, whatever the arguments and the client program.
    /// Takes what it costs from `budget`, in comparisons of a rule; none where that is not enough.
    #[must_use]
    pub fn cell(
        &self,
        agent: &AgentName,
        groups: &[String],
        tool: &Tool,
        budget: &mut usize,
    ) -> Option<Cell> {
        let Some(entry) = self.index.entry(tool) else {
            let decisions = vec![Ruling::Deny];
            return Some(Cell { decisions, ..Cell::default() });
        };
        let combinations = tool.attribute_combinations(MAX_COMBINATIONS);
        let times = combinations.as_ref().map_or(1, Vec::len);
        *budget = budget.checked_sub(self.index.count(entry).saturating_mul(times).max(1))?;
        let caller = Some(Caller { agent, groups, client: Client::Any });
        let mut found = Found::default();
        let candidates: Vec<Matched<'_>> = self.all(entry).collect();
        // Of too many combinations only what is known of all of them together is looked at.
        match combinations {
            Some(all) => all.iter().for_each(|attributes| {
                let subject = Subject { tool, caller, attributes: Some(attributes) };
                self.add(candidates.iter().copied(), &subject, &mut found);
            }),
            None => self.add(
                candidates.iter().copied(),
                &Subject { tool, caller, attributes: None },
                &mut found,
            ),
        }
        Some(found.into_cell(tool))
    }

    fn add<'p>(
        &'p self,
        candidates: impl Iterator<Item = Matched<'p>>,
        subject: &Subject<'_>,
        found: &mut Found<'p>,
    ) {
        let (mut sure, mut perhaps) = (None, Vec::new());
        for matched in candidates {
            let decision = matched.decision();
            match matched.rule.scope.covers(subject) {
                Certainty::Never => continue,
                Certainty::Always => sure = sure.max(Some(decision)),
                Certainty::Maybe => {
                    perhaps.push(decision);
                    let conditions = !matched.rule.further.is_empty();
                    found.conditions |= conditions;
                    found.open |=
                        !conditions || matched.rule.scope.meets(subject) == Certainty::Maybe;
                }
            }
            found.rules.push((matched.candidate.rule, decision, &matched.rule.name));
        }
        found.decisions.insert(sure.unwrap_or(self.default));
        for decision in perhaps {
            found.decisions.insert(sure.map_or(decision, |sure| sure.max(decision)));
        }
    }

    /// The agents and the groups that rules name as they are, and not by a pattern.
    #[must_use]
    pub fn names_callers(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let (mut agents, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for rule in &self.rules {
            let except = rule.written.except.iter().flatten();
            for (key, Patterns(names)) in rule.written.matches.iter().chain(except) {
                let exact = names.iter().map(String::as_str);
                let exact = exact.filter(|name| patterns::glob(name).is_none());
                match *key {
                    "agent" => agents.extend(exact),
                    "group" => groups.extend(exact),
                    _ => {}
                }
            }
        }
        (agents, groups)
    }
}

/// What was found for one cell so far.
#[derive(Default)]
struct Found<'p> {
    decisions: BTreeSet<Ruling>,
    /// With their numbers, by which they stand in the order of their files.
    rules: Vec<(usize, Ruling, &'p str)>,
    /// Whether a rule asks for what no combination of arguments settles.
    open: bool,
    /// Whether a rule has conditions, which nothing but a call settles.
    conditions: bool,
}

impl Found<'_> {
    fn into_cell(mut self, tool: &Tool) -> Cell {
        let mut depends_on: Vec<String> = Vec::new();
        if self.decisions.len() > 1 {
            depends_on.extend(tool.attribute_specs().chosen_by().map(str::to_owned));
            depends_on.extend(self.open.then(|| "client".to_owned()));
            depends_on.extend(self.conditions.then(|| "conditions".to_owned()));
            depends_on.sort_unstable();
            depends_on.dedup();
        }
        let mut rules: Vec<String> = Vec::new();
        self.rules.sort_unstable();
        for (_, decision, name) in self.rules {
            // What is held is held with its constraints.
            let constrains = decision == Ruling::AllowWithConstraints
                && self.decisions.contains(&Ruling::RequireApproval);
            let has_part = constrains || self.decisions.contains(&decision);
            if has_part && rules.len() < MAX_NAMED && !rules.iter().any(|rule| rule == name) {
                rules.push(name.to_owned());
            }
        }
        Cell { decisions: self.decisions.into_iter().collect(), depends_on, rules }
    }
}
