//! Which rules can match which calls, worked out when a policy is loaded, so that a decision looks at few
//! others than those that match.
//!
//! Rules that can match the same tools stand on one *shelf* (`reach`), however many tools these are. On its
//! shelf a rule stands under what it asks of the caller (`callers`): a name or a part of one, or nothing. A
//! call finds the shelves of its tool under the keys of its caller. What constraints are bound to is shared
//! between tools whose parameters are the same (`bindings`).

mod bindings;
mod callers;
mod reach;

use std::collections::HashMap;
use std::sync::Arc;

use self::bindings::Bindings;
use self::callers::Callers;
use self::reach::Reach;
use super::binding::{Binding, Unbindable};
use super::matching::Caller;
use super::rule::Rule;
use super::rules::Ruling;
use crate::catalog::{Catalog, Tool};

/// The rules of a policy, by tool and caller.
#[derive(Debug, Default)]
pub(super) struct Index {
    tools: HashMap<String, Entry>,
    shelves: Vec<Shelf>,
    callers: Callers,
    /// By key of callers: its rules on each shelf, in the order of shelves.
    buckets: Vec<Vec<Bucket>>,
    bindings: Bindings,
}

/// One tool, and where the rules stand that can match its calls.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tool: Arc<Tool>,
    /// In order.
    shelves: Vec<Place>,
    /// Which tools have the same parameters.
    shape: u32,
}

/// A shelf as one tool sees it.
#[derive(Clone, Copy, Debug)]
struct Place {
    shelf: u32,
    /// Whether its rules match every call of the tool, whoever makes it.
    certain: bool,
}

/// Rules that can match the same tools.
#[derive(Debug, Default)]
struct Shelf {
    /// In order.
    rules: Vec<u32>,
    /// The names of the tools, in order.
    tools: Vec<Arc<Tool>>,
}

/// The rules of one shelf under one key, in order.
#[derive(Debug)]
struct Bucket {
    shelf: u32,
    rules: Vec<u32>,
}

/// One rule that can match calls of one tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Which rule.
    pub(super) rule: usize,
    /// Whether it matches every call of the tool, whoever makes it.
    pub(super) certain: bool,
}

/// An index, and what is wrong with the rules it was built of.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) index: Index,
    /// By the number of the rule: what could not be bound.
    pub(super) unbindable: Vec<(usize, Unbindable)>,
    /// The rule at which a limit was reached, and which.
    pub(super) excess: Option<(usize, &'static str)>,
}

impl Index {
    /// Builds the index, and says of each rule (by its number) what could not be bound.
    pub(super) fn build(rules: &[Rule], catalog: &Catalog) -> Built {
        let tools: Vec<&Arc<Tool>> = catalog.tools().collect();
        let Reach { shelves, of_rule, mut excess } = Reach::of(rules, &tools);
        let mut places: Vec<Vec<Place>> = tools.iter().map(|_| Vec::new()).collect();
        let mut filled: Vec<Shelf> = Vec::with_capacity(shelves.len());
        for (number, reached) in (0..).zip(&shelves) {
            let mut on_it = Vec::with_capacity(reached.len());
            for (tool, certain) in reached {
                let place = Place { shelf: number, certain: *certain };
                places.get_mut(*tool as usize).into_iter().for_each(|places| places.push(place));
                on_it.extend(tools.get(*tool as usize).map(|tool| Arc::clone(tool)));
            }
            filled.push(Shelf { rules: Vec::new(), tools: on_it });
        }
        let mut callers = Callers::default();
        let mut standing = Vec::with_capacity(rules.len());
        for ((number, rule), shelf) in (0..).zip(rules).zip(&of_rule) {
            let Some(shelf) = *shelf else { continue };
            filled.get_mut(shelf as usize).into_iter().for_each(|it| it.rules.push(number));
            standing.extend(callers.keys_of(rule).into_iter().map(|key| (key, shelf, number)));
        }
        callers.settle();
        let (bindings, shapes, unbindable, full) = Bindings::bind(rules, &tools, &filled);
        excess = excess.or(full);
        let entries = tools.into_iter().zip(places).zip(shapes).map(|((tool, shelves), shape)| {
            let entry = Entry { tool: Arc::clone(tool), shelves, shape };
            (tool.name().to_owned(), entry)
        });
        let tools = entries.collect();
        let buckets = buckets(standing, callers.len());
        let index = Self { tools, shelves: filled, callers, buckets, bindings };
        Built { index, unbindable, excess }
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

    /// Every tool, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.tools.values()
    }

