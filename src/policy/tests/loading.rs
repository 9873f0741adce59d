//! What is refused when a policy is loaded, and what is only told.

use super::*;

/// Checks that loading fails with exactly these problems, each `line:column: message`, and that the
/// report has every one of `hints`.
#[track_caller]
fn check(text: &str, problems: &[&str], hints: &[&str]) {
    let catalog = catalog(CLUSTER);
    let error = Policy::load(vec![file("p.yaml", text)], &catalog).unwrap_err();
    let found: Vec<String> = error
        .all()
        .iter()
        .map(|problem| format!("{}: {}", &problem.location()[7..], problem.message()))
        .collect();
    assert_eq!(found, problems, "{error}");
    let report = error.to_string();
    for hint in hints {
        assert!(report.contains(hint), "{hint} is not in {report}");
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    check(
        "rules:
  - name: a
    match: { enviroment: production, tool: 5 }
    decision: REQUIRE_APROVAL
    mood: shadow
  - name: b
    decision: deny
  - { name: c, match: {}, decision: DENY, reviewers: [x] }
extra: 1
",
        &[
            "9:1: unknown key `extra`",
            "5:5: unknown key `mood`",
            "3:14: unknown key `enviroment`",
            "3:44: `tool`: `5` is not a text",
            "4:15: `decision`: `REQUIRE_APROVAL` is not a decision",
            "6:5: a rule needs `match`",
            "7:15: `decision`: `deny` is not a decision",
            "8:43: unknown key `reviewers`",
        ],
        &[
            "did you mean `environment`?",
            "did you mean `REQUIRE_APPROVAL`?",
            "did you mean `DENY`?",
            "write `match: {}` if every call is meant",
            "the keys here are name, match, except, decision, reason, constraints, approval",
        ],
    );
}

#[test]
fn names_are_unique_over_all_files() {
    let catalog = catalog(CLUSTER);
    let rule = "rules:\n  - { name: a, match: {}, decision: DENY }\n";
    let files = vec![file("one.yaml", rule), file("two.yaml", rule)];
    let error = Policy::load(files, &catalog).unwrap_err().to_string();
    assert!(error.starts_with("two.yaml:2:13: duplicate rule name `a`"), "{error}");
    assert!(error.contains("one.yaml:2:13 has one of this name"), "{error}");
    let files = vec![file("one.yaml", "default: DENY"), file("two.yaml", "default: ALLOW")];
    let error = Policy::load(files, &catalog).unwrap_err().to_string();
    assert!(error.starts_with("two.yaml:1:1: `default` may stand in one file only"), "{error}");
    assert!(error.contains("one.yaml:1:10 says it already"), "{error}");
}

#[test]
fn keys_values_and_patterns_are_checked() {
    check("rules: [{ name: a, name: b }]", &["1:20: duplicate key `name`"], &[]);
    check("", &["1:1: the file is empty"], &["write `rules: []`"]);
    check("rules: 5", &["1:8: `rules` must be a list"], &[]);
    check(
        "default: ALLOW_WITH_CONSTRAINTS",
        &["1:10: a default has no constraints to allow with"],
        &[],
    );
    let matching = |conditions: &str, problem: &str, hint: &str| {
        let rule = format!("rules:\n- name: a\n  decision: DENY\n  match: {conditions}");
        check(&rule, &[problem], &[hint]);
    };
    matching("", "4:8: expected a mapping of keys to values", "its keys are agent");
    matching("{ tool: [] }", "4:18: an empty list matches nothing", "leave the key out");
    matching("{ tool: [a, ''] }", "4:22: an empty text matches nothing", "");
    matching(
        "{ tool: [a, 'b[']}",
        "4:22: `b[` is not a glob: unclosed character class; missing ']'",
        "",
    );
    matching("{ risk: hig }", "4:18: `hig` is not a risk", "did you mean `high`?");
    matching("{ risk: '>=hihg' }", "4:18: `hihg` is not a risk", "did you mean `high`?");
    matching("{ risk: '=>high' }", "4:18: `=>` is not a comparison", "use one of");
    matching("{ risk: '>critical' }", "4:18: no risk is `>critical`", "");
    matching(
        "{ action_type: Write }",
        "4:25: `Write` is not an action type",
        "did you mean `write`?",
    );
    matching("{}\n  except: {}", "5:11: an empty `except` excepts every call", "leave");
}

#[test]
fn decisions_and_their_parts_belong_together() {
    let rule = |rest: &str| format!("rules:\n- name: a\n  match: {{}}\n  {rest}\n");
    for decision in ["ALLOW", "DENY"] {
        check(
            &rule(&format!("decision: {decision}\n  constraints: {{ timeout: 5s }}")),
            &[&format!("5:3: rule `a` has constraints, but its decision is {decision}")],
            &["use ALLOW_WITH_CONSTRAINTS or REQUIRE_APPROVAL"],
        );
    }
    for constraints in ["", "\n  constraints: {}"] {
        check(
            &rule(&format!("decision: ALLOW_WITH_CONSTRAINTS{constraints}")),
            &["4:13: rule `a` is ALLOW_WITH_CONSTRAINTS without constraints"],
            &["or use ALLOW"],
        );
    }
    check(
        &rule("decision: DENY\n  approval: { decide_within: 1h }"),
        &["5:3: rule `a` has `approval`, but its decision is DENY"],
        &[],
    );
    check(
        &rule("decision: REQUIRE_APPROVAL\n  approval: { decide_within: soon, quorom: 2 }"),
        &["5:36: unknown key `quorom`", "5:30: `decide_within`: `soon` is not a length of time"],
        &["write it like `30s`"],
    );
    check(
        &rule("decision: REQUIRE_APPROVAL\n  approval: { execute_within: 1000h }"),
        &["5:31: longer than 30 days"],
        &[],
    );
}

#[test]
fn limits_are_checked() {
    let limit = |rest: &str| format!("limits:\n- name: a\n  match: {{}}\n  {rest}\n");
    for rate in ["30/min", "0/minute", "often", "30", "-1/day"] {
        check(
            &limit(&format!("per: agent\n  rate: {rate}")),
            &[&format!("5:9: `rate`: `{rate}` is not a rate")],
            &["write it like `30/minute`"],
        );
    }
    check(
        &limit("per: [agent, user]\n  rate: 1/day\n  burst: 0"),
        &[
            "4:8: `per`: `user` cannot be counted by",
            "6:10: `burst`: invalid value: integer `0`, expected a nonzero u32",
        ],
        &["use one or several of agent, tool"],
    );
    check(&limit("per: agent"), &["2:3: `rate` is missing"], &[]);
}

/// A rule with these conditions and constraints, whose faults stand on line 5.
#[track_caller]
fn constrained(conditions: &str, constraints: &str, problems: &[&str], hints: &[&str]) {
    let rule = format!(
        "rules:\n- name: a\n  match: {conditions}\n  decision: ALLOW_WITH_CONSTRAINTS\n  \
         constraints: {constraints}\n"
    );
    check(&rule, problems, hints);
}

#[test]
fn a_constraint_binds_to_every_tool_its_rule_can_match_or_does_not_load() {
    constrained(
        "{ action: deploy }",
        "{ max_replica: 10 }",
        &[
            "5:18: rule `a`: `max_replica` binds to no parameter of tool `production_deploy`",
            "5:18: rule `a`: `max_replica` binds to no parameter of tool `staging_deploy`",
        ],
        &["the nearest parameter is `replicas`"],
    );
    constrained(
        "{ environment: production, agent: x }",
        "{ timeout: 5s, allowed_namespaces: [a] }",
        &[
            "5:31: rule `a`: `allowed_namespaces` binds to no parameter of tool `access_grant`",
            "5:31: rule `a`: `allowed_namespaces` binds to no parameter of tool `database_drop`",
        ],
        &["its parameters are env", "the nearest parameter is `name`"],
    );
    constrained(
        "{ tool: staging_deploy }",
        "{ max_name: 3 }",
        &[
            "5:18: rule `a`: `max_name` needs a number, but parameter `name` of tool `staging_deploy` is not one",
        ],
        &[],
    );
    constrained(
        "{ tool: staging_deploy }",
        "{ max_replicas: 1.5 }",
        &[
            "5:18: rule `a`: `max_replicas` is 1.5, but parameter `replicas` of tool `staging_deploy` is an integer",
        ],
        &[],
    );
    constrained(
        "{ tool: access_grant }",
        "{ set_env: stg }",
        &[
            "5:18: rule `a`: `set_env` would change parameter `env` of tool `access_grant`, which chooses an attribute of the call",
        ],
        &["match on the attribute"],
    );
    constrained(
        "{ tool: nothing }",
        "{ maxreplicas: 3, max_x: '3', allowed_y: [], timeout: 5, denied_z: { k: v }, max_w: 9007199254740993, dry_run: false, redact: ['(', 'x*'] }",
        &[
            "5:18: `maxreplicas` is not a constraint",
            "5:34: `max_x` needs a number, not `\"3\"`",
            "5:46: `allowed_y` lists 1 to 10000 values",
            "5:61: `timeout` cannot be `5`",
            "5:73: `denied_z` lists texts, numbers or booleans",
            "5:93: `/max_w` is an integer beyond 2^53 - 1; send it as a string",
            "5:118: `dry_run` cannot be `false`",
            "5:134: `redact` cannot be `(`: error: unclosed group",
        ],
        &["constraints are max_P"],
    );
}

#[test]
fn a_constraint_names_no_value_that_would_refuse_everything_or_nothing() {
    let misfit = |constraint: &str, value: &str, (parameter, of): (&str, &str), hint: &str| {
        let name = constraint.split(':').next().unwrap();
        let problem = format!(
            "5:18: rule `a`: `{name}` names {value}, but parameter `{parameter}` of tool \
             `staging_deploy` is of type {of}"
        );
        constrained(
            "{ tool: staging_deploy }",
            &format!("{{ {constraint} }}"),
            &[&problem],
            &[hint],
        );
    };
    let (text, number) = (("namespace", "string"), ("replicas", "integer"));
    let never = "no call could ever have that value";
    misfit("allowed_namespaces: 5", "5", text, "write it in quotes: `'5'`");
    misfit("allowed_namespaces: [app, 1.0]", "1.0", text, "write it in quotes: `'1.0'`");
    misfit("denied_namespace: true", "true", text, "write it in quotes: `'true'`");
    misfit("denied_replicas: ['3']", "\"3\"", number, never);
    misfit("allowed_replicas: 2.5", "2.5", number, never);
    misfit("set_replicas: '3'", "\"3\"", number, never);
    misfit("set_namespace: [app]", "[\"app\"]", text, never);
}

#[test]
fn tells_what_is_hardly_meant() {
    let catalog = catalog(CLUSTER);
    let policy = policy(
        "rules:
  - { name: lost, match: { tool: pod_list }, decision: ALLOW }
  - { name: reads, match: { action_type: read, environment: prodution }, decision: ALLOW }
  - { name: deploys, match: { tool: '*_deploy' }, decision: ALLOW }
  - { name: grants, match: { tool: access_grant }, decision: DENY }
",
        &catalog,
    );
    let warnings: Vec<String> = policy
        .warnings()
        .iter()
        .map(|warning| format!("{} {}", warning.location(), warning.message()))
        .collect();
    assert_eq!(
        warnings,
        [
            "policy.yaml:2:34 nothing in the catalog has `tool: pod_list`",
            "policy.yaml:3:61 nothing in the catalog has `environment: prodution`",
            "policy.yaml:2:13 rule `lost` can match no tool",
            "policy.yaml:3:13 rule `reads` can match no tool",
            // Not `access_grant`, which is denied on purpose.
            "policy.yaml:1:1 no rule allows tool `database_drop`: all its calls are denied",
            "policy.yaml:1:1 no rule allows tool `pods_list`: all its calls are denied",
        ]
    );
    let limits = "limits:\n  - { name: a, match: {}, per: [agent, workflow], rate: 1/day }\n  - { name: b, match: {}, per: [agent, tool], rate: 1/day }\n";
    let limited = super::policy(
        &format!("default: DENY\nrules: [{{ name: r, match: {{}}, decision: ALLOW }}]\n{limits}"),
        &catalog,
    );
    let [warning] = limited.warnings().try_into().unwrap();
    assert_eq!(warning.location(), "policy.yaml:4:32");
    assert!(warning.message().starts_with("callers name their workflow themselves"));
    let open = super::policy("default: ALLOW", &catalog);
    let [warning] = open.warnings().try_into().unwrap();
    assert_eq!(warning.message(), "every call that no rule matches is allowed");
    let nothing = Policy::load(Vec::new(), &catalog).unwrap();
    assert!(nothing.warnings()[0].to_string().contains("no rule allows tool"));
}

#[test]
fn summaries_name_the_tools_a_rule_can_match() {
    let catalog = catalog(CLUSTER);
    let policy = policy(SAFETY, &catalog);
    assert_eq!(policy.rule_count(), 3);
    assert_eq!(policy.sources().count(), 1);
    let shown: Vec<String> = policy
        .rules()
        .map(|rule| {
            format!("{} {} {} {:?}", rule.location, rule.name, rule.decision.as_str(), rule.tools)
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"policy.yaml:4:11 production-writes REQUIRE_APPROVAL ["access_grant", "database_drop", "production_deploy"]"#,
            r#"policy.yaml:11:11 deployment-limits ALLOW_WITH_CONSTRAINTS ["production_deploy", "staging_deploy"]"#,
            r#"policy.yaml:21:11 no-delete-databases DENY ["database_drop"]"#,
        ]
    );
}

#[test]
fn the_schema_for_editors_accepts_what_loads() {
    let schema = serde_json::to_value(schemars::schema_for!(rules::PolicyFile)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let read = |text: &str| -> Value { serde_yaml::from_str(text).unwrap() };
    assert!(validator.is_valid(&read(SAFETY)));
    let limits = "limits: [{ name: a, match: {}, per: [agent], rate: 1/day, burst: 2 }]";
    assert!(validator.is_valid(&read(limits)));
    for wrong in
        ["rule: []", "rules: [{ name: a, match: { x: y }, decision: DENY }]", "default: deny"]
    {
        assert!(!validator.is_valid(&read(wrong)), "{wrong}");
    }
}
