//! Policies at their edges: nothing written, everything written, and what does not fit together.

use super::*;

const ASKED: &str = r#"{"name":"web","namespace":"app","replicas":1}"#;

#[test]
fn r4_what_no_rule_speaks_of_is_denied() {
    let catalog = catalog(CLUSTER);
    for text in ["rules: []\n", "default: DENY\n", "{}\n"] {
        let policy = policy(text, &catalog);
        for tool in ["production_deploy", "staging_deploy"] {
            denied(call(&policy, &catalog, tool, ASKED));
        }
    }
    let none = Policy::load(Vec::new(), &catalog).unwrap();
    denied(call(&none, &catalog, "production_deploy", ASKED));
    assert!(catalog.tool("no_such_tool").is_none());
}

#[test]
fn r4_an_attribute_that_is_missing_or_not_known_matches_nothing() {
    let catalog = catalog(CLUSTER);
    let by = |key: &str, value: &str| {
        format!("rules: [{{ name: r, match: {{ {key}: {value} }}, decision: ALLOW }}]\n")
    };
    // `pods_list` says nothing of its environment, `staging_deploy` nothing of its risk.
    denied(call(&policy(&by("environment", "'*'"), &catalog), &catalog, "pods_list", "{}"));
    for risk in ["low", "'<=critical'", "'!=low'"] {
        let policy = policy(&by("risk", risk), &catalog);
        denied(call(&policy, &catalog, "staging_deploy", ASKED));
    }
    // An argument that chooses an environment which nobody mapped fits no schema.
    let unmapped = object(r#"{"env":"elsewhere"}"#);
    assert!(catalog.tool("access_grant").unwrap().check(unmapped).is_err());
}

#[test]
fn r4_of_rules_that_conflict_the_strictest_wins_in_any_order() {
    let catalog = catalog(CLUSTER);
    let rule = |name: &str, decision: &str| {
        format!("  - {{ name: {name}, match: {{ tool: pods_list }}, decision: {decision} }}\n")
    };
    let (allow, hold, deny) =
        (rule("a", "ALLOW"), rule("h", "REQUIRE_APPROVAL"), rule("d", "DENY"));
    for order in [[&allow, &hold, &deny], [&deny, &hold, &allow], [&hold, &deny, &allow]] {
        let text = format!("rules:\n{}{}{}", order[0], order[1], order[2]);
        let denial = denied(call(&policy(&text, &catalog), &catalog, "pods_list", "{}"));
        assert!(format!("{denial:?}").contains('d'));
    }
    for order in [[&allow, &hold], [&hold, &allow]] {
        let text = format!("rules:\n{}{}", order[0], order[1]);
        held(call(&policy(&text, &catalog), &catalog, "pods_list", "{}"));
    }
}

#[test]
fn r4_what_is_of_a_wrong_type_is_no_policy() {
    let catalog = catalog(CLUSTER);
    let constrained = |constraint: &str| {
        format!(
            "rules:\n  - name: r\n    match: {{ tool: staging_deploy }}\n    \
             decision: ALLOW_WITH_CONSTRAINTS\n    constraints: {{ {constraint} }}\n"
        )
    };
    for text in [
        constrained("max_replicas: .nan"),
        constrained("max_replicas: -.inf"),
        constrained("max_replicas: ten"),
        constrained("max_replicas: [1]"),
        constrained("max_replica: 1"),
        constrained("allowed_namespaces: { a: b }"),
        "rules: 3\n".into(),
        "rules: [{ name: r, match: [], decision: ALLOW }]\n".into(),
        "rules: [{ name: r, match: { tool: [] }, decision: ALLOW }]\n".into(),
        "rules: [{ name: r, match: { tool: '' }, decision: ALLOW }]\n".into(),
        "rules: [{ name: r, match: {}, decision: allow }]\n".into(),
        "rules: [{ name: r, match: {}, decision: ALLOW, decision: DENY }]\n".into(),
        "default: MAYBE\n".into(),
        "default: ALLOW_WITH_CONSTRAINTS\n".into(),
    ] {
        let loaded = Policy::load(vec![file("policy.yaml", &text)], &catalog);
        assert!(loaded.is_err(), "{text}");
    }
}

#[test]
fn r4_a_hundred_thousand_rules_are_loaded_and_the_last_one_counts() {
    const FILES: usize = 10;
    const EACH: usize = 10_000;
    let catalog = catalog(CLUSTER);
    let files = (0..FILES).map(|number| {
        let mut text = "rules:\n".to_owned();
        for rule in 0..EACH {
            let line = format!(
                "- {{ name: r{number}x{rule}, match: {{ tool: t{rule} }}, decision: ALLOW }}\n"
            );
            text.push_str(&line);
        }
        if number == FILES - 1 {
            text.push_str("- { name: all, match: {}, decision: ALLOW }\n");
            text.push_str("- { name: last, match: { tool: pods_list }, decision: DENY }\n");
        }
        file(&format!("{number}.yaml"), &text)
    });
    let policy = Policy::load(files.collect(), &catalog).unwrap();
    assert_eq!(policy.rule_count(), FILES * EACH + 2);
    denied(call(&policy, &catalog, "pods_list", "{}"));
    permitted(call(&policy, &catalog, "staging_deploy", ASKED));
}
