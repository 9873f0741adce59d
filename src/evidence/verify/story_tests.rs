//! Stories of people that cannot have happened: too few of them, no signature, edits and accounts out of
//! turn, calls under a standing approval that does not cover them.

use super::tests::{HELD, approved, asked, changed, decided, intent, opened, told, twist};
use super::*;
use crate::evidence::{Event, Intent, Listed, Signature};
use crate::halts::Scope;
use crate::hold::{Amendment, Decision, Demand, Resolution, Standing, StateName, Terms, Verdict};
use crate::ids::{CallId, HaltId, StandingId};
use crate::json::Object;
use crate::principal::{Person, Role};

const STANDING: StandingId = StandingId::from_random([2; 16]);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn held_on(terms: Terms) -> Event {
    let mut event = opened();
    if let Event::Hold { terms: of_hold, .. } = &mut event {
        *of_hold = terms;
    }
    event
}

fn two_people() -> Terms {
    let demand = Demand { rule: "two".to_owned(), reviewers: Vec::new(), quorum: 2 };
    Terms { demands: vec![demand], ..Terms::default() }
}

fn verdict(name: &str, digest: &[u8]) -> Verdict {
    let person = Person::local(name.to_owned());
    Verdict::new(person, Decision::Approve, Digest::of(digest), Timestamp::UNIX_EPOCH)
}

fn by(name: &str, state: StateName) -> Event {
    Event::Verdict { hold: HELD, verdict: verdict(name, b"call"), state }
}

fn amended(from: &[u8], to: &[u8]) -> Event {
    let amendment = Amendment {
        person: Person::local("ada".to_owned()),
        at: Timestamp::UNIX_EPOCH,
        from: Digest::of(from),
        to: Digest::of(to),
        changes: Vec::new(),
    };
    let (arguments, rules) = (Object::new(), Vec::new());
    Event::HoldAmended { hold: HELD, amendment, arguments, rules, terms: Terms::default() }
}

fn resolved(call: CallId, resolution: Resolution, state: StateName) -> Event {
    Event::HoldResolved { hold: HELD, call, resolution, verdict: verdict("ada", b"call"), state }
}

fn granted(agent: &str, until: Timestamp) -> Event {
    let standing = Standing {
        id: STANDING,
        agent: agent.parse().unwrap(),
        tool: "deploy".to_owned(),
        definition_fingerprint: Digest::of(b"definition"),
        waives: vec!["writes".to_owned()],
        bounds: Object::new(),
        until,
        reason: None,
        granted_by: Person::local("ada".to_owned()),
        granted_at: Timestamp::UNIX_EPOCH,
        revoked_at: None,
    };
    let rule = standing.rule();
    Event::StandingGranted { standing, rule }
}

fn covered(call: CallId) -> Event {
    let asked = asked(call, "REQUIRE_APPROVAL", b"call");
    Event::Intent(Intent {
        asked,
        hold: None,
        approved_by: Vec::new(),
        standing: Some(STANDING),
        charges: Vec::new(),
        brings: Vec::new(),
    })
}

#[test]
fn an_approval_of_too_few_people_is_found() {
    let few = Twist::TooFewApprovals { hold: HELD, given: 1, needed: 2 };
    assert_eq!(told([held_on(two_people()), approved()]), twist(2, few.clone()));
    let twice =
        [held_on(two_people()), by("ada", StateName::Pending), by("ada", StateName::Approved)];
    assert_eq!(told(twice), twist(3, few));
    let enough =
        [held_on(two_people()), by("ada", StateName::Pending), by("bob", StateName::Approved)];
    assert!(told(enough).is_ok());
}

fn listed(name: &str, role: Role) -> Event {
    let reviewer = name.parse().unwrap();
    let expires_at = Some(at(100));
    let listed = Listed { reviewer, role, groups: Vec::new(), also: Vec::new(), expires_at };
    Event::ReviewerAdded { listed, by: "root".to_owned() }
}

fn by_token(name: &str, second: i64, state: StateName) -> Event {
    let person = Person { name: name.to_owned(), local: false };
    let verdict = Verdict::new(person, Decision::Approve, Digest::of(b"call"), at(second));
    Event::Verdict { hold: HELD, verdict, state }
}

#[test]
fn two_names_of_one_human_are_one_approval() {
    let mut ann = listed("ann", Role::Reviewer);
    if let Event::ReviewerAdded { listed, .. } = &mut ann {
        listed.also = vec!["ada".to_owned()];
    }
    let few = Twist::TooFewApprovals { hold: HELD, given: 1, needed: 2 };
    let (first, second) = (by("ada", StateName::Pending), by_token("ann", 1, StateName::Approved));
    assert_eq!(told([ann, held_on(two_people()), first.clone(), second.clone()]), twist(4, few));
    let other = listed("ann", Role::Reviewer);
    assert!(told([other, held_on(two_people()), first, second]).is_ok());
}

