//! An explanation says what is decided and why, and what would change it: compared with the decision and with
//! the model.

use proptest::prelude::*;
use proptest::sample::select;

use super::naive::{self, Call, Conditions, Outcome, Rule, Tool};
use super::*;

/// Policies and calls as the model takes them, loaded.
struct World {
    tools: Vec<Tool>,
    rules: Vec<Rule>,
    default: &'static str,
    catalog: Catalog,
    policy: Policy,
}

impl World {
    fn new(tools: Vec<Tool>, rules: Vec<Rule>, default: &'static str) -> Self {
        let manifests = [0, 1].map(|backend| naive::manifest(&tools, backend).to_string());
        let catalog = catalog_with(&manifests.each_ref().map(String::as_str), &HashMap::new());
        let texts: Vec<Value> =
            rules.iter().enumerate().map(|(number, rule)| naive::rule_text(number, rule)).collect();
        let text = serde_json::json!({ "default": default, "rules": texts }).to_string();
        let policy = policy(&text, &catalog);
        Self { tools, rules, default, catalog, policy }
    }

    fn arguments(call: &Call) -> Object {
        let mut arguments = Object::from_iter([("env".to_owned(), call.env.into())]);
        arguments.extend(call.n.map(|n| ("n".to_owned(), n.into())));
        arguments.extend(call.names.map(|name| ("name".to_owned(), name.into())));
        arguments
    }

