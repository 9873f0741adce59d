//! `workflow_holds`: what the calls of an agent must have brought to it before a rule is about its next one.

use std::collections::BTreeSet;

use super::super::reading::{At, Files};
use super::super::rule::Rule;
use crate::catalog::{Catalog, Label};
use crate::source;

/// How many labels one rule names at the most.
const MAX_NAMED: usize = 16;

/// Labels, all of which the agent must hold.
#[derive(Debug)]
pub(super) struct Holds {
    labels: BTreeSet<Label>,
    /// As the rule says it.
    text: String,
}

impl Holds {
    /// Reads a list; what is wrong is noted in `files`.
    pub(super) fn compile(labels: &BTreeSet<Label>, at: &At, files: &mut Files) -> Self {
        if labels.is_empty() {
            let hint = "leave it out if the rule is about calls whatever is held";
            files.wrong(at, "an empty list names nothing", hint);
        }
        if labels.len() > MAX_NAMED {
            let hint = "an agent must hold all of them for the rule to match";
            files.wrong(at, format!("more than {MAX_NAMED} labels"), hint);
        }
        let words: Vec<&str> = labels.iter().map(Label::as_str).collect();
        Self { labels: labels.clone(), text: words.join(" and ") }
    }

    pub(super) fn met(&self, held: &[Label]) -> bool {
        self.labels.iter().all(|label| held.contains(label))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Refuses the condition where it is not one of a rule: what is held is known of calls that rules decide about.
pub(in crate::policy) fn refuse(labels: Option<&BTreeSet<Label>>, at: &At, files: &mut Files) {
    if labels.is_some() {
        let hint = "`workflow_holds` stands under `match` of a rule";
        files.wrong_key(&at.below("workflow_holds"), "`workflow_holds` is not for this", hint);
    }
}

/// Notes the labels that rules name and nothing of the catalog brings: such a rule would never match.
pub(in crate::policy) fn check_brought(
    rules: &[Rule],
    places: &[At],
    catalog: &Catalog,
    files: &mut Files,
) {
    let brought: BTreeSet<&str> =
        catalog.tools().flat_map(|tool| tool.brings()).map(Label::as_str).collect();
    for (rule, at) in rules.iter().zip(places) {
        let named = rule.further.holds.iter().flat_map(|holds| &holds.labels);
        for label in named.filter(|it| !brought.contains(it.as_str())) {
            let hint = match source::nearest(label.as_str(), brought.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "say in a manifest which tool `brings` it".to_owned(),
            };
            let at = at.below("match").below("workflow_holds");
            files.wrong(&at, format!("`workflow_holds`: no tool brings `{label}`"), hint);
        }
    }
}
