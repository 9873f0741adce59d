//! The seed policy, verbatim: every answer it gives, with a stand-in `kubectl` that records what it was run with.

use serde_json::{Value, json};

use crate::clients::{Client, refused, said};
use crate::harness::{TestGateway, text};

const SEED: &str = include_str!("../../policies/safety.yaml");

/// The rules of the seed, without comments and written another way: what the shipped file must say.
const RULES: &str = r"
rules:
  - name: production-writes
    match: { environment: production, action_type: write }
    decision: REQUIRE_APPROVAL
  - name: deployment-limits
    match: { capability: kubernetes, action: deploy }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_replicas: 10, allowed_namespaces: [app, staging] }
  - name: no-delete-databases
    match: { capability: database, action: drop }
    decision: DENY
";

fn deploy_manifest(name: &str, environment: &str) -> String {
    format!(
        r#"
backend: {{ name: kubernetes-{name}, command: {{ program: kubectl }} }}
attributes: {{ capability: kubernetes, environment: {environment} }}
tools:
  - name: deploy_{name}
    description: Set the number of replicas of a deployment.
    attributes: {{ action: deploy, action_type: write, risk: high }}
    input_schema:
      type: object
      additionalProperties: false
      required: [name, namespace, replicas]
      properties:
        name: {{ type: string, pattern: "^[a-z0-9-]{{1,63}}$" }}
        namespace: {{ type: string }}
        replicas: {{ type: integer, minimum: 0 }}
    run: [scale, "deployment/${{name}}", "--namespace=${{namespace}}", "--replicas=${{replicas}}"]
"#
    )
}

const DATABASE: &str = r#"
backend: { name: database, command: { program: kubectl } }
attributes: { capability: database, environment: staging }
tools:
  - name: drop_table
    description: Drop a table.
    attributes: { action: drop, action_type: delete }
    input_schema: { type: object, additionalProperties: false, required: [table], properties: { table: { type: string } } }
    run: [drop, "${table}"]
  - name: query
    description: Read rows.
    attributes: { action: query, action_type: read }
    input_schema: { type: object, additionalProperties: false, properties: {} }
    run: [query]
"#;

fn gateway() -> TestGateway {
    TestGateway::builder()
        .policy("safety.yaml", SEED)
        .manifest("staging.yaml", &deploy_manifest("staging", "staging"))
        .manifest("production.yaml", &deploy_manifest("production", "production"))
        .manifest("database.yaml", DATABASE)
        .kubectl()
        .start()
}

fn wanted() -> Value {
    json!({ "name": "web", "namespace": "app", "replicas": 50 })
}

const SCALED: [&str; 4] = ["scale", "deployment/web", "--namespace=app", "--replicas=10"];

fn rules_of(result: &Value) -> &Value {
    &result["_meta"]["countersign/decision"]["rules"]
}