    fn decide(&self, call: &Call, arguments: Object) -> Decision {
        let principal = principal(call.agent, &call.groups);
        let tool = self.catalog.tool(&format!("tool{}", call.tool)).unwrap();
        let checked = tool.check(arguments).unwrap();
        let client = call.client;
        self.policy.decide(Facts {
            principal: &principal,
            workflow: None,
            client,
            checked,
            approval: None,
            standing: &[],
            spent: &[],
            holds: &naive::labels(&call.holds),
            now: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    fn explain(&self, call: &Call) -> Explanation {
        let tool = self.catalog.tool(&format!("tool{}", call.tool)).unwrap();
        let groups: Vec<String> = call.groups.iter().map(|&group| group.to_owned()).collect();
        self.policy.explain(&Question {
            agent: &call.agent.parse().unwrap(),
            workflow: None,
            groups: &groups,
            owner: None,
            client: call.client,
            checked: tool.check(Self::arguments(call)).unwrap(),
            standing: &[],
            spent: &[],
            holds: &naive::labels(&call.holds),
            now: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    /// What the model decides with other rules; none where constraints refuse the call.
    fn ruling(&self, rules: &[Rule], call: &Call) -> Option<&'static str> {
        match naive::naive(&self.tools, rules, self.default, call) {
            Outcome::Run { decision, .. } => Some(decision),
            Outcome::Hold { .. } => Some("REQUIRE_APPROVAL"),
            // Constraints come after what rules decide.
            Outcome::Deny { kind: "constraint" | "dry_run", .. } => None,
            Outcome::Deny { .. } => Some("DENY"),
        }
    }
}

fn number(name: &str) -> usize {
    name.strip_prefix('r').unwrap().parse().unwrap()
}

/// Decision, rules, edits and arguments as `decide` gives them.
fn agrees(world: &World, call: &Call, told: &Explanation) -> Result<(), TestCaseError> {
    let now = told.decision.as_str();
    match world.decide(call, World::arguments(call)) {
        Decision::Permit(permit) => {
            prop_assert_eq!(now, permit.decision().as_str());
            prop_assert_eq!(&told.decided_by, permit.rules());
            prop_assert_eq!(&told.edits, permit.edits());
            prop_assert_eq!(&told.arguments, permit.arguments());
        }
        Decision::Hold(proposal) => {
            prop_assert_eq!(now, "REQUIRE_APPROVAL");
            prop_assert_eq!(&told.decided_by, &proposal.rules);
            prop_assert_eq!(&told.edits, &proposal.edits);
            prop_assert_eq!(told.reason.as_deref(), Some(&*proposal.reason));
            prop_assert_eq!(&told.approval.as_ref().unwrap().told, &proposal.terms.told());
        }
        Decision::Deny(denial) => {
            prop_assert_eq!(now, "DENY");
            prop_assert_eq!(&told.decided_by, &denial.rules);
            prop_assert_eq!(told.denial.as_deref(), Some(denial.kind.as_str()));
            prop_assert_eq!(&told.edits, &[]);
        }
        other @ Decision::NotCovered { .. } => panic!("{other:?}"),
    }
    Ok(())
}

/// Every condition as the model has it, and every rule that matches by the model.
fn is_so(world: &World, call: &Call, told: &Explanation) -> Result<(), TestCaseError> {
    let tool = &world.tools[call.tool];
    for (number, rule) in world.rules.iter().enumerate() {
        let excepted = rule.except.as_ref().is_some_and(|it| naive::fits(it, tool, call));
        let matches = naive::fits(&rule.matches, tool, call) && !excepted;
        let Some(shown) = told.rules.iter().find(|it| it.name == format!("r{number}")) else {
            prop_assert!(!matches, "r{number} matches and is not shown");
            continue;
        };
        prop_assert_eq!(shown.matched, matches);
        let check = |written: &Conditions, shown: &[ExplainedCondition]| {
            prop_assert_eq!(written.len(), shown.len());
            for condition in shown {
                let (key, any_of) = written.get_key_value(&*condition.key).unwrap();
                prop_assert_eq!(any_of, &condition.any_of);
                let one = Conditions::from_iter([(*key, any_of.clone())]);
                prop_assert_eq!(condition.holds, naive::fits(&one, tool, call), "{}", key);
            }
            Ok(())
        };
        check(&rule.matches, &shown.conditions)?;
        check(rule.except.as_ref().unwrap_or(&Conditions::new()), &shown.except)?;
    }
    let strictest = told.rules.iter().filter(|it| it.matched).map(|it| it.decision).max();
    let strictest = strictest.map_or(world.default, Ruling::as_str);
    if !matches!(told.denial.as_deref(), Some("constraint" | "dry_run")) {
        prop_assert_eq!(strictest, told.decision.as_str());
    }
    let locations = told.rules.iter().all(|it| it.location.starts_with("policy.yaml:1:"));
    prop_assert!(locations, "{:?}", told.rules);
    Ok(())
}

/// What is said to alter the decision does, by the decision itself or by the model.
fn would_change(world: &World, call: &Call, told: &Explanation) -> Result<(), TestCaseError> {
    let Some(Nearest { change, then }) = &told.nearest else { return Ok(()) };
    prop_assert_ne!(*then, told.decision);
    let missing = |rule: &ExplainedRule| {
        let excepted = !rule.except.is_empty() && rule.except.iter().all(|it| it.holds);
        rule.conditions.iter().filter(|it| !it.holds).count() + usize::from(excepted)
    };
    match change {
        Change::Argument { pointer, value } => {
            let mut arguments = World::arguments(call);
            arguments.insert(pointer[1..].to_owned(), value.clone());
            let decision = match world.decide(call, arguments) {
                Decision::Permit(permit) => permit.decision(),
                Decision::Hold(_) => Ruling::RequireApproval,
                Decision::Deny(_) => Ruling::Deny,
                other @ Decision::NotCovered { .. } => panic!("{other:?}"),
            };
            prop_assert_eq!(decision, *then);
        }
        Change::Match { rule, unmet, excepted, .. } => {
            let mut rules = world.rules.clone();
            let chosen = &mut rules[number(rule)];
            (chosen.matches, chosen.except) = (Conditions::new(), None);
            if let Some(ruling) = world.ruling(&rules, call) {
                prop_assert_eq!(ruling, then.as_str());
            }
            prop_assert!(!unmet.is_empty() || !excepted.is_empty());
            // No rule that can match the tool, and would alter the decision, is nearer.
            let now = told.rules.iter().filter(|it| it.matched).map(|it| it.decision).max();
            let shown = told.rules.iter().filter(|it| !it.matched);
            let altering = shown
                .filter(|it| now.map_or(it.decision, |now| now.max(it.decision)) != told.decision);
            let cost = unmet.len() + usize::from(!excepted.is_empty());
            if let Some(least) = altering.map(missing).min() {
                prop_assert_eq!(cost, least);
            }
        }
        Change::Without { rules: fewer } => {
            let mut rules = world.rules.clone();
            for name in fewer {
                rules[number(name)].matches = Conditions::from_iter([("agent", vec!["nobody"])]);
            }
            if let Some(ruling) = world.ruling(&rules, call) {
                prop_assert_eq!(ruling, then.as_str());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_agrees_with_the_decision_and_with_the_model(
        tools in prop::collection::vec(naive::tool(), 4),
        rules in prop::collection::vec(naive::rule(), 0..8),
        default in select(vec!["DENY", "DENY", "REQUIRE_APPROVAL", "ALLOW"]),
        calls in prop::collection::vec(naive::call(), 8),
    ) {
        let world = World::new(tools, rules, default);
        for call in &calls {
            let told = world.explain(call);
            agrees(&world, call, &told)?;
        }
        // Of what rules ask beside `match` and `except`, the model of an explanation says nothing.
        let plain = world.rules.iter().map(|rule| naive::Rule {
            when: None,
            active: None,
            shadow: false,
            holds: Vec::new(),
            ..rule.clone()
        });
        let world = World::new(world.tools.clone(), plain.collect(), default);
        for call in &calls {
            let told = world.explain(call);
            is_so(&world, call, &told)?;
            would_change(&world, call, &told)?;
        }
    }
}

const RULES: &str = "
rules:
  - { name: reads, match: { action_type: read }, decision: ALLOW }
  - name: scaling
    match: { capability: kubernetes, action: deploy }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_replicas: 10, allowed_namespaces: [app, staging] }
  - { name: night, match: { group: night, action_type: write }, except: { agent: keeper }, decision: REQUIRE_APPROVAL }
  - { name: grants, match: { capability: access, environment: production }, decision: DENY }
  - { name: stages, match: { capability: access, environment: staging }, decision: ALLOW }
";

fn explain(agent: &str, groups: &[&str], tool: &str, arguments: &str) -> Explanation {
    let catalog = catalog(CLUSTER);
    let policy = policy(RULES, &catalog);
    let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    policy.explain(&Question {
        agent: &agent.parse().unwrap(),
        workflow: None,
        groups: &groups,
        owner: None,
        client: None,
        checked: catalog.tool(tool).unwrap().check(object(arguments)).unwrap(),
        standing: &[],
        spent: &[],
        holds: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    })
}

#[test]
fn what_a_constraint_refuses_would_be_accepted_with_a_value_it_names() {
    let told = explain("a", &[], "production_deploy", r#"{"name":"x","namespace":"kube-system"}"#);
    assert_eq!((told.decision, told.denial.as_deref()), (Ruling::Deny, Some("constraint")));
    let Some(Nearest { change: Change::Argument { pointer, value }, then }) = told.nearest else {
        panic!("{told:?}")
    };
    assert_eq!(
        (&*pointer, value, then),
        ("/namespace", "app".into(), Ruling::AllowWithConstraints)
    );
}

#[test]
fn an_argument_that_chooses_an_attribute_is_the_nearest_change() {
    let told = explain("a", &[], "access_grant", r#"{"env":"prod"}"#);
    assert_eq!(told.decision, Ruling::Deny);
    let Some(Nearest { change: Change::Argument { pointer, value }, then }) = told.nearest else {
        panic!("{told:?}")
    };
    assert_eq!((&*pointer, value, then), ("/env", "stg".into(), Ruling::Allow));
}

#[test]
fn one_condition_that_is_missing_is_named_with_what_the_call_has() {
    let told = explain("a", &["day"], "production_deploy", r#"{"name":"x","replicas":50}"#);
    assert_eq!(told.decision, Ruling::AllowWithConstraints);
    let edit = told.edits.iter().find(|edit| edit.pointer == "/replicas").unwrap();
    assert_eq!((&edit.from, &edit.to), (&Some(50.into()), &10.into()));
    let Some(Nearest { change: Change::Match { rule, unmet, .. }, then }) = told.nearest else {
        panic!("{told:?}")
    };
    assert_eq!((&*rule, then), ("night", Ruling::RequireApproval));
    assert_eq!((&*unmet[0].key, &*unmet[0].values), ("group", &["day".to_owned()][..]));
    // What is excepted is told as such.
    let kept = explain("keeper", &["night"], "production_deploy", r#"{"name":"x"}"#);
    let Some(Nearest { change: Change::Match { rule, unmet, excepted, .. }, .. }) = kept.nearest
    else {
        panic!("{kept:?}")
    };
    assert_eq!((&*rule, unmet.len(), &*excepted[0].key), ("night", 0, "agent"));
}

#[test]
fn edits_are_taken_back_from_the_arguments_that_ran() {
    let told = explain("a", &[], "production_deploy", r#"{"name":"x","replicas":50}"#);
    assert_eq!(text(&unedited(&told.arguments, &told.edits)), r#"{"name":"x","replicas":50}"#);
    let added = told.edits.iter().any(|edit| edit.from.is_none());
    assert!(added && told.arguments.contains_key("namespace"), "{told:?}");
}

#[test]
fn of_very_many_rules_those_that_match_are_shown_and_the_rest_counted() {
    let others: String = (0..300)
        .map(|n| {
            format!("  - {{ name: other{n}, match: {{ agent: other{n} }}, decision: ALLOW }}\n")
        })
        .collect();
    let rules = format!(
        "rules:\n{others}  - {{ name: last, match: {{ tool: pods_list }}, decision: ALLOW }}\n"
    );
    let catalog = catalog(CLUSTER);
    let policy = policy(&rules, &catalog);
    let told = policy.explain(&Question {
        agent: &"a".parse().unwrap(),
        workflow: None,
        groups: &[],
        owner: None,
        client: None,
        checked: catalog.tool("pods_list").unwrap().check(Object::new()).unwrap(),
        standing: &[],
        spent: &[],
        holds: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    });
    assert_eq!((told.rules.len(), told.rules_left_out), (200, 101));
    assert!(told.rules[0].name == "last" && told.rules[0].matched && told.rules[0].decides);
    assert!(told.rules[1..].iter().all(|rule| !rule.matched));
}
