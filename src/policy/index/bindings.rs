//! What constraints are bound to, kept once for all rules that ask the same and all tools that have the same
//! parameters.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::binding::{self, Binding, Unbindable};
use super::super::constraints::Demand;
use super::super::rule::Rule;
use super::super::written;
use super::Shelf;
use crate::catalog::Tool;
use crate::digest::{self, Digest};

/// How many bindings are kept: different lists of constraints times different parameters.
const MAX_BINDINGS: usize = 1_000_000;
/// How many constraints that cannot be bound are told.
const MAX_UNBINDABLE: usize = 1_000;

/// The bindings of all rules.
#[derive(Debug)]
pub(super) struct Bindings {
    /// By rule: which list of constraints it has, if any is on a parameter.
    lists: Vec<Option<u32>>,
    /// By list of constraints and shape of tools.
    bound: HashMap<(u32, u32), Binding>,
    nothing: Binding,
    /// What there is no binding for, nothing may pass.
    missing: Binding,
}

impl Default for Bindings {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            bound: HashMap::new(),
            nothing: Binding::Bound(Vec::new()),
            missing: Binding::Unknown { constraint: "of an unknown rule".to_owned() },
        }
    }
}

/// The bindings; by tool its shape; what could not be bound; the rule at which a limit was reached.
type Bound = (Bindings, Vec<u32>, Vec<(usize, Unbindable)>, Option<(usize, &'static str)>);

impl Bindings {
    /// Binds the constraints of every rule to every tool on its shelf.
    pub(super) fn bind(rules: &[Rule], tools: &[&Arc<Tool>], shelves: &[Shelf]) -> Bound {
        let (shapes, by_name) = shapes(tools);
        let mut bindings = Self { lists: lists(rules), ..Self::default() };
        let mut excess = None;
        let mut faulty: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (number, shelf) in shelves.iter().enumerate() {
            let mut different: Option<Vec<(u32, &Arc<Tool>)>> = None;
            // By list of constraints: whether it can be bound to all tools of the shelf.
            let mut seen: HashMap<u32, bool> = HashMap::new();
            for rule in &shelf.rules {
                let rule = *rule as usize;
                let Some(list) = bindings.lists.get(rule).copied().flatten() else { continue };
                let Some(compiled) = rules.get(rule) else { continue };
                let different = different.get_or_insert_with(|| one_of_each(shelf, &by_name));
                let fits = *seen.entry(list).or_insert_with(|| {
                    different
                        .iter()
                        .all(|(shape, tool)| bindings.add((list, *shape), compiled, tool))
                });
                if !fits {
                    faulty.insert((rule, number));
                }
                if bindings.bound.len() > MAX_BINDINGS {
                    let message = "with this rule the policy has too many different constraints on too many \
                                   different tools";
                    excess = Some((rule, message));
                    break;
                }
            }
            if excess.is_some() {
                break;
            }
        }
        let unbindable = told(rules, shelves, &faulty);
        (bindings, shapes, unbindable, excess)
    }

    /// What the constraints of `rule` are bound to at tools of this shape.
    pub(super) fn of(&self, rule: usize, shape: u32) -> &Binding {
        match self.lists.get(rule) {
            Some(None) => &self.nothing,
            Some(Some(list)) => self.bound.get(&(*list, shape)).unwrap_or(&self.missing),
            None => &self.missing,
        }
    }

    /// Adds a binding that is not there yet; `false` where it cannot be.
    fn add(&mut self, key: (u32, u32), rule: &Rule, tool: &Tool) -> bool {
        if self.bound.contains_key(&key) {
            return true;
        }
        match binding::bind(&rule.name, &rule.constraints, tool) {
            Ok(binding) => self.bound.insert(key, binding).is_none(),
            Err(_) => false,
        }
    }
}

/// By rule its list of constraints: the same number where they are the same.
fn lists(rules: &[Rule]) -> Vec<Option<u32>> {
    let mut known: HashMap<String, u32> = HashMap::new();
    let list = |rule: &Rule| {
        let on_parameters = |demand: &Demand| matches!(demand, Demand::Parameter { .. });
        if !rule.constraints.iter().any(|constraint| on_parameters(&constraint.demand)) {
            return None;
        }
        let text = serde_json::Value::Object(written::constraints(rule)).to_string();
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        Some(*known.entry(text).or_insert(next))
    };
    rules.iter().map(list).collect()
}

/// By tool its shape, in order and by name: tools of one shape bind every constraint alike.
fn shapes<'t>(tools: &[&'t Arc<Tool>]) -> (Vec<u32>, HashMap<&'t str, u32>) {
    let mut known: HashMap<Digest, u32> = HashMap::new();
    let shape = |tool: &&Arc<Tool>| {
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        match digest::canonical(&binding::depends_on(tool)) {
            Ok(text) => *known.entry(Digest::of(&text)).or_insert(next),
            // What cannot be compared is like nothing else.
            Err(_) => *known.entry(Digest::of(tool.name().as_bytes())).or_insert(next),
        }
    };
    let shapes: Vec<u32> = tools.iter().map(shape).collect();
    let by_name = tools.iter().zip(&shapes).map(|(tool, shape)| (tool.name(), *shape)).collect();
    (shapes, by_name)
}

/// One tool of each shape on the shelf.
fn one_of_each<'s>(shelf: &'s Shelf, shapes: &HashMap<&str, u32>) -> Vec<(u32, &'s Arc<Tool>)> {
    let mut found: HashMap<u32, &Arc<Tool>> = HashMap::new();
    for tool in &shelf.tools {
        if let Some(shape) = shapes.get(tool.name()) {
            found.entry(*shape).or_insert(tool);
        }
    }
    found.into_iter().collect()
}

/// What is wrong with each of `faulty`, rules with their shelves, at each tool.
fn told(
    rules: &[Rule],
    shelves: &[Shelf],
    faulty: &BTreeSet<(usize, usize)>,
) -> Vec<(usize, Unbindable)> {
    let mut told = Vec::new();
    for (number, shelf) in faulty {
        let (Some(rule), Some(shelf)) = (rules.get(*number), shelves.get(*shelf)) else { continue };
        for tool in &shelf.tools {
            if let Err(found) = binding::bind(&rule.name, &rule.constraints, tool) {
                told.extend(found.into_iter().map(|found| (*number, found)));
            }
            if told.len() >= MAX_UNBINDABLE {
                return told;
            }
        }
    }
    told
}
