//! The index finds what a look at every rule finds, in the same order, and shares what rules share.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::super::index::Candidate;
use super::super::matching::{Caller, Certainty, Client, Subject};
use super::super::rule::Rule;
use super::*;
use crate::catalog::Tool;

const TOOLS: usize = 60;

/// Tools of three backends, whose names and tags rules name whole, by parts and by globs of every kind.
fn many_tools() -> Catalog {
    let backends = ["alpha", "beta", "gamma"].iter().enumerate().map(|(backend, name)| {
        let tools: Vec<_> = (0..TOOLS)
            .filter(|number| number % 3 == backend)
            .map(|number| {
                let environment = match number % 4 {
                    0 => json!({ "argument": "env", "values": { "p": "production", "s": "staging" } }),
                    1 => json!("production"),
                    2 => json!("staging"),
                    _ => json!(null),
                };
                let action_type = ["read", "write"][number % 2];
                let parameter = if number % 5 == 0 { "count" } else { "replicas" };
                json!({
                    "name": format!("{name}_{}_{number}", ["get", "put"][number % 2]),
                    "description": "d", "run": ["x"],
                    "attributes": {
                        "action_type": action_type, "environment": environment,
                        "tags": [format!("t{}", number % 7)],
                    },
                    "input_schema": {
                        "type": "object", "required": ["env"],
                        "properties": {
                            "env": { "type": "string" }, parameter: { "type": "integer", "default": 1 },
                        },
                    },
                })
            })
            .collect();
        json!({ "backend": { "name": name, "command": { "program": "p" } }, "tools": tools }).to_string()
    });
    let manifests: Vec<String> = backends.collect();
    let texts: Vec<&str> = manifests.iter().map(String::as_str).collect();
    catalog_with(&texts, &HashMap::new())
}

fn patterns(key: &'static str) -> impl Strategy<Value = Vec<String>> {
    let patterns = match key {
        "tool" => {
            "alpha_get_0 beta_put_7 gamma_put_5 alpha_* *_get_* *_1? *_put_3 {alpha,beta}_* [a-b]* *1* ??ta_* none"
        }
        "backend" => "alpha beta [a-g]* * *a [bz]eta none",
        "tags" => "t0 t1 t2 t3 t8 t* * t[0-3]",
        "agent" => {
            "ann bob team-ann team-bob-1 eve-2 team-* *-1 *-2 *nn* * ?*b {ann,bob} a**n a* e?e* **/ann"
        }
        "group" => "dev ops dev-1 dev-2 d* *-1 *e* *",
        "client" => "claude cursor c* *r *",
        _ => "production staging prod* *",
    };
    let patterns: Vec<String> = patterns.split(' ').map(str::to_owned).collect();
    prop::collection::vec(select(patterns), 1..3)
}

fn conditions() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let keys = vec!["tool", "backend", "tags", "agent", "group", "client", "environment"];
    let one = select(keys).prop_flat_map(|key| (Just(key.to_owned()), patterns(key)));
    prop::collection::vec(one, 0..4)
        .prop_map(|all| all.into_iter().map(|(key, any)| (key, json!(any))).collect())
}

fn rules() -> impl Strategy<Value = Vec<Value>> {
    let except =
        prop::option::weighted(0.2, conditions().prop_filter("empty", |it| !it.is_empty()));
    let one = (conditions(), except, select(vec!["ALLOW", "REQUIRE_APPROVAL", "DENY"]));
    prop::collection::vec(one, 1..150).prop_map(|all| {
        let rule = |(number, (matches, except, decision)): (usize, (_, Option<_>, _))| {
            let mut rule = json!({ "name": format!("r{number}"), "match": json!(matches), "decision": decision });
            if let Some(except) = except {
                rule["except"] = Value::Object(except);
            }
            rule
        };
        all.into_iter().enumerate().map(rule).collect()
    })
}

fn callers() -> impl Strategy<Value = Vec<(String, Vec<String>, Option<&'static str>)>> {
    let agent = "(team-)?(ann|bob|eve)(-[0-9])?";
    let groups = prop::collection::vec("dev|ops|dev-[0-3]", 0..3);
    let client = prop::option::of(select(vec!["claude", "cursor", "other"]));
    prop::collection::vec((agent, groups, client), 12)
}

