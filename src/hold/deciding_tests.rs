//! Who may decide, and when it is enough: quorums, demands that add up, other eyes, lost roles, edits.

use serde_json::Value;

use super::tests::{at, digest, hold};
use super::*;
use crate::principal::{Capacity, Role};

/// Everybody who was ever asked: ada and bob of `sre`, cyd of `ops`, dan of both; `ada2` is ada too.
fn everybody(person: &Person) -> Option<Capacity> {
    let groups: &[&str] = match person.name.as_str() {
        "ada" | "ada2" | "bob" => &["sre"],
        "cyd" => &["ops"],
        "dan" => &["ops", "sre"],
        _ => return None,
    };
    let own = vec![person.name.clone()];
    let ada = || vec!["ada".to_owned(), "ada2".to_owned()];
    Some(Capacity {
        role: Role::Reviewer,
        decides: true,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        known_as: own.clone(),
        same_human: if person.name.starts_with("ada") { ada() } else { own },
        keys: Vec::new(),
        passkeys: Vec::new(),
    })
}

fn without<'n>(lost: &'n str) -> impl Fn(&Person) -> Option<Capacity> + 'n {
    move |person| everybody(person).filter(|_| person.name != lost)
}

fn demand(rule: &str, reviewers: &[&str], quorum: u32) -> Demand {
    let reviewers = reviewers.iter().map(|who| who.parse().unwrap()).collect();
    Demand { rule: rule.to_owned(), reviewers, quorum }
}

fn of(name: &str, decision: Decision) -> Verdict {
    Verdict::new(Person::registered(&name.parse().unwrap()), decision, digest(), at(10))
}

fn with(demands: Vec<Demand>) -> Hold {
    let terms = Terms { demands, ..Terms::default() };
    Hold { terms, owner: Some("ada".to_owned()), ..hold(StateName::Pending) }
}

/// The approvals of `names` in turn; every one but the last leaves it pending.
fn approved(mut hold: Hold, names: &[&str], people: &People<'_>) -> Result<Hold, Lost> {
    for name in names {
        hold = hold.decide(of(name, Decision::Approve), people)?;
    }
    Ok(hold)
}

#[track_caller]
fn check(demands: &[Demand], names: &[&str], expected: StateName) {
    let found = approved(with(demands.to_vec()), names, &everybody).unwrap();
    assert_eq!(found.state.name(), expected, "{names:?}");
    assert_eq!(found.state.verdicts().len(), names.len());
}

#[track_caller]
fn refused(result: Result<Hold, Lost>, words: &str) {
    let lost = result.unwrap_err();
    assert!(lost.to_string().contains(words), "{lost}");
}

#[test]
fn a_quorum_is_of_different_people_whom_the_rule_names() {
    let two = [demand("two", &["group:sre"], 2)];
    check(&two, &["ada"], StateName::Pending);
    check(&two, &["ada", "bob"], StateName::Approved);
    refused(approved(with(two.to_vec()), &["ada", "ada"], &everybody), "approved already");
    refused(approved(with(two.to_vec()), &["ada", "ada2"], &everybody), "approved already");
    refused(approved(with(two.to_vec()), &["cyd"], &everybody), "2 of group:sre");
    refused(approved(with(two.to_vec()), &["eve"], &everybody), "may not decide");
    check(&[demand("named", &["cyd", "bob"], 1)], &["cyd"], StateName::Approved);
}

#[test]
fn demands_of_all_rules_add_up_and_one_person_may_meet_more_than_one() {
    let both = [demand("a", &["group:sre"], 1), demand("b", &["group:ops"], 1)];
    check(&both, &["ada"], StateName::Pending);
    check(&both, &["ada", "bob"], StateName::Pending);
    check(&both, &["ada", "cyd"], StateName::Approved);
    check(&both, &["dan"], StateName::Approved);
}

#[test]
fn one_rejection_rejects_whatever_was_approved() {
    let two = vec![demand("two", &["group:sre"], 2)];
    let one = approved(with(two), &["ada"], &everybody).unwrap();
    let rejected = one.decide(of("bob", Decision::Reject), &everybody).unwrap();
    assert_eq!(rejected.state.name(), StateName::Rejected);
}

#[test]
fn a9_the_owner_has_not_other_eyes_under_any_name_but_may_reject() {
    let mut held = with(Vec::new());
    held.terms.four_eyes = true;
    for name in ["ada", "ada2"] {
        refused(approved(held.clone(), &[name], &everybody), "needs other eyes");
        let rejected = held.clone().decide(of(name, Decision::Reject), &everybody).unwrap();
        assert_eq!(rejected.state.name(), StateName::Rejected);
    }
    let (agent, owner) = ("planner".parse().unwrap(), Some("bob".to_owned()));
    let acted = Hold {
        via: Some(crate::principal::Via { agent, owner, groups: Vec::new() }),
        ..held.clone()
    };
    for name in ["ada", "bob"] {
        refused(approved(acted.clone(), &[name], &everybody), "needs other eyes");
    }
    let approved = approved(held, &["bob"], &everybody).unwrap();
    assert_eq!(approved.state.name(), StateName::Approved);
}

