//! Logs that are not as they were written, or that say what cannot have happened.

use serde_json::Value;

use super::*;
use crate::evidence::chain::Draft;
use crate::evidence::{Asked, Event, Intent, Outcome, OutcomeStatus};
use crate::hold::{Decision, StateName, Terms, Verdict};
use crate::ids::{CallId, HoldId};
use crate::json::Object;
use crate::principal::Person;

pub(super) const HELD: HoldId = HoldId::from_random([1; 16]);

pub(super) fn asked(call: CallId, decision: &str, digest: &[u8]) -> Asked {
    Asked {
        via: None,
        call,
        agent: "bot".parse().unwrap(),
        owner: None,
        groups: Vec::new(),
        client: None,
        workflow: None,
        compensates: None,
        tool: "deploy".to_owned(),
        backend: "kubernetes".to_owned(),
        capability: None,
        definition_fingerprint: Digest::of(b"definition"),
        arguments: Object::from_iter([("replicas".to_owned(), Value::from(3))]),
        digest: Digest::of(digest),
        revision: Digest::of(b"revision"),
        decision: decision.to_owned(),
        rules: vec!["writes".to_owned()],
        edits: Vec::new(),
        noticed: crate::policy::Noticed::default(),
    }
}

pub(super) fn intent(call: CallId, hold: Option<HoldId>) -> Event {
    let decision = if hold.is_some() { "REQUIRE_APPROVAL" } else { "ALLOW" };
    let asked = asked(call, decision, b"call");
    Event::Intent(Intent {
        asked,
        hold,
        approved_by: Vec::new(),
        standing: None,
        charges: Vec::new(),
        brings: Vec::new(),
    })
}

pub(super) fn outcome(call: CallId, hold: Option<HoldId>) -> Event {
    let outcome = Outcome {
        status: OutcomeStatus::Success,
        error: None,
        result_digest: None,
        result_bytes: Some(2),
        backend_ms: 1,
        asked: Vec::new(),
        cached: false,
        charges: Vec::new(),
    };
    Event::Outcome { call, hold, outcome }
}

pub(super) fn opened() -> Event {
    Event::Hold {
        hold: HELD,
        asked: asked(CallId::new(), "REQUIRE_APPROVAL", b"call"),
        requested_arguments: Object::new(),
        decide_by: Timestamp::UNIX_EPOCH,
        terms: Terms::default(),
        anew_of: None,
    }
}

pub(super) fn decided(decision: Decision, state: StateName) -> Event {
    let ada = Person::local("ada".to_owned());
    let verdict = Verdict::new(ada, decision, Digest::of(b"call"), Timestamp::UNIX_EPOCH);
    Event::Verdict { hold: HELD, verdict, state }
}

pub(super) fn approved() -> Event {
    decided(Decision::Approve, StateName::Approved)
}

pub(super) fn changed(state: StateName) -> Event {
    Event::HoldChanged { hold: HELD, state, why: None }
}

fn log(bodies: impl IntoIterator<Item = Vec<u8>>) -> (Vec<Row>, Head) {
    let mut head = Head::EMPTY;
    let mut rows = Vec::new();
    for body in bodies {
        let chain = chain::next(&head.chain, &chain::leaf(&body));
        head = Head { count: head.count + 1, chain };
        rows.push(Row { index: head.count, body, chain: chain.as_bytes().to_vec() });
    }
    (rows, head)
}

fn bodies(events: impl IntoIterator<Item = Event>) -> impl Iterator<Item = Vec<u8>> {
    let body = |event| Draft::new(event).unwrap().at(Timestamp::UNIX_EPOCH).into_bytes();
    events.into_iter().map(body)
}

pub(super) fn told(events: impl IntoIterator<Item = Event>) -> Result<Summary, Fault> {
    let (rows, head) = log(bodies(events));
    verify(rows, &head)
}

