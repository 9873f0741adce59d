//! `countersign policy test`: the cases that stand beside the policies.

use clap::ValueEnum;

use super::super::output::{self, visible};
use super::{Failed, junit};
use crate::config::{self, Config, Flags};
use crate::gateway::Revision;
use crate::policy::cases::{self, Case, CaseResult, Coverage, CoveredRule, Results};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Only cases whose name has this in it
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Say which rules the cases cover: those without which a case that passes would come out otherwise
    #[arg(long)]
    coverage: bool,
    /// Fail if fewer of 100 rules are covered
    #[arg(long, value_name = "PERCENT", conflicts_with = "filter",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,
    /// The form of what is printed
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// JUnit's XML, for systems that run tests
    Junit,
}

pub(super) fn run(flags: &Flags, given: &Arguments) -> Result<(), Failed> {
    let config = Config::load(flags)?;
    let revision = super::on_files(flags)?;
    let all = cases::read(&config::read_cases(&config.policies)?)?;
    let is_meant = |case: &&Case| {
        given.filter.as_ref().is_none_or(|sought| case.spec.name.contains(sought.as_str()))
    };
    let meant: Vec<&Case> = all.iter().filter(is_meant).collect();
    if meant.is_empty() {
        let told = if all.is_empty() {
            format!("`{}` has no cases: no file ends in `.test.yaml`", config.policies.display())
        } else {
            "no case has such a name".to_owned()
        };
        return Err(Failed::new(2, told));
    }
    let results = revision.policy.test(&revision.catalog, meant);
    let wanted = given.min_coverage.map(f64::from);
    let is_low = wanted.is_some_and(|percent| results.coverage.percent < percent);
    output::print(&match given.output {
        Output::Json => serde_json::to_string_pretty(&results).map_err(anyhow::Error::from)?,
        Output::Junit => junit::report(&results),
        Output::Table => text(&results, given.coverage || is_low, &revision),
    })?;
    if results.failed > 0 {
        return Err(Failed::new(1, ""));
    }
    if is_low {
        let told = format!(
            "{} of {} rules are covered, which is less than {} %",
            results.coverage.covered,
            results.coverage.rules,
            given.min_coverage.unwrap_or_default()
        );
        return Err(Failed::new(1, told));
    }
    Ok(())
}

fn text(results: &Results, with_coverage: bool, revision: &Revision) -> String {
    let mut lines = Vec::new();
    for case in results.cases.iter().filter(|case| !case.passed) {
        lines.push(format!("failed: {}: {}", visible(&case.location), visible(&case.name)));
        lines.extend(told(case).into_iter().map(|line| format!("  {}", visible(&line))));
    }
    if with_coverage {
        lines.extend(coverage(&results.coverage));
    }
    let count = results.cases.len();
    let cases = if count == 1 { "case" } else { "cases" };
    lines.push(format!("{count} {cases}: {} passed, {} failed", results.passed, results.failed));
    lines.push(format!("revision {}", revision.digest));
    lines.join("\n")
}

/// What is not as expected of a case, and who decided.
pub(super) fn told(case: &CaseResult) -> Vec<String> {
    let mut lines = case.failures.clone();
    if case.found.is_some() {
        let by = case.decided_by.iter().map(|rule| format!("{} ({})", rule.name, rule.location));
        let by: Vec<String> = by.collect();
        lines.push(match by.as_slice() {
            [] => "no rule matches: decided by default".to_owned(),
            by => format!("decided by {}", by.join(", ")),
        });
    }
    lines.extend(case.edits.iter().map(|edit| {
        let from = edit.from.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("{} becomes {}, from {from} ({})", edit.pointer, edit.to, edit.rule)
    }));
    lines
}

fn coverage(coverage: &Coverage) -> Vec<String> {
    let open = coverage.each.iter().filter(|rule| !rule.covered);
    let why = |rule: &CoveredRule| match rule.matched {
        0 => "no case matches it",
        _ => "matched, but no case comes out otherwise without it",
    };
    let line = |rule: &CoveredRule| {
        let (name, location) = (visible(&rule.name), visible(&rule.location));
        format!("not covered: {location}: {name}: {}", why(rule))
    };
    let mut lines: Vec<String> = open.map(line).collect();
    let (covered, rules) = (coverage.covered, coverage.rules);
    lines.push(format!("{covered} of {rules} rules covered ({:.1} %)", coverage.percent));
    lines
}
