//! Whom a call is counted for, whatever its caller calls itself.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::catalog::{Catalog, Environment, Manifests};
use crate::clock::ManualClock;
use crate::json::Object;
use crate::source::SourceFile;

const TOOLS: &str = "
backend: { name: files, command: { program: p } }
attributes: { action_type: write }
tools:
  - { name: write, description: d, run: [x], input_schema: { type: object } }
  - { name: wipe, description: d, run: [x], input_schema: { type: object } }
";

struct Counting {
    catalog: Catalog,
    policy: Policy,
    limits: Limits,
    clock: Arc<ManualClock>,
}

impl Counting {
    /// Two calls an hour, counted apart by `per`.
    fn by(per: &str) -> Self {
        let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
        let environment = Environment {
            find_program: &|name| Some(PathBuf::from(name)),
            missing_secret: &|_| None,
            unconfinable: &|_, _| None,
            learned: &HashMap::new(),
        };
        let manifests = Manifests::read(vec![file("tools.yaml", TOOLS)]).unwrap();
        let catalog = manifests.catalog(&environment).unwrap();
        let limit = format!("limits: [{{ name: few, match: {{}}, per: {per}, rate: 2/hour }}]\n");
        let policy = Policy::load(vec![file("policy.yaml", &limit)], &catalog).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let limits = Limits::new(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { catalog, policy, limits, clock }
    }

    fn call(&self, principal: &Principal, tool: &str, client: &str, workflow: &str) -> bool {
        let checked = self.catalog.tool(tool).unwrap().check(Object::new()).unwrap();
        let caller = Caller { principal, client: Some(client), workflow: Some(workflow) };
        self.limits.reserve(&self.policy, caller, &checked).is_ok()
    }
}

fn agent(name: &str, groups: &[&str], owner: Option<&str>) -> Principal {
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    Principal::authenticated(name.parse().unwrap(), groups, owner.map(str::to_owned))
}

#[test]
fn r1_an_agent_has_one_count_whatever_else_is_said_of_it() {
    let counting = Counting::by("agent");
    let bot = agent("bot", &["dev"], Some("ada"));
    assert!(counting.call(&bot, "write", "claude", "w1"));
    assert!(counting.call(&bot, "wipe", "cursor", "w2"));
    // Another client, workflow or tool, and another session, whose groups and owner may be others by now.
    for n in 0..1_000 {
        let again = agent("bot", [&["ops"][..], &[]][n % 2], None);
        let tool = ["write", "wipe"][n % 2];
        assert!(!counting.call(&again, tool, &format!("client {n}"), &format!("workflow {n}")));
    }
    assert!(counting.call(&agent("bot2", &["dev"], Some("ada")), "write", "claude", "w1"));
    assert!(counting.call(&agent("Bot", &[], None), "write", "claude", "w1"), "names are exact");
    counting.clock.advance(Duration::from_secs(30 * 60));
    assert!(counting.call(&bot, "write", "claude", "w1"));
    assert!(!counting.call(&bot, "write", "claude", "w1"));
}

#[test]
fn r1_no_name_of_a_caller_uses_up_or_forges_the_count_of_another() {
    for per in ["client", "workflow", "[client, workflow]", "[agent, client]"] {
        let counting = Counting::by(per);
        let (a, b) = (agent("a", &[], None), agent("b", &[], None));
        assert!(
            counting.call(&a, "write", "claude", "w") && counting.call(&a, "write", "claude", "w")
        );
        assert!(!counting.call(&a, "write", "claude", "w"), "{per}");
        assert!(counting.call(&b, "write", "claude", "w"), "{per}: counted with another agent");
        // A name that looks like the end of one key and the beginning of another.
        for forged in ["claude\0", "\0claude", "b\0claude", "", "\0"] {
            assert!(counting.call(&a, "write", forged, forged), "{per}: {}", json!(forged));
        }
        assert!(counting.call(&b, "write", "claude", "w"), "{per}: used up by a forged name");
        assert!(!counting.call(&b, "write", "claude", "w"), "{per}");
    }
}

#[test]
fn r1_what_is_counted_for_all_is_counted_for_all() {
    let counting = Counting::by("gateway");
    assert!(counting.call(&agent("a", &[], None), "write", "x", "1"));
    assert!(counting.call(&agent("b", &[], None), "wipe", "y", "2"));
    assert!(!counting.call(&agent("c", &[], None), "write", "z", "3"));
    let by_tool = Counting::by("[agent, tool]");
    let bot = agent("bot", &[], None);
    assert!(by_tool.call(&bot, "write", "x", "1") && by_tool.call(&bot, "write", "y", "2"));
    assert!(!by_tool.call(&bot, "write", "z", "3") && by_tool.call(&bot, "wipe", "z", "3"));
}

#[test]
fn what_is_left_is_read_without_counting() {
    let counting = Counting::by("agent");
    let limit = &counting.policy.limits()[0];
    let left = |agent: Option<&str>| {
        let agent = agent.map(|name| name.parse().unwrap());
        let reading = counting.limits.read(limit, agent.as_ref(), 10);
        assert!(!reading.more);
        let left = reading.left.into_iter();
        left.map(|it| {
            (it.who[&Dimension::Agent].clone(), it.calls, it.next.as_secs(), it.full.as_secs())
        })
        .collect::<Vec<_>>()
    };
    let (a, b) = (agent("a", &[], None), agent("b", &[], None));
    assert_eq!(left(None), []);
    assert!(counting.call(&a, "write", "x", "1"));
    for _ in 0..100 {
        assert_eq!(left(None), [("a".to_owned(), 1, 0, 1_800)], "reading counted");
    }
    counting.clock.advance(Duration::from_secs(600));
    assert!(counting.call(&b, "write", "x", "1") && counting.call(&b, "write", "x", "1"));
    assert!(!counting.call(&b, "write", "x", "1"));
    // Who has the least left comes first.
    let both = [("b".to_owned(), 0, 1_800, 3_600), ("a".to_owned(), 1, 0, 1_200)];
    assert_eq!(left(None), both);
    assert_eq!(left(Some("a")), both[1..]);
    assert_eq!(left(Some("c")), []);
    // What it says about the next call is so, to the second.
    counting.clock.advance(Duration::from_secs(1_799));
    assert_eq!(left(None), [("b".to_owned(), 0, 1, 1_801)]);
    assert!(!counting.call(&b, "write", "x", "1"));
    counting.clock.advance(Duration::from_secs(1));
    assert_eq!(left(None), [("b".to_owned(), 1, 0, 1_800)]);
    assert!(counting.call(&b, "write", "x", "1"));
    counting.clock.advance(Duration::from_secs(3_600));
    assert_eq!(left(None), []);
}

#[test]
fn of_many_who_used_a_limit_those_with_the_least_left_are_told() {
    let counting = Counting::by("[workflow, tool]");
    let a = agent("a", &[], None);
    for n in 0..20 {
        assert!(counting.call(&a, "write", "x", &format!("w{n}")));
    }
    assert!(counting.call(&a, "wipe", "x", "w7"));
    assert!(counting.call(&a, "wipe", "x", "w7"));
    let reading = counting.limits.read(&counting.policy.limits()[0], None, 5);
    assert!(reading.more);
    assert_eq!(reading.left.len(), 5);
    let worst = &reading.left[0];
    let who: Vec<_> = worst.who.values().map(String::as_str).collect();
    assert_eq!((who, worst.calls), (vec!["a", "wipe", "w7"], 0));
}
