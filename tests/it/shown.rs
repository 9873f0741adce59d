//! What an agent is shown is what it could get: lists held against calls, for generated rules.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::clients::{CLIENT, Client, Legacy, MODERN, Modern, VERSIONS};
use crate::era_matrix::decided;
use crate::generated::Dice;
use crate::harness::TestGateway;

/// How many sets of rules are tried, one of them written here.
const ROUNDS: usize = 6;

/// A tool of which each call is another's: its argument chooses two attributes.
const CHOOSING: &str = r#"
backend: { name: choosing, command: { program: "@DIR@/bin/count" } }
tools:
  - name: deploy
    description: Append a line.
    attributes:
      action_type: write
      environment: { argument: env, values: { p: production, s: staging } }
      risk: { argument: env, values: { p: high, s: low } }
    input_schema: { type: object, required: [line, env], properties: { line: { type: string }, env: { type: string } } }
    run: ["${line}"]
"#;

/// Each choice of the tool's argument is denied, though by no rule of both and allowed by one of them.
const APART: &str = "rules:\n  - { name: r0, match: { environment: production }, decision: ALLOW }\n  - { name: r1, match: { risk: high }, decision: DENY }\n";

fn rules(dice: &mut Dice) -> String {
    let mut text = "rules:\n".to_owned();
    for n in 0..=dice.below(5) {
        let conditions: BTreeSet<String> = (0..dice.below(3))
            .map(|_| match dice.below(6) {
                0 => format!("tool: {}", dice.pick(&["count", "look", "deploy", "'*o*'"])),
                1 => format!("agent: {}", dice.pick(&["a", "b"])),
                2 => format!("action_type: {}", dice.pick(&["read", "write"])),
                3 => format!("environment: {}", dice.pick(&["production", "staging", "test"])),
                4 => format!("risk: {}", dice.pick(&["high", "low", "'>=medium'"])),
                _ => format!("client: {}", dice.pick(&[CLIENT, "other"])),
            })
            .collect();
        // One condition of each kind.
        let mut kinds = BTreeSet::new();
        let conditions: Vec<String> = conditions
            .into_iter()
            .filter(|it| kinds.insert(it.split(':').next().unwrap().to_owned()))
            .collect();
        let decision = dice.pick(&["ALLOW", "ALLOW", "DENY", "DENY", "REQUIRE_APPROVAL"]);
        let conditions = conditions.join(", ");
        writeln!(text, "  - {{ name: r{n}, match: {{ {conditions} }}, decision: {decision} }}")
            .unwrap();
    }
    text
}

/// Every call that differs to the rules, by its tool.
fn calls() -> [(&'static str, Value); 5] {
    [
        ("count", json!({ "line": "x" })),
        ("count_slowly", json!({ "line": "x", "seconds": 0 })),
        ("look", json!({ "line": "x" })),
        ("deploy", json!({ "line": "x", "env": "p" })),
        ("deploy", json!({ "line": "x", "env": "s" })),
    ]
}

#[test]
fn cve_2026_108586_lists_show_what_some_call_could_get_and_nothing_else() {
    let mut dice = Dice::new(7442);
    let (mut shown, mut hidden) = (0, 0);
    for round in 0..ROUNDS {
        let rules = if round == 0 { APART.to_owned() } else { rules(&mut dice) };
        println!("{rules}");
        let gateway = TestGateway::builder()
            .counting()
            .manifest("choosing.yaml", CHOOSING)
            .policy("rules.yaml", &rules)
            .config("holds: { window: 10ms }\n")
            .start();
        for agent in ["a", "b"] {
            let token = gateway.agent(agent);
            let modern = Modern::new(gateway.url(), &token);
            let legacy = Legacy::open(gateway.url(), &token, VERSIONS[0]);
            for (version, client) in [(MODERN, &modern as &dyn Client), (VERSIONS[0], &legacy)] {
                let listed: BTreeSet<String> = client.tools().into_iter().collect();
                let mut granted = BTreeSet::new();
                for (tool, arguments) in calls() {
                    let params = json!({ "name": tool, "arguments": arguments });
                    let decision = decided(&client.request("tools/call", params));
                    if !decision.starts_with("\"DENY\"") && !decision.starts_with("error") {
                        granted.insert(tool.to_owned());
                    }
                }
                // The gateway's own is no tool of a backend.
                let listed: BTreeSet<_> =
                    listed.into_iter().filter(|name| name != "countersign_wait").collect();
                assert_eq!(listed, granted, "{agent} {version}\n{rules}");
                shown += listed.len();
                hidden += 4 - listed.len();
            }
        }
    }
    println!("{shown} shown, {hidden} hidden");
    assert!(shown > 10 && hidden > 10, "{shown} shown, {hidden} hidden");
}
