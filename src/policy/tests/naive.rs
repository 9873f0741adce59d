//! The specification as a program: a second evaluator that looks at every rule, one after the other,
//! shares no code with the first, and is compared with it on random policies and calls.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::generated::{WHENS, WINDOWS};
pub(super) use super::generated::{call, rule, tool};
pub(super) use super::written::{manifest, rule_text};
use super::*;
use crate::catalog::Label;

/// Conditions by key, each a list of which any may fit.
pub(super) type Conditions = BTreeMap<&'static str, Vec<&'static str>>;

#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) capability: Option<&'static str>,
    pub(super) action: Option<&'static str>,
    pub(super) action_type: &'static str,
    /// `chosen`: by the argument `env`.
    pub(super) environment: Option<&'static str>,
    /// `chosen`: by the argument `env` too.
    pub(super) risk: Option<&'static str>,
    pub(super) tags: Vec<&'static str>,
    pub(super) default_n: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) matches: Conditions,
    pub(super) except: Option<Conditions>,
    pub(super) decision: &'static str,
    pub(super) max: Option<i64>,
    pub(super) min: Option<i64>,
    pub(super) set: Option<i64>,
    pub(super) allowed: Vec<&'static str>,
    pub(super) denied: Vec<&'static str>,
    /// Which of [`WHENS`].
    pub(super) when: Option<usize>,
    /// Which of [`WINDOWS`].
    pub(super) active: Option<usize>,
    pub(super) shadow: bool,
    pub(super) dry_run: bool,
    /// What it takes out of results.
    pub(super) redact: Option<&'static str>,
    /// What must be held, all of it.
    pub(super) holds: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) agent: &'static str,
    pub(super) groups: Vec<&'static str>,
    pub(super) client: Option<&'static str>,
    pub(super) tool: usize,
    pub(super) n: Option<i64>,
    pub(super) names: Option<&'static str>,
    pub(super) env: &'static str,
    /// The hour of 2026-07-01, in UTC.
    pub(super) hour: i8,
    /// What the agent holds.
    pub(super) holds: Vec<&'static str>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Run {
        decision: &'static str,
        rules: Vec<String>,
        n: Option<i64>,
        names: Option<String>,
        /// Of each rule that takes something out of the result, what.
        redacts: Vec<(String, String)>,
    },
    Hold {
        rules: Vec<String>,
        n: Option<i64>,
        names: Option<String>,
    },
    Deny {
        kind: &'static str,
        rules: Option<Vec<String>>,
    },
}

pub(super) const STRICTNESS: [&str; 4] =
    ["ALLOW", "ALLOW_WITH_CONSTRAINTS", "REQUIRE_APPROVAL", "DENY"];
pub(super) const RISKS: [&str; 4] = ["low", "medium", "high", "critical"];

pub(super) fn naive(tools: &[Tool], rules: &[Rule], default: &'static str, call: &Call) -> Outcome {
    let tool = &tools[call.tool];
    let mut matched: Vec<(String, &Rule, bool)> = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let excepted = rule.except.as_ref().is_some_and(|except| fits(except, tool, call));
        let active = rule.active.is_none_or(|window| (WINDOWS[window].1)(call.hour));
        let held = rule.holds.iter().all(|label| call.holds.contains(label));
        if rule.shadow || excepted || !active || !held || !fits(&rule.matches, tool, call) {
            continue;
        }
        let name = format!("r{number}");
        match rule.when.map_or(Some(true), |when| (WHENS[when].1)(call)) {
            Some(false) => {}
            Some(true) => matched.push((name, rule, true)),
            None if rule.decision == "ALLOW" => {}
            // Unknown: it restricts, and lets nothing through.
            None => matched.push((name, rule, rule.decision != "ALLOW_WITH_CONSTRAINTS")),
        }
    }
    let decides = matched.iter().any(|(_, _, leave)| *leave);
    let mut ruling = if decides { "ALLOW" } else { default };
    for decision in STRICTNESS {
        let stricter = strictness(decision) > strictness(ruling);
        if stricter && matched.iter().any(|(_, rule, _)| rule.decision == decision) {
            ruling = decision;
        }
    }
    let matched: Vec<(String, &Rule)> =
        matched.into_iter().map(|(name, rule, _)| (name, rule)).collect();
    settled(matched, ruling, tool, call)
}

fn strictness(decision: &str) -> usize {
    STRICTNESS.iter().position(|known| *known == decision).unwrap()
}

