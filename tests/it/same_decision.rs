//! The same logical call gets the same decision by every way in: generated rules and calls, every version of the
//! protocol over HTTP, stdio of its own and stdio that joined, and the command line. Compared is what was recorded.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::clients::{Legacy, MODERN, Modern, Reply, VERSIONS, next_id, post};
use crate::generated::Dice;
use crate::harness::{Builder, RUNTIME, TestGateway, until};

/// How many sets of rules are tried, and how many calls with each.
const ROUNDS: (usize, usize) = (2, 8);

/// A second backend whose tools run the same program.
const OTHER: &str = r#"
backend: { name: other, command: { program: "@DIR@/bin/count" } }
attributes: { capability: other, environment: production }
tools:
  - name: other
    description: Append a line.
    attributes: { action: other, action_type: delete }
    input_schema: { type: object, additionalProperties: false, required: [line], properties: { line: { type: string }, more: { type: number } } }
    run: ["${line}"]
"#;

const TOOLS: [&str; 5] = ["count", "count_slowly", "look", "other", "absent"];
const AGENTS: [&str; 2] = ["a", "b"];

/// Rules of every decision over every kind of match that these tools have.
fn rules(dice: &mut Dice) -> String {
    let mut text = "rules:\n".to_owned();
    for n in 0..=dice.below(6) {
        let matched = match dice.below(6) {
            0 => String::new(),
            1 => format!("tool: {}", dice.pick(&TOOLS[..4])),
            2 => format!("agent: {}", dice.pick(&AGENTS)),
            3 => format!("tool: {}, agent: {}", dice.pick(&TOOLS[..4]), dice.pick(&AGENTS)),
            4 => format!("action_type: {}", dice.pick(&["read", "write", "delete"])),
            _ => format!("environment: {}", dice.pick(&["test", "production"])),
        };
        let (matched, decision) = match dice.below(5) {
            0 | 1 => (matched, "ALLOW"),
            2 => (matched, "DENY"),
            3 => (matched, "REQUIRE_APPROVAL"),
            _ => (
                "tool: count_slowly".to_owned(),
                "ALLOW_WITH_CONSTRAINTS, constraints: { max_seconds: 0 }",
            ),
        };
        writeln!(text, "  - {{ name: r{n}, match: {{ {matched} }}, decision: {decision} }}")
            .unwrap();
    }
    text
}

/// A call: the tool, its arguments as JSON text with `@LINE@` for a line that no other call has, the agent.
type Call = (&'static str, String, &'static str);

fn calls(dice: &mut Dice) -> Vec<Call> {
    let call = |dice: &mut Dice| {
        let tool = dice.pick(&TOOLS);
        let seconds = if tool == "count_slowly" { r#","seconds":0"# } else { "" };
        let fits = format!(r#"{{"line":"@LINE@"{seconds}}}"#);
        let arguments = match dice.below(10) {
            0 => r#"{"line":7}"#.to_owned(),
            1 => r#"{"line":"@LINE@","more":1e400}"#.to_owned(),
            2 => r#"{"line":"@LINE@","more":123456789012345678901234567890}"#.to_owned(),
            3 => r#"{"line":"@LINE@","Line":"x"}"#.to_owned(),
            4 if tool == "count_slowly" => r#"{"line":"@LINE@","seconds":9}"#.to_owned(),
            5 => "{}".to_owned(),
            _ => fits,
        };
        (tool, arguments, dice.pick(&AGENTS))
    };
    (0..ROUNDS.1).map(|_| call(dice)).collect()
}

fn builder(rules: &str) -> Builder {
    TestGateway::builder()
        .counting()
        .manifest("other.yaml", OTHER)
        .policy("rules.yaml", rules)
        .config("holds: { window: 10ms }\n")
}

/// Reads what was recorded of each call that was made since it was last asked.
struct Record<'a> {
    gateway: &'a TestGateway,
    seen: u64,
}

impl<'a> Record<'a> {
    fn of(gateway: &'a TestGateway) -> Self {
        let mut record = Self { gateway, seen: 0 };
        record.news();
        record
    }

    fn news(&mut self) -> Vec<Value> {
        let path = format!("/api/v1/audit?after={}&limit=1000", self.seen);
        let Value::Array(entries) = self.gateway.api_get(&path).json() else { panic!("no list") };
        self.seen = entries.last().map_or(self.seen, |last| last["index"].as_u64().unwrap());
        entries.into_iter().map(|entry| entry["entry"].clone()).collect()
    }

    /// What was decided since, and about whom and what; nothing that tells one time or way from another.
    fn decided(&mut self, line: &str) -> Vec<Value> {
        let of = [
            "kind",
            "agent",
            "tool",
            "arguments",
            "requested_arguments",
            "decision",
            "rules",
            "edits",
            "refusal",
            "told",
        ];
        // A refusal, and the intent of a tool that only reads, are recorded soon after the answer.
        let decisions = until("the decision to be recorded", || {
            let is_decision = |entry: &Value| {
                matches!(entry["kind"].as_str(), Some("intent" | "hold" | "refusal"))
            };
            let decisions: Vec<Value> = self.news().into_iter().filter(is_decision).collect();
            (!decisions.is_empty()).then_some(decisions)
        });
        decisions
            .into_iter()
            .map(|entry| {
                let members = of.iter().map(|key| ((*key).to_owned(), entry[*key].clone()));
                let told: Value = members.collect::<serde_json::Map<_, _>>().into();
                serde_json::from_str(&told.to_string().replace(line, "@LINE@")).unwrap()
            })
            .collect()
    }
}

/// A request over HTTP with arguments as they are written.
fn over_http(gateway: &TestGateway, token: &str, version: &str, call: (&str, &str)) {
    let (tool, arguments) = call;
    let id = next_id();
    let request = if version == MODERN {
        let meta = Modern::new("", "").params(json!({}))["_meta"].to_string();
        post(gateway.url(), token)
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{meta},"name":"{tool}","arguments":{arguments}}}}}"#
            ))
    } else {
        Legacy::open(gateway.url(), token, version).post(message(id, tool, arguments, None))
    };
    assert_eq!(RUNTIME.block_on(Reply::of(request)).status, 200);
}