#[test]
fn an_approval_of_somebody_who_may_not_decide_is_found() {
    let wrong = |place| twist(place, Twist::MayNotDecide { hold: HELD, person: "ann".to_owned() });
    let by_ann = |second| by_token("ann", second, StateName::Approved);
    assert_eq!(told([opened(), by_ann(0)]), wrong(2), "she is not in the register");
    assert_eq!(told([listed("ann", Role::Viewer), opened(), by_ann(0)]), wrong(3));
    let reviewer = || listed("ann", Role::Reviewer);
    assert!(told([reviewer(), opened(), by_ann(99)]).is_ok());
    assert_eq!(told([reviewer(), opened(), by_ann(100)]), wrong(3), "her record had ended");
    let reviewer_name = "ann".parse().unwrap();
    let revoked = Event::ReviewerRevoked { reviewer: reviewer_name, by: "root".to_owned() };
    assert_eq!(told([reviewer(), opened(), revoked, by_ann(0)]), wrong(4));
}

#[test]
fn who_may_decide_no_more_does_not_count_when_enough_have_approved() {
    let reviewer = |name| listed(name, Role::Reviewer);
    let revoked =
        Event::ReviewerRevoked { reviewer: "ann".parse().unwrap(), by: "root".to_owned() };
    let few = Twist::TooFewApprovals { hold: HELD, given: 1, needed: 2 };
    let story = [
        reviewer("ann"),
        reviewer("bob"),
        held_on(two_people()),
        by_token("ann", 0, StateName::Pending),
        revoked,
        by_token("bob", 1, StateName::Approved),
    ];
    assert_eq!(told(story), twist(6, few));
}

#[test]
fn an_approval_without_the_signature_it_needs_is_found() {
    let signed = || held_on(Terms { signature: true, ..Terms::default() });
    let missing = Twist::WithoutSignature { hold: HELD, person: "ada".to_owned() };
    assert_eq!(told([signed(), approved()]), twist(2, missing));
    // Who rejects need not sign.
    assert!(told([signed(), decided(Decision::Reject, StateName::Rejected)]).is_ok());
    let mut forged = verdict("ada", b"call");
    forged.signature = Some(Signature::Ssh("-----BEGIN SSH SIGNATURE-----".to_owned()));
    let forged = Event::Verdict { hold: HELD, verdict: forged, state: StateName::Approved };
    for opening in [signed(), opened()] {
        let fault = told([opening, forged.clone()]).unwrap_err();
        let What::Twist(Twist::WrongSignature { hold: HELD, .. }) = fault.what else {
            panic!("{fault}");
        };
    }
}

#[test]
fn an_edit_binds_what_follows_to_the_edited_call() {
    let edit = || amended(b"call", b"edited");
    let of_edited = Event::Verdict {
        hold: HELD,
        verdict: verdict("ada", b"edited"),
        state: StateName::Approved,
    };
    assert!(told([opened(), edit(), of_edited.clone()]).is_ok());
    let stale = Twist::OutOfTurn { hold: HELD, to: StateName::Approved };
    assert_eq!(told([opened(), edit(), approved()]), twist(3, stale));
    let out_of_turn = Twist::AmendedOutOfTurn(HELD);
    assert_eq!(told([edit()]), twist(1, out_of_turn.clone()));
    assert_eq!(told([opened(), approved(), edit()]), twist(3, out_of_turn.clone()));
    assert_eq!(told([opened(), amended(b"other", b"edited")]), twist(2, out_of_turn));
    // What ran is what was held before the edit.
    let call = CallId::new();
    let other = Twist::OtherCall { call, hold: HELD };
    assert_eq!(told([opened(), edit(), of_edited, intent(call, Some(HELD))]), twist(4, other));
    // Approvals of what it was count no more.
    let void = [
        held_on(two_people()),
        by("ada", StateName::Pending),
        edit(),
        by("bob", StateName::Approved),
    ];
    let stale = Twist::OutOfTurn { hold: HELD, to: StateName::Approved };
    assert_eq!(told(void), twist(4, stale));
}

