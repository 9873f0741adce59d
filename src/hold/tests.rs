//! Every transition of a hold from every state: who wins, and what the loser is told.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::evidence::{Outcome, OutcomeStatus};
use crate::principal::{Capacity, Role};

const STATES: [StateName; 11] = [
    StateName::Pending,
    StateName::Approved,
    StateName::Executing,
    StateName::Finished,
    StateName::Unknown,
    StateName::Rejected,
    StateName::Expired,
    StateName::Withdrawn,
    StateName::Lapsed,
    StateName::Superseded,
    StateName::Halted,
];

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn digest() -> Digest {
    Digest::of(b"call")
}

fn verdict(decision: Decision, second: i64) -> Verdict {
    verdict_of("ada", decision, second)
}

fn verdict_of(name: &str, decision: Decision, second: i64) -> Verdict {
    let person = Person::local(name.to_owned());
    Verdict::new(person, decision, digest(), at(second))
}

/// Everybody may decide, in no group.
fn anybody(person: &Person) -> Option<Capacity> {
    Some(Capacity {
        role: Role::Reviewer,
        decides: true,
        groups: Vec::new(),
        known_as: vec![person.name.clone()],
        same_human: vec![person.name.clone()],
        keys: Vec::new(),
        passkeys: Vec::new(),
    })
}

fn outcome() -> Outcome {
    Outcome {
        status: OutcomeStatus::Success,
        error: None,
        result_digest: None,
        result_bytes: Some(2),
        backend_ms: 3,
        asked: Vec::new(),
        cached: false,
        charges: Vec::new(),
    }
}

/// A hold opened at 0, to be decided until 100 and run within 50 of the approval at 10.
pub(super) fn hold(name: StateName) -> Hold {
    let verdicts = vec![verdict(Decision::Approve, 10)];
    let (call, since, why) = (CallId::new(), at(20), "why".to_owned());
    let state = match name {
        StateName::Pending => State::Pending { verdicts: Vec::new() },
        StateName::Approved => State::Approved { verdicts, at: at(10), execute_by: at(60) },
        StateName::Executing => State::Executing { verdicts, call, since },
        StateName::Finished => {
            State::Finished { verdicts, call, outcome: outcome(), at: at(30), collected: false }
        }
        StateName::Unknown => State::Unknown { verdicts, call, since },
        StateName::Rejected => State::Rejected { verdict: verdict(Decision::Reject, 10) },
        StateName::Expired => State::Expired { at: at(101) },
        StateName::Withdrawn => State::Withdrawn { at: at(5) },
        StateName::Lapsed => State::Lapsed { verdicts, at: at(61) },
        StateName::Superseded => State::Superseded { verdicts, at: at(20), why, anew: None },
        StateName::Halted => State::Halted { at: at(20), why },
    };
    Hold {
        via: None,
        id: HoldId::from_random([7; 16]),
        state,
        agent: "bot".parse().unwrap(),
        groups: Vec::new(),
        owner: None,
        client: None,
        tool: "deploy".to_owned(),
        definition_fingerprint: Digest::of(b"definition"),
        requested_arguments: Object::new(),
        requested_digest: digest(),
        arguments: Object::new(),
        edits: Vec::new(),
        digest: digest(),
        rules: vec!["writes".to_owned()],
        reason: "a write".to_owned(),
        agent_reason: None,
        call: CallId::new(),
        workflow: None,
        compensates: None,
        revision: Digest::of(b"revision"),
        created_at: at(0),
        decide_by: at(100),
        extended: None,
        execute_within: SignedDuration::from_secs(50),
        terms: Terms::default(),
        amendments: Vec::new(),
        anew_of: None,
    }
}

/// `transition` leads from the states in `wins` to the state beside each; every other state wins
/// over it and is named to the loser.
fn check(wins: &[(StateName, StateName)], transition: impl Fn(Hold) -> Result<Hold, Lost>) {
    for from in STATES {
        let result = transition(hold(from)).map(|hold| hold.state.name());
        let expected = wins.iter().find(|(start, _)| *start == from);
        let expected = expected.map_or(Err(Lost::Already(from)), |(_, end)| Ok(*end));
        assert_eq!(result, expected, "from {}", from.as_str());
    }
}

#[test]
fn people_decide_only_what_is_pending() {
    let decide = |decision| move |hold: Hold| hold.decide(verdict(decision, 10), &anybody);
    check(&[(StateName::Pending, StateName::Approved)], decide(Decision::Approve));
    check(&[(StateName::Pending, StateName::Rejected)], decide(Decision::Reject));
}

#[test]
fn an_approval_is_spent_only_while_approved() {
    let spend = |hold: Hold| hold.spend(CallId::new(), &digest(), at(20));
    check(&[(StateName::Approved, StateName::Executing)], spend);
}

#[test]
fn what_runs_or_may_have_run_is_finished() {
    let wins =
        [(StateName::Executing, StateName::Finished), (StateName::Unknown, StateName::Finished)];
    check(&wins, |hold| hold.finish(outcome(), at(30)));
}

