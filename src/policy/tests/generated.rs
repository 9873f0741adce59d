//! Random tools, rules and calls for the specification, and what conditions mean there, written by hand.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::naive::{Call, Conditions, RISKS, Rule, STRICTNESS, Tool};

/// An expression, and what it gives; none where it cannot be evaluated.
type When = (&'static str, fn(&Call) -> Option<bool>);
/// A window, and whether it covers an hour of Wednesday, 1 July 2026, in UTC.
type Window = (&'static str, fn(i8) -> bool);

pub(super) const WHENS: [When; 12] = [
    ("arguments.n > 10", |call| Some(call.n? > 10)),
    ("has(arguments.n)", |call| Some(call.n.is_some())),
    ("has(arguments.n) && arguments.n % 2 == 0", |call| Some(call.n.is_some_and(|n| n % 2 == 0))),
    ("10 / arguments.n >= 1", |call| Some(10_i64.checked_div(call.n?)? >= 1)),
    ("arguments.name in ['a', 'b']", |call| Some(["a", "b"].contains(&call.names?))),
    ("arguments.name.matches('^[bc]$')", |call| Some(["b", "c"].contains(&call.names?))),
    ("arguments.env == 'p' || arguments.n < 5", |call| {
        if call.env == "p" { Some(true) } else { Some(call.n? < 5) }
    }),
    ("client.name == 'claude'", |call| Some(call.client? == "claude")),
    ("agent.groups.exists(it, it == 'ops')", |call| Some(call.groups.contains(&"ops"))),
    ("agent.owner == 'ada'", |_| None),
    ("time.getHours() < 12", |call| Some(call.hour < 12)),
    ("10 / (size(arguments.env) - size(arguments.env)) > 1", |_| None),
];

pub(super) const WINDOWS: [Window; 5] = [
    (r#"{ "hours": "09:00-17:00" }"#, |hour| (9..17).contains(&hour)),
    (r#"{ "hours": "22:00-06:00", "time_zone": "Europe/Berlin" }"#, |hour| {
        !(4..20).contains(&hour)
    }),
    (r#"{ "weekdays": ["mon", "tue"] }"#, |_| false),
    (r#"{ "from": "2026-07-01T12:00", "weekdays": ["wed"] }"#, |hour| hour >= 12),
    (r#"{ "until": "2026-07-01T12:00:00Z" }"#, |hour| hour < 12),
];

impl Call {
    pub(super) fn now(&self) -> jiff::Timestamp {
        format!("2026-07-01T{:02}:00:00Z", self.hour).parse().unwrap()
    }
}

fn conditions(sizes: std::ops::Range<usize>) -> impl Strategy<Value = Conditions> {
    let key = select(vec![
        ("agent", vec!["ann", "bob", "*", "a*", "zoe"]),
        ("group", vec!["dev", "ops", "*"]),
        ("client", vec!["claude", "cursor", "c*", "*"]),
        ("tool", vec!["tool0", "tool1", "tool2", "tool*", "*3", "none"]),
        ("backend", vec!["backend0", "backend1", "*"]),
        ("tags", vec!["x", "y", "*"]),
        ("capability", vec!["files", "database", "*", "f*s"]),
        ("action", vec!["get", "put", "*t"]),
        ("environment", vec!["production", "staging", "*", "prod*"]),
        ("risk", vec!["low", "high", ">=medium", "<high", ">=critical"]),
        ("action_type", vec!["read", "write", "delete", "admin"]),
    ]);
    let one = key.prop_flat_map(|(key, patterns)| (Just(key), subsequence(patterns, 1..=2)));
    prop::collection::vec(one, sizes).prop_map(|all| all.into_iter().collect())
}

pub(super) fn tool() -> impl Strategy<Value = Tool> {
    (
        prop::option::of(select(vec!["files", "database"])),
        prop::option::of(select(vec!["get", "put"])),
        select(vec!["read", "write", "delete", "admin"]),
        prop::option::of(select(vec!["production", "staging", "chosen", "chosen"])),
        prop::option::of(select([&RISKS[..], &["chosen", "chosen"]].concat())),
        subsequence(vec!["x", "y"], 0..=2),
        prop::option::of(0..20_i64),
    )
        .prop_map(|(capability, action, action_type, environment, risk, tags, default_n)| {
            Tool { capability, action, action_type, environment, risk, tags, default_n }
        })
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let except = prop::option::weighted(0.3, conditions(1..3));
    let names = || subsequence(vec!["a", "b", "c"], 0..=2);
    let numbers = (prop::option::of(0..20_i64), prop::option::of(0..8_i64));
    let set = prop::option::weighted(0.1, 0..30_i64);
    let further = (
        prop::option::weighted(0.4, 0..WHENS.len()),
        prop::option::weighted(0.2, 0..WINDOWS.len()),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.3, subsequence(vec!["a", "b", "c"], 1..=2)),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.2, select(vec!["[0-9]{4}", "x+y"])),
    );
    let sets = (names(), names());
    (conditions(0..3), except, select(STRICTNESS.to_vec()), numbers, set, sets, further).prop_map(
        |(
            matches,
            except,
            decision,
            (max, min),
            set,
            (allowed, denied),
            (when, active, shadow, holds, dry_run, redact),
        )| {
            let rule = Rule {
                matches,
                except,
                decision,
                max,
                min,
                set,
                allowed,
                denied,
                when,
                active,
                shadow,
                dry_run,
                redact,
                holds: holds.unwrap_or_default(),
            };
            match decision {
                "ALLOW" | "DENY" => Rule {
                    max: None,
                    min: None,
                    set: None,
                    allowed: Vec::new(),
                    denied: Vec::new(),
                    dry_run: false,
                    redact: None,
                    ..rule
                },
                // It must have a constraint.
                "ALLOW_WITH_CONSTRAINTS" => Rule { max: rule.max.or(Some(9)), ..rule },
                _ => rule,
            }
        },
    )
}

pub(super) fn call() -> impl Strategy<Value = Call> {
    (
        select(vec!["ann", "bob"]),
        subsequence(vec!["dev", "ops"], 0..=2),
        prop::option::of(select(vec!["claude", "cursor"])),
        0..4_usize,
        prop::option::weighted(0.8, 0..30_i64),
        prop::option::weighted(0.8, select(vec!["a", "b", "c"])),
        select(vec!["p", "s"]),
        0..24_i8,
        subsequence(vec!["a", "b", "c"], 0..=3),
    )
        .prop_map(|(agent, groups, client, tool, n, names, env, hour, holds)| Call {
            agent,
            groups,
            client,
            tool,
            n,
            names,
            env,
            hour,
            holds,
        })
}