/// What becomes of the call by the rules that match.
fn settled(
    mut matched: Vec<(String, &Rule)>,
    ruling: &'static str,
    tool: &Tool,
    call: &Call,
) -> Outcome {
    if ruling == "DENY" {
        matched.retain(|(_, rule)| rule.decision == "DENY");
        let kind = if matched.is_empty() { "no_rule" } else { "rule" };
        let rules = Some(matched.into_iter().map(|(name, _)| name).collect());
        return Outcome::Deny { kind, rules };
    }
    let names: Vec<String> = matched
        .iter()
        .filter(|(_, rule)| ruling == "ALLOW" || rule.decision != "ALLOW")
        .map(|(name, _)| name.clone())
        .collect();
    let rules: Vec<&Rule> = matched.iter().map(|(_, rule)| *rule).collect();
    let refused = Outcome::Deny { kind: "constraint", rules: None };
    let Some(n) = number(&rules, tool, call.n) else { return refused };
    if !name_is_fine(&rules, call.names) {
        return refused;
    }
    let of = call.names.map(str::to_owned);
    let tried: Vec<String> =
        matched.iter().filter(|(_, rule)| rule.dry_run).map(|(name, _)| name.clone()).collect();
    if !tried.is_empty() {
        return Outcome::Deny { kind: "dry_run", rules: Some(tried) };
    }
    let redacts = matched
        .iter()
        .filter_map(|(name, rule)| rule.redact.map(|pattern| (name.clone(), pattern.to_owned())));
    let redacts = redacts.collect();
    match ruling {
        "REQUIRE_APPROVAL" => Outcome::Hold { rules: names, n, names: of },
        decision => Outcome::Run { decision, rules: names, n, names: of, redacts },
    }
}

/// What `n` becomes; `None` when the call is refused.
#[expect(clippy::option_option, reason = "refused, absent and present are three things")]
fn number(rules: &[&Rule], tool: &Tool, asked: Option<i64>) -> Option<Option<i64>> {
    if rules.iter().all(|rule| rule.max.is_none() && rule.min.is_none() && rule.set.is_none()) {
        return Some(asked);
    }
    let mut sets: Vec<i64> = rules.iter().filter_map(|rule| rule.set).collect();
    sets.dedup();
    if sets.len() > 1 {
        return None;
    }
    let mut n = sets.first().copied().or(asked).or(tool.default_n)?;
    let max = rules.iter().filter_map(|rule| rule.max).min().unwrap_or(i64::MAX);
    let min = rules.iter().filter_map(|rule| rule.min).max().unwrap_or(i64::MIN);
    if max < min {
        return None;
    }
    n = n.min(max).max(min);
    Some(Some(n))
}

fn name_is_fine(rules: &[&Rule], name: Option<&str>) -> bool {
    rules.iter().all(|rule| {
        let constrained = !rule.allowed.is_empty() || !rule.denied.is_empty();
        match name {
            None => !constrained,
            Some(name) => {
                (rule.allowed.is_empty() || rule.allowed.contains(&name))
                    && !rule.denied.contains(&name)
            }
        }
    })
}

pub(super) fn fits(conditions: &Conditions, tool: &Tool, call: &Call) -> bool {
    let environment = match tool.environment {
        Some("chosen") => Some(if call.env == "p" { "production" } else { "staging" }),
        other => other,
    };
    let risk = match tool.risk {
        Some("chosen") => Some(if call.env == "p" { "high" } else { "low" }),
        other => other,
    };
    let name = format!("tool{}", call.tool);
    let backend = format!("backend{}", call.tool % 2);
    conditions.iter().all(|(key, patterns)| {
        let mut values: Vec<&str> = match *key {
            "agent" => vec![call.agent],
            "group" => call.groups.clone(),
            "client" => call.client.into_iter().collect(),
            "tool" => vec![&name],
            "backend" => vec![&backend],
            "tags" => tool.tags.clone(),
            "capability" => tool.capability.into_iter().collect(),
            "action" => tool.action.into_iter().collect(),
            "environment" => environment.into_iter().collect(),
            "risk" => risk.into_iter().collect(),
            "action_type" => vec![tool.action_type],
            other => panic!("{other}"),
        };
        if *key == "action_type" && ["delete", "admin"].contains(&tool.action_type) {
            values.push("write");
        }
        let rank = |risk: &str| RISKS.iter().position(|known| *known == risk).unwrap();
        values.iter().any(|value| {
            patterns.iter().any(|pattern| match pattern.strip_prefix(">=") {
                Some(bound) => rank(value) >= rank(bound),
                None => match pattern.strip_prefix('<') {
                    Some(bound) => rank(value) < rank(bound),
                    None => wildcard(pattern.as_bytes(), value.as_bytes()),
                },
            })
        })
    })
}

fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| wildcard(rest, &text[skip..])),
        ([first, rest @ ..], [head, tail @ ..]) => first == head && wildcard(rest, tail),
        ([], _) | (_, []) => false,
    }
}

