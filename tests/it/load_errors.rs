//! Files that are wrong: the gateway does not start, and says where and what to do.

use crate::harness::{ALLOW_ALL, Builder, TestGateway};

/// Asserts that the start fails with exit code 2, and that the message has all of `parts`.
#[track_caller]
fn check(builder: Builder, parts: &[&str]) {
    let failed = builder.expect_start_failure();
    assert_eq!(failed.code, 2, "{failed:?}");
    let first = failed.stderr.lines().next().unwrap().trim_start_matches("error: ");
    assert_eq!(failed.stderr.matches(first).count(), 1, "told twice:\n{}", failed.stderr);
    for part in parts {
        assert!(failed.stderr.contains(part), "`{part}` is missing in:\n{}", failed.stderr);
    }
}

fn policy(text: &str) -> Builder {
    TestGateway::builder().counting().policy("rules.yaml", text)
}

fn manifest(text: &str) -> Builder {
    TestGateway::builder().policy("all.yaml", ALLOW_ALL).manifest("tools.yaml", text)
}

#[test]
fn a_constraint_that_cannot_bind() {
    let text = "rules:\n  - name: limits\n    match: { action: count }\n    decision: ALLOW_WITH_CONSTRAINTS\n    constraints: { max_lines: 10 }\n";
    check(policy(text), &["policies/rules.yaml:5:", "max_lines", "limits", "count", "`line`"]);
}

#[test]
fn a_constraint_of_a_value_that_its_parameter_can_never_have() {
    let rule = |constraint: &str| {
        policy(&format!(
            "rules:\n  - name: limits\n    match: {{ action: count }}\n    decision: ALLOW_WITH_CONSTRAINTS\n    constraints: {{ {constraint} }}\n"
        ))
    };
    let place = "policies/rules.yaml:5:20";
    check(rule("allowed_lines: 5"), &[place, "limits", "`allowed_lines` names 5", "`'5'`"]);
    check(rule("denied_lines: [a, 1.0]"), &[place, "`denied_lines` names 1.0", "`'1.0'`"]);
}

#[test]
fn an_unknown_key_of_a_rule() {
    let text = "rules:\n  - name: all\n    match: {}\n    decison: ALLOW\n    decision: ALLOW\n";
    check(policy(text), &["policies/rules.yaml:4:5", "decison", "decision"]);
}

#[test]
fn an_unknown_key_of_a_match() {
    let text = "rules:\n  - name: all\n    match: { enviroment: production }\n    decision: DENY\n";
    check(policy(text), &["policies/rules.yaml:3:14", "enviroment", "environment"]);
}

#[test]
fn a_duplicate_rule_name_in_one_file() {
    let text = "rules:\n  - { name: one, match: {}, decision: ALLOW }\n  - { name: one, match: {}, decision: DENY }\n";
    check(policy(text), &["policies/rules.yaml:3:", "one", "rules.yaml:2:"]);
}

#[test]
fn a_duplicate_rule_name_in_two_files() {
    let text = "rules:\n  - { name: everything, match: {}, decision: DENY }\n";
    let builder = policy(text).policy("other.yaml", ALLOW_ALL);
    check(builder, &["policies/rules.yaml:2:", "policies/other.yaml:2:", "everything"]);
}

#[test]
fn a_duplicate_yaml_key() {
    let text = "rules:\n  - name: one\n    match: {}\n    decision: DENY\n    decision: ALLOW\n";
    check(policy(text), &["policies/rules.yaml:5:5", "decision"]);
}

#[test]
fn a_decision_that_does_not_exist() {
    let text = "rules:\n  - name: one\n    match: {}\n    decision: ALOW\n";
    check(policy(text), &["policies/rules.yaml:4:15", "ALOW", "ALLOW"]);
}

#[test]
fn a_manifest_that_is_no_yaml() {
    check(manifest("backend: {\n"), &["tool-manifests/tools.yaml:"]);
}

#[test]
fn an_unknown_key_of_a_manifest() {
    let text = "backend: { name: x, comand: { program: true } }\ntools: []\n";
    check(manifest(text), &["tool-manifests/tools.yaml:1:21", "comand", "command"]);
}

#[test]
fn an_argument_that_the_schema_does_not_have() {
    let text = "backend: { name: x, command: { program: echo } }\ntools:\n  - name: t\n    description: d\n    attributes: { action_type: read }\n    input_schema: { type: object, properties: { a: { type: string } } }\n    run: [\"${b}\"]\n";
    check(manifest(text), &["tool-manifests/tools.yaml:7:", "`b`"]);
}

#[test]
fn a_schema_that_reaches_for_the_network() {
    let text = "backend: { name: x, command: { program: echo } }\ntools:\n  - name: t\n    description: d\n    attributes: { action_type: read }\n    input_schema: { $ref: \"https://example.com/schema.json\" }\n    run: []\n";
    check(manifest(text), &["tool-manifests/tools.yaml:6:", "example.com"]);
}

#[test]
fn one_tool_name_in_two_manifests() {
    let text = |name: &str| {
        format!(
            "backend: {{ name: {name}, command: {{ program: echo }} }}\ntools:\n  - name: t\n    description: d\n    attributes: {{ action_type: read }}\n    input_schema: {{ type: object }}\n    run: []\n"
        )
    };
    let builder = manifest(&text("x")).manifest("more.yaml", &text("y"));
    check(builder, &["tool-manifests/tools.yaml:3:", "tool-manifests/more.yaml:3:"]);
}

#[test]
fn an_unknown_key_of_the_configuration() {
    let builder = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL);
    check(builder.config("holds: { windw: 5s }\n"), &["countersign.yaml:1:10", "windw", "window"]);
}

#[test]
fn a_wrong_type_in_the_configuration() {
    let builder = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL);
    check(builder.config("edge:\n  max_calls: many\n"), &["countersign.yaml:2:14"]);
}

#[test]
fn no_policies_at_all() {
    let gateway = TestGateway::builder().counting().prepare();
    std::fs::remove_dir_all(gateway.dir().join("policies")).unwrap();
    let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("policies"), "{failed:?}");
}

#[test]
fn an_address_beyond_loopback() {
    let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).prepare();
    let failed = gateway.cli(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("loopback"), "{failed:?}");
}

/// B6: one data directory, one gateway.
#[test]
fn b6_a_second_gateway_on_the_same_data() {
    let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start();
    let second = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.stderr.contains("another gateway owns"), "{second:?}");
}
