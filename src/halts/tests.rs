use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::*;

fn subject() -> Subject {
    Subject {
        agent: "bot".parse().unwrap(),
        via: None,
        groups: vec!["ops".to_owned(), "night".to_owned()],
        tool: "deploy".to_owned(),
        backend: Some("kubernetes".to_owned()),
        capability: Some("cluster".to_owned()),
        workflow: Some("release-7".to_owned()),
    }
}

fn halt(number: u8, scope: Scope) -> Halt {
    Halt {
        id: HaltId::from_random([number; 16]),
        scope,
        reason: "an incident.".to_owned(),
        by: Person { name: "root".to_owned(), local: true },
        since: Timestamp::UNIX_EPOCH,
        until: None,
    }
}

type Make = fn(String) -> Scope;

/// Every scope that names something, and what it names in [`subject`].
const NAMED: [(Make, &str); 7] = [
    (Scope::Agent, "bot"),
    (Scope::Group, "ops"),
    (Scope::Group, "night"),
    (Scope::Tool, "deploy"),
    (Scope::Backend, "kubernetes"),
    (Scope::Capability, "cluster"),
    (Scope::Workflow, "release-7"),
];

#[test]
fn a_scope_covers_what_it_names_and_nothing_else() {
    assert!(Scope::All.covers(&subject()));
    for (make, name) in NAMED {
        assert!(make(name.to_owned()).covers(&subject()), "{name}");
        for other in ["", "Bot", "other", "deploy "] {
            assert!(!make(other.to_owned()).covers(&subject()), "{other} for {name}");
        }
        for (other, named) in NAMED.iter().filter(|(_, named)| *named != name) {
            let same = other(name.to_owned()).kind() == make(String::new()).kind();
            let covers = other(name.to_owned()).covers(&subject());
            assert_eq!(covers, same, "{} `{name}` against {named}", other(String::new()).kind());
        }
    }
    let bare = Subject { backend: None, capability: None, workflow: None, ..subject() };
    for (make, name) in NAMED.iter().skip(4) {
        assert!(!make((*name).to_owned()).covers(&bare), "{name}");
    }
}

#[test]
fn whichever_comes_second_sees_the_other() {
    let register = Arc::new(Register::new(Vec::new()));
    let parent = CancellationToken::new();
    let pass = register.enter(subject(), &parent).unwrap();
    let other = Subject { agent: "other".parse().unwrap(), ..subject() };
    let untouched = register.enter(other.clone(), &parent).unwrap();
    assert_eq!(register.under_way(|_| true), 2);

    let first = halt(1, Scope::Agent("bot".to_owned()));
    register.engage(first.clone()).unwrap();
    assert!(pass.cancel().is_cancelled());
    assert_eq!(pass.halt().map(|halt| halt.id), Some(first.id));
    assert!(!untouched.cancel().is_cancelled() && untouched.halt().is_none());
    assert!(!parent.is_cancelled(), "the caller took nothing back");

    assert_eq!(register.enter(subject(), &parent).unwrap_err().id, first.id);
    let mut done = false;
    assert!(register.unless_halted(subject, || done = true).is_err());
    assert!(!done);
    assert!(register.unless_halted(|| other, || done = true).is_ok());
    assert!(done);

    register.disengage(first.id);
    assert!(register.enter(subject(), &parent).is_ok());
    assert!(pass.cancel().is_cancelled(), "what was stopped stays so");
    drop((pass, untouched));
    assert_eq!(register.under_way(|_| true), 0);
}

#[test]
fn any_of_several_stops_a_call_and_each_ends_alone() {
    let register = Arc::new(Register::new(vec![halt(1, Scope::All)]));
    register.engage(halt(2, Scope::Tool("deploy".to_owned()))).unwrap();
    register.disengage(halt(1, Scope::All).id);
    assert_eq!(register.covering(&subject()).unwrap().id, HaltId::from_random([2; 16]));
    register.disengage(HaltId::from_random([2; 16]));
    assert!(!register.any());
}

#[test]
fn there_are_not_more_than_may_be() {
    let one =
        |number: usize| halt(u8::try_from(number).unwrap(), Scope::Tool(format!("tool-{number}")));
    let register = Register::new((0..MAX_HALTS).map(one).collect());
    assert_eq!(register.engage(halt(200, Scope::Tool("deploy".to_owned()))), Err(Full));
    assert_eq!(register.engaged().len(), MAX_HALTS);
    // Everything can be stopped all the same, once.
    register.engage(halt(201, Scope::All)).unwrap();
    assert_eq!(register.engage(halt(202, Scope::All)), Err(Full));
}

#[test]
fn a_halt_ends_at_its_time_and_says_what_it_stops() {
    let until = Timestamp::from_second(60).unwrap();
    let timed = Halt { until: Some(until), ..halt(1, Scope::Tool("deploy".to_owned())) };
    assert!(timed.is_over(until) && !timed.is_over(Timestamp::from_second(59).unwrap()));
    assert_eq!(
        timed.told(),
        "people have stopped all calls of `deploy` for now, until 1970-01-01T00:01:00Z: an incident"
    );
    assert!(!halt(1, Scope::All).is_over(Timestamp::MAX));
}

#[test]
fn names_and_reasons_have_bounds() {
    let named = |count| Scope::Agent("a".repeat(count));
    assert!(named(MAX_NAME).check().is_ok() && Scope::All.check().is_ok());
    assert!(named(MAX_NAME + 1).check().is_err());
    assert!(named(0).check().is_err());
    assert!(check_reason(" ").is_err());
    assert!(check_reason(&"r".repeat(MAX_REASON)).is_ok());
    assert!(check_reason(&"r".repeat(MAX_REASON + 1)).is_err());
}
