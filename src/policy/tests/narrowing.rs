//! What an agent is shown of a tool: narrower than the tool's own schema, and never too narrow.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::naive::{Call, call, manifest, rule, rule_text, tool};
use super::*;
use crate::catalog::Schema;

const TOOLS: &str = "
backend: { name: cluster, command: { program: kubectl } }
tools:
  - name: scale
    description: d
    attributes: { action_type: write, environment: { argument: env, values: { p: production, s: staging } } }
    run: [scale]
    constraints: { max_depth: /spec/depth, set_mode: /spec/mode }
    input_schema:
      type: object
      required: [env]
      properties:
        env: { type: string }
        replicas: { type: integer, minimum: 2, maximum: 80, default: 1 }
        namespace: { type: string, enum: [app, staging, kube-system] }
        labels: { type: array, items: { type: string } }
        kind: { $ref: '#/$defs/kind' }
        spec: { type: object, properties: { depth: { type: integer, default: 1 }, mode: { type: string } } }
      $defs: { kind: { type: string } }
  - name: loop
    description: d
    attributes: { action_type: read }
    run: [loop]
    input_schema:
      type: object
      properties: { replicas: { type: integer }, next: { $ref: '#/properties/replicas' } }
";

fn listing(policy: &Policy, catalog: &Catalog, agent: &str, groups: &[&str], tool: &str) -> Listed {
    policy.listing(&principal(agent, groups), None, catalog.tool(tool).unwrap()).unwrap()
}

#[test]
fn constraints_of_every_call_narrow_the_listed_schema() {
    let catalog = catalog(TOOLS);
    let policy = policy(
        "rules:
  - name: all
    match: { tool: scale }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints:
      max_replicas: 10
      min_replicas: 1
      allowed_namespaces: [app, staging]
      denied_labels: [secret]
      allowed_kind: [Deployment]
      max_depth: 3
      set_mode: safe
  - name: production
    match: { tool: scale, environment: production }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_replicas: 5 }
  - name: ann
    match: { tool: scale, agent: ann }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_replicas: 4 }
  - { name: loop, match: { tool: loop }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { max_replicas: 1 } }
",
        &catalog,
    );
    let shown = listing(&policy, &catalog, "bob", &[], "scale").input.unwrap();
    let expected = json!({
        "env": { "type": "string" },
        "replicas": { "type": "integer", "minimum": 2, "maximum": 10, "default": 1 },
        "namespace": { "type": "string", "enum": ["app", "staging"] },
        "labels": { "type": "array", "items": { "type": "string", "not": { "enum": ["secret"] } } },
        "kind": { "$ref": "#/$defs/kind", "enum": ["Deployment"] },
        "spec": { "type": "object", "properties": {
            "depth": { "type": "integer", "default": 1, "maximum": 3 },
            "mode": { "type": "string", "const": "safe" },
        } },
    });
    assert_eq!(shown["properties"], expected);
    let of_ann = listing(&policy, &catalog, "ann", &[], "scale").input.unwrap();
    assert_eq!(of_ann["properties"]["replicas"]["maximum"], json!(4));
    // What is narrowed here would be narrowed there too.
    assert_eq!(listing(&policy, &catalog, "bob", &[], "loop").input, None);
}