#[test]
fn the_shipped_file_says_what_the_design_says() {
    let seed = TestGateway::builder().policy("safety.yaml", SEED).prepare();
    let design = TestGateway::builder().policy("safety.yaml", RULES).prepare();
    for gateway in [&seed, &design] {
        gateway.put_manifest("staging.yaml", &deploy_manifest("staging", "staging"));
        gateway.put_manifest("database.yaml", DATABASE);
        gateway.put("bin/kubectl", "");
    }
    let rules = |gateway: &TestGateway| {
        let checked = gateway.cli(&["policy", "check", "--output", "json"]).json();
        let Value::Array(rules) = checked["rules"].clone() else { panic!("{checked}") };
        let of =
            |rule: &Value| (rule["name"].clone(), rule["decision"].clone(), rule["tools"].clone());
        rules.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(rules(&seed), rules(&design));
    assert_eq!(rules(&seed).len(), 3);
}

#[test]
fn staging_runs_at_once_with_ten_and_the_caller_is_told() {
    let gateway = gateway();
    let result = gateway.modern("a").call("deploy_staging", wanted());
    assert_eq!(gateway.kubectl_ran(), [SCALED]);
    assert_ne!(result["isError"], true);
    let told = said(&result);
    assert!(told.contains("`/replicas`") && told.contains("10") && told.contains("50"), "{told}");
    assert!(told.contains("deployment-limits"), "{told}");
    let decision = &result["_meta"]["countersign/decision"];
    assert_eq!(decision["decision"], "ALLOW_WITH_CONSTRAINTS");
    assert_eq!(decision["rules"], json!(["deployment-limits"]));
    let edits = decision["edits"].as_array().unwrap();
    assert_eq!(edits.len(), 1, "{decision}");
    assert_eq!(
        (&edits[0]["pointer"], &edits[0]["from"], &edits[0]["to"]),
        (&json!("/replicas"), &json!(50), &json!(10))
    );
}

#[test]
fn few_replicas_are_not_edited() {
    let gateway = gateway();
    let arguments = json!({ "name": "web", "namespace": "app", "replicas": 10 });
    let result = gateway.modern("a").call("deploy_staging", arguments);
    assert_eq!(gateway.kubectl_ran(), [SCALED]);
    assert_eq!(result["_meta"]["countersign/decision"]["edits"], json!([]));
}

#[test]
fn production_is_held_with_ten_and_runs_with_ten_after_approval() {
    let gateway = gateway();
    let client = gateway.modern_with_tasks("a");
    let task = client.call("deploy_production", wanted());
    assert_eq!(task["resultType"], "task", "{task}");
    let id = gateway.pending();
    let hold = gateway.hold(&id);
    assert_eq!(hold["requested_arguments"]["replicas"], 50);
    assert_eq!(hold["arguments"]["replicas"], 10);
    assert_eq!(hold["edits"][0]["pointer"], "/replicas");
    assert_eq!(hold["rules"], json!(["production-writes", "deployment-limits"]));
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(shown.contains("\"replicas\": 10") && shown.contains("\"replicas\": 50"), "{shown}");
    assert!(gateway.kubectl_ran().is_empty(), "it ran before anybody approved");

    gateway.approve(&id);
    let task = client.task_when_done(&text(&task["taskId"]));
    assert_eq!(task["status"], "completed");
    let result = &task["result"];
    assert_eq!(gateway.kubectl_ran(), [SCALED]);
    assert!(said(result).contains("scaled"), "{result}");
    assert_eq!(*rules_of(result), json!(["production-writes", "deployment-limits"]));
    assert_eq!(result["_meta"]["countersign/decision"]["edits"][0]["from"], 50);
}

#[test]
fn another_namespace_is_refused_naming_what_would_be_accepted() {
    let gateway = gateway();
    let client = gateway.modern("a");
    for tool in ["deploy_staging", "deploy_production"] {
        let mut arguments = wanted();
        arguments["namespace"] = "other".into();
        let result = client.call(tool, arguments);
        let told = refused(&result);
        assert!(told.contains("app, staging"), "{told}");
        assert!(told.contains("deployment-limits"), "{told}");
        let named = rules_of(&result).as_array().unwrap();
        assert!(named.contains(&json!("deployment-limits")), "{result}");
    }
    assert!(gateway.kubectl_ran().is_empty());
    assert!(gateway.holds("all").is_empty(), "a person was asked about what is refused anyway");
}

#[test]
fn dropping_a_database_is_denied_by_name() {
    let gateway = gateway();
    let result = gateway.modern("a").call("drop_table", json!({ "table": "people" }));
    assert!(refused(&result).contains("no-delete-databases"), "{result}");
    assert_eq!(*rules_of(&result), json!(["no-delete-databases"]));
    assert!(gateway.kubectl_ran().is_empty());
}

#[test]
fn what_no_rule_allows_is_denied_and_says_so() {
    let gateway = gateway();
    let result = gateway.modern("a").call("query", json!({}));
    let told = refused(&result);
    assert!(told.contains("no rule"), "{told}");
    assert_eq!(*rules_of(&result), json!([]));
    assert!(gateway.kubectl_ran().is_empty());
}

#[test]
fn what_is_denied_whatever_its_arguments_is_not_listed() {
    let gateway = gateway();
    assert_eq!(gateway.modern("a").tools(), ["deploy_production", "deploy_staging"]);
}