#[test]
fn only_what_runs_is_interrupted() {
    let wins = [(StateName::Executing, StateName::Unknown)];
    check(&wins, |hold| hold.interrupt(false, at(30)));
    let wins = [(StateName::Executing, StateName::Approved)];
    check(&wins, |hold| hold.interrupt(true, at(30)));
}

#[test]
fn each_ending_has_the_state_it_starts_from() {
    let end = |ending: Ending| move |hold: Hold| hold.end(ending.clone(), at(1000));
    check(&[(StateName::Pending, StateName::Expired)], end(Ending::Expire));
    check(&[(StateName::Pending, StateName::Withdrawn)], end(Ending::Withdraw));
    check(&[(StateName::Approved, StateName::Lapsed)], end(Ending::Lapse));
    let supersede = Ending::Supersede { why: "another definition".to_owned(), anew: None };
    check(&[(StateName::Approved, StateName::Superseded)], end(supersede));
}

#[test]
fn a_result_is_collected_once() {
    check(&[(StateName::Finished, StateName::Finished)], Hold::collect);
    let collected = hold(StateName::Finished).collect().unwrap();
    assert_eq!(collected.collect().unwrap_err(), Lost::Already(StateName::Finished));
}

#[test]
fn another_digest_decides_and_spends_nothing() {
    let seen = Digest::of(b"another call");
    let lost = Lost::OtherDigest { seen, held: digest() };
    let stale = Verdict { digest: seen, ..verdict(Decision::Reject, 10) };
    assert_eq!(hold(StateName::Pending).decide(stale, &anybody).unwrap_err(), lost);
    let spent = hold(StateName::Approved).spend(CallId::new(), &seen, at(20));
    assert_eq!(spent.unwrap_err(), lost);
}

#[test]
fn the_time_to_decide_ends_after_its_last_moment() {
    let decide =
        |second| hold(StateName::Pending).decide(verdict(Decision::Approve, second), &anybody);
    assert!(decide(100).is_ok());
    assert_eq!(decide(101).unwrap_err(), Lost::TooLate(at(100)));
    let expire = |second| hold(StateName::Pending).end(Ending::Expire, at(second));
    assert_eq!(expire(100).unwrap_err(), Lost::Already(StateName::Pending));
    assert!(expire(101).is_ok());
}

#[test]
fn the_time_to_run_ends_after_its_last_moment() {
    let spend = |second| hold(StateName::Approved).spend(CallId::new(), &digest(), at(second));
    assert!(spend(60).is_ok());
    assert_eq!(spend(61).unwrap_err(), Lost::TooLate(at(60)));
    let lapse = |second| hold(StateName::Approved).end(Ending::Lapse, at(second));
    assert_eq!(lapse(60).unwrap_err(), Lost::Already(StateName::Approved));
    assert!(lapse(61).is_ok());
    assert!(Approval::of(&hold(StateName::Approved), at(60)).is_some());
    assert!(Approval::of(&hold(StateName::Approved), at(61)).is_none());
}

#[test]
fn the_execution_window_starts_with_the_approval() {
    let window = |hold: Hold| {
        let State::Approved { execute_by, .. } = hold.state else { panic!("{hold:?}") };
        execute_by
    };
    let decided =
        hold(StateName::Pending).decide(verdict(Decision::Approve, 70), &anybody).unwrap();
    assert_eq!(window(decided), at(120));
    let again = hold(StateName::Executing).interrupt(true, at(500)).unwrap();
    assert_eq!(window(again), at(550));
}

#[test]
fn only_an_approved_hold_carries_an_approval() {
    for name in STATES {
        let approval = Approval::of(&hold(name), at(20));
        assert_eq!(approval.is_some(), name == StateName::Approved, "{}", name.as_str());
    }
    let approval = Approval::of(&hold(StateName::Approved), at(20)).unwrap();
    assert_eq!(approval.digest(), &digest());
    assert_eq!(approval.approved_by(), [Person::local("ada".to_owned())]);
}

#[test]
fn every_state_is_read_back_as_it_was_written() {
    for name in STATES {
        let mut written = hold(name);
        let number: serde_json::Value = serde_json::from_str(r#"{"n":[-0,1.50,1e2]}"#).unwrap();
        written.arguments = number.as_object().unwrap().clone();
        let text = serde_json::to_string(&written).unwrap();
        let read: Hold = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}

#[test]
fn what_ends_without_running_keeps_its_verdicts() {
    let lapsed = hold(StateName::Approved).end(Ending::Lapse, at(61)).unwrap();
    let why = Ending::Supersede { why: "why".to_owned(), anew: None };
    let superseded = hold(StateName::Approved).end(why, at(20)).unwrap();
    for ended in [lapsed, superseded] {
        assert_eq!(ended.state.verdicts(), [verdict(Decision::Approve, 10)]);
    }
    // Earlier versions wrote none.
    for before in [
        r#"{"name":"lapsed","at":"1970-01-01T00:01:01Z"}"#,
        r#"{"name":"superseded","at":"1970-01-01T00:00:20Z","why":"why"}"#,
    ] {
        let state: State = serde_json::from_str(before).unwrap();
        assert_eq!(state.verdicts(), [], "{before}");
    }
}
