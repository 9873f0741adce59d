//! The tools for policy that need no gateway: cases and their coverage, findings, and what changes.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Output, TestGateway, run, text};

const RULES: &str = r"
rules:
  - { name: looks, match: { action: look }, decision: ALLOW }
  - name: counting
    match: { tool: count }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { allowed_lines: [x, y] }
  - { name: guests, match: { group: guests, action_type: write }, decision: DENY, reason: guests look }
  - { name: slow, match: { tool: count_slowly }, decision: REQUIRE_APPROVAL }
";

const CASES: &str = r"
tests:
  - { name: looking, agent: a, tool: look, arguments: { line: x }, expect: ALLOW, rules: [looks] }
  - { name: counting, agent: a, tool: count, arguments: { line: x }, expect: ALLOW_WITH_CONSTRAINTS, arguments_after: { line: x } }
  - { name: another line, agent: a, tool: count, arguments: { line: z }, expect: DENY, rules: [counting] }
  - { name: guests, agent: a, groups: [guests], tool: count, arguments: { line: x }, expect: DENY, reason_contains: guests look }
  - { name: slow, agent: a, tool: count_slowly, arguments: { line: x, seconds: 1 }, expect: REQUIRE_APPROVAL }
";

fn prepared(rules: &str, cases: &str) -> TestGateway {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", rules).prepare();
    gateway.put_policy("rules.test.yaml", cases);
    gateway
}

fn tested(rules: &str, cases: &str, more: &[&str]) -> Output {
    prepared(rules, cases).cli(&[&["policy", "test"], more].concat())
}

#[test]
fn cases_that_hold_pass_and_cover_the_rules() {
    let out = tested(RULES, CASES, &["--min-coverage", "100", "--output", "json"]);
    let told = out.json();
    assert_eq!(told["passed"], 5, "{told}");
    assert_eq!(told["failed"], 0);
    assert_eq!(told["coverage"]["percent"], 100.0);
    assert_eq!(told["cases"][3]["decided_by"][0]["location"], "policies/rules.yaml:8:13");
}

