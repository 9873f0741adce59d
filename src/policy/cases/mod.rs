//! Cases for rules: what should be decided about calls that nobody makes. They stand beside the policies.

mod coverage;
mod running;

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ruling;
use crate::catalog::Label;
use crate::ids::AgentName;
use crate::json::Object;
use crate::source::{self, Problem, Problems, SourceFile};

pub use coverage::{Coverage, CoveredRule};
pub use running::{CaseResult, DecidingRule, Results};

/// How many cases all files together may hold.
pub const MAX_CASES: usize = 10_000;
/// The longest name of a case, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// How many groups one case names at the most.
const MAX_GROUPS: usize = 64;

/// A file `policies/*.test.yaml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CasesFile {
    /// The cases; their order never matters.
    pub tests: Vec<CaseSpec>,
}

/// A call that nobody makes, and what should be decided about it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseSpec {
    /// What the case shows; unique over all files, 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The agent that would call.
    pub agent: AgentName,
    /// Its groups; none when absent.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub groups: Vec<String>,
    /// The client program, as it would name itself.
    #[serde(default)]
    pub client: Option<String>,
    /// The workflow, as the caller would name it.
    #[serde(default)]
    pub workflow: Option<String>,
    /// The person that the agent acts for; nobody when absent.
    #[serde(default)]
    pub owner: Option<String>,
    /// When it would call, as `2026-03-02T09:30:00Z`; at the beginning of 1970, a Thursday, when absent.
    #[serde(default)]
    pub at: Option<jiff::Timestamp>,
    /// What the agent holds: what calls brought to it; nothing when absent.
    #[serde(default)]
    pub holds: Vec<Label>,
    /// The budgets that are spent, by name; none when absent.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub spent: Vec<String>,
    /// The tool.
    pub tool: String,
    /// Its arguments; none when absent.
    #[serde(default)]
    pub arguments: Object,
    /// What should be decided.
    pub expect: Ruling,
    /// Exactly the rules that should decide, in any order; `[]` where the default should. Any when absent.
    #[serde(default)]
    pub rules: Option<Vec<String>>,
    /// The arguments as they should be once constraints have changed them, all of them. Any when absent.
    #[serde(default)]
    pub arguments_after: Option<Object>,
    /// What should stand in the reason that agents and reviewers are told.
    #[serde(default)]
    pub reason_contains: Option<String>,
}

/// One case with its place.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the file says.
    pub spec: CaseSpec,
    /// Where it stands: `file:line:column`.
    pub location: String,
}

/// Reads cases strictly.
///
/// # Errors
/// With everything that is wrong, each with file, line and column: an unknown key, a name that two cases have, a
/// case that names more than it may, and more than [`MAX_CASES`] in all.
pub fn read(files: &[SourceFile]) -> Result<Vec<Case>, Problems> {
    let (mut cases, mut problems) = (Vec::<Case>::new(), Vec::new());
    let mut first: HashMap<String, String> = HashMap::new();
    for file in files {
        let (contents, places) = match source::read::<CasesFile>(file) {
            Ok(read) => read,
            Err(found) => {
                problems.extend(found.into_all());
                continue;
            }
        };
        for (number, spec) in contents.tests.into_iter().enumerate() {
            let pointer = format!("/tests/{number}");
            let named = places.value(&format!("{pointer}/name"));
            let location = places.location(file, named);
            if let Some((key, message, hint)) = wrong(&spec) {
                let place = places.value(&format!("{pointer}/{key}"));
                problems.push(Problem::new(file, place, message).hint(hint));
            }
            if let Some(other) = first.insert(spec.name.clone(), location.clone()) {
                let message = format!("duplicate test name `{}`", spec.name);
                let hint = format!("{other} has one of this name");
                problems.push(Problem::new(file, named, message).hint(hint));
            }
            if cases.len() >= MAX_CASES {
                let message = format!("more than {MAX_CASES} tests");
                problems.push(Problem::new(file, named, message));
                return Err(Problems::check(problems).err().unwrap_or_else(|| {
                    Problem::new(file, named, "more tests than can be run").into()
                }));
            }
            cases.push(Case { spec, location });
        }
    }
    Problems::check(problems)?;
    Ok(cases)
}

/// What of a case is wrong: its key, why, and a hint.
fn wrong(spec: &CaseSpec) -> Option<(&'static str, String, String)> {
    let fits =
        (1..=MAX_NAME_BYTES).contains(&spec.name.len()) && !spec.name.chars().any(char::is_control);
    if !fits {
        let hint = format!("use 1 to {MAX_NAME_BYTES} bytes in one line");
        return Some(("name", "not a usable name".to_owned(), hint));
    }
    if spec.groups.len() > MAX_GROUPS {
        let hint = "an agent has no more".to_owned();
        return Some(("groups", format!("more than {MAX_GROUPS} groups"), hint));
    }
    if spec.expect == Ruling::Deny && spec.arguments_after.is_some() {
        let hint = "leave it out, or expect another decision".to_owned();
        return Some(("arguments_after", "a call that is denied is not changed".to_owned(), hint));
    }
    None
}
