//! `when` and `mode`: what they let through, what they stop, and what is told of them.

use super::*;

/// One tool of every kind that conditions are tried on.
pub(super) const TOOL: &str = "
backend: { name: bank, command: { program: bank } }
tools:
  - name: pay
    description: d
    attributes: { capability: money, action: pay, action_type: write, risk: high, tags: [money] }
    run: [pay]
    input_schema:
      type: object
      properties:
        amount: { type: number }
        to: { type: string }
        lines: { type: array }
        more: { type: object }
";

fn rules(text: &str) -> Policy {
    policy(text, &catalog(TOOL))
}

/// What is decided about a payment at `now`, and what was noticed.
#[track_caller]
pub(super) fn paid_at(text: &str, arguments: &str, now: &str) -> (Decision, Noticed) {
    paid_in(None, text, arguments, now)
}

#[track_caller]
fn paid_in(workflow: Option<&str>, text: &str, arguments: &str, now: &str) -> (Decision, Noticed) {
    let catalog = catalog(TOOL);
    let checked = catalog.tool("pay").unwrap().check(object(arguments)).unwrap();
    let principal = Principal::authenticated(
        "robot".parse().unwrap(),
        vec!["ops".to_owned()],
        Some("ada".to_owned()),
    );
    policy(text, &catalog).decide_noting(Facts {
        principal: &principal,
        workflow,
        client: None,
        checked,
        approval: None,
        standing: &[],
        spent: &[],
        holds: &[],
        now: now.parse().unwrap(),
    })
}

#[track_caller]
fn paid(text: &str, arguments: &str) -> (Decision, Noticed) {
    paid_at(text, arguments, "2026-07-01T10:00:00Z")
}

pub(super) fn decided(decision: &Decision) -> &'static str {
    match decision {
        Decision::Permit(permit) => permit.decision().as_str(),
        Decision::Hold(_) => "REQUIRE_APPROVAL",
        Decision::Deny(_) => "DENY",
        Decision::NotCovered { .. } => "NOT_COVERED",
    }
}

fn rule(decision: &str, when: &str) -> String {
    let when = serde_json::to_string(when).unwrap();
    let constraints =
        if decision == "ALLOW_WITH_CONSTRAINTS" { ", constraints: { max_amount: 5 }" } else { "" };
    format!(
        "  - {{ name: {decision}, match: {{}}, decision: {decision}, when: {when}{constraints} }}\n"
    )
}

/// Whether the condition lets a payment through.
#[track_caller]
fn holds(when: &str, arguments: &str) -> bool {
    let (decision, noticed) = paid(&format!("rules:\n{}", rule("ALLOW", when)), arguments);
    assert_eq!(noticed.errors, [], "{when}");
    decided(&decision) == "ALLOW"
}