#[test]
fn a_case_that_does_not_hold_says_what_is_decided_and_where_the_rule_stands() {
    let cases = CASES.replace("expect: ALLOW, rules: [looks]", "expect: DENY, rules: [guests]");
    let out = tested(RULES, &cases, &[]);
    assert_eq!(out.code, 1, "{out:?}");
    for part in [
        "failed: policies/rules.test.yaml:3:",
        "expected DENY, found ALLOW",
        "expected to be decided by guests, found looks",
        "decided by looks (policies/rules.yaml:3:",
        "5 cases: 4 passed, 1 failed",
    ] {
        assert!(out.stdout.contains(part), "`{part}` is missing in {out:?}");
    }
    let edited = CASES.replace("arguments_after: { line: x }", "arguments_after: { line: y }");
    let out = tested(RULES, &edited, &[]);
    assert!(out.stdout.contains(r#"expected the arguments {"line":"y"}, found {"line":"x"}"#));
    let reason = CASES.replace("guests look }", "nobody looks }");
    let out = tested(RULES, &reason, &["--filter", "guests"]);
    assert!(out.code == 1 && out.stdout.contains("1 case: 0 passed"), "{out:?}");
    assert!(out.stdout.contains("expected `nobody looks` in the reason"), "{out:?}");
}

#[test]
fn a_case_says_what_agents_hold_and_which_budgets_are_spent() {
    let rules = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - { name: sealed, match: { action: count, workflow_holds: [private_data] }, decision: DENY }
  - { name: tries, match: { tool: count_slowly }, decision: ALLOW_WITH_CONSTRAINTS, constraints: { dry_run: true } }
budgets:
  - { name: few, match: { action: count }, per: agent, spend: { calls: 1 } }
  - { name: asked, match: { action: look }, per: agent, spend: { calls: 1 }, then: REQUIRE_APPROVAL }
";
    let manifest = "backend: { name: notes, command: { program: cat } }\ntools: [{ name: notes, description: Notes., brings: [private_data], attributes: { action_type: read }, input_schema: { type: object }, run: [] }]\n";
    let case = |name: &str, more: &str| format!("  - {{ name: {name}, agent: a, {more} }}\n");
    let count = "tool: count, arguments: { line: x }";
    let look = "tool: look, arguments: { line: x }";
    let cases = [
        case("free", &format!("{count}, expect: ALLOW")),
        case("held", &format!("{count}, holds: [private_data], expect: DENY, rules: [sealed]")),
        case(
            "spent",
            &format!("{count}, spent: [few, asked], expect: DENY, rules: ['budget:few']"),
        ),
        case("asks", &format!("{look}, spent: [few, asked], expect: REQUIRE_APPROVAL")),
        case(
            "tried",
            "tool: count_slowly, arguments: { line: x, seconds: 1 }, expect: DENY, reason_contains: only tried",
        ),
    ];
    let cases = format!("tests:\n{}", cases.concat());
    let gateway = prepared(rules, &cases);
    gateway.put_manifest("notes.yaml", manifest);
    let out = gateway.cli(&["policy", "test", "--min-coverage", "100"]);
    assert!(out.code == 0 && out.stdout.contains("5 cases: 5 passed"), "{out:?}");
    gateway.put_policy("rules.test.yaml", &cases.replace("[few, asked]", "[fev]"));
    let out = gateway.cli(&["policy", "test"]);
    assert!(out.stdout.contains("no budget `fev`; did you mean `few`?"), "{out:?}");
}

#[test]
fn a_rule_counts_as_covered_only_where_a_call_comes_out_otherwise_without_it() {
    // Of two rules that allow the same, each can be left out.
    let more = format!("{RULES}  - {{ name: again, match: {{ tool: look }}, decision: ALLOW }}\n");
    let cases = CASES.replace(", rules: [looks]", "");
    let out = tested(&more, &cases, &["--min-coverage", "100"]);
    assert_eq!(out.code, 1, "{out:?}");
    for rule in ["looks", "again"] {
        let told = format!("{rule}: matched, but no case comes out otherwise without it");
        assert!(out.stdout.contains(&told), "{out:?}");
    }
    assert!(out.stdout.contains("3 of 5 rules covered (60.0 %)"), "{out:?}");
    assert!(out.stderr.contains("less than 100 %"), "{out:?}");
    let none = "tests:\n  - { name: looking, agent: a, tool: look, arguments: { line: x }, expect: ALLOW }\n";
    let out = tested(RULES, none, &["--coverage"]);
    assert!(out.code == 0 && out.stdout.contains("slow: no case matches it"), "{out:?}");
}

#[test]
fn files_of_cases_are_read_strictly_and_are_no_rules() {
    let case = "name: a, agent: a, tool: look, arguments: { line: x }, expect: ALLOW";
    for (text, parts) in [
        (
            format!("tests: [{{ {case}, expct: DENY }}]"),
            vec!["rules.test.yaml:1:", "expct", "expect"],
        ),
        ("tests: [{ name: a, agent: a, tool: look, expect: ALOW }]".to_owned(), vec!["ALOW"]),
        (format!("tests: [{{ {case} }}, {{ {case} }}]"), vec!["duplicate test name `a`"]),
        ("test: []".to_owned(), vec!["rules.test.yaml:1:1", "did you mean `tests`?"]),
        (
            "tests: [{ name: a, agent: a, tool: look, expect: DENY, arguments_after: {} }]"
                .to_owned(),
            vec!["arguments_after", "denied"],
        ),
        ("tests: []".to_owned(), vec!["has no cases"]),
    ] {
        let out = tested(RULES, &text, &[]);
        assert_eq!(out.code, 2, "{text}: {out:?}");
        for part in parts {
            assert!(out.stderr.contains(part), "`{part}` is missing in {out:?}");
        }
    }
    // What is no call at all fails, and says why.
    let unknown = "tests:\n  - { name: a, agent: a, tool: lok, expect: ALLOW }\n  - { name: b, agent: a, tool: look, expect: DENY }\n";
    let out = tested(RULES, unknown, &[]);
    assert_eq!(out.code, 1);
    assert!(out.stdout.contains("no tool `lok`; did you mean `look`?"), "{out:?}");
    assert!(out.stdout.contains("do not fit `look`"), "{out:?}");
    // A gateway reads no rules from them, and takes no change of them for one of the rules.
    let mut gateway = prepared(RULES, CASES);
    gateway.launch();
    let before = gateway.api_get("/api/v1/policy").json()["revision"].clone();
    gateway.put_policy("rules.test.yaml", "not even: [YAML");
    let reloaded = gateway.api_post("/api/v1/policy/reload", &json!({}));
    assert_eq!((reloaded.status, &reloaded.json()["revision"]), (200, &before));
}

#[test]
fn other_programs_read_the_results() {
    let cases = CASES.replace("name: looking,", "name: '\"look\" <&> it''s',");
    let cases = cases.replace("expect: ALLOW, rules: [looks]", "expect: DENY");
    let out = tested(RULES, &cases, &["--output", "junit"]);
    assert_eq!(out.code, 1);
    let script = "import sys, json, xml.etree.ElementTree as E\nr = E.fromstring(sys.stdin.read())\n\
                  print(json.dumps({'tests': r.get('tests'), 'failures': r.get('failures'), \
                  'names': [c.get('name') for c in r.iter('testcase')], \
                  'messages': [f.get('message') for f in r.iter('failure')]}))";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), out.stdout.as_bytes()).unwrap();
    let read: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((&read["tests"], &read["failures"]), (&json!("5"), &json!("1")));
    assert_eq!(read["names"][0], r#""look" <&> it's"#);
    assert_eq!(read["messages"], json!(["expected DENY, found ALLOW"]));
    let schema = prepared(RULES, CASES).cli(&["schema", "policy-test"]).json();
    assert!(schema["properties"]["tests"].is_object(), "{schema}");
}

#[test]
fn the_shipped_rules_hold_to_their_cases_every_one_of_them() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(crate::harness::PROGRAM);
    command.args(["policy", "test", "--min-coverage", "100", "--output", "json"]);
    command.args(["--directory", root]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let out = run(command);
    let told = out.json();
    assert_eq!(told["failed"], 0, "{told}");
    assert_eq!(told["coverage"]["covered"], told["coverage"]["rules"], "{told}");
}

fn warnings(rules: &str) -> Vec<String> {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", rules).prepare();
    let told = gateway.cli(&["policy", "check", "--output", "json"]).json();
    let all = told["warnings"].as_array().unwrap();
    all.iter().map(|it| it["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rules_that_change_nothing_are_found_and_no_others() {
    let base = "rules:\n  - { name: all, match: {}, decision: ALLOW, except: { group: nobody } }\n";
    for (rules, found) in [
        // A denial of the same tools, a wider one, one of a group that a list has, one by a pattern.
        (
            "{ name: a, match: { tool: count }, decision: ALLOW }|{ name: d, match: { tool: [count, look] }, decision: DENY }",
            "a",
        ),
        (
            "{ name: a, match: { tool: count, group: x }, decision: REQUIRE_APPROVAL }|{ name: d, match: { action_type: write, group: [x, y] }, decision: DENY }",
            "a",
        ),
        (
            "{ name: a, match: { tool: count, agent: ci-1 }, decision: ALLOW }|{ name: d, match: { agent: 'ci-*' }, decision: DENY }",
            "a",
        ),
        // Two denials, each of one of its tools.
        (
            "{ name: a, match: { tool: [count, look] }, decision: ALLOW }|{ name: d, match: { tool: count }, decision: DENY }|{ name: e, match: { tool: look }, decision: DENY }",
            "a",
        ),
        // None where some call is left: another tool, another group, an exception, a narrower pattern.
        (
            "{ name: a, match: { tool: [count, look] }, decision: ALLOW }|{ name: d, match: { tool: count }, decision: DENY }",
            "",
        ),
        (
            "{ name: a, match: { tool: count }, decision: ALLOW }|{ name: d, match: { tool: count, group: x }, decision: DENY }",
            "",
        ),
        (
            "{ name: a, match: { tool: count }, decision: ALLOW }|{ name: d, match: { tool: count }, except: { agent: b }, decision: DENY }",
            "",
        ),
        (
            "{ name: a, match: { tool: count, agent: 'ci-*' }, decision: ALLOW }|{ name: d, match: { agent: 'ci-1*' }, decision: DENY }",
            "",
        ),
        (
            "{ name: a, match: { tool: count, client: x }, decision: ALLOW }|{ name: d, match: { tool: count, client: y }, decision: DENY }",
            "",
        ),
        // With the same exception on both sides nothing is left.
        (
            "{ name: a, match: { tool: count }, except: { agent: b }, decision: ALLOW }|{ name: d, match: { tool: count }, except: { agent: b }, decision: DENY }",
            "a",
        ),
    ] {
        let lines: String = rules.split('|').map(|rule| format!("  - {rule}\n")).collect();
        let told = warnings(&format!("{base}{lines}"));
        let shadowed: Vec<_> = told.iter().filter(|it| it.contains("is denied by")).collect();
        match found {
            "" => assert!(shadowed.is_empty(), "{rules}: {told:?}"),
            name => {
                let start = format!("every call that rule `{name}` matches is denied by rule");
                assert!(
                    shadowed.len() == 1 && shadowed[0].starts_with(&start),
                    "{rules}: {told:?}"
                );
            }
        }
    }
}

#[test]
fn rules_that_no_call_can_match_are_found() {
    let told = warnings(
        "rules:\n  - { name: all, match: {}, decision: ALLOW }\n  - { name: none, match: { tool: count, group: x }, except: { group: [x, y] }, decision: DENY }\n  - { name: some, match: { tool: count, group: [x, z] }, except: { group: [x, y] }, decision: DENY }\n",
    );
    assert_eq!(told.iter().filter(|it| it.contains("can match no call")).count(), 1, "{told:?}");
    assert!(told.iter().any(|it| it.contains("`none` can match no call")), "{told:?}");
}

#[test]
fn a_difference_is_told_as_rules_and_as_decisions() {
    let gateway = prepared(RULES, CASES);
    let changed = RULES.replace("allowed_lines: [x, y]", "allowed_lines: [x]").replace(
        "{ name: looks, match: { action: look }, decision: ALLOW }",
        "{ name: seen, match: { action: look, group: staff }, decision: ALLOW }",
    );
    for name in ["next", "same"] {
        std::fs::create_dir(gateway.dir().join(name)).unwrap();
    }
    gateway.put("next/rules.yaml", &changed);
    let told = gateway.cli(&["policy", "diff", "policies", "next", "--output", "json"]).json();
    let rules = json!({ "added": ["seen"], "removed": ["looks"], "changed": ["counting"] });
    assert_eq!(told["rules"], rules, "{told}");
    let cells: Vec<Value> = told["cells"].as_array().unwrap().clone();
    let of = |groups: Value| cells.iter().find(|it| it["groups"] == groups && it["tool"] == "look");
    let any = of(json!([])).unwrap();
    assert_eq!(any["before"]["decisions"], json!(["ALLOW"]));
    assert_eq!(any["after"]["decisions"], json!(["DENY"]));
    assert!(of(json!(["staff"])).is_none(), "{told}");
    assert!(cells.iter().all(|it| it["tool"] == "look"), "{told}");
    let out = gateway.cli(&["policy", "diff", "policies", "next", "--exit-code"]);
    assert_eq!(out.code, 1);
    assert!(out.stdout.contains("look  (any other)  allow   deny"), "{out:?}");
    // From what was to what the gateway would read; written otherwise, the same.
    gateway.put("same/other-name.yaml", RULES);
    let out = gateway.cli(&["policy", "diff", "same", "--exit-code"]);
    assert!(out.code == 0 && out.stdout.contains("nothing changes"), "{out:?}");
    let tools = gateway.cli(&["policy", "diff", "same", "--old-tool-manifests", "none"]);
    assert_eq!(tools.code, 2, "{tools:?}");
}

#[test]
fn a_difference_from_what_is_in_force_is_told_and_from_what_was() {
    let mut gateway = prepared(RULES, CASES);
    gateway.launch();
    let before = text(&gateway.api_get("/api/v1/policy").json()["revision"]);
    gateway.put_policy("rules.yaml", &RULES.replace("name: looks,", "name: seen,"));
    let told = |words: &[&str]| {
        gateway.cli(&[&["policy", "diff"], words, &["--output", "json"]].concat()).json()["rules"]
            .clone()
    };
    let changes = json!({ "added": ["seen"], "removed": ["looks"], "changed": [] });
    assert_eq!(told(&["in-force"]), changes, "what a reload would change");
    gateway.cli(&["policy", "reload"]).done();
    let none = json!({ "added": [], "removed": [], "changed": [] });
    assert_eq!(told(&["in-force"]), none);
    assert_eq!(told(&[&before[..16], "in-force"]), changes, "what the last reload changed");
    assert_eq!(gateway.cli(&["policy", "diff", "sha256:00000000"]).code, 3);
}
