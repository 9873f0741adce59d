//! Attributes of one item under those of its whole manifest, and what chooses them.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{AttributeSpecs, AttributeValue};

impl AttributeSpecs {
    /// These, and where they say nothing, those of the whole manifest.
    #[must_use]
    pub fn over(self, shared: &Self) -> Self {
        let shared = shared.clone();
        Self {
            capability: self.capability.or(shared.capability),
            action: self.action.or(shared.action),
            action_type: self.action_type.or(shared.action_type),
            environment: self.environment.or(shared.environment),
            risk: self.risk.or(shared.risk),
            tags: shared.tags.into_iter().chain(self.tags).collect(),
        }
    }

    /// The arguments that choose attributes.
    pub fn chosen_by(&self) -> impl Iterator<Item = &str> {
        [
            chosen(self.capability.as_ref()),
            chosen(self.action.as_ref()),
            chosen(self.action_type.as_ref()),
            chosen(self.environment.as_ref()),
            chosen(self.risk.as_ref()),
        ]
        .into_iter()
        .flatten()
    }

    /// By argument: the values that have a meaning for every attribute it chooses; with another, a call is refused.
    #[must_use]
    pub fn choices(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let all = [
            meanings(self.capability.as_ref()),
            meanings(self.action.as_ref()),
            meanings(self.action_type.as_ref()),
            meanings(self.environment.as_ref()),
            meanings(self.risk.as_ref()),
        ];
        let mut choices: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (argument, values) in all.into_iter().flatten() {
            let known = choices.entry(argument).or_insert_with(|| values.clone());
            known.retain(|value| values.contains(value));
        }
        choices
    }

    /// Whether they are the same for every call.
    #[must_use]
    pub fn are_fixed(&self) -> bool {
        self.chosen_by().next().is_none()
    }
}

fn chosen<T>(value: Option<&AttributeValue<T>>) -> Option<&str> {
    match value {
        Some(AttributeValue::Chosen(chosen)) => Some(&chosen.argument),
        Some(AttributeValue::Fixed(_)) | None => None,
    }
}

fn meanings<T>(value: Option<&AttributeValue<T>>) -> Option<(&str, BTreeSet<&str>)> {
    match value {
        Some(AttributeValue::Chosen(chosen)) => {
            Some((&chosen.argument, chosen.values.keys().map(String::as_str).collect()))
        }
        Some(AttributeValue::Fixed(_)) | None => None,
    }
}
