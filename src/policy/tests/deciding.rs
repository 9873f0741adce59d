//! Decisions, holds, approvals and what is shown.

use jiff::SignedDuration;

use super::*;

#[test]
fn holds_what_the_described_policy_says() {
    let catalog = catalog(CLUSTER);
    let policy = policy(SAFETY, &catalog);

    let asked = r#"{"name":"web","namespace":"app","replicas":50}"#;
    let proposal = held(call(&policy, &catalog, "production_deploy", asked));
    assert_eq!(text(&proposal.requested), asked);
    assert_eq!(text(&proposal.arguments), r#"{"name":"web","namespace":"app","replicas":10}"#);
    assert_eq!(
        proposal.edits,
        [Edit {
            pointer: "/replicas".into(),
            from: Some(50.into()),
            to: 10.into(),
            rule: "deployment-limits".into(),
            constraint: "max_replicas".into(),
        }]
    );
    assert_ne!(proposal.digest, proposal.requested_digest);
    assert_eq!(proposal.rules, ["production-writes", "deployment-limits"]);
    assert_eq!(proposal.reason, "rule `production-writes` requires approval");
    assert_eq!(proposal.decide_within, SignedDuration::from_hours(1));
    assert_eq!(proposal.execute_within, SignedDuration::from_mins(15));

    let permit = permitted(call(&policy, &catalog, "staging_deploy", asked));
    assert_eq!(permit.decision(), Ruling::AllowWithConstraints);
    assert_eq!(permit.arguments().get("replicas"), Some(&10.into()));
    assert_eq!(permit.rules(), ["deployment-limits"]);

    let other = r#"{"name":"web","namespace":"other","replicas":1}"#;
    for tool in ["production_deploy", "staging_deploy"] {
        let denial = denied(call(&policy, &catalog, tool, other));
        assert_eq!(
            denial.reason,
            "`namespace` must be one of app, staging; you asked for other (rule `deployment-limits`)"
        );
        assert_eq!(denial.kind, DenialKind::Constraint);
    }

    let denial = denied(call(&policy, &catalog, "database_drop", r#"{"name":"x"}"#));
    assert_eq!(denial.rules, ["no-delete-databases"]);
    assert_eq!(
        denial.reason,
        "this call of `database_drop` is denied by rule `no-delete-databases`"
    );
    assert_eq!(denial.kind, DenialKind::Rule);

    // `admin` is a write too, and its environment is the one that the argument chooses.
    held(call(&policy, &catalog, "access_grant", r#"{"env":"prod"}"#));
    let denial = denied(call(&policy, &catalog, "access_grant", r#"{"env":"stg"}"#));
    assert_eq!(denial.kind, DenialKind::NoRule);
    let denial = denied(call(&policy, &catalog, "pods_list", "{}"));
    assert_eq!(denial.reason, "no rule allows agent `robot` this call of `pods_list`");
}

#[test]
fn the_strictest_of_all_matching_rules_wins_in_any_order() {
    let catalog = catalog(CLUSTER);
    let rules = [
        ("ALLOW", ""),
        ("ALLOW_WITH_CONSTRAINTS", ", constraints: { timeout: 5s }"),
        ("REQUIRE_APPROVAL", ""),
        ("DENY", ", reason: not today"),
    ];
    let load = |chosen: &[(&str, &str)]| {
        let rules: String = chosen
            .iter()
            .map(|(decision, rest)| {
                format!("  - {{ name: {decision}, match: {{}}, decision: {decision}{rest} }}\n")
            })
            .collect();
        policy(&format!("rules:\n{rules}"), &catalog)
    };
    let decision = |policy: &Policy| match call(policy, &catalog, "pods_list", "{}") {
        Decision::Permit(permit) => permit.decision(),
        Decision::Hold(_) => Ruling::RequireApproval,
        Decision::Deny(denial) => {
            assert_eq!(denial.rules, ["DENY"]);
            assert!(denial.reason.ends_with("by rule `DENY`: not today"), "{}", denial.reason);
            Ruling::Deny
        }
        other @ Decision::NotCovered { .. } => panic!("{other:?}"),
    };
    let beside_a_stricter_one = load(&[rules[0], rules[1], rules[2]]);
    let proposal = held(call(&beside_a_stricter_one, &catalog, "pods_list", "{}"));
    assert_eq!(proposal.rules, ["ALLOW_WITH_CONSTRAINTS", "REQUIRE_APPROVAL"]);
    for mask in 1_u32..16 {
        let mut chosen: Vec<_> =
            (0..4).filter(|bit| mask & (1 << bit) != 0).map(|bit| rules[bit]).collect();
        let strictest = chosen.last().unwrap().0;
        assert_eq!(decision(&load(&chosen)).as_str(), strictest);
        chosen.reverse();
        assert_eq!(decision(&load(&chosen)).as_str(), strictest);
    }
}

#[test]
fn the_default_counts_only_where_no_rule_matches() {
    let catalog = catalog(CLUSTER);
    let with = |default: &str| {
        let rules = "rules: [{ name: r, match: { tool: database_drop }, decision: DENY }]";
        policy(&format!("default: {default}\n{rules}"), &catalog)
    };
    let permit = permitted(call(&with("ALLOW"), &catalog, "pods_list", "{}"));
    assert!(permit.rules().is_empty());
    denied(call(&with("ALLOW"), &catalog, "database_drop", "{}"));
    let proposal = held(call(&with("REQUIRE_APPROVAL"), &catalog, "pods_list", "{}"));
    assert_eq!(proposal.reason, "no rule matches, and by default a person must approve");
    assert_eq!(proposal.digest, proposal.requested_digest);
    assert_eq!(denied(call(&with("DENY"), &catalog, "pods_list", "{}")).kind, DenialKind::NoRule);
    let nothing = Policy::load(Vec::new(), &catalog).unwrap();
    assert_eq!(denied(call(&nothing, &catalog, "pods_list", "{}")).kind, DenialKind::NoRule);
}

#[test]
fn an_approval_covers_exactly_the_call_that_was_approved() {
    let catalog = catalog(CLUSTER);
    let safety = policy(SAFETY, &catalog);
    let asked = r#"{"name":"web","namespace":"app","replicas":50}"#;
    let approval = approve(&held(call(&safety, &catalog, "production_deploy", asked)));
    let again = |policy: &Policy, arguments: &str| {
        call_with(policy, &catalog, "production_deploy", arguments, Some(&approval))
    };

    let permit = permitted(again(&safety, asked));
    assert_eq!(permit.decision(), Ruling::RequireApproval);
    assert_eq!(permit.digest(), approval.digest());
    assert_eq!(permit.approval().unwrap().hold(), approval.hold());
    assert_eq!(permit.arguments().get("replicas"), Some(&10.into()));

    let other = r#"{"name":"api","namespace":"app","replicas":50}"#;
    let Decision::NotCovered { approved, now, .. } = again(&safety, other) else { panic!() };
    assert_eq!(approved, *approval.digest());
    assert_ne!(now, approved);

    let tighter = policy(&SAFETY.replace("max_replicas: 10", "max_replicas: 5"), &catalog);
    assert!(matches!(again(&tighter, asked), Decision::NotCovered { .. }));
    let forbidden = policy(&SAFETY.replace("REQUIRE_APPROVAL", "DENY"), &catalog);
    denied(again(&forbidden, asked));
    let looser = policy(&SAFETY.replace("environment: production", "environment: none"), &catalog);
    assert_eq!(permitted(again(&looser, asked)).approval().unwrap().hold(), approval.hold());
}

#[test]
fn the_shortest_clock_of_the_rules_that_ask_counts() {
    let catalog = catalog(CLUSTER);
    let policy = policy(
        "rules:
  - { name: a, match: {}, decision: REQUIRE_APPROVAL, reason: prod is prod, approval: { decide_within: 2h, execute_within: 5m } }
  - { name: b, match: {}, decision: REQUIRE_APPROVAL, approval: { decide_within: 30m } }
  - { name: c, match: {}, decision: ALLOW }
",
        &catalog,
    );
    let proposal = held(call(&policy, &catalog, "pods_list", "{}"));
    assert_eq!(proposal.decide_within, SignedDuration::from_mins(30));
    assert_eq!(proposal.execute_within, SignedDuration::from_mins(5));
    assert_eq!(proposal.rules, ["a", "b"]);
    assert_eq!(proposal.reason, "rules `a`, `b` require approval: prod is prod");
}

#[test]
fn the_gateways_own_constraints_only_tighten() {
    let catalog = catalog(CLUSTER);
    let policy = policy(
        "rules:
  - { name: a, match: { tool: production_deploy }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { timeout: 10s, max_result_bytes: 4096 } }
  - { name: b, match: {}, decision: ALLOW_WITH_CONSTRAINTS, constraints: { timeout: 15m, max_result_bytes: 9000000 } }
",
        &catalog,
    );
    let permit = permitted(call(&policy, &catalog, "production_deploy", r#"{"name":"x"}"#));
    assert_eq!(permit.timeout().as_secs(), 10);
    assert_eq!(permit.max_result_bytes(), 4096);
    let permit = permitted(call(&policy, &catalog, "pods_list", "{}"));
    assert_eq!(permit.timeout().as_secs(), 30);
    assert_eq!(permit.max_result_bytes(), 1 << 20);
    assert!(permit.edits().is_empty());
}

#[test]
fn shows_only_tools_that_some_call_of_could_run() {
    let catalog = catalog(CLUSTER);
    let check = |rules: &str, agent: &str, tool: &str, listed: bool| {
        let policy = policy(rules, &catalog);
        let tool = catalog.tool(tool).unwrap();
        let caller = principal(agent, &["ops"]);
        assert_eq!(policy.lists(&caller, Some("claude"), tool), listed, "{rules} {agent}");
    };
    check(SAFETY, "robot", "production_deploy", true);
    check(SAFETY, "robot", "database_drop", false);
    check(SAFETY, "robot", "pods_list", false);
    // Only calls with `env: prod` are covered, but some are.
    check(SAFETY, "robot", "access_grant", true);
    let dynamic = "rules:
  - { name: a, match: { agent: 'dev-*' }, decision: ALLOW }
  - { name: b, match: { agent: dev-2, group: ops, client: claude }, decision: DENY }
  - { name: c, match: { environment: production }, decision: DENY }
";
    check(dynamic, "dev-1", "pods_list", true);
    check(dynamic, "dev-2", "pods_list", false);
    check(dynamic, "robot", "pods_list", false);
    check(dynamic, "dev-1", "database_drop", false);
    check(dynamic, "dev-1", "access_grant", true);
    check("default: ALLOW", "robot", "pods_list", true);
    let partly = "rules: [{ name: c, match: { environment: production }, decision: DENY }]";
    check(partly, "robot", "access_grant", false);
    check(&format!("default: ALLOW\n{partly}"), "robot", "access_grant", true);
}

#[test]
fn denies_tools_it_was_not_loaded_with_or_whose_parameters_are_unknown() {
    let loaded = catalog(CLUSTER);
    let policy = policy("rules: [{ name: all, match: {}, decision: ALLOW }]", &loaded);
    let other = catalog(CLUSTER);
    let denial = denied(call(&policy, &other, "pods_list", "{}"));
    assert_eq!(denial.kind, DenialKind::Unbound);

    let manifest = "
backend: { name: remote, mcp: { url: 'http://127.0.0.1:1/' } }
tools:
  - { name: scale, attributes: { action_type: write } }
";
    let rules = "rules:
  - { name: limit, match: { tool: scale }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { max_replicas: 3 } }
";
    let unknown = catalog(manifest);
    let policy = super::policy(rules, &unknown);
    let denial = denied(call(&policy, &unknown, "scale", "{}"));
    assert_eq!(denial.kind, DenialKind::Unbound);
    assert_eq!(denial.rules, ["limit"]);
    assert!(!policy.lists(&principal("robot", &[]), None, unknown.tool("scale").unwrap()));

    let definition = Definition {
        name: "scale".into(),
        title: None,
        description: None,
        input_schema: object(r#"{"type":"object","properties":{"replicas":{"type":"integer"}}}"#),
        output_schema: None,
        annotations: None,
    };
    let learned = HashMap::from([("remote".to_owned(), Ok(vec![definition].into()))]);
    let known = catalog_with(&[manifest], &learned);
    let policy = super::policy(rules, &known);
    let permit = permitted(call(&policy, &known, "scale", r#"{"replicas":9}"#));
    assert_eq!(text(permit.arguments()), r#"{"replicas":3}"#);
}

#[test]
fn limits_are_data_with_a_scope() {
    let catalog = catalog(CLUSTER);
    let policy = policy(
        "limits:
  - { name: writes, match: { action_type: write }, except: { group: oncall }, per: agent, rate: 30/minute, burst: 5 }
  - { name: all, match: {}, per: [tool, agent], rate: 2/day }
",
        &catalog,
    );
    let [writes, all] = policy.limits() else { panic!() };
    assert_eq!((writes.count.get(), writes.period.as_secs(), writes.burst.get()), (30, 60, 5));
    assert_eq!(writes.per, [Dimension::Agent]);
    assert_eq!((all.count.get(), all.period.as_secs(), all.burst.get()), (2, 86_400, 2));
    assert_eq!(all.per, [Dimension::Agent, Dimension::Tool]);
    let counts = |limit: &Limit, group: &str, tool: &str| {
        let checked = catalog.tool(tool).unwrap().check(Object::new()).unwrap();
        limit.matches(&principal("robot", &[group]), None, &checked)
    };
    assert!(counts(writes, "ops", "database_drop"));
    assert!(!counts(writes, "oncall", "database_drop"));
    assert!(!counts(writes, "ops", "pods_list"));
    assert!(counts(all, "oncall", "pods_list"));
}