/// The evaluator under test, asked the same.
fn indexed(
    tools: &[Tool],
    rules: &[Rule],
    default: &str,
    calls: &[Call],
) -> Vec<(Outcome, /* listed */ bool, Noticed)> {
    let manifests = [0, 1].map(|backend| manifest(tools, backend).to_string());
    let catalog = catalog_with(&manifests.each_ref().map(String::as_str), &HashMap::new());
    let rules: Vec<Value> =
        rules.iter().enumerate().map(|(number, rule)| rule_text(number, rule)).collect();
    let policy = policy(&json!({ "default": default, "rules": rules }).to_string(), &catalog);
    let decide = |call: &Call| {
        let tool = catalog.tool(&format!("tool{}", call.tool)).unwrap();
        let mut arguments = Object::from_iter([("env".to_owned(), call.env.into())]);
        arguments.extend(call.n.map(|n| ("n".to_owned(), n.into())));
        arguments.extend(call.names.map(|name| ("name".to_owned(), name.into())));
        let principal = principal(call.agent, &call.groups);
        let holds = labels(&call.holds);
        let facts = Facts {
            principal: &principal,
            workflow: None,
            client: call.client,
            checked: tool.check(arguments).unwrap(),
            approval: None,
            standing: &[],
            spent: &[],
            holds: &holds,
            now: call.now(),
        };
        let listed = policy.lists(&principal, call.client, tool);
        let (decision, noticed) = policy.decide_noting(facts);
        (outcome(decision), listed, noticed)
    };
    calls.iter().map(decide).collect()
}

pub(super) fn labels(words: &[&str]) -> Vec<Label> {
    words.iter().map(|word| Label::try_from((*word).to_owned()).unwrap()).collect()
}

pub(super) fn outcome(decision: Decision) -> Outcome {
    let n = |arguments: &Object| arguments.get("n").and_then(Value::as_i64);
    let name =
        |arguments: &Object| arguments.get("name").and_then(Value::as_str).map(str::to_owned);
    match decision {
        Decision::Permit(permit) => Outcome::Run {
            decision: permit.decision().as_str(),
            rules: permit.rules().to_vec(),
            n: n(permit.arguments()),
            names: name(permit.arguments()),
            redacts: permit
                .redactions()
                .iter()
                .flat_map(|it| {
                    it.patterns.each().map(|pattern| (it.rule.clone(), pattern.to_string()))
                })
                .collect(),
        },
        Decision::Hold(proposal) => Outcome::Hold {
            n: n(&proposal.arguments),
            names: name(&proposal.arguments),
            rules: proposal.rules,
        },
        Decision::Deny(denial) => Outcome::Deny {
            kind: denial.kind.as_str(),
            rules: (denial.kind != DenialKind::Constraint).then_some(denial.rules),
        },
        other @ Decision::NotCovered { .. } => panic!("{other:?}"),
    }
}

/// How many policies are tried, eight calls of each: `COUNTERSIGN_CASES` calls together, at least as many as usual.
fn cases() -> u32 {
    let wanted = option_env!("COUNTERSIGN_CASES").and_then(|it| it.parse::<u32>().ok());
    (wanted.unwrap_or_default() / 8).max(1_280)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decides_as_the_specification_does(
        tools in prop::collection::vec(tool(), 4),
        rules in prop::collection::vec(rule(), 0..8),
        default in select(vec!["DENY", "DENY", "REQUIRE_APPROVAL", "ALLOW"]),
        calls in prop::collection::vec(call(), 8),
    ) {
        let found = indexed(&tools, &rules, default, &calls);
        for (call, (found, listed, noticed)) in calls.iter().zip(found) {
            let shadowed = rules.iter().any(|rule| rule.shadow);
            prop_assert!(shadowed || noticed.shadow.is_empty(), "{noticed:?}");
            let expected = naive(&tools, &rules, default, call);
            prop_assert_eq!(&found, &expected, "{:?}", call);
            // A tool that some call of is not denied must be shown.
            prop_assert!(listed || matches!(found, Outcome::Deny { .. }), "{call:?}");
        }
    }

    /// The filter of a gateway that could be turned around to show what its user was not granted: here what is shown
    /// is what some arguments could get by the rules, for any set of them, and nothing else.
    #[test]
    fn cve_2026_108586_what_is_shown_is_what_is_granted(
        tools in prop::collection::vec(tool(), 4),
        rules in prop::collection::vec(rule(), 0..8),
        default in select(vec!["DENY", "DENY", "DENY", "REQUIRE_APPROVAL", "ALLOW"]),
        calls in prop::collection::vec(call(), 8),
    ) {
        let found = indexed(&tools, &rules, default, &calls);
        for (call, (_, listed, _)) in calls.iter().zip(found) {
            // Of conditions nobody knows: some call may meet those of what lets through, and none those of the others.
            let open = |rule: &&Rule| {
                rule.when.is_some() || rule.active.is_some() || !rule.holds.is_empty()
            };
            let rules: Vec<Rule> = rules
                .iter()
                .filter(|rule| !(open(rule) && rule.decision == "DENY"))
                .map(|rule| Rule { when: None, active: None, holds: Vec::new(), ..rule.clone() })
                .collect();
            let granted = ["p", "s"].into_iter().any(|env| {
                let call = Call { env, ..call.clone() };
                // What a constraint refuses, other arguments could get.
                let outcome = naive(&tools, &rules, default, &call);
                !matches!(outcome, Outcome::Deny { kind: "rule" | "no_rule", .. })
            });
            prop_assert_eq!(listed, granted, "{:?}", call);
        }
    }
}