    /// The rules that can match a call of the tool by `caller`, in their order; of those that cannot, few.
    pub(super) fn candidates(&self, entry: &Entry, caller: &Caller<'_>) -> Vec<Candidate> {
        let Some(keys) = self.callers.keys(caller) else { return self.all(entry) };
        let mut found = Vec::new();
        for key in keys {
            let Some(buckets) = self.buckets.get(key as usize) else { continue };
            meet(buckets, &entry.shelves, |bucket, place| {
                found.extend(bucket.rules.iter().map(|rule| candidate(*rule, place)));
            });
        }
        in_order(found)
    }

    /// Every rule that can match a call of the tool, whoever makes it, in their order.
    pub(super) fn all(&self, entry: &Entry) -> Vec<Candidate> {
        let mut found = Vec::new();
        for place in &entry.shelves {
            let rules = self.shelves.get(place.shelf as usize).map(|shelf| &shelf.rules);
            found.extend(rules.into_iter().flatten().map(|rule| candidate(*rule, place)));
        }
        in_order(found)
    }

    /// How many rules can match a call of the tool.
    pub(super) fn count(&self, entry: &Entry) -> usize {
        let rules = |place: &Place| {
            self.shelves.get(place.shelf as usize).map_or(0, |shelf| shelf.rules.len())
        };
        entry.shelves.iter().map(rules).sum()
    }

    /// What the constraints of a rule are bound to at this tool.
    pub(super) fn binding(&self, rule: usize, entry: &Entry) -> &Binding {
        self.bindings.of(rule, entry.shape)
    }

    /// Every rule that can match a tool, with those tools in the order of their names.
    pub(super) fn reaching(&self) -> impl Iterator<Item = (usize, &[Arc<Tool>])> {
        self.shelves.iter().flat_map(|shelf| {
            shelf.rules.iter().map(|rule| (*rule as usize, shelf.tools.as_slice()))
        })
    }

    /// The tools, by their names, of which no rule speaks that is enforced: none that does not deny, and none that
    /// matches every call. `enforced` gives the decision of a rule that is.
    pub(super) fn unspoken(&self, enforced: impl Fn(usize) -> Option<Ruling>) -> Vec<&Tool> {
        let says = |shelf: &Shelf| {
            let rules = shelf.rules.iter().filter_map(|rule| enforced(*rule as usize));
            let (mut any, mut grants) = (false, false);
            rules.for_each(|decision| {
                any = true;
                grants |= decision != Ruling::Deny;
            });
            (any, grants)
        };
        let said: Vec<(bool, bool)> = self.shelves.iter().map(says).collect();
        let speaks = |place: &Place| {
            let (any, grants) = said.get(place.shelf as usize).copied().unwrap_or_default();
            grants || any && place.certain
        };
        let entries = self.tools.values().filter(|entry| !entry.shelves.iter().any(speaks));
        let mut tools: Vec<&Tool> = entries.map(|entry| &*entry.tool).collect();
        tools.sort_unstable_by_key(|tool| tool.name());
        tools
    }
}

fn candidate(rule: u32, place: &Place) -> Candidate {
    Candidate { rule: rule as usize, certain: place.certain }
}

/// Gives to `with` what stands on the same shelf in both; costs as much as the shorter of the two.
fn meet(buckets: &[Bucket], places: &[Place], mut with: impl FnMut(&Bucket, &Place)) {
    if buckets.len() <= places.len() {
        for bucket in buckets {
            let place = places.binary_search_by_key(&bucket.shelf, |place| place.shelf);
            place.ok().and_then(|at| places.get(at)).into_iter().for_each(|it| with(bucket, it));
        }
    } else {
        for place in places {
            let bucket = buckets.binary_search_by_key(&place.shelf, |bucket| bucket.shelf);
            bucket.ok().and_then(|at| buckets.get(at)).into_iter().for_each(|it| with(it, place));
        }
    }
}

/// A rule that names several callers may stand under several keys.
fn in_order(mut found: Vec<Candidate>) -> Vec<Candidate> {
    found.sort_unstable_by_key(|candidate| candidate.rule);
    found.dedup();
    found
}

/// Puts rules that stand under (key, shelf) together.
fn buckets(mut standing: Vec<(u32, u32, u32)>, keys: usize) -> Vec<Vec<Bucket>> {
    standing.sort_unstable();
    let mut all: Vec<Vec<Bucket>> = (0..keys).map(|_| Vec::new()).collect();
    for same in standing.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let Some((key, shelf, _)) = same.first() else { continue };
        let Some(buckets) = all.get_mut(*key as usize) else { continue };
        let rules = same.iter().map(|(_, _, rule)| *rule).collect();
        buckets.push(Bucket { shelf: *shelf, rules });
    }
    all
}