fn certainty(rule: &Rule, tool: &Tool, caller: Option<Caller<'_>>) -> Certainty {
    rule.scope.covers(&Subject { tool, caller, attributes: None })
}

/// What a look at every rule finds.
fn every(policy: &Policy, tool: &Tool, caller: Option<Caller<'_>>) -> Vec<Candidate> {
    let rules = policy.rules.iter().enumerate();
    let can = rules.filter(|(_, rule)| certainty(rule, tool, caller) != Certainty::Never);
    let candidate = |(number, rule)| Candidate {
        rule: number,
        certain: certainty(rule, tool, None) == Certainty::Always,
    };
    can.map(candidate).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_what_a_look_at_every_rule_finds(rules in rules(), callers in callers()) {
        let catalog = many_tools();
        let policy = policy(&json!({ "rules": rules }).to_string(), &catalog);
        for tool in catalog.tools() {
            let entry = policy.index.entry(tool).unwrap();
            prop_assert_eq!(policy.index.all(entry), every(&policy, tool, None));
            prop_assert_eq!(policy.index.count(entry), every(&policy, tool, None).len());
            for (agent, groups, client) in &callers {
                let agent = agent.parse().unwrap();
                let caller = Caller { agent: &agent, groups, client: Client::Said(*client) };
                let mut found = policy.index.candidates(entry, &caller);
                // It may find some that cannot match, of which the decision takes care; it must miss none.
                found.retain(|it| certainty(&policy.rules[it.rule], tool, Some(caller)) != Certainty::Never);
                prop_assert_eq!(found, every(&policy, tool, Some(caller)));
            }
        }
    }
}

/// Of very many rules, those of others cost a call nothing: they are not even looked at.
#[test]
fn rules_for_other_callers_are_not_looked_at() {
    let catalog = many_tools();
    let tool = catalog.tools().next().unwrap();
    type Name = fn(usize) -> String;
    let keys: [(&str, Name); 5] = [
        ("agent", |number| format!("agent-{number:04}")),
        ("agent", |number| format!("agent-{number:04}*")),
        ("agent", |number| format!("*-{number:04}")),
        ("agent", |number| format!("*t-{number:04}*")),
        ("group", |number| format!("group-{number:04}")),
    ];
    for (key, name) in keys {
        let rule = |number: usize| json!({ "name": number.to_string(), "match": { key: name(number) }, "decision": "ALLOW" });
        let rules: Vec<_> = (0..3_000).map(rule).collect();
        let policy = policy(&json!({ "rules": rules }).to_string(), &catalog);
        let (agent, groups) = ("agent-0017".parse().unwrap(), ["group-0017".to_owned()]);
        let caller = Caller { agent: &agent, groups: &groups, client: Client::Said(None) };
        let entry = policy.index.entry(tool).unwrap();
        let found: Vec<usize> =
            policy.index.candidates(entry, &caller).iter().map(|it| it.rule).collect();
        assert_eq!(found, [17], "{key}: {}", name(0));
    }
}

/// A constraint that cannot be bound is told for every tool, though tools with the same parameters are bound
/// together.
#[test]
fn every_tool_is_told_that_a_constraint_does_not_fit() {
    let catalog = many_tools();
    let rules = json!({ "rules": [{
        "name": "scale", "match": { "tool": "*" }, "decision": "ALLOW_WITH_CONSTRAINTS",
        "constraints": { "max_replicas": 3 },
    }] });
    let told =
        Policy::load(vec![file("p.yaml", &rules.to_string())], &catalog).unwrap_err().to_string();
    for (number, tool) in
        catalog.tools().map(|tool| (tool.name().rsplit('_').next().unwrap(), tool))
    {
        let lacks = number.parse::<usize>().unwrap() % 5 == 0;
        assert_eq!(told.contains(&format!("`{}`", tool.name())), lacks, "{told}");
    }
}
