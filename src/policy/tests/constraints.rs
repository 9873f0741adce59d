//! What constraints do to arguments.

use super::*;

/// A tool whose parameters have every kind that constraints are about.
const SHAPES: &str = "
backend: { name: shapes, command: { program: shape } }
tools:
  - name: shape
    description: d
    attributes: { action_type: write }
    run: [shape]
    constraints: { max_depth: /spec/depth, allowed_zones: /spec/zones }
    input_schema:
      type: object
      properties:
        n: { type: integer, minimum: 2 }
        ratio: { type: number }
        maybe: { type: [integer, 'null'], default: null }
        pages: { type: integer, default: 30 }
        few: { type: integer, default: 3 }
        namespace: { type: string }
        region: { type: string, default: eu }
        labels: { type: array, items: { type: string } }
        mode: { type: string, enum: [safe, fast] }
        dry_run: { type: boolean }
        any: true
        spec:
          type: object
          properties:
            depth: { type: integer, default: 9 }
            zones: { type: array, items: { type: string } }
";

/// One rule per `constraints`; the outcome is the final arguments and edits, or the refusal's text.
#[track_caller]
fn outcome(constraints: &[&str], arguments: &str) -> Result<(String, Vec<Edit>), String> {
    let catalog = catalog(SHAPES);
    let rules: String = constraints
        .iter()
        .enumerate()
        .map(|(i, constraints)| {
            format!("  - {{ name: r{i}, match: {{}}, decision: ALLOW_WITH_CONSTRAINTS, constraints: {constraints} }}\n")
        })
        .collect();
    match call(&policy(&format!("rules:\n{rules}"), &catalog), &catalog, "shape", arguments) {
        Decision::Permit(permit) => Ok((text(permit.arguments()), permit.edits().to_vec())),
        Decision::Deny(denial) => Err(denial.reason),
        other @ (Decision::Hold(_) | Decision::NotCovered { .. }) => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(constraints: &[&str], arguments: &str, expected: Result<&str, &str>) {
    let found = outcome(constraints, arguments).map(|(arguments, _)| arguments);
    assert_eq!(found.as_ref().map(String::as_str).map_err(String::as_str), expected);
}

#[test]
fn clamps_numbers_as_the_rule_writes_them() {
    check(&["{ max_n: 10 }"], r#"{"n":50}"#, Ok(r#"{"n":10}"#));
    check(&["{ max_n: 10 }"], r#"{"n":10}"#, Ok(r#"{"n":10}"#));
    check(&["{ max_n: 10 }"], r#"{"n":10.0}"#, Ok(r#"{"n":10.0}"#));
    check(&["{ max_n: 10 }"], r#"{"n":1.1e1}"#, Ok(r#"{"n":10}"#));
    check(&["{ min_n: 3 }"], r#"{"n":2}"#, Ok(r#"{"n":3}"#));
    check(&["{ max_ratio: 0.10 }"], r#"{"ratio":0.1}"#, Ok(r#"{"ratio":0.1}"#));
    check(&["{ max_ratio: 0.5 }"], r#"{"ratio":0.50000001}"#, Ok(r#"{"ratio":0.5}"#));
    check(
        &["{ max_n: 9007199254740990 }"],
        r#"{"n":9007199254740991}"#,
        Ok(r#"{"n":9007199254740990}"#),
    );
    check(
        &["{ max_maybe: 5 }"],
        r#"{"maybe":null}"#,
        Err("`maybe` must be a number, at most 5; you asked for null (rule `r0`)"),
    );
}

#[test]
fn the_tightest_of_all_rules_counts() {
    let rules = ["{ max_n: 10 }", "{ max_n: 5, min_n: 3 }", "{ min_n: 4, max_n: 7 }"];
    let (arguments, edits) = outcome(&rules, r#"{"n":50}"#).unwrap();
    assert_eq!(arguments, r#"{"n":5}"#);
    assert_eq!((edits.len(), edits[0].rule.as_str()), (1, "r1"));
    check(&rules, r#"{"n":2}"#, Ok(r#"{"n":4}"#));
    check(
        &["{ max_n: 3 }", "{ min_n: 5 }"],
        r#"{"n":4}"#,
        Err("`n` has no value that all rules accept: it must be at most 3 and at least 5 \
             (rules `r1`, `r0`)"),
    );
    let sets = ["{ allowed_namespaces: [a, b] }", "{ allowed_namespace: [b, c] }"];
    check(&sets, r#"{"namespace":"b"}"#, Ok(r#"{"namespace":"b"}"#));
    check(
        &sets,
        r#"{"namespace":"a"}"#,
        Err("`namespace` must be b; you asked for a (rules `r0`, `r1`)"),
    );
    check(
        &["{ allowed_n: [2, 5, 20] }", "{ max_n: 10 }"],
        r#"{"n":30}"#,
        Err("`n` must be one of 2, 5; a rule sets it to 10 (rules `r0`, `r1`)"),
    );
}

#[test]
fn refuses_values_outside_a_set_and_names_the_set() {
    check(
        &["{ allowed_namespaces: [app, staging] }"],
        r#"{"namespace":"other"}"#,
        Err("`namespace` must be one of app, staging; you asked for other (rule `r0`)"),
    );
    check(
        &["{ allowed_labels: [a, b] }"],
        r#"{"labels":["b","a"]}"#,
        Ok(r#"{"labels":["b","a"]}"#),
    );
    check(
        &["{ allowed_labels: [a, b] }"],
        r#"{"labels":["a","c"]}"#,
        Err("`labels` must be one of a, b; you asked for c (rule `r0`)"),
    );
    check(
        &["{ denied_namespaces: [kube-system] }"],
        r#"{"namespace":"kube-system"}"#,
        Err("`namespace` must be none of kube-system; you asked for kube-system (rule `r0`)"),
    );
    check(&["{ denied_namespaces: x }"], r#"{"namespace":"app"}"#, Ok(r#"{"namespace":"app"}"#));
    check(
        &["{ denied_any: [x] }"],
        r#"{"any":[["y",{"k":"x"}]]}"#,
        Err("`any` must be none of x; you asked for x (rule `r0`)"),
    );
    check(&["{ allowed_n: [2.0, 3] }"], r#"{"n":2}"#, Ok(r#"{"n":2}"#));
    check(
        &["{ allowed_any: ['2'] }"],
        r#"{"any":2}"#,
        Err("`any` must be 2; you asked for 2 (rule `r0`)"),
    );
}

#[test]
fn one_value_is_a_set_and_any_value_is_one_where_the_schema_leaves_its_type_open() {
    check(&["{ allowed_n: 5 }"], r#"{"n":5}"#, Ok(r#"{"n":5}"#));
    check(&["{ allowed_n: [5.0] }"], r#"{"n":5}"#, Ok(r#"{"n":5}"#));
    check(&["{ allowed_ratio: [1] }"], r#"{"ratio":1.0}"#, Ok(r#"{"ratio":1.0}"#));
    check(&["{ allowed_maybe: [3] }"], r#"{"maybe":3}"#, Ok(r#"{"maybe":3}"#));
    check(&["{ denied_any: [5, x, true] }"], r#"{"any":6}"#, Ok(r#"{"any":6}"#));
    check(&["{ denied_spec: 7 }"], r#"{"spec":{"depth":1}}"#, Ok(r#"{"spec":{"depth":1}}"#));
    check(
        &["{ denied_spec: 7 }"],
        r#"{"spec":{"depth":7}}"#,
        Err("`spec` must be none of 7; you asked for 7 (rule `r0`)"),
    );
}

#[test]
fn sets_what_a_rule_sets() {
    check(&["{ set_dry_run: true }"], r#"{"dry_run":false}"#, Ok(r#"{"dry_run":true}"#));
    check(&["{ set_dry_run: true }"], "{}", Ok(r#"{"dry_run":true}"#));
    check(&["{ set_n: 20, max_n: 10 }"], r#"{"n":7}"#, Ok(r#"{"n":10}"#));
    let (_, edits) = outcome(&["{ set_dry_run: true }"], r#"{"dry_run":true}"#).unwrap();
    assert!(edits.is_empty());
    check(
        &["{ set_mode: safe }", "{ set_mode: fast }"],
        r#"{"mode":"safe"}"#,
        Err("`mode` is set to different values (rules `r0`, `r1`)"),
    );
}

#[test]
fn makes_defaults_explicit_and_asks_for_what_has_none() {
    let (arguments, edits) = outcome(&["{ max_few: 10 }"], "{}").unwrap();
    assert_eq!(arguments, r#"{"few":3}"#);
    assert_eq!((edits[0].from.as_ref(), &edits[0].to), (None, &3.into()));
    let (arguments, edits) = outcome(&["{ max_pages: 10 }"], "{}").unwrap();
    assert_eq!(arguments, r#"{"pages":10}"#);
    assert_eq!((edits.len(), edits[0].from.as_ref()), (1, None));
    check(
        &["{ allowed_regions: [us] }"],
        "{}",
        Err("`region` must be us; its default is eu, so state another (rule `r0`)"),
    );
    check(
        &["{ max_n: 10, min_n: 3 }"],
        "{}",
        Err("`n` must be stated and must be at most 10 and at least 3 (rule `r0`)"),
    );
    check(
        &["{ max_maybe: 5 }"],
        "{}",
        Err("`maybe` must be stated and must be at most 5 (rule `r0`)"),
    );
}

#[test]
fn reaches_where_the_manifest_says() {
    check(&["{ max_depth: 4 }"], r#"{"spec":{"depth":7}}"#, Ok(r#"{"spec":{"depth":4}}"#));
    check(&["{ max_depth: 4 }"], r#"{"spec":{}}"#, Ok(r#"{"spec":{"depth":4}}"#));
    check(
        &["{ max_depth: 4 }"],
        "{}",
        Err("`/spec/depth` must be stated and must be at most 4 (rule `r0`)"),
    );
    check(
        &["{ allowed_zones: [a] }"],
        r#"{"spec":{"zones":["a","b"]}}"#,
        Err("`/spec/zones` must be a; you asked for b (rule `r0`)"),
    );
    // What is set around a value is constrained inside, too.
    check(
        &["{ set_spec: { depth: 8 }, max_depth: 4 }"],
        r#"{"spec":{"depth":1}}"#,
        Ok(r#"{"spec":{"depth":4}}"#),
    );
}

#[test]
fn checks_edited_arguments_against_the_schema_again() {
    let catalog = catalog(SHAPES);
    for (constraints, arguments) in
        [("{ max_n: 1 }", r#"{"n":5}"#), ("{ set_mode: wild }", r#"{"mode":"safe"}"#)]
    {
        let rules = format!(
            "rules: [{{ name: r, match: {{}}, decision: REQUIRE_APPROVAL, constraints: {constraints} }}]"
        );
        let denial = denied(call(&policy(&rules, &catalog), &catalog, "shape", arguments));
        assert_eq!(denial.kind, DenialKind::Schema);
        assert_eq!(denial.rules, ["r"]);
        assert!(denial.reason.contains("rule `r`"), "{}", denial.reason);
    }
}

#[test]
fn shows_hostile_values_short_and_plain() {
    let long = "x".repeat(500);
    let arguments = format!(r#"{{"namespace":"a\u0007{long}"}}"#);
    let refusal = outcome(&["{ allowed_namespaces: [app] }"], &arguments).unwrap_err();
    assert!(refusal.len() < 200 && !refusal.contains('\u{7}'), "{refusal}");
}