fn small() -> (Vec<Row>, Head) {
    let (plain, held) = (CallId::new(), CallId::new());
    log(bodies([
        intent(plain, None),
        opened(),
        outcome(plain, None),
        approved(),
        intent(held, Some(HELD)),
        outcome(held, Some(HELD)),
        intent(CallId::new(), None),
    ]))
}

pub(super) fn twist(index: u64, twist: Twist) -> Result<Summary, Fault> {
    Err(Fault { index, what: What::Twist(twist) })
}

#[test]
fn sums_up_a_log_that_is_as_it_was_written() {
    let (rows, head) = small();
    let summary = Summary { head, intents: 3, refusals: 0, approvals_spent: 1, open: 1 };
    assert_eq!(verify(rows, &head), Ok(summary));
    assert!(verify([], &Head::EMPTY).is_ok());
}

#[test]
fn names_the_entry_of_every_flipped_byte() {
    let (rows, head) = small();
    for (place, row) in rows.iter().enumerate() {
        let flips = (0..row.body.len()).map(|at| (true, at)).chain((0..32).map(|at| (false, at)));
        for (in_body, at) in flips {
            let mut rows = rows.clone();
            let bytes = if in_body { &mut rows[place].body } else { &mut rows[place].chain };
            bytes[at] ^= 1;
            let fault = Fault { index: row.index, what: What::Edited };
            assert_eq!(verify(rows, &head), Err(fault));
        }
    }
}

#[test]
fn names_the_first_entry_that_is_missing_or_moved() {
    let (rows, head) = small();
    let fault = |rows: &[Row]| verify(rows.iter().cloned(), &head).unwrap_err();
    for place in 0..rows.len() - 1 {
        let index = rows[place].index;
        let mut gone = rows.clone();
        gone.remove(place);
        assert_eq!(fault(&gone), Fault { index, what: What::Missing { next: index + 1 } });
        for (number, row) in gone.iter_mut().enumerate() {
            row.index = number as u64 + 1;
        }
        assert_eq!(fault(&gone), Fault { index, what: What::Edited });
        let mut swapped = rows.clone();
        swapped.swap(place, place + 1);
        assert_eq!(fault(&swapped), Fault { index, what: What::Missing { next: index + 1 } });
        swapped[place].index = index;
        swapped[place + 1].index = index + 1;
        assert_eq!(fault(&swapped), Fault { index, what: What::Edited });
        let mut twice = rows.clone();
        twice.insert(place, rows[place].clone());
        assert_eq!(fault(&twice), Fault { index, what: What::OutOfOrder { after: index } });
        let what = What::Truncated { count: head.count };
        assert_eq!(fault(&rows[..place]), Fault { index, what });
    }
}

#[test]
fn holds_the_log_to_its_head() {
    let (rows, head) = small();
    let earlier = Head { count: head.count - 1, ..head };
    let what = What::BeyondHead { count: earlier.count };
    assert_eq!(verify(rows.clone(), &earlier), Err(Fault { index: head.count, what }));
    let other = Head { chain: chain::GENESIS, ..head };
    assert_eq!(verify(rows, &other), Err(Fault { index: head.count, what: What::OtherHead }));
}

#[test]
fn refuses_bytes_that_are_no_entry_though_the_chain_fits() {
    let good = bodies([opened()]).next().unwrap();
    let text = String::from_utf8(good).unwrap();
    let mut spaced = text.clone();
    spaced.push('\n');
    let fault = |text: String| {
        let (rows, head) = log([text.into_bytes()]);
        verify(rows, &head).unwrap_err().what
    };
    assert_eq!(fault(spaced), What::Unreadable(Unreadable::NotCanonical));
    let unknown = fault(text.replace("\"kind\":\"hold\"", "\"kind\":\"held\""));
    assert!(matches!(unknown, What::Unreadable(Unreadable::UnknownForm(_))), "{unknown}");
}

