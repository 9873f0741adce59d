//! Runs cases against a policy, by the very means that decide about calls.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::coverage::Tally;
use super::{Case, Coverage};
use crate::catalog::{Catalog, CheckedArguments, Kind};
use crate::digest;
use crate::json::Object;
use crate::policy::explain::Hypothetical;
use crate::policy::matching::{Caller, Client};
use crate::policy::{Edit, Exhausted, Explanation, Policy, Ruling};

/// How many faults of arguments a failure names.
const MAX_FAULTS: usize = 3;

/// What became of the cases.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// How many were as expected.
    pub passed: usize,
    /// How many were not.
    pub failed: usize,
    /// Every case, in the order of the files.
    pub cases: Vec<CaseResult>,
    /// Which rules the cases that passed hold to what they say.
    pub coverage: Coverage,
}

/// What became of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// Whether all is as expected.
    pub passed: bool,
    /// What should be decided.
    pub expected: Ruling,
    /// What is decided; absent where rules cannot be asked.
    pub found: Option<Ruling>,
    /// The rules that decide.
    pub decided_by: Vec<DecidingRule>,
    /// What constraints change.
    pub edits: Vec<Edit>,
    /// What agent or reviewer would be told.
    pub reason: Option<String>,
    /// What is not as expected, in words; nothing where all is.
    pub failures: Vec<String>,
}

/// A rule that decides.
#[derive(Clone, Debug, Serialize)]
pub struct DecidingRule {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
}

/// Where each rule stands, by its name.
type Places<'p> = HashMap<&'p str, &'p str>;

impl Policy {
    /// Asks about every case, and notes which rules the cases that passed cover. Nothing runs and nothing counts.
    #[must_use]
    pub fn test<'c>(
        &self,
        catalog: &Catalog,
        cases: impl IntoIterator<Item = &'c Case>,
    ) -> Results {
        let names = self.rules.iter().map(|rule| rule.name.as_str());
        let places: Places<'_> = names.zip(self.locations.iter().map(String::as_str)).collect();
        let mut tally = Tally::new(self);
        let mut results = Vec::new();
        for case in cases {
            let asked = asked(catalog, case)
                .and_then(|checked| self.spent(case, &checked).map(|spent| (checked, spent)));
            let result = match &asked {
                Ok((checked, spent)) => {
                    self.judged(case, &hypothetical(case, checked, spent), &places)
                }
                Err(why) => not_asked(case, why.clone()),
            };
            if let (true, Ok((checked, spent))) = (result.passed, &asked) {
                tally.note(&hypothetical(case, checked, spent));
            }
            results.push(result);
        }
        let passed = results.iter().filter(|it| it.passed).count();
        let failed = results.len().saturating_sub(passed);
        Results { passed, failed, cases: results, coverage: tally.done() }
    }

    /// The budgets that the case says are spent, as far as they are about its call.
    fn spent(&self, case: &Case, checked: &CheckedArguments) -> Result<Vec<Exhausted>, String> {
        let spec = &case.spec;
        let mut spent = Vec::new();
        for name in &spec.spent {
            let budget = self.budgets.iter().find(|it| it.name == *name).ok_or_else(|| {
                let names = self.budgets.iter().map(|it| it.name.as_str());
                let near = crate::source::nearest(name, names);
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                format!("there is no budget `{name}`{near}")
            })?;
            if budget.matches((&spec.agent, &spec.groups), spec.client.as_deref(), checked) {
                spent.push(Exhausted::of(budget, &budget.of(), at(case)));
            }
        }
        Ok(spent)
    }

    fn judged(&self, case: &Case, call: &Hypothetical<'_>, places: &Places<'_>) -> CaseResult {
        let found = self.outcome(call);
        let failures = failures(case, &found);
        let named = |name: &String| DecidingRule {
            name: name.clone(),
            location: places.get(name.as_str()).map_or_else(String::new, |it| (*it).to_owned()),
        };
        CaseResult {
            name: case.spec.name.clone(),
            location: case.location.clone(),
            passed: failures.is_empty(),
            expected: case.spec.expect,
            found: Some(found.decision),
            decided_by: found.decided_by.iter().map(named).collect(),
            edits: found.edits,
            reason: found.reason,
            failures,
        }
    }
}

/// When the call of a case is made.
fn at(case: &Case) -> jiff::Timestamp {
    case.spec.at.unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

fn hypothetical<'a>(
    case: &'a Case,
    checked: &'a CheckedArguments,
    spent: &'a [Exhausted],
) -> Hypothetical<'a> {
    let spec = &case.spec;
    let client = Client::Said(spec.client.as_deref());
    let caller = Caller { agent: &spec.agent, groups: &spec.groups, client };
    let now = at(case);
    let (owner, holds) = (spec.owner.as_deref(), &*spec.holds);
    let workflow = spec.workflow.as_deref();
    Hypothetical { caller, owner, workflow, checked, standing: &[], spent, holds, now }
}

fn not_asked(case: &Case, why: String) -> CaseResult {
    CaseResult {
        name: case.spec.name.clone(),
        location: case.location.clone(),
        passed: false,
        expected: case.spec.expect,
        found: None,
        decided_by: Vec::new(),
        edits: Vec::new(),
        reason: None,
        failures: vec![why],
    }
}

/// The call of a case as rules are asked about it, or why they cannot be.
fn asked(catalog: &Catalog, case: &Case) -> Result<CheckedArguments, String> {
    let name = &case.spec.tool;
    let tool = catalog.tool(name).filter(|tool| tool.kind() != Kind::Completion);
    let tool = tool.ok_or_else(|| {
        let names = catalog.tools().map(|tool| tool.name());
        let near = crate::source::nearest(name, names);
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!("there is no tool `{name}`{near}")
    })?;
    tool.check(case.spec.arguments.clone()).map_err(|faults| {
        let told: Vec<String> = faults
            .iter()
            .take(MAX_FAULTS)
            .map(|fault| format!("`{}`: {}", fault.pointer, fault.message))
            .collect();
        format!("rules are not asked, for the arguments do not fit `{name}`: {}", told.join("; "))
    })
}

fn failures(case: &Case, found: &Explanation) -> Vec<String> {
    let spec = &case.spec;
    let mut failures = Vec::new();
    if spec.expect != found.decision {
        let (expected, found) = (spec.expect.as_str(), found.decision.as_str());
        failures.push(format!("expected {expected}, found {found}"));
    }
    if let Some(expected) = &spec.rules {
        let names = |rules: &[String]| rules.iter().cloned().collect::<BTreeSet<_>>();
        let (wanted, decide) = (names(expected), names(&found.decided_by));
        if wanted != decide {
            let (wanted, decide) = (listed(&wanted), listed(&decide));
            failures.push(format!("expected to be decided by {wanted}, found {decide}"));
        }
    }
    if let Some(expected) = &spec.arguments_after
        && !same(expected, &found.arguments)
    {
        let text = |arguments: &Object| serde_json::to_string(arguments).unwrap_or_default();
        let (expected, found) = (text(expected), text(&found.arguments));
        failures.push(format!("expected the arguments {expected}, found {found}"));
    }
    if let Some(expected) = &spec.reason_contains {
        let reason = found.reason.as_deref().unwrap_or_default();
        if !reason.contains(expected.as_str()) {
            failures.push(format!("expected `{expected}` in the reason, found `{reason}`"));
        }
    }
    failures
}

/// Whether they are the same call: numbers by value, members in any order.
fn same(one: &Object, other: &Object) -> bool {
    match (digest::canonical(one), digest::canonical(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "no rule".to_owned(),
        _ => names.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}
