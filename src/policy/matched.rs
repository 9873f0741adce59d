//! Which rules match a call, and how strictly they decide together.

use super::binding::Binding;
use super::condition::{Circumstances, Noticed, Seen};
use super::decide::{Asking, Matched};
use super::index::{Candidate, Entry};
use super::matching::{Caller, Certainty, Subject};
use super::rule::Rule;
use super::{Policy, Ruling};

impl Matched<'_> {
    /// What it decides by itself: what cannot be bound to the tool is denied.
    pub(super) const fn decision(&self) -> Ruling {
        match self.binding {
            Binding::Unknown { .. } => Ruling::Deny,
            Binding::Bound(_) => self.rule.decision,
        }
    }
}

/// Whether a rule that asks for more than `match` and `except` matches a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Matches {
    Not,
    /// With its constraints only: it gives no leave, because nobody knows whether it would.
    Bounding,
    Wholly,
}

impl Matches {
    /// An error restricts: the rule counts for everything that makes the decision stricter, and for nothing else.
    pub(super) fn of(rule: &Rule, of: &Circumstances<'_>, noticed: &mut Noticed) -> Self {
        match (rule.further.holds(of), rule.decision) {
            (Ok(true), _) => Self::Wholly,
            (Ok(false), _) => Self::Not,
            (Err(error), decision) => {
                noticed.error(&rule.name, &error);
                match decision {
                    Ruling::Allow => Self::Not,
                    Ruling::AllowWithConstraints => Self::Bounding,
                    Ruling::RequireApproval | Ruling::Deny => Self::Wholly,
                }
            }
        }
    }
}

impl Policy {
    /// The rules that match, and the strictest of what they decide.
    pub(super) fn matched<'p>(
        &'p self,
        entry: &'p Entry,
        asking: &Asking<'_>,
        noticed: &mut Noticed,
    ) -> (Vec<Matched<'p>>, Ruling) {
        let subject = Subject {
            tool: asking.checked.tool(),
            caller: Some(asking.caller),
            attributes: Some(asking.checked.attributes()),
        };
        let Asking { caller, owner, workflow, ref checked, now, holds, .. } = *asking;
        let seen = Seen::default();
        let circumstances = Circumstances { caller, owner, workflow, checked, now, holds, seen };
        let (mut matched, mut leave, mut bounded) = (Vec::new(), None, None);
        for candidate in self.with_shadows(entry, &asking.caller) {
            let rule = candidate.rule;
            let open = !rule.further.is_empty();
            let certain = candidate.candidate.certain && !open;
            if !certain && rule.scope.meets(&subject) != Certainty::Always {
                continue;
            }
            let matches =
                if open { Matches::of(rule, &circumstances, noticed) } else { Matches::Wholly };
            match matches {
                Matches::Not => continue,
                _ if !rule.mode.is_enforced() => {
                    noticed.shadow(&rule.name, candidate.decision());
                    continue;
                }
                Matches::Wholly => leave = leave.max(Some(rule.decision)),
                Matches::Bounding => bounded = Some(rule.decision),
            }
            matched.push(candidate);
        }
        let ruling = leave.unwrap_or(self.default);
        (matched, bounded.map_or(ruling, |bounded| ruling.max(bounded)))
    }

    /// The rules that can match a call by `caller` and decide about it, and few that cannot.
    pub(super) fn candidates<'p>(
        &'p self,
        entry: &'p Entry,
        caller: &Caller<'_>,
    ) -> impl Iterator<Item = Matched<'p>> {
        self.with_shadows(entry, caller).filter(|matched| matched.rule.mode.is_enforced())
    }

    /// The same, with those that are only recorded.
    pub(super) fn with_shadows<'p>(
        &'p self,
        entry: &'p Entry,
        caller: &Caller<'_>,
    ) -> impl Iterator<Item = Matched<'p>> {
        self.bound(entry, self.index.candidates(entry, caller))
    }

    /// The rules that can match a call by anybody and decide about it.
    pub(super) fn all<'p>(&'p self, entry: &'p Entry) -> impl Iterator<Item = Matched<'p>> {
        self.all_with_shadows(entry).filter(|matched| matched.rule.mode.is_enforced())
    }

    /// The same, with those that are only recorded.
    pub(super) fn all_with_shadows<'p>(
        &'p self,
        entry: &'p Entry,
    ) -> impl Iterator<Item = Matched<'p>> {
        self.bound(entry, self.index.all(entry))
    }

    fn bound<'p>(
        &'p self,
        entry: &'p Entry,
        candidates: Vec<Candidate>,
    ) -> impl Iterator<Item = Matched<'p>> {
        candidates.into_iter().filter_map(|candidate| {
            let rule = self.rules.get(candidate.rule)?;
            let binding = self.index.binding(candidate.rule, entry);
            Some(Matched { rule, candidate, binding })
        })
    }
}