#[test]
fn refuses_time_that_runs_back() {
    let draft = |event| Draft::new(event).unwrap();
    let call = CallId::new();
    let later = Timestamp::from_second(1).unwrap();
    let bodies = [
        draft(intent(call, None)).at(later).into_bytes(),
        draft(outcome(call, None)).at(Timestamp::UNIX_EPOCH).into_bytes(),
    ];
    let (rows, head) = log(bodies);
    assert_eq!(verify(rows, &head), Err(Fault { index: 2, what: What::TimeRunsBack }));
}

#[test]
fn an_outcome_needs_its_intent_and_comes_once() {
    let call = CallId::new();
    assert_eq!(told([outcome(call, None)]), twist(1, Twist::OutcomeWithoutIntent(call)));
    let twice = [intent(call, None), outcome(call, None), outcome(call, None)];
    assert_eq!(told(twice), twist(3, Twist::SecondOutcome(call)));
    let again = [intent(call, None), intent(call, None)];
    assert_eq!(told(again), twist(2, Twist::SecondIntent(call)));
    let astray = [intent(call, None), outcome(call, Some(HELD))];
    assert_eq!(told(astray), twist(2, Twist::OtherHold(call)));
}

#[test]
fn a_held_call_needs_its_approval() {
    let call = CallId::new();
    let without = Twist::WithoutApproval { call, hold: HELD };
    let run = intent(call, Some(HELD));
    assert_eq!(told([run.clone()]), twist(1, without.clone()));
    assert_eq!(told([opened(), run.clone()]), twist(2, without.clone()));
    let rejected = decided(Decision::Reject, StateName::Rejected);
    assert_eq!(told([opened(), rejected, run.clone()]), twist(3, without.clone()));
    let lapsed = [opened(), approved(), changed(StateName::Lapsed), run];
    assert_eq!(told(lapsed), twist(4, without));
    let asked = asked(call, "REQUIRE_APPROVAL", b"call");
    let unheld = Event::Intent(Intent {
        asked,
        hold: None,
        approved_by: Vec::new(),
        standing: None,
        charges: Vec::new(),
        brings: Vec::new(),
    });
    assert_eq!(told([unheld]), twist(1, Twist::WithoutHold(call)));
}

#[test]
fn an_approval_covers_one_call_once() {
    let (first, second) = (CallId::new(), CallId::new());
    let run = intent(first, Some(HELD));
    let again = intent(second, Some(HELD));
    let spent = Twist::SpentTwice { call: second, hold: HELD };
    let at_once = [opened(), approved(), run.clone(), again.clone()];
    assert_eq!(told(at_once), twist(4, spent.clone()));
    let later = [opened(), approved(), run.clone(), outcome(first, Some(HELD)), again.clone()];
    assert_eq!(told(later), twist(5, spent));
    let asked = asked(first, "REQUIRE_APPROVAL", b"another call");
    let other = Event::Intent(Intent {
        asked,
        hold: Some(HELD),
        approved_by: Vec::new(),
        standing: None,
        charges: Vec::new(),
        brings: Vec::new(),
    });
    let other_call = Twist::OtherCall { call: first, hold: HELD };
    assert_eq!(told([opened(), approved(), other]), twist(3, other_call));
    let revived =
        [opened(), approved(), run, outcome(first, Some(HELD)), changed(StateName::Approved)];
    let out_of_turn = Twist::OutOfTurn { hold: HELD, to: StateName::Approved };
    assert_eq!(told(revived), twist(5, out_of_turn));
}

#[test]
fn what_a_stopped_gateway_left_may_end() {
    let (first, second) = (CallId::new(), CallId::new());
    let start = [opened(), approved(), intent(first, Some(HELD))];
    let resolved = [changed(StateName::Unknown), outcome(first, Some(HELD))];
    assert_eq!(told(start.clone().into_iter().chain(resolved)).unwrap().open, 0);
    let run_again =
        [changed(StateName::Approved), intent(second, Some(HELD)), outcome(second, Some(HELD))];
    let summary = told(start.into_iter().chain(run_again)).unwrap();
    assert_eq!((summary.open, summary.approvals_spent), (0, 2));
}