#[test]
fn what_must_and_what_may_be_approved_is_said() {
    let catalog = catalog(TOOLS);
    let check = |rules: &str, agent: &str, groups: &[&str], expected: Option<&str>| {
        let policy = policy(rules, &catalog);
        let listed = listing(&policy, &catalog, agent, groups, "scale");
        assert_eq!(listed.note.as_deref(), expected, "{rules}");
    };
    let each = "A person must approve each call.";
    let may = "A person may have to approve a call.";
    check("default: REQUIRE_APPROVAL\nrules: []", "bob", &[], Some(each));
    check("default: ALLOW\nrules: []", "bob", &[], None);
    let production = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - { name: held, match: { environment: production }, decision: REQUIRE_APPROVAL }";
    check(production, "bob", &[], Some(may));
    let both = "rules:
  - { name: a, match: { environment: production }, decision: REQUIRE_APPROVAL }
  - { name: b, match: { environment: staging }, decision: REQUIRE_APPROVAL }";
    check(both, "bob", &[], Some(each));
    let denied = "rules:
  - { name: a, match: { environment: production }, decision: DENY }
  - { name: b, match: { group: dev }, decision: REQUIRE_APPROVAL, approval: { reviewers: [group:sre, ann] } }
  - { name: c, match: {}, decision: ALLOW }";
    let reviewers = "A person must approve each call (reviewers: sre).";
    check(denied, "bob", &["dev"], Some(reviewers));
    check(denied, "bob", &[], None);
    let client = "rules:
  - { name: a, match: { client: claude }, decision: REQUIRE_APPROVAL }
  - { name: b, match: {}, decision: ALLOW }";
    check(client, "bob", &[], None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the listed schema refuses could not run as it was asked; what the description says of approvals is so.
    #[test]
    fn nothing_is_hidden_that_could_run_unedited(
        tools in prop::collection::vec(tool(), 4),
        rules in prop::collection::vec(rule(), 0..8),
        default in select(vec!["DENY", "REQUIRE_APPROVAL", "ALLOW"]),
        calls in prop::collection::vec(call(), 4),
    ) {
        let manifests = [0, 1].map(|backend| manifest(&tools, backend).to_string());
        let catalog = catalog_with(&manifests.each_ref().map(String::as_str), &HashMap::new());
        let rules: Vec<Value> =
            rules.iter().enumerate().map(|(number, rule)| rule_text(number, rule)).collect();
        let policy = policy(&json!({ "default": default, "rules": rules }).to_string(), &catalog);
        for Call { agent, groups, client, tool, .. } in calls {
            let tool = catalog.tool(&format!("tool{tool}")).unwrap();
            let principal = principal(agent, &groups);
            let listed = policy.listing(&principal, client, tool);
            prop_assert_eq!(listed.is_some(), policy.lists(&principal, client, tool));
            let Some(Listed { input, note }) = listed else { continue };
            let input = input.map(|input| Schema::compile(input).unwrap());
            let says = |words: &str| note.as_deref().is_some_and(|told| told.contains(words));
            let (must, tried) = (says("must"), says("only tried"));
            for arguments in every_kind_of_arguments() {
                let refuses = |schema: &Schema| schema.check(&Value::Object(arguments.clone())).is_err();
                let refused = input.as_ref().is_some_and(refuses);
                let checked = tool.check(arguments).unwrap();
                let facts =
                    Facts { principal: &principal, workflow: None, client, checked, approval: None, standing: &[], spent: &[], holds: &[], now: jiff::Timestamp::UNIX_EPOCH };
                match policy.decide(facts) {
                    Decision::Permit(permit) => {
                        prop_assert!(!must && !tried, "{:?}", note);
                        prop_assert!(!refused || !permit.edits().is_empty());
                    }
                    Decision::Hold(proposal) => {
                        prop_assert!(note.is_some() && !tried, "{:?}", note);
                        prop_assert!(!refused || !proposal.edits.is_empty());
                    }
                    Decision::Deny(_) => {}
                    other @ Decision::NotCovered { .. } => panic!("{other:?}"),
                }
            }
        }
    }
}

/// For every attribute that can be chosen, numbers and names within and beyond what rules say.
fn every_kind_of_arguments() -> Vec<Object> {
    let mut all = Vec::new();
    for env in ["p", "s"] {
        for n in [None, Some(0), Some(6), Some(13), Some(29)] {
            for name in [None, Some("a"), Some("b"), Some("c")] {
                let mut arguments = Object::from_iter([("env".to_owned(), env.into())]);
                arguments.extend(n.map(|n: i64| ("n".to_owned(), n.into())));
                arguments.extend(name.map(|name| ("name".to_owned(), name.into())));
                all.push(arguments);
            }
        }
    }
    all
}
