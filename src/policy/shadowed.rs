//! Rules that change nothing: those that no call can match, and those beside which a DENY always matches.
//! What is told here is so for every call; what cannot be known beforehand is not told.

use std::collections::BTreeSet;

use super::index::{Candidate, Entry};
use super::matching::{Certainty, Keyed, Subject};
use super::patterns;
use super::reading::Files;
use super::report::Loaded;
use super::rule::Rule;
use super::rules::{Patterns, Ruling};
use super::words;
use crate::catalog::Attributes;

/// How many comparisons of a rule with a kind of call are made; what is not found by then is not told.
const MAX_WORK: usize = 200_000;
/// How many combinations of attributes that arguments choose are looked at for one tool.
const MAX_COMBINATIONS: usize = 200;
/// What is known of the caller alone: any caller may have any of it.
const OF_CALLERS: [&str; 3] = ["agent", "group", "client"];

/// What was found of one rule.
#[derive(Clone, Default)]
struct Found {
    /// Whether it can match some tool, as far as the tool tells.
    considered: bool,
    /// Whether some call that it matches is not known to be denied by another.
    has_part: bool,
    /// Whether some call is not known to be beyond it.
    matches: bool,
    denied_by: BTreeSet<usize>,
}

/// Notes the rules that change nothing.
pub(super) fn warn(loaded: &Loaded<'_>, files: &mut Files) {
    let mut found = vec![Found::default(); loaded.rules.len()];
    let mut budget = MAX_WORK;
    for entry in loaded.index.entries() {
        if look(loaded, entry, &mut found, &mut budget).is_none() {
            return;
        }
    }
    for ((rule, at), found) in loaded.rules.iter().zip(loaded.places).zip(&found) {
        if !found.considered || found.has_part || !rule.mode.is_enforced() {
            continue;
        }
        let named = words::rules(&[&rule.name]);
        let denied_by = found.denied_by.iter().filter_map(|it| loaded.rules.get(*it));
        let denied_by: Vec<&str> = denied_by.map(|rule| rule.name.as_str()).collect();
        let at = at.below("name");
        if !found.matches {
            let hint = "compare `match` and `except` with what arguments can choose";
            files.wrong(&at, format!("{named} can match no call"), hint);
        } else if rule.decision != Ruling::Deny {
            let by = words::rules(&denied_by);
            let message = format!("every call that {named} matches is denied by {by}");
            files.wrong(&at, message, "leave it out, or narrow the denial");
        }
    }
}

/// Goes over the calls of one tool; none when there is too much to go over.
fn look(loaded: &Loaded<'_>, entry: &Entry, found: &mut [Found], budget: &mut usize) -> Option<()> {
    let tool = &*entry.tool;
    *budget = budget.checked_sub(loaded.index.count(entry))?;
    let candidates = loaded.index.all(entry);
    let denials: Vec<&Candidate> = candidates.iter().filter(|it| is_denial(loaded, it)).collect();
    let chosen = tool.attribute_combinations(MAX_COMBINATIONS);
    let kinds: Vec<Option<&Attributes>> =
        chosen.as_ref().map_or_else(|| vec![None], |all| all.iter().map(Some).collect());
    let work = candidates.len().saturating_mul(denials.len().saturating_add(1));
    *budget = budget.checked_sub(work.saturating_mul(kinds.len()))?;
    for candidate in &candidates {
        let rule = loaded.rules.get(candidate.rule)?;
        let found = found.get_mut(candidate.rule)?;
        found.considered = true;
        for attributes in &kinds {
            let subject = Subject { tool, caller: None, attributes: *attributes };
            if found.has_part || !can_match(rule, &subject) {
                continue;
            }
            found.matches = true;
            let denial = denials.iter().find(|other| {
                other.rule != candidate.rule
                    && loaded.rules.get(other.rule).is_some_and(|it| always(it, rule, &subject))
            });
            match denial {
                Some(denial) => drop(found.denied_by.insert(denial.rule)),
                None => found.has_part = true,
            }
        }
    }
    Some(())
}

fn is_denial(loaded: &Loaded<'_>, candidate: &Candidate) -> bool {
    let always = |rule: &Rule| rule.mode.is_enforced() && rule.further.is_empty();
    let rule = loaded.rules.get(candidate.rule);
    rule.is_some_and(|rule| rule.decision == Ruling::Deny && always(rule))
}

/// Whether a call of this kind may match `rule`.
fn can_match(rule: &Rule, subject: &Subject<'_>) -> bool {
    let (_, except) = rule.scope.each(subject);
    let excepted = match (except, &rule.written.except) {
        (Some(keyed), Some(except)) => holds_with(rule, &keyed, except),
        (None, _) | (_, None) => false,
    };
    !excepted && rule.scope.covers(subject) != Certainty::Never
}

/// Whether `denial` matches every call of this kind that `rule` matches.
fn always(denial: &Rule, rule: &Rule, subject: &Subject<'_>) -> bool {
    let (matches, except) = denial.scope.each(subject);
    let excepts = match (except, &denial.written.except, &rule.written.except) {
        (None, ..) => true,
        (Some(_), Some(denial), Some(rule)) if denial == rule => true,
        (Some(keyed), ..) => keyed.iter().any(|(_, certainty)| *certainty == Certainty::Never),
    };
    excepts && holds_with(rule, &matches, &denial.written.matches)
}

/// Whether all conditions hold of every call of this kind that `rule` matches: by what the tool tells, or because
/// `rule` asks for at least as much of the caller.
fn holds_with(rule: &Rule, keyed: &Keyed, written: &[(&'static str, Patterns)]) -> bool {
    keyed.iter().all(|(key, certainty)| {
        *certainty == Certainty::Always
            || OF_CALLERS.contains(key)
                && of(written, key).is_some_and(|wide| {
                    of(&rule.written.matches, key).is_some_and(|narrow| within(narrow, wide))
                })
    })
}

fn of<'w>(written: &'w [(&'static str, Patterns)], key: &str) -> Option<&'w Patterns> {
    written.iter().find(|(other, _)| *other == key).map(|(_, patterns)| patterns)
}

/// Whether whatever fits `narrow` fits `wide`, as far as their texts show.
fn within(Patterns(narrow): &Patterns, Patterns(wide): &Patterns) -> bool {
    narrow.iter().all(|text| {
        let exact = patterns::glob(text).is_none();
        wide.iter().any(|other| {
            text == other
                || other == "*"
                || exact
                    && patterns::glob(other).is_some_and(|it| it.is_ok_and(|it| it.is_match(text)))
        })
    })
}
