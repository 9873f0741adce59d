//! Which rules can match which tool, worked out when a policy is loaded, so that a decision looks at no
//! other.

use std::collections::HashMap;
use std::sync::Arc;

use super::binding::{self, Binding, Unbindable};
use super::matching::{Certainty, Subject};
use super::rule::Rule;
use crate::catalog::{Catalog, Tool};

/// By tool: the rules that can match its calls.
#[derive(Debug, Default)]
pub(super) struct Index {
    tools: HashMap<String, Entry>,
}

/// One tool, and the rules that can match its calls, in the order of the rules.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tool: Arc<Tool>,
    pub(super) candidates: Vec<Candidate>,
}

/// One rule that can match calls of one tool.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Which rule.
    pub(super) rule: usize,
    /// Whether it matches every call of the tool, whoever makes it.
    pub(super) certain: bool,
    /// Its constraints, bound to the tool.
    pub(super) binding: Binding,
}

impl Index {
    /// Builds the index, and says of each rule (by its number) what could not be bound.
    pub(super) fn build(rules: &[Rule], catalog: &Catalog) -> (Self, Vec<(usize, Unbindable)>) {
        let mut tools: HashMap<String, Entry> = catalog
            .tools()
            .map(|tool| {
                let entry = Entry { tool: Arc::clone(tool), candidates: Vec::new() };
                (tool.name().to_owned(), entry)
            })
            .collect();
        let mut unbindable = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let mut consider = |entry: &mut Entry| {
                entry.consider(number, rule, &mut unbindable);
            };
            match rule.scope.exact_tools() {
                Some(names) => {
                    for name in names {
                        if let Some(entry) = tools.get_mut(&**name) {
                            consider(entry);
                        }
                    }
                }
                // In the order of names, so that what is told is told in the same order every time.
                None => {
                    for tool in catalog.tools() {
                        if let Some(entry) = tools.get_mut(tool.name()) {
                            consider(entry);
                        }
                    }
                }
            }
        }
        (Self { tools }, unbindable)
    }

    /// What is known of `tool`, if it is the very tool that the policy was loaded with: constraints are
    /// bound to that definition and to no later one.
    pub(super) fn entry(&self, tool: &Tool) -> Option<&Entry> {
        self.tools.get(tool.name()).filter(|entry| std::ptr::eq(&raw const *entry.tool, tool))
    }

    /// What is known of the prompt or resource that `completion` completes values for.
    pub(super) fn completed_by(&self, completion: &Tool) -> Option<&Entry> {
        let entry = self.tools.get(completion.known_as())?;
        let own = entry.tool.completion()?;
        std::ptr::eq(&raw const **own, completion).then_some(entry)
    }

    /// Every tool, with its entry, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<Tool>, &Entry)> {
        self.tools.values().map(|entry| (&entry.tool, entry))
    }
}

impl Entry {
    fn consider(&mut self, number: usize, rule: &Rule, unbindable: &mut Vec<(usize, Unbindable)>) {
        let tool = &*self.tool;
        let certainty = rule.scope.covers(&Subject { tool, caller: None, attributes: None });
        if certainty == Certainty::Never {
            return;
        }
        match binding::bind(&rule.name, &rule.constraints, tool) {
            Ok(binding) => {
                let certain = certainty == Certainty::Always;
                self.candidates.push(Candidate { rule: number, certain, binding });
            }
            Err(found) => {
                unbindable.extend(found.into_iter().map(|found| (number, found)));
            }
        }
    }
}
