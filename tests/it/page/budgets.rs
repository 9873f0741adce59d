//! What is spent of budgets, on the page.

use serde_json::json;

use super::{pictures, visit};
use crate::clients::Client as _;
use crate::harness::TestGateway;

#[test]
fn the_budgets_show_who_spent_what() {
    let policy = "rules: [{ name: all, match: {}, decision: ALLOW }]
limits: [{ name: few, match: {}, per: agent, rate: 100/hour }]
budgets:
  - { name: two-each, match: {}, per: agent, spend: { calls: 2, compute: 10m }, every: 1w }
  - { name: research, match: { agent: nobody }, per: workflow, spend: { tokens: 2000, cost_usd: 0.5 }, then: REQUIRE_APPROVAL }
";
    let gateway = TestGateway::builder().counting().policy("p.yaml", policy).start();
    let (eager, calm) = (gateway.modern("eager"), gateway.modern("calm"));
    for client in [&eager, &eager, &calm] {
        client.call("count", json!({ "line": "x" }));
    }
    let saw = visit(&gateway, "budgets", json!({ "into": pictures() }));
    let rows: Vec<&str> =
        saw["rows"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let [first, second, third] = rows.as_slice() else { panic!("{saw}") };
    for told in ["two-each", "eager", "100 %: 2 calls", "2 calls, 10 min", "refused", "p.yaml:4:"] {
        assert!(first.contains(told), "{told}: {first}");
    }
    assert!(second.contains("calm") && second.contains("50 %: 1 call,"), "{second}");
    for told in
        ["research", "each workflow", "nothing", "2,000 tokens, $0.50", "held for people", "never"]
    {
        assert!(third.contains(told), "{told}: {third}");
    }
    assert_eq!(saw["facts"], "1 limit; 2 budgets, 1 spent by somebody");
    assert_eq!((&saw["violations"], &saw["sideways"]), (&json!([]), &json!(0)), "{saw}");
}
