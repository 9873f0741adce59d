//! Budgets as files say them, and what a decision makes of those that are spent.

use std::time::Duration;

use super::*;
use crate::evidence::Amounts;

const ONE: &str = "
budgets:
  - { name: research-run, match: { group: research }, per: workflow, spend: { calls: 500, tokens: 200000, cost_usd: 5, compute: 10m }, then: REQUIRE_APPROVAL, alert_at: [80%, 50%] }
";

/// What is wrong with a budget that says this beside its name.
fn wrong(rest: &str) -> String {
    let text = format!("budgets:\n- name: a\n  {rest}\n");
    let problems = Policy::load(vec![file("p.yaml", &text)], &catalog(CLUSTER)).unwrap_err();
    format!("{problems}")
}

#[test]
fn the_budget_of_the_design_is_read_to_the_letter() {
    let policy = policy(ONE, &catalog(CLUSTER));
    let [budget] = policy.budgets() else { panic!() };
    assert_eq!(budget.name, "research-run");
    assert_eq!(budget.per, [Dimension::Workflow]);
    let of = Amounts { calls: 500, tokens: 200_000, micro_usd: 5_000_000, compute_ms: 600_000 };
    assert_eq!(budget.of(), of);
    assert_eq!((budget.then, budget.every), (Ruling::RequireApproval, None));
    assert_eq!(budget.alerts.at, [50, 80]);
    assert_eq!(budget.location, "policy.yaml:3:13");
    assert!(policy.may_hold());
}

#[test]
fn budgets_are_read_strictly() {
    for (rest, said) in [
        ("match: {}\n  per: agent", "`spend` is missing"),
        ("per: agent\n  spend: { calls: 1 }", "a budget needs `match`"),
        ("match: {}\n  spend: { calls: 1 }", "`per` is missing"),
        ("match: {}\n  per: agent\n  spend: {}", "a budget of nothing"),
        ("match: {}\n  per: agent\n  spend: { calls: 0 }", "not a whole number from 1"),
        ("match: {}\n  per: agent\n  spend: { calls: 1.5 }", "not a whole number from 1"),
        ("match: {}\n  per: agent\n  spend: { call: 1 }", "did you mean `calls`?"),
        ("match: {}\n  per: agent\n  spend: { cost_usd: 0 }", "a budget of no dollars"),
        ("match: {}\n  per: agent\n  spend: { cost_usd: 0.0000001 }", "not an amount of dollars"),
        (
            "match: {}\n  per: agent\n  spend: { calls: 1 }\n  then: ALLOW",
            "use DENY or REQUIRE_APPROVAL",
        ),
        ("match: {}\n  per: agent\n  spend: { calls: 1 }\n  every: 30s", "write whole minutes"),
        ("match: {}\n  per: agent\n  spend: { calls: 1 }\n  every: 0m", "write whole minutes"),
        ("match: {}\n  per: agent\n  spend: { calls: 1 }\n  every: 400d", "write whole minutes"),
        ("match: {}\n  per: agent\n  spend: { calls: 1 }\n  alert_at: [0%]", "is not a share"),
        ("match: {}\n  per: agent\n  spend: { calls: 1 }\n  alert_at: [50]", "is not a share"),
    ] {
        let told = wrong(rest);
        assert!(told.contains(said), "{rest}: {told}");
    }
    let told = wrong(
        "match: {}\n  per: agent\n  spend: { calls: 1 }\nlimits:\n- { name: a, match: {}, per: agent, rate: 1/day }",
    );
    assert!(told.contains("duplicate limit or budget name `a`"), "{told}");
}

#[test]
fn windows_begin_at_multiples_of_their_length_since_1970() {
    let text = "budgets: [{ name: a, match: {}, per: agent, spend: { calls: 1 }, every: 1d }]";
    let policy = policy(text, &catalog(CLUSTER));
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let window = policy.budgets()[0].window(at("2026-03-04T23:59:59.9Z"));
    assert_eq!(window.from, Some(at("2026-03-04T00:00:00Z")));
    assert_eq!(window.until, Some(at("2026-03-05T00:00:00Z")));
    let next = policy.budgets()[0].window(at("2026-03-05T00:00:00Z"));
    assert!(window.is_before(&next) && !next.is_before(&window));
}

fn spent(budget: &str, then: Ruling, renews_in: Option<u64>) -> Exhausted {
    let renews_in = renews_in.map(Duration::from_secs);
    Exhausted { budget: budget.into(), then, told: "1 of 1 calls".into(), renews_in }
}

fn decide(text: &str, approval: Option<&Approval>, spent: &[Exhausted]) -> Decision {
    let catalog = catalog(CLUSTER);
    let checked = catalog.tool("staging_deploy").unwrap();
    let checked = checked.check(object(r#"{"name":"x","replicas":50}"#)).unwrap();
    let principal = principal("robot", &[]);
    policy(text, &catalog).decide(Facts {
        principal: &principal,
        workflow: None,
        client: None,
        checked,
        approval,
        standing: &[],
        spent,
        holds: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    })
}

const ALLOWED: &str = "rules: [{ name: all, match: {}, decision: ALLOW }, { name: few, match: { action: deploy }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { max_replicas: 10 } }]";

#[test]
fn a_spent_budget_denies_or_holds_and_a_denial_by_a_rule_stays_one() {
    let denies = spent("run", Ruling::Deny, Some(9));
    let asks = spent("ask", Ruling::RequireApproval, None);
    let Decision::Deny(denial) = decide(ALLOWED, None, std::slice::from_ref(&denies)) else {
        panic!()
    };
    assert_eq!(denial.rules, ["budget:run"]);
    assert_eq!(denial.kind, DenialKind::Spent { renews_in: Some(Duration::from_secs(9)) });
    assert!(
        denial.reason.contains("`run` is spent (1 of 1 calls); it renews in 9 s"),
        "{}",
        denial.reason
    );
    // Of two that deny, one of which never renews, there is nothing to wait for.
    let never = spent("never", Ruling::Deny, None);
    let Decision::Deny(denial) = decide(ALLOWED, None, &[denies.clone(), never]) else { panic!() };
    assert_eq!(denial.kind, DenialKind::Spent { renews_in: None });
    assert_eq!(denial.rules, ["budget:run", "budget:never"]);

    let Decision::Hold(proposal) = decide(ALLOWED, None, std::slice::from_ref(&asks)) else {
        panic!()
    };
    assert_eq!(proposal.rules, ["few", "budget:ask"]);
    assert_eq!(proposal.asking, ["budget:ask"]);
    assert_eq!(proposal.arguments["replicas"], 10, "constraints hold all the same");
    assert!(!proposal.terms.allow_edit);

    let both = [asks, denies];
    assert!(matches!(decide(ALLOWED, None, &both), Decision::Deny(_)), "the strictest wins");
    let Decision::Deny(denial) = decide("rules: []", None, &both) else { panic!() };
    assert_eq!(denial.kind, DenialKind::NoRule);
}
