//! The decision by the same rules in three engines, in one run: the gateway's own, Cedar, and Rego by regorus.

#[expect(dead_code, reason = "what the other benchmark needs besides")]
#[path = "../../decide/engine.rs"]
mod engine;
#[expect(dead_code, reason = "what the other benchmark needs besides")]
#[path = "../../decide/rules.rs"]
mod rules;

use std::fmt::Write as _;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cedar_policy::{Authorizer, Decision, Entities, EntityUid, PolicySet, Request};
use engine::Loaded;
use rules::{Row, TOOLS};

/// How many rules there are.
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// The rows that all three can say.
const ROWS: [Row; 4] = [Row::HitLast, Row::NoneHit, Row::ToolGlobs, Row::Agents];
/// How often each engine has its turn.
const ROUNDS: usize = 5;
/// How long one turn takes at the least.
const TURN: Duration = Duration::from_millis(100);
/// How many calls our engine decides between two looks at the clock.
const CALLS: usize = 256;

fn main() -> Result<()> {
    let catalog = engine::catalog(TOOLS)?;
    println!("| µs a decision (p50) | rules | Countersign | Cedar | × | Rego (regorus) | × |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for row in ROWS {
        for size in SIZES {
            let own = Loaded::load(row, size, &catalog, TOOLS)?;
            let cedar = Cedar::load(row, size)?;
            let mut rego = Rego::load(row, size)?;
            let mut times: [Vec<Duration>; 3] = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                let turn = |once: &mut dyn FnMut() -> Result<Duration>| -> Result<Duration> {
                    let (start, mut took, mut times) = (now(), Duration::ZERO, 0_u32);
                    while times == 0 || now() - start < TURN {
                        took += once()?;
                        times += 1;
                    }
                    Ok(took / times)
                };
                let [ours, cedars, regos] = &mut times;
                ours.push(turn(&mut || Ok(own.measure(CALLS)))?);
                cedars.push(turn(&mut || cedar.once())?);
                regos.push(turn(&mut || rego.once())?);
            }
            let [own, cedar, rego] = times.map(|mut times| {
                times.sort_unstable();
                times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e6
            });
            println!(
                "| {} | {size} | {own:.2} | {cedar:.1} | {:.0} | {rego:.1} | {:.0} |",
                row.name(),
                cedar / own,
                rego / own
            );
        }
    }
    Ok(())
}

/// The rules as Cedar has them, and the calls as its requests.
struct Cedar {
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Cedar {
    fn load(row: Row, rules: usize) -> Result<Self> {
        let mut text = String::new();
        for number in 0..rules {
            let rule = match row {
                Row::ToolGlobs => format!(
                    "permit(principal, action, resource) when {{ context.tool like \"{}*\" }};",
                    rules::any_tool(number)
                ),
                Row::Agents => {
                    let agent = rules::agent_name(number);
                    format!("permit(principal == Agent::\"{agent}\", action, resource);")
                }
                _ => {
                    let tool = rules::any_tool(number);
                    format!("permit(principal, action, resource == Tool::\"{tool}\");")
                }
            };
            writeln!(text, "{rule}")?;
        }
        let policies = PolicySet::from_str(&text)?;
        let request = |(agent, tool): (String, String)| -> Result<Request> {
            let uid = |text: String| EntityUid::from_str(&text);
            let context = serde_json::json!({ "tool": tool, "replicas": 40, "name": "a service of theirs" });
            let context = cedar_policy::Context::from_json_value(context, None)?;
            Ok(Request::new(
                uid(format!("Agent::\"{agent}\""))?,
                uid("Action::\"call\"".to_owned())?,
                uid(format!("Tool::\"{tool}\""))?,
                context,
                None,
            )?)
        };
        let requests = row.calls(rules, TOOLS).into_iter().map(request).collect::<Result<_>>()?;
        let cedar = Self { policies, entities: Entities::empty(), requests };
        for request in &cedar.requests {
            let answer = Authorizer::new().is_authorized(request, &cedar.policies, &cedar.entities);
            let hits = answer.diagnostics().reason().count();
            let is_allowed = answer.decision() == Decision::Allow;
            ensure!(hits == usize::from(row != Row::NoneHit) && is_allowed == (hits > 0), "{answer:?}");
        }
        Ok(cedar)
    }

    fn once(&self) -> Result<Duration> {
        let authorizer = Authorizer::new();
        let request = self.requests.first().context("no request")?;
        let start = now();
        black_box(authorizer.is_authorized(request, &self.policies, &self.entities));
        Ok(now() - start)
    }
}

/// The rules as Rego has them, and the calls as its inputs.
struct Rego {
    engine: regorus::Engine,
    input: regorus::Value,
}

impl Rego {
    fn load(row: Row, rules: usize) -> Result<Self> {
        let mut text = "package calls\nimport rego.v1\n".to_owned();
        for number in 0..rules {
            let condition = match row {
                Row::ToolGlobs => format!("startswith(input.tool, \"{}\")", rules::any_tool(number)),
                Row::Agents => format!("input.agent == \"{}\"", rules::agent_name(number)),
                _ => format!("input.tool == \"{}\"", rules::any_tool(number)),
            };
            writeln!(text, "allowed_by contains \"r{number}\" if {condition}")?;
        }
        let mut engine = regorus::Engine::new();
        engine.clear_policy_length_config();
        engine.add_policy("calls.rego".to_owned(), text)?;
        let (agent, tool) = row.calls(rules, TOOLS).into_iter().next().context("no call")?;
        let input = serde_json::json!({ "agent": agent, "tool": tool, "arguments": { "replicas": 40, "name": "a service of theirs" } });
        let input = regorus::Value::from_json_str(&input.to_string())?;
        let mut rego = Self { engine, input };
        let found = rego.decide()?;
        let hits = found.as_set().map_err(|error| anyhow!("{error}"))?.len();
        ensure!(hits == usize::from(row != Row::NoneHit), "Rego found {found}");
        Ok(rego)
    }

    fn decide(&mut self) -> Result<regorus::Value> {
        self.engine.set_input(self.input.clone());
        self.engine.eval_rule("data.calls.allowed_by".to_owned())
    }

    fn once(&mut self) -> Result<Duration> {
        let start = now();
        black_box(self.decide()?);
        Ok(now() - start)
    }
}

/// The clock that measures.
pub(crate) fn now() -> Instant {
    Instant::now()
}