#[test]
fn a10_only_who_may_still_decide_counts_when_the_quorum_is_reached() {
    let two = vec![demand("two", &["group:sre"], 2)];
    let one = approved(with(two), &["ada"], &everybody).unwrap();
    let second = approved(one, &["bob"], &without("ada")).unwrap();
    assert_eq!(second.state.name(), StateName::Pending);
    let third = approved(second, &["dan"], &without("ada")).unwrap();
    let names: Vec<_> = third.state.verdicts().iter().map(|it| it.person.name.clone()).collect();
    assert_eq!(
        (third.state.name(), names),
        (StateName::Approved, vec!["bob".into(), "dan".into()])
    );
}

fn edited() -> Edited {
    Edited {
        arguments: Object::from_iter([("n".to_owned(), Value::from(2))]),
        digest: Digest::of(b"edited"),
        rules: Vec::new(),
        reason: String::new(),
        terms: Terms { allow_edit: true, ..Terms::default() },
    }
}

#[test]
fn an_edit_voids_approvals_and_is_let_by_every_rule() {
    let two = vec![demand("two", &["group:sre"], 2)];
    let mut held = approved(with(two), &["ada"], &everybody).unwrap();
    let by = of("bob", Decision::Approve);
    let kept = held.clone().amend(edited(), &by, &everybody);
    assert_eq!(kept.unwrap_err(), Lost::NotEditable);
    held.terms.allow_edit = true;
    refused(held.clone().amend(edited(), &of("cyd", Decision::Approve), &everybody), "group:sre");
    let amended = held.amend(edited(), &by, &everybody).unwrap();
    assert_eq!((amended.state.name(), amended.state.verdicts().len()), (StateName::Pending, 0));
    assert_eq!(amended.digest, Digest::of(b"edited"));
    let [amendment] = amended.amendments.as_slice() else { panic!("{amended:?}") };
    assert_eq!((amendment.from, amendment.to), (digest(), Digest::of(b"edited")));
    let change = Change { pointer: "/n".to_owned(), from: None, to: Some(Value::from(2)) };
    assert_eq!(amendment.changes, [change]);
    refused(amended.decide(by, &everybody), "look at it again");
}

#[test]
fn it_runs_again_only_with_the_approvals_that_it_needed_at_first() {
    let account = |name| {
        let verdict = of(name, Decision::Approve);
        Account { resolution: Resolution::RunAgain, verdict }
    };
    let mut held = hold(StateName::Unknown);
    held.terms.demands = vec![demand("two", &["group:sre"], 2)];
    let again = held.clone().resolve(account("bob"), &everybody).unwrap();
    assert_eq!((again.state.name(), again.state.verdicts().len()), (StateName::Approved, 2));
    refused(held.clone().resolve(account("ada"), &everybody), "approvals missing: 1");
    refused(held.resolve(account("bob"), &without("ada")), "approvals missing: 1");
}

#[test]
fn who_alone_can_approve_may_grant_a_standing_approval() {
    let may = |held: &Hold, name: &str| {
        held.may_grant(&Person::registered(&name.parse().unwrap()), &everybody).is_ok()
    };
    let both = with(vec![demand("a", &["group:sre"], 1), demand("b", &["group:ops"], 1)]);
    assert!(may(&both, "dan"));
    assert!(!may(&both, "ada") && !may(&both, "cyd") && !may(&both, "eve"));
    assert!(!may(&with(vec![demand("two", &[], 2)]), "dan"));
    let mut signed = with(Vec::new());
    assert!(may(&signed, "ada"));
    signed.terms.four_eyes = true;
    assert!(!may(&signed, "ada") && may(&signed, "bob"));
    signed.terms.signature = true;
    assert!(!may(&signed, "bob"));
}

#[test]
fn terms_are_told_in_words() {
    let told = |terms: Terms| terms.told();
    assert_eq!(told(Terms::default()), "one of the reviewers");
    let demands = vec![demand("a", &["group:sre", "ada"], 2), demand("b", &["group:ops"], 1)];
    let all = Terms { demands, four_eyes: true, signature: true, ..Terms::default() };
    let expected = "2 of group:sre, ada and one of group:ops, other than the agent's owner, signed";
    assert_eq!(all.told(), expected);
    assert_eq!((all.quorum(), Terms::default().quorum()), (2, 1));
    assert_eq!(all.reviewers().len(), 3);
}

#[test]
fn a_reviewer_is_a_name_or_a_group() {
    assert_eq!("ada".parse(), Ok(Who::Person("ada".to_owned())));
    assert_eq!("group:sre".parse(), Ok(Who::Group("sre".to_owned())));
    for wrong in ["", "group:", "a b", "*", "role:sre", "group:a:b", "a\u{7}"] {
        let why = wrong.parse::<Who>().unwrap_err();
        assert!(why.contains("names no reviewer"), "{why}");
    }
}
