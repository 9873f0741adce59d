//! Which calls a standing approval covers, and what it may be bounded by.

use jiff::Timestamp;

use super::*;
use crate::digest::Digest;
use crate::hold::Standing;
use crate::ids::StandingId;

const RULES: &str = "rules:
  - { name: deploys, match: { action: deploy }, decision: REQUIRE_APPROVAL }
  - { name: production, match: { environment: production }, decision: REQUIRE_APPROVAL }
  - { name: small, match: { tool: staging_deploy }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { max_replicas: 10 } }
";

fn standing(catalog: &Catalog, tool: &str, bounds: &str) -> Standing {
    Standing {
        id: StandingId::from_random([3; 16]),
        agent: "robot".parse().unwrap(),
        tool: tool.to_owned(),
        definition_fingerprint: *catalog.tool(tool).unwrap().fingerprint(),
        waives: vec!["deploys".to_owned()],
        bounds: object(bounds),
        until: Timestamp::MAX,
        reason: None,
        granted_by: Person::local("ada".to_owned()),
        granted_at: Timestamp::UNIX_EPOCH,
        revoked_at: None,
    }
}

/// Whether a call of `tool` runs under `standing`; if not, people are asked.
fn runs(rules: &str, standing: &Standing, tool: &str, arguments: &str) -> bool {
    let catalog = catalog(CLUSTER);
    let principal = principal("robot", &[]);
    let decision = policy(rules, &catalog).decide(Facts {
        principal: &principal,
        workflow: None,
        client: None,
        checked: catalog.tool(tool).unwrap().check(object(arguments)).unwrap(),
        approval: None,
        standing: std::slice::from_ref(standing),
        spent: &[],
        holds: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    });
    match decision {
        Decision::Permit(permit) => {
            assert_eq!(permit.standing(), Some(standing.id));
            true
        }
        Decision::Hold(_) => false,
        Decision::Deny(_) | Decision::NotCovered { .. } => panic!("{decision:?}"),
    }
}

#[test]
fn a_call_within_the_bounds_runs_and_one_beyond_them_is_held() {
    let catalog = catalog(CLUSTER);
    let granted =
        standing(&catalog, "staging_deploy", r#"{"max_replicas":3,"allowed_names":["web"]}"#);
    let runs = |arguments: &str| runs(RULES, &granted, "staging_deploy", arguments);
    assert!(runs(r#"{"name":"web","replicas":3}"#));
    assert!(!runs(r#"{"name":"web","replicas":4}"#));
    assert!(!runs(r#"{"name":"db","replicas":3}"#));
}

#[test]
fn bounds_are_for_what_would_run_after_the_rules_have_edited_it() {
    let catalog = catalog(CLUSTER);
    let granted = standing(&catalog, "staging_deploy", r#"{"max_replicas":10}"#);
    assert!(runs(RULES, &granted, "staging_deploy", r#"{"name":"web","replicas":50}"#));
}

#[test]
fn another_tool_definition_or_rule_is_not_covered() {
    let catalog = catalog(CLUSTER);
    let granted = standing(&catalog, "staging_deploy", "{}");
    let call = r#"{"name":"web","replicas":1}"#;
    assert!(runs(RULES, &granted, "staging_deploy", call));
    assert!(!runs(RULES, &granted, "production_deploy", call));
    let redefined = Standing { definition_fingerprint: Digest::of(b"before"), ..granted };
    assert!(!runs(RULES, &redefined, "staging_deploy", call));
    // `production` asks too, and was not waived.
    let production = standing(&catalog, "production_deploy", "{}");
    assert!(!runs(RULES, &production, "production_deploy", call));
    // A denial is waived by nobody.
    let denying = format!("{RULES}  - {{ name: never, match: {{}}, decision: DENY }}\n");
    let principal = principal("robot", &[]);
    let decision = policy(&denying, &catalog).decide(Facts {
        principal: &principal,
        workflow: None,
        client: None,
        checked: catalog.tool("production_deploy").unwrap().check(object(call)).unwrap(),
        approval: None,
        standing: std::slice::from_ref(&production),
        spent: &[],
        holds: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    });
    denied(decision);
}

#[test]
fn bounds_that_bound_nothing_are_refused() {
    let catalog = catalog(CLUSTER);
    let tool = catalog.tool("staging_deploy").unwrap();
    let check = |bounds: &str| crate::policy::check_bounds(&object(bounds), tool);
    assert_eq!(check(r#"{"max_replicas":3,"allowed_namespaces":["app"]}"#), Ok(()));
    assert_eq!(check("{}"), Ok(()));
    for (wrong, words) in [
        (r#"{"max_nothing":3}"#, "nothing"),
        (r#"{"timeout":"3s"}"#, "bounds no parameter"),
        (r#"{"set_replicas":3}"#, "bounds no parameter"),
        (r#"{"whatever":3}"#, "whatever"),
    ] {
        let why = check(wrong).unwrap_err();
        assert!(why.contains(words), "{wrong}: {why}");
    }
    // Read again when it is used, such bounds cover nothing.
    let arguments = object(r#"{"name":"web"}"#);
    assert!(!crate::policy::within(&object(r#"{"max_nothing":3}"#), tool, &arguments));
}