#[test]
fn a_condition_looks_at_the_whole_call() {
    for (when, arguments, expected) in [
        ("arguments.amount <= 100", r#"{"amount": 100}"#, true),
        ("arguments.amount <= 100", r#"{"amount": 100.5}"#, false),
        ("arguments['amount'] > 1.5", r#"{"amount": 2}"#, true),
        ("has(arguments.amount)", "{}", false),
        ("!has(arguments.amount) || arguments.amount < 5", "{}", true),
        ("arguments.to in ['ann', 'bob']", r#"{"to": "bob"}"#, true),
        ("arguments.to in ['ann', 'bob']", r#"{"to": "eve"}"#, false),
        ("arguments.to.matches('^[a-z]+$')", r#"{"to": "eve"}"#, true),
        ("arguments.to.matches('^[a-z]+$')", r#"{"to": "Eve"}"#, false),
        ("matches(arguments.to, '^E')", r#"{"to": "Eve"}"#, true),
        ("arguments.to.startsWith('DE') && size(arguments.to) == 4", r#"{"to": "DE12"}"#, true),
        ("arguments.lines.all(it, it > 0)", r#"{"lines": [1, 2]}"#, true),
        ("arguments.lines.all(it, it > 0)", r#"{"lines": [1, 0]}"#, false),
        ("arguments.lines.exists(it, it == 'x')", r#"{"lines": ["y", "x"]}"#, true),
        ("arguments.lines.exists_one(it, it == 'x')", r#"{"lines": ["x", "x"]}"#, false),
        ("arguments.more.deep.n == 1", r#"{"more": {"deep": {"n": 1}}}"#, true),
        ("agent.name == 'robot' && 'ops' in agent.groups && agent.owner == 'ada'", "{}", true),
        ("tool.name == 'pay' && tool.backend == 'bank' && tool.risk == 'high'", "{}", true),
        ("tool.action_type == 'write' && tool.tags == ['money']", "{}", true),
        ("has(tool.environment) || has(client.name)", "{}", false),
        ("time.getHours('Europe/Berlin') == 12", "{}", true),
        ("time < timestamp('2026-07-01T10:00:01Z')", "{}", true),
        ("time.getDayOfWeek() == 3", "{}", true),
    ] {
        assert_eq!(holds(when, arguments), expected, "{when} of {arguments}");
    }
}

#[test]
fn a_condition_is_of_the_arguments_as_they_are_asked() {
    let rules = format!(
        "rules:\n{}{}",
        rule("ALLOW_WITH_CONSTRAINTS", "true"),
        rule("DENY", "arguments.amount > 5")
    );
    // Constraints would make 5 of it; that is not what was asked.
    assert_eq!(decided(&paid(&rules, r#"{"amount": 6}"#).0), "DENY");
    assert_eq!(decided(&paid(&rules, r#"{"amount": 5}"#).0), "ALLOW_WITH_CONSTRAINTS");
}

#[test]
fn r3_what_is_absent_or_of_another_type_restricts_and_is_told() {
    for (when, arguments) in [
        ("arguments.amount < 10", "{}"),
        ("arguments.more.to < 10", r#"{"more": {"to": "x"}}"#),
        ("arguments.to.startsWith('x')", "{}"),
        ("arguments.lines[3] == 1", r#"{"lines": [1]}"#),
        ("10 / arguments.amount > 1", r#"{"amount": 0}"#),
        ("arguments.amount * arguments.amount > 1", r#"{"amount": 9007199254740991}"#),
        ("double('NaN') < 1.0 || double('NaN') >= 1.0", "{}"),
        ("double('x') < 1.0", "{}"),
        ("arguments.amount > 1", r#"{"amount": 1e308}"#),
        ("client.name == 'x'", "{}"),
        ("tool.environment == 'x'", "{}"),
        ("arguments.more.deep", r#"{"more": {"deep": 1}}"#),
    ] {
        for (decision, expected) in [
            ("ALLOW", "DENY"),
            // Its constraints hold, but an error gives no leave.
            ("ALLOW_WITH_CONSTRAINTS", "DENY"),
            ("REQUIRE_APPROVAL", "REQUIRE_APPROVAL"),
            ("DENY", "DENY"),
        ] {
            let text = format!("rules:\n{}", rule(decision, when));
            let (found, noticed) = paid(&text, arguments);
            assert_eq!(decided(&found), expected, "{decision} when {when} of {arguments}");
            assert_eq!(noticed.errors.len(), 1, "{when} of {arguments}: {noticed:?}");
            assert_eq!(noticed.errors[0].rule, decision);
        }
    }
}

#[test]
fn r4_an_error_never_opens_what_other_rules_leave_closed() {
    let broken = "arguments.amount < 10";
    let allow = "  - { name: all, match: {}, decision: ALLOW }\n";
    for (decision, expected) in [
        ("ALLOW", "ALLOW"),
        ("ALLOW_WITH_CONSTRAINTS", "DENY"),
        ("REQUIRE_APPROVAL", "REQUIRE_APPROVAL"),
        ("DENY", "DENY"),
    ] {
        let text = format!("rules:\n{allow}{}", rule(decision, broken));
        // The constraint is on a parameter that is absent, so the call is refused.
        let (found, _) = paid(&text, "{}");
        assert_eq!(decided(&found), expected, "{decision}");
    }
    let text = format!("rules:\n{allow}{}", rule("ALLOW_WITH_CONSTRAINTS", "arguments.to == 'x'"));
    let permit = permitted(paid(&text, r#"{"amount": 9}"#).0);
    assert_eq!(permit.arguments().get("amount"), Some(&5.into()));
    let text = format!("default: ALLOW\nrules:\n{}", rule("ALLOW_WITH_CONSTRAINTS", broken));
    assert_eq!(decided(&paid(&text, "{}").0), "DENY");
}

#[test]
fn r4_without_rules_nothing_passes() {
    let (decision, noticed) = paid("rules: []", "{}");
    assert_eq!((decided(&decision), noticed), ("DENY", Noticed::default()));
}

#[test]
fn what_takes_too_long_is_an_error_and_not_a_wait() {
    let long = format!(r#"{{"lines": [{}]}}"#, vec!["1"; 1_001].join(","));
    let (decision, noticed) =
        paid(&format!("rules:\n{}", rule("DENY", "arguments.lines.all(it, it == 2)")), &long);
    assert_eq!(decided(&decision), "DENY");
    assert!(noticed.errors[0].error.contains("too long to go over"), "{noticed:?}");
    let fits = format!(r#"{{"lines": [{}]}}"#, vec!["1"; 1_000].join(","));
    assert!(holds("arguments.lines.all(it, it == 1)", &fits));
    // Of other arguments it is not asked how long they are.
    let other = format!(r#"{{"amount": 1, "lines": [{}]}}"#, vec!["1"; 5_000].join(","));
    assert!(holds("arguments.amount == 1", &other));
    let wide =
        format!(r#"{{"to": "{}", "lines": [{}]}}"#, "x".repeat(900_000), vec!["1"; 900].join(","));
    let text = format!(
        "rules:\n{}",
        rule("DENY", "arguments.lines.exists(it, arguments.to.contains('y'))")
    );
    assert_eq!(paid(&text, &wide).1.errors.len(), 1);
}

#[test]
fn a_fault_of_a_condition_is_told_with_its_place_and_a_hint() {
    let nested = "arguments.lines.all(a, arguments.lines.all(b, a == b))";
    for (when, message, hint) in [
        ("arguments.amont > 1", "an argument `amont`", "did you mean `amount`?"),
        ("argument.amount > 1", "unknown name `argument`", "did you mean `arguments`?"),
        ("amount > 1", "unknown name `amount`", "conditions look at"),
        ("workflow.id == 'x'", "`workflow` has no `id`", "`workflow` has name"),
        ("agent.nam == 'x'", "`agent` has no `nam`", "did you mean `name`?"),
        ("arguments.amount", "a number is neither true nor false", "compare it"),
        ("arguments.to < 10", "a text is compared with a number", "int("),
        ("arguments.amount == 'x'", "a number is compared with a text", "string("),
        ("arguments.amount.matches('x')", "`matches` goes with a text, not with a number", ""),
        ("arguments.to == 'x' && arguments.amount", "`&&` goes with a boolean", ""),
        ("'x' in arguments.amount", "`in` goes with a list or an object", ""),
        ("arguments.to.getHours() < 12", "`getHours` goes with", ""),
        ("time > '2026-01-01'", "a moment is compared with a text", ""),
        ("arguments.more.anything == 3", "", ""),
        ("arguments.amount + 1", "neither true nor false", "compare it"),
        ("'x'", "a text is neither", "compare it"),
        ("size(arguments.to)", "neither true nor false", "compare it"),
        ("true && size(arguments.to)", "neither true nor false", "compare it"),
        ("arguments.to.mtches('x')", "no function `mtches`", "did you mean `matches`?"),
        ("arguments.to.matches(arguments.to)", "must stand there as a text", "write it like"),
        ("arguments.to.matches('(')", "is not a usable pattern", "unclosed group"),
        (nested, "more than one list", "use one `all`"),
        ("size(arguments.lines.map(a, a)) > 1", "no lists by `map`", "use one `all`"),
        ("{'a': 1} == arguments.more", "no maps", "one by one"),
        ("arguments.amount >", "`when`: ", "of the expression"),
        ("", "`when`: ", "of the expression"),
    ] {
        let text = format!("rules:\n{}", rule("DENY", when));
        let loaded = Policy::load(vec![file("policy.yaml", &text)], &catalog(TOOL));
        if message.is_empty() {
            assert!(loaded.is_ok(), "{when}");
            continue;
        }
        let told = loaded.unwrap_err().to_string();
        assert!(told.contains(message) && told.contains(hint), "{when}: {told}");
        assert!(told.contains("policy.yaml:2:"), "{when}: {told}");
    }
    let long = format!("arguments.amount > {}", "1 + ".repeat(2_000) + "1");
    let wide = format!("arguments.amount > {}", "1 + ".repeat(900) + "1");
    for when in [long, wide] {
        let text = format!("rules:\n{}", rule("DENY", &when));
        assert!(Policy::load(vec![file("policy.yaml", &text)], &catalog(TOOL)).is_err());
    }
}

#[test]
fn a_rule_in_shadow_is_recorded_and_decides_nothing() {
    let text = "rules:
  - { name: all, match: {}, decision: ALLOW }
  - { name: no, match: {}, decision: DENY, mode: shadow, when: arguments.amount > 5 }
  - { name: ask, match: {}, decision: REQUIRE_APPROVAL, mode: shadow }
  - { name: less, match: {}, decision: ALLOW_WITH_CONSTRAINTS, mode: shadow, constraints: { max_amount: 1 } }
";
    let (decision, noticed) = paid(text, r#"{"amount": 6}"#);
    let permit = permitted(decision);
    assert_eq!(permit.arguments().get("amount"), Some(&6.into()));
    assert_eq!(permit.rules(), ["all"]);
    let shadow = |it: &ShadowRule| (it.rule.clone(), it.decision.as_str());
    let all: Vec<_> = noticed.shadow.iter().map(shadow).collect();
    let expected =
        [("no", "DENY"), ("ask", "REQUIRE_APPROVAL"), ("less", "ALLOW_WITH_CONSTRAINTS")];
    assert_eq!(all, expected.map(|(rule, decision)| (rule.to_owned(), decision)));
    assert_eq!(paid(text, r#"{"amount": 5}"#).1.shadow.len(), 2);

    let policy = rules(text);
    assert!(!policy.may_hold());
    assert_eq!(policy.approvals().count(), 0);
    let catalog = catalog(TOOL);
    let alone = "rules:\n  - { name: all, match: {}, decision: ALLOW, mode: shadow }\n";
    let alone = super::policy(alone, &catalog);
    let tool = catalog.tool("pay").unwrap();
    assert!(!alone.lists(&principal("robot", &[]), None, tool), "a shadow shows nothing");
    let warned: Vec<String> = alone.warnings().iter().map(|it| it.message().to_owned()).collect();
    assert!(warned.iter().any(|it| it.contains("no rule allows tool `pay`")), "{warned:?}");
}

#[test]
fn lists_and_tables_take_conditions_as_open() {
    let catalog = catalog(TOOL);
    let tool = catalog.tool("pay").unwrap();
    let robot = principal("robot", &[]);
    for further in ["when: 'false'", "active: { until: 2000-01-01 }"] {
        let deny = format!(
            "rules:\n  - {{ name: a, match: {{}}, decision: ALLOW }}\n  - {{ name: d, match: {{}}, decision: DENY, {further} }}\n"
        );
        let deny = super::policy(&deny, &catalog);
        assert!(deny.lists(&robot, None, tool), "{further}");
        let cell = deny.cell(robot.agent(), &[], tool, &mut 1_000).unwrap();
        assert_eq!(cell.decisions, [Ruling::Allow, Ruling::Deny], "{further}");
        assert!(cell.depends_on.iter().any(|it| it == "conditions"), "{:?}", cell.depends_on);
        let allow = format!("rules:\n  - {{ name: a, match: {{}}, decision: ALLOW, {further} }}\n");
        assert!(super::policy(&allow, &catalog).lists(&robot, None, tool), "{further}");
    }
}

#[test]
fn an_explanation_shows_what_a_condition_looked_at() {
    let text = "rules:
  - name: small
    match: {}
    when: arguments.amount < 10 && agent.name == 'robot'
    active: { hours: '09:00-17:00', time_zone: Europe/Berlin }
    decision: ALLOW
  - { name: tried, match: {}, decision: DENY, mode: shadow }
";
    let catalog = catalog(TOOL);
    let told = |arguments: &str| {
        super::policy(text, &catalog).explain(&Question {
            agent: &"robot".parse().unwrap(),
            workflow: None,
            groups: &[],
            owner: None,
            client: None,
            checked: catalog.tool("pay").unwrap().check(object(arguments)).unwrap(),
            standing: &[],
            spent: &[],
            holds: &[],
            now: "2026-07-01T10:00:00Z".parse().unwrap(),
        })
    };
    let found = told(r#"{"amount": 20}"#);
    assert_eq!(found.decision, Ruling::Deny);
    let small = found.rules.iter().find(|it| it.name == "small").unwrap();
    assert!(!small.matched);
    let [active, when] = small.conditions.as_slice() else { panic!("{:?}", small.conditions) };
    assert!(active.holds && active.values[0].contains("12:00:00 Europe/Berlin"), "{active:?}");
    assert_eq!(when.any_of, ["arguments.amount < 10 && agent.name == 'robot'"]);
    assert_eq!(when.values, ["arguments.amount = 20", r#"agent.name = "robot""#]);
    assert!(!when.holds);
    let tried = found.rules.iter().find(|it| it.name == "tried").unwrap();
    assert!(tried.matched && !tried.decides && tried.mode == Mode::Shadow);
    let found = told("{}");
    let small = found.rules.iter().find(|it| it.name == "small").unwrap();
    let values = &small.conditions[1].values;
    assert_eq!(values[0], "arguments.amount = absent");
    assert_eq!(values.last().unwrap(), "cannot be evaluated: there is no `amount`");
    assert_eq!(told(r#"{"amount": 1}"#).decision, Ruling::Allow);
}

#[test]
fn a_condition_looks_at_the_workflow_and_restricts_where_there_is_none() {
    let text = format!("rules:\n{}", rule("DENY", "workflow.name.startsWith('batch-')"))
        + "  - { name: all, match: {}, decision: ALLOW }\n";
    let paid = |workflow| {
        let (found, noticed) = paid_in(workflow, &text, "{}", "2026-07-01T10:00:00Z");
        (decided(&found), noticed.errors.len())
    };
    assert_eq!(paid(Some("batch-7")), ("DENY", 0));
    assert_eq!(paid(Some("trace:7")), ("ALLOW", 0));
    assert_eq!(paid(None), ("DENY", 1));
}
