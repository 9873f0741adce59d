//! The tools and rules of the specification, as files say them.

use serde_json::{Value, json};

use super::generated::{WHENS, WINDOWS};
use super::naive::{Rule, Tool};
use crate::json::Object;

pub(super) fn manifest(tools: &[Tool], backend: usize) -> Value {
    let mine = tools.iter().enumerate().filter(|(number, _)| number % 2 == backend);
    let tools: Vec<Value> = mine
        .map(|(number, tool)| {
            let environment = match tool.environment {
                Some("chosen") => {
                    json!({ "argument": "env", "values": { "p": "production", "s": "staging" } })
                }
                other => json!(other),
            };
            let risk = match tool.risk {
                Some("chosen") => json!({ "argument": "env", "values": { "p": "high", "s": "low" } }),
                other => json!(other),
            };
            let mut n = json!({ "type": "integer" });
            if let Some(default) = tool.default_n {
                n["default"] = default.into();
            }
            json!({
                "name": format!("tool{number}"),
                "description": "d",
                "run": ["x"],
                "brings": ["a", "b", "c"],
                "attributes": {
                    "capability": tool.capability, "action": tool.action, "risk": risk,
                    "action_type": tool.action_type, "environment": environment, "tags": tool.tags,
                },
                "input_schema": {
                    "type": "object", "required": ["env"],
                    "properties": { "env": { "type": "string" }, "n": n, "name": { "type": "string" } },
                },
            })
        })
        .collect();
    json!({ "backend": { "name": format!("backend{backend}"), "command": { "program": "p" } }, "tools": tools })
}

pub(super) fn rule_text(number: usize, rule: &Rule) -> Value {
    let mut constraints = Object::new();
    let numbers = [("max_n", rule.max), ("min_n", rule.min), ("set_n", rule.set)];
    constraints.extend(
        numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))),
    );
    for (name, set) in [("allowed_names", &rule.allowed), ("denied_name", &rule.denied)] {
        if !set.is_empty() {
            constraints.insert(name.to_owned(), json!(set));
        }
    }
    if rule.dry_run {
        constraints.insert("dry_run".to_owned(), true.into());
    }
    if let Some(pattern) = rule.redact {
        constraints.insert("redact".to_owned(), pattern.into());
    }
    let mut text = json!({
        "name": format!("r{number}"), "match": rule.matches, "decision": rule.decision,
    });
    if let Some(except) = &rule.except {
        text["except"] = json!(except);
    }
    if !rule.holds.is_empty() {
        text["match"]["workflow_holds"] = json!(rule.holds);
    }
    if let Some(when) = rule.when {
        text["when"] = WHENS[when].0.into();
    }
    if let Some(window) = rule.active {
        text["active"] = serde_json::from_str(WINDOWS[window].0).unwrap();
    }
    if rule.shadow {
        text["mode"] = "shadow".into();
    }
    if !constraints.is_empty() {
        text["constraints"] = constraints.into();
    }
    text
}