fn message(id: i64, tool: &str, arguments: &str, meta: Option<&str>) -> String {
    let meta = meta.map(|meta| format!(r#""_meta":{meta},"#)).unwrap_or_default();
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{meta}"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

fn over_stdio(
    gateway: &TestGateway,
    agent: &str,
    version: &str,
    calls: &[(&str, String)],
) -> Vec<Vec<Value>> {
    let client = gateway.stdio(agent).begin(version);
    let mut record = Record::of(gateway);
    let meta = Modern::new("", "").params(json!({}))["_meta"].to_string();
    let meta = (version == MODERN).then_some(meta.as_str());
    let mut decided = Vec::new();
    for (tool, arguments) in calls {
        let (id, line) = (next_id(), format!("line-{}", next_id()));
        client.send_line(message(id, tool, &arguments.replace("@LINE@", &line), meta).as_bytes());
        client.answer_to(&json!(id));
        decided.push(record.decided(&line));
    }
    decided
}

/// The calls of one agent, in their order.
fn of_agent(calls: &[Call], agent: &str) -> Vec<(&'static str, String)> {
    calls.iter().filter(|call| call.2 == agent).map(|call| (call.0, call.1.clone())).collect()
}

/// All ways into one gateway that listens, and what was decided on each.
fn listening(rules: &str, calls: &[Call]) -> Vec<(String, String, Vec<Vec<Value>>)> {
    let gateway = builder(rules).start();
    let mut ways = Vec::new();
    for agent in AGENTS {
        let token = gateway.agent(agent);
        let calls = of_agent(calls, agent);
        for version in VERSIONS {
            let mut record = Record::of(&gateway);
            let decided = calls.iter().map(|(tool, arguments)| {
                let line = format!("line-{}", next_id());
                over_http(&gateway, &token, version, (tool, &arguments.replace("@LINE@", &line)));
                record.decided(&line)
            });
            ways.push((format!("http {version}"), agent.to_owned(), decided.collect()));
            let decided = over_stdio(&gateway, agent, version, &calls);
            ways.push((format!("joined {version}"), agent.to_owned(), decided));
        }
        let mut record = Record::of(&gateway);
        let decided = calls.iter().map(|(tool, arguments)| {
            let line = format!("line-{}", next_id());
            let arguments = arguments.replace("@LINE@", &line);
            gateway.cli(&["call", tool, &arguments, "--agent", agent, "--no-wait"]);
            record.decided(&line)
        });
        ways.push(("command line".to_owned(), agent.to_owned(), decided.collect()));
    }
    ways
}

#[test]
fn i12_c9_generated_calls_are_decided_alike_by_every_way_in() {
    let mut dice = Dice::new(7431);
    for round in 0..ROUNDS.0 {
        let (rules, calls) = (rules(&mut dice), calls(&mut dice));
        println!("{rules}{calls:?}");
        let mut ways = listening(&rules, &calls);
        let versions: &[&str] = if round == 0 { &VERSIONS } else { &[VERSIONS[1], MODERN] };
        for version in versions {
            let gateway = builder(&rules).prepare();
            for agent in AGENTS {
                let decided = over_stdio(&gateway, agent, version, &of_agent(&calls, agent));
                ways.push((format!("own {version}"), agent.to_owned(), decided));
            }
        }
        for agent in AGENTS {
            let mut of_agent = ways.iter().filter(|way| way.1 == agent);
            let (_, _, expected) = of_agent.next().unwrap();
            assert!(expected.iter().all(|decided| decided.len() == 1), "{expected:?}");
            for (way, _, decided) in of_agent {
                for (decided, expected) in decided.iter().zip(expected) {
                    assert_eq!(decided, expected, "{way}, {agent}");
                }
                assert_eq!(decided.len(), expected.len(), "{way}, {agent}");
            }
        }
    }
}
