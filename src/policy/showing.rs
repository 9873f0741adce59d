//! What an agent is shown: exactly what some call of it could get by the rules, and nothing beyond.

use std::collections::BTreeSet;

use super::Policy;
use super::binding::Binding;
use super::decide::Matched;
use super::index::Entry;
use super::matching::{Caller, Certainty, Subject};
use super::rules::Ruling;
use crate::catalog::Tool;
use crate::principal::Principal;

/// How many combinations of attributes that arguments choose are looked at for one tool; with more it is shown where
/// some rule could let a call of it pass.
const MAX_COMBINATIONS: usize = 1_000;

impl Policy {
    /// Whether `tool` is worth showing: `false` when every call of it would be denied, whatever its arguments.
    #[must_use]
    pub fn lists(&self, principal: &Principal, client: Option<&str>, tool: &Tool) -> bool {
        let entry = self.index.entry(tool);
        entry.is_some_and(|entry| self.showing(entry, (principal, client), tool).is_some())
    }

    /// The rules by which `tool` is worth showing; none when every call of it would be denied.
    pub(super) fn showing<'p>(
        &'p self,
        entry: &'p Entry,
        (principal, client): (&Principal, Option<&str>),
        tool: &Tool,
    ) -> Option<Vec<Matched<'p>>> {
        let caller = Caller::of(principal, client);
        let subject = Subject { tool, caller: Some(caller), attributes: None };
        let candidates: Vec<Matched<'_>> = self.candidates(entry, &caller).collect();
        let (mut by, mut open) = (Vec::new(), false);
        for matched in candidates.iter().copied() {
            let certainty = certainty(&matched, &subject);
            open |= certainty == Certainty::Maybe;
            match (certainty, denies(&matched)) {
                (Certainty::Always, true) => return None,
                (Certainty::Always | Certainty::Maybe, false) => by.push(matched),
                (Certainty::Never, _) | (Certainty::Maybe, true) => {}
            }
        }
        let shown = self.default != Ruling::Deny || !by.is_empty();
        (shown && (!open || self.some_call_passes(&candidates, &subject))).then_some(by)
    }

    /// What the rules can decide about a call that is not denied.
    pub(super) fn rulings(&self, entry: &Entry, subject: &Subject<'_>) -> BTreeSet<Ruling> {
        let Some(caller) = subject.caller else { return BTreeSet::new() };
        let candidates: Vec<Matched<'_>> = self.candidates(entry, &caller).collect();
        let combinations = subject.tool.attribute_combinations(MAX_COMBINATIONS);
        let mut found = BTreeSet::new();
        let mut add = |subject: &Subject<'_>| {
            let (mut sure, mut perhaps) = (None, BTreeSet::new());
            for matched in &candidates {
                let ruling = if denies(matched) { Ruling::Deny } else { matched.rule.decision };
                match certainty(matched, subject) {
                    Certainty::Never => {}
                    Certainty::Maybe => drop(perhaps.insert(ruling)),
                    Certainty::Always => sure = sure.max(Some(ruling)),
                }
            }
            found.insert(sure.unwrap_or(self.default));
            found.extend(perhaps.into_iter().map(|it| sure.map_or(it, |sure| sure.max(it))));
        };
        match &combinations {
            Some(all) => all
                .iter()
                .for_each(|attributes| add(&Subject { attributes: Some(attributes), ..*subject })),
            None => add(subject),
        }
        found.remove(&Ruling::Deny);
        found
    }

    /// Whether the rules let some combination of the attributes pass that arguments choose.
    fn some_call_passes(&self, candidates: &[Matched<'_>], subject: &Subject<'_>) -> bool {
        let Some(all) = subject.tool.attribute_combinations(MAX_COMBINATIONS) else { return true };
        all.iter().any(|attributes| {
            let subject = Subject { attributes: Some(attributes), ..*subject };
            let mut passes = self.default != Ruling::Deny;
            for matched in candidates {
                match (certainty(matched, &subject), denies(matched)) {
                    (Certainty::Always, true) => return false,
                    // What is open still is open for conditions, which some call may meet.
                    (Certainty::Always | Certainty::Maybe, false) => passes = true,
                    (Certainty::Never, _) | (Certainty::Maybe, true) => {}
                }
            }
            passes
        })
    }
}

pub(super) fn certainty(matched: &Matched<'_>, subject: &Subject<'_>) -> Certainty {
    let certain = matched.candidate.certain && matched.rule.further.is_empty();
    if certain { Certainty::Always } else { matched.rule.scope.covers(subject) }
}

fn denies(matched: &Matched<'_>) -> bool {
    matched.rule.decision == Ruling::Deny || matches!(matched.binding, Binding::Unknown { .. })
}