#[test]
fn people_account_only_for_what_nobody_knows() {
    let call = CallId::new();
    let unknown = || {
        [opened(), approved(), intent(call, Some(HELD)), changed(StateName::Unknown)].into_iter()
    };
    let done = |call| resolved(call, Resolution::Done, StateName::Finished);
    assert!(told(unknown().chain([done(call)])).is_ok());
    let finished = Twist::OutOfTurn { hold: HELD, to: StateName::Finished };
    assert_eq!(told(unknown().take(3).chain([done(call)])), twist(4, finished.clone()));
    assert_eq!(told(unknown().chain([done(CallId::new())])), twist(5, finished.clone()));
    assert_eq!(told(unknown().chain([done(call), done(call)])), twist(6, finished));
    let again = || resolved(call, Resolution::RunAgain, StateName::Approved);
    let second = CallId::new();
    assert!(told(unknown().chain([again(), intent(second, Some(HELD))])).is_ok());
    let wrong = Twist::OutOfTurn { hold: HELD, to: StateName::Approved };
    let claimed = resolved(call, Resolution::Done, StateName::Approved);
    assert_eq!(told(unknown().chain([claimed])), twist(5, wrong));
    let twice = unknown().chain([again(), intent(second, Some(HELD)), intent(call, Some(HELD))]);
    assert_eq!(told(twice), twist(7, Twist::SpentTwice { call, hold: HELD }));
}

#[test]
fn a_call_runs_only_under_a_standing_approval_in_force() {
    let call = CallId::new();
    let uncovered = Twist::NotStanding { call, standing: STANDING };
    let long = at(100);
    assert!(told([granted("bot", long), covered(call)]).is_ok());
    assert_eq!(told([covered(call)]), twist(1, uncovered.clone()));
    assert_eq!(told([granted("other", long), covered(call)]), twist(2, uncovered.clone()));
    // The test's entries are all of second 0.
    assert_eq!(told([granted("bot", at(-60)), covered(call)]), twist(2, uncovered.clone()));
    let revoked = Event::StandingRevoked { standing: STANDING, by: "ada".to_owned() };
    assert_eq!(told([granted("bot", long), revoked, covered(call)]), twist(3, uncovered));
}

const HALT: HaltId = HaltId::from_random([9; 16]);

fn halted(scope: Scope) -> Event {
    let by = Person::local("ada".to_owned());
    Event::Halt { halt: HALT, scope, reason: "an incident".to_owned(), by, until: None }
}

fn resumed() -> Event {
    let by = Person::local("ada".to_owned());
    Event::Resume { halt: HALT, reason: "it is over".to_owned(), by }
}

/// A call of which an intent says all that a halt may be about.
fn begun(call: CallId) -> Event {
    let mut asked = asked(call, "ALLOW", b"call");
    asked.groups = vec!["night".to_owned()];
    asked.capability = Some("cluster".to_owned());
    asked.workflow = Some("release-7".to_owned());
    Event::Intent(Intent {
        asked,
        hold: None,
        approved_by: Vec::new(),
        standing: None,
        charges: Vec::new(),
        brings: Vec::new(),
    })
}

#[test]
fn a_call_that_began_while_it_was_halted_is_found() {
    let call = CallId::new();
    let scopes: [fn(String) -> Scope; 6] = [
        Scope::Agent,
        Scope::Group,
        Scope::Tool,
        Scope::Backend,
        Scope::Capability,
        Scope::Workflow,
    ];
    let names = ["bot", "night", "deploy", "kubernetes", "cluster", "release-7"];
    let twist = || twist(2, Twist::WhileHalted { call, halt: HALT });
    assert_eq!(told([halted(Scope::All), begun(call)]), twist());
    for (scope, name) in scopes.into_iter().zip(names) {
        assert_eq!(told([halted(scope(name.to_owned())), begun(call)]), twist(), "{name}");
        assert!(told([halted(scope("other".to_owned())), begun(call)]).is_ok(), "{name}");
    }
    assert!(told([begun(call), halted(Scope::All)]).is_ok());
    for end in [resumed(), Event::HaltEnded { halt: HALT }] {
        assert!(told([halted(Scope::All), end, begun(call)]).is_ok());
    }
}

#[test]
fn a_halt_is_engaged_once_and_ends_once() {
    let all = || halted(Scope::All);
    assert_eq!(told([all(), all()]), twist(2, Twist::SecondHalt(HALT)));
    assert_eq!(told([resumed()]), twist(1, Twist::NotHalted(HALT)));
    let twice = [all(), resumed(), Event::HaltEnded { halt: HALT }];
    assert_eq!(told(twice), twist(3, Twist::NotHalted(HALT)));
    assert!(told([all(), resumed(), all()]).is_ok());
}
