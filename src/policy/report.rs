//! What `policy check` tells about a policy that loads: what each rule is about, and what looks wrong.

use std::collections::HashSet;
use std::sync::Arc;

use super::budgets::BudgetSpec;
use super::index::Index;
use super::patterns;
use super::reading::{At, Files};
use super::rule::Rule;
use super::rules::{Dimension, LimitSpec, MatchSpec, Patterns, RuleSpec, Ruling};
use super::written::{self, ApprovalTerms, Condition};
use super::{Mode, Policy, words};
use crate::catalog::manifest::{AttributeSpecs, AttributeValue};
use crate::catalog::{Catalog, Tool};
use crate::hold::Terms;
use crate::json::Object;
use crate::source;

/// One rule, as `policy check` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    /// Its name.
    pub name: String,
    /// Its decision.
    pub decision: Ruling,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// The names of the tools whose calls it can match.
    pub tools: Vec<String>,
    /// Why, in its own words.
    pub reason: Option<String>,
    /// The conditions of `match`; all must hold.
    pub matches: Vec<Condition>,
    /// The conditions of `except`; where all of them hold, it does not match.
    pub except: Vec<Condition>,
    /// Its constraints, by name.
    pub constraints: Object,
    /// What it asks of an approval.
    pub approval: Option<ApprovalTerms>,
    /// Whether it decides.
    pub mode: Mode,
}

impl Policy {
    /// Every rule, in the order of the files.
    pub fn rules(&self) -> impl Iterator<Item = RuleSummary> {
        let none: &[Arc<Tool>] = &[];
        let mut reached = vec![none; self.rules.len()];
        for (rule, tools) in self.index.reaching() {
            reached.get_mut(rule).into_iter().for_each(|reached| *reached = tools);
        }
        self.rules.iter().zip(&self.locations).zip(reached).map(|((rule, location), tools)| {
            let tools = tools.iter().map(|tool| tool.name().to_owned()).collect();
            RuleSummary {
                name: rule.name.clone(),
                decision: rule.decision,
                location: location.clone(),
                tools,
                reason: rule.reason.clone(),
                matches: {
                    let mut all = written::shown(&rule.written.matches);
                    all.extend(rule.further.shown());
                    all
                },
                except: rule.written.except.as_deref().map_or_else(Vec::new, written::shown),
                constraints: written::constraints(rule),
                approval: written::approval(rule),
                mode: rule.mode,
            }
        })
    }
}

impl Policy {
    /// The rules that ask for people and can match a tool, with what they ask.
    pub fn approvals(&self) -> impl Iterator<Item = (&str, &Terms)> {
        let matching = matching(&self.index, self.rules.len());
        let asks = |(rule, matching): &(&Rule, bool)| {
            *matching && rule.mode.is_enforced() && rule.decision == Ruling::RequireApproval
        };
        let rules = self.rules.iter().zip(matching).filter(asks);
        rules.map(|(rule, _)| (rule.name.as_str(), &rule.terms))
    }
}

/// A policy that has loaded without a fault.
pub(super) struct Loaded<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) places: &'a [At],
    pub(super) index: &'a Index,
    pub(super) default: Ruling,
}

/// An exact name in `match` of a rule.
pub(super) struct Mention {
    key: &'static str,
    name: String,
    at: At,
}

/// The exact names of things of the catalog in `match` and `except` of `rules`.
pub(super) fn mentions(rules: &[(RuleSpec, At)]) -> Vec<Mention> {
    let mut mentions = Vec::new();
    for (rule, at) in rules {
        mention(&rule.matches, &at.below("match"), &mut mentions);
        if let Some(except) = &rule.except {
            mention(except, &at.below("except"), &mut mentions);
        }
    }
    mentions
}

fn mention(spec: &MatchSpec, at: &At, mentions: &mut Vec<Mention>) {
    let keys = [
        ("tool", &spec.tool),
        ("backend", &spec.backend),
        ("tags", &spec.tags),
        ("capability", &spec.capability),
        ("action", &spec.action),
        ("environment", &spec.environment),
    ];
    for (key, patterns) in keys {
        let Some(Patterns(patterns)) = patterns else { continue };
        for (index, name) in patterns.iter().enumerate() {
            if patterns::glob(name).is_none() {
                let at = at.below(key).below(&index.to_string());
                mentions.push(Mention { key, name: name.clone(), at });
            }
        }
    }
}

