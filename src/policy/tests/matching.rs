//! Which calls a rule is about.

use super::*;

/// Whether a rule with this `match` (and `except`) matches a call of `tool` by agent `robot` of group
/// `ops` through client `claude`.
#[track_caller]
fn check(conditions: &str, tool: &str, arguments: &str, matches: bool) {
    let catalog = catalog(CLUSTER);
    let rule = format!("rules: [{{ name: r, {conditions}, decision: ALLOW }}]");
    let decision = call(&policy(&rule, &catalog), &catalog, tool, arguments);
    assert_eq!(matches!(decision, Decision::Permit(_)), matches, "{conditions} {tool}");
}

#[test]
fn every_key_must_hold_and_any_of_a_list_may() {
    check("match: {}", "pods_list", "{}", true);
    check("match: { agent: robot }", "pods_list", "{}", true);
    check("match: { agent: Robot }", "pods_list", "{}", false);
    check("match: { agent: [human, robot] }", "pods_list", "{}", true);
    check("match: { agent: robot, group: dev }", "pods_list", "{}", false);
    check("match: { agent: robot, group: [dev, ops] }", "pods_list", "{}", true);
    check("match: { client: claude }", "pods_list", "{}", true);
    check("match: { client: cursor }", "pods_list", "{}", false);
    check("match: { tool: pods_list }", "pods_list", "{}", true);
    check("match: { tool: [a, b] }", "pods_list", "{}", false);
    check("match: { backend: cluster }", "pods_list", "{}", true);
    check("match: { capability: kubernetes, action: list }", "pods_list", "{}", true);
    check("match: { capability: kubernetes, action: deploy }", "pods_list", "{}", false);
    check("match: { tags: [x, k8s] }", "production_deploy", r#"{"name":"x"}"#, true);
    check("match: { tags: k8s }", "pods_list", "{}", false);
}

#[test]
fn texts_are_globs() {
    check("match: { tool: 'pods_*' }", "pods_list", "{}", true);
    check("match: { tool: '*' }", "pods_list", "{}", true);
    check("match: { tool: 'pod?_list' }", "pods_list", "{}", true);
    check("match: { tool: 'Pods_*' }", "pods_list", "{}", false);
    check("match: { tool: '{pods,nodes}_list' }", "pods_list", "{}", true);
    check("match: { tool: [a, '*_list'] }", "pods_list", "{}", true);
    check(r"match: { tool: 'pods\_list' }", "pods_list", "{}", true);
    let slash = Patterns(vec!["team/*".into()]);
    let (mut files, _) = reading::Files::read(Vec::new());
    let names = patterns::Names::compile(&slash, &reading::Files::beginning(), &mut files);
    assert!(names.fit("team/a/b") && names.fit("team/") && !names.fit("team"));
}

#[test]
fn a_write_is_also_what_deletes_or_administers() {
    for (wanted, tools) in [
        ("write", [false, true, true, true]),
        ("read", [true, false, false, false]),
        ("delete", [false, false, true, false]),
        ("'*'", [true, true, true, true]),
        ("[read, admin]", [true, false, false, true]),
    ] {
        let calls = [
            ("pods_list", "{}"),
            ("staging_deploy", r#"{"name":"x"}"#),
            ("database_drop", "{}"),
            ("access_grant", r#"{"env":"prod"}"#),
        ];
        for ((tool, arguments), matches) in calls.into_iter().zip(tools) {
            check(&format!("match: {{ action_type: {wanted} }}"), tool, arguments, matches);
        }
    }
}

#[test]
fn risks_compare() {
    // `pods_list` is low, `production_deploy` high, `database_drop` critical, `staging_deploy` none.
    for (wanted, tools) in [
        ("high", [false, true, false, false]),
        ("[low, critical]", [true, false, true, false]),
        ("'>=high'", [false, true, true, false]),
        ("'>= high'", [false, true, true, false]),
        ("'>high'", [false, false, true, false]),
        ("'<high'", [true, false, false, false]),
        ("'<=high'", [true, true, false, false]),
        ("'!=high'", [true, false, true, false]),
        ("'*'", [true, true, true, false]),
    ] {
        let calls = ["pods_list", "production_deploy", "database_drop", "staging_deploy"];
        for (tool, matches) in calls.into_iter().zip(tools) {
            let arguments = if tool.ends_with("deploy") { r#"{"name":"x"}"# } else { "{}" };
            check(&format!("match: {{ risk: {wanted} }}"), tool, arguments, matches);
        }
    }
}

#[test]
fn an_attribute_that_is_absent_matches_nothing() {
    check("match: { environment: '*' }", "pods_list", "{}", false);
    check("match: {}, except: { environment: '*' }", "pods_list", "{}", true);
}

#[test]
fn an_attribute_that_an_argument_chooses_is_the_calls() {
    check("match: { environment: production }", "access_grant", r#"{"env":"prod"}"#, true);
    check("match: { environment: production }", "access_grant", r#"{"env":"stg"}"#, false);
    check("match: {}, except: { environment: staging }", "access_grant", r#"{"env":"stg"}"#, false);
    check("match: {}, except: { environment: staging }", "access_grant", r#"{"env":"prod"}"#, true);
}

#[test]
fn what_is_excepted_is_not_matched() {
    check("match: { group: ops }, except: { agent: robot }", "pods_list", "{}", false);
    check("match: { group: ops }, except: { agent: robot, tool: other }", "pods_list", "{}", true);
    check("match: { tool: '*' }, except: { tool: 'pods_*' }", "pods_list", "{}", false);
}
