//! From policy files and the catalog to a policy, with every fault and its place.

use std::collections::HashMap;

use super::budgets::Budget;
use super::index::{Built, Index};
use super::limits::Limit;
use super::reading::{At, Contents, Files};
use super::report;
use super::rule::Rule;
use super::rules::Ruling;
use super::shadowed;
use super::{Policy, condition};
use crate::catalog::Catalog;
use crate::source::{Problems, SourceFile};

impl Policy {
    /// Loads `files` as one policy for the tools of `catalog`.
    ///
    /// # Errors
    /// With everything that is wrong, each with file, line and column: a policy is loaded whole or not.
    pub fn load(files: Vec<SourceFile>, catalog: &Catalog) -> Result<Self, Problems> {
        let (mut files, contents) = Files::read(files);
        let Contents { defaults, rules, limits, budgets } = contents;
        let default = one_default(&defaults, &mut files);
        unique("rule", rules.iter().map(|(rule, at)| (rule.name.as_str(), at)), &mut files);
        let counted = limits.iter().map(|(limit, at)| (limit.name.as_str(), at));
        let spent = budgets.iter().map(|(budget, at)| (budget.name.as_str(), at));
        unique("limit or budget", counted.chain(spent), &mut files);

        let mentions = report::mentions(&rules);
        let mut places = Vec::with_capacity(rules.len());
        let mut compiled = Vec::with_capacity(rules.len());
        for (spec, at) in rules {
            compiled.push(Rule::compile(spec, &at, &mut files));
            places.push(at);
        }
        let named_by_callers = report::named_by_callers(&limits, &budgets);
        let limits =
            limits.into_iter().map(|(spec, at)| Limit::compile(spec, &at, &mut files)).collect();
        let budgets: Vec<Budget> =
            budgets.into_iter().map(|(spec, at)| Budget::compile(spec, &at, &mut files)).collect();

        let Built { index, unbindable, excess } = Index::build(&compiled, catalog);
        if let Some((rule, message)) = excess
            && let Some(at) = places.get(rule)
        {
            files.wrong(&at.below("match"), message, "ask alike in more rules, or of fewer tools");
        }
        for (rule, found) in unbindable {
            if let Some(at) = places.get(rule) {
                let at = at.below("constraints").below(&found.constraint);
                files.wrong_key(&at, found.message, found.hint);
            }
        }
        condition::check_arguments(&compiled, &places, &index, &mut files);
        condition::check_brought(&compiled, &places, catalog, &mut files);
        Problems::check(files.take_problems())?;

        let loaded = report::Loaded { rules: &compiled, places: &places, index: &index, default };
        report::warn(&loaded, &mentions, defaults.first().map(|(_, at)| at), catalog, &mut files);
        shadowed::warn(&loaded, &mut files);
        report::warn_of_limits(&named_by_callers, &mut files);
        let warnings = files.take_problems();
        let asks = |rule: usize| {
            compiled.get(rule).is_some_and(|rule| {
                rule.mode.is_enforced() && rule.decision == Ruling::RequireApproval
            })
        };
        let spends = budgets.iter().any(|budget| budget.then == Ruling::RequireApproval);
        let holds = spends
            || default == Ruling::RequireApproval
            || index.reaching().any(|(rule, _)| asks(rule));
        let locations = places.iter().map(|at| files.location(&at.below("name"))).collect();
        Ok(Self {
            default,
            holds,
            rules: compiled,
            limits,
            budgets,
            index,
            locations,
            warnings,
            sources: files.into_sources(),
        })
    }
}

/// The default that the files give, or DENY.
fn one_default(defaults: &[(Ruling, At)], files: &mut Files) -> Ruling {
    let Some((default, first)) = defaults.first() else { return Ruling::Deny };
    for (_, at) in defaults.iter().skip(1) {
        let hint = format!("{} says it already; keep one of the two", files.location(first));
        files.wrong_key(at, "`default` may stand in one file only", hint);
    }
    if *default == Ruling::AllowWithConstraints {
        let hint = "use DENY, REQUIRE_APPROVAL or ALLOW";
        files.wrong(first, "a default has no constraints to allow with", hint);
    }
    *default
}

/// Notes every name that stands for a second thing.
fn unique<'a>(what: &str, names: impl Iterator<Item = (&'a str, &'a At)>, files: &mut Files) {
    let mut first: HashMap<&str, &At> = HashMap::new();
    for (name, at) in names {
        let Some(other) = first.get(name) else {
            first.insert(name, at);
            continue;
        };
        let hint = format!("{} has one of this name", files.location(&other.below("name")));
        files.wrong(&at.below("name"), format!("duplicate {what} name `{name}`"), hint);
    }
}