/// Notes what is not wrong in itself, but hardly meant.
pub(super) fn warn(
    loaded: &Loaded<'_>,
    mentions: &[Mention],
    default_at: Option<&At>,
    catalog: &Catalog,
    files: &mut Files,
) {
    if let Some(at) = default_at.filter(|_| loaded.default == Ruling::Allow) {
        let hint = "without `default`, such a call is denied";
        files.wrong(at, "every call that no rule matches is allowed", hint);
    }
    warn_of_names(mentions, catalog, files);
    let matching = matching(loaded.index, loaded.rules.len());
    for ((rule, at), matching) in loaded.rules.iter().zip(loaded.places).zip(matching) {
        if !matching {
            let message = format!("{} can match no tool", words::rules(&[&rule.name]));
            files.wrong(&at.below("name"), message, "compare `match` with `catalog list`");
        }
    }
    if loaded.default == Ruling::Deny {
        for tool in forgotten(loaded) {
            let message =
                format!("no rule allows tool `{}`: all its calls are denied", tool.name());
            files.wrong(&Files::beginning(), message, "add a rule whose `match` covers it");
        }
    }
}

/// The limits and budgets that count by what callers name themselves, each with that word and where it says so.
pub(super) fn named_by_callers(
    limits: &[(LimitSpec, At)],
    budgets: &[(BudgetSpec, At)],
) -> Vec<(&'static str, At)> {
    let word = |dimension: &Dimension| match dimension {
        Dimension::Client => Some("client"),
        Dimension::Workflow => Some("workflow"),
        Dimension::Agent | Dimension::Tool | Dimension::Backend | Dimension::Gateway => None,
    };
    let limits = limits.iter().map(|(limit, at)| (&limit.per, at));
    let all = limits.chain(budgets.iter().map(|(budget, at)| (&budget.per, at)));
    all.filter_map(|(per, at)| Some((per.0.iter().find_map(word)?, at.below("per")))).collect()
}

/// Notes what such a limit does not hold.
pub(super) fn warn_of_limits(named_by_callers: &[(&str, At)], files: &mut Files) {
    for (word, at) in named_by_callers {
        let message =
            format!("callers name their {word} themselves: under another name they count anew");
        files.wrong(at, message, "add one `per: agent` for what has to hold");
    }
}

/// By rule whether it can match a tool.
fn matching(index: &Index, rules: usize) -> Vec<bool> {
    let mut matching = vec![false; rules];
    for (rule, _) in index.reaching() {
        matching.get_mut(rule).into_iter().for_each(|matching| *matching = true);
    }
    matching
}

/// The tools of which no rule speaks, so that nobody said that their calls are to be denied. A tool that a
/// rule denies is denied on purpose.
fn forgotten<'l>(loaded: &'l Loaded<'_>) -> Vec<&'l Tool> {
    let enforced = |rule: usize| {
        loaded.rules.get(rule).filter(|rule| rule.mode.is_enforced()).map(|rule| rule.decision)
    };
    loaded.index.unspoken(enforced)
}

fn warn_of_names(mentions: &[Mention], catalog: &Catalog, files: &mut Files) {
    let mut known: HashSet<(&str, &str)> = HashSet::new();
    for tool in catalog.tools() {
        let specs = tool.attribute_specs();
        known.extend([("tool", tool.name()), ("backend", tool.backend())]);
        known.extend(specs.tags.iter().map(|tag| ("tags", tag.as_str())));
        known.extend(attributes(specs));
    }
    for Mention { key, name, at } in mentions {
        // Finding the nearest name takes its time, and no more than so many are told.
        if files.is_full() {
            return;
        }
        if known.contains(&(*key, name.as_str())) {
            continue;
        }
        let names = known.iter().filter(|(of, _)| of == key).map(|(_, name)| *name);
        let hint = match source::nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "compare it with `catalog list`".to_owned(),
        };
        files.wrong(at, format!("nothing in the catalog has `{key}: {name}`"), hint);
    }
}

fn attributes(specs: &AttributeSpecs) -> impl Iterator<Item = (&'static str, &str)> {
    let texts = [
        ("capability", &specs.capability),
        ("action", &specs.action),
        ("environment", &specs.environment),
    ];
    texts.into_iter().flat_map(|(key, value)| {
        let values: Vec<&str> = match value {
            None => Vec::new(),
            Some(AttributeValue::Fixed(value)) => vec![value],
            Some(AttributeValue::Chosen(chosen)) => {
                chosen.values.values().map(String::as_str).collect()
            }
        };
        values.into_iter().map(move |value| (key, value))
    })
}
