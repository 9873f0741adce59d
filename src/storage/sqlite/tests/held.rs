//! Holds in the store: races, queries, clocks and recovery.

use serde_json::value::RawValue;

use super::*;
use crate::hold::{Ending, Lost, StateName};
use crate::storage::HoldQuery;

impl Fixture {
    async fn opened(&self, number: u8, agent: &str) -> HoldId {
        let hold = hold(number, agent);
        let event = opening(&hold);
        self.store.open_hold(hold, event, 100).await.unwrap().id
    }

    async fn approved(&self, number: u8) -> HoldId {
        let id = self.opened(number, "bot").await;
        self.store.decide_hold(id, verdict(Decision::Approve, "ada", start())).await.unwrap();
        id
    }

    async fn running(&self, number: u8) -> (HoldId, CallId) {
        let (id, call) = (self.approved(number).await, CallId::new());
        let receipt = self.store.spend_approval(id, intent(call)).await.unwrap();
        assert_eq!((receipt.call(), receipt.hold()), (call, Some(id)));
        (id, call)
    }

    async fn state(&self, id: HoldId) -> StateName {
        self.store.hold(id).await.unwrap().unwrap().state.name()
    }
}

fn lost(result: Result<impl std::fmt::Debug, HoldError>) -> Lost {
    match result {
        Err(HoldError::Lost { lost, .. }) => lost,
        other => panic!("{other:?}"),
    }
}

fn result(text: &str) -> Option<Box<RawValue>> {
    Some(RawValue::from_string(text.to_owned()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_verdicts_at_once_one_wins() {
    let fixture = Fixture::new();
    let id = fixture.opened(1, "bot").await;
    let verdicts = (0..200).map(|number| {
        let decision = if number % 2 == 0 { Decision::Approve } else { Decision::Reject };
        fixture.store.decide_hold(id, verdict(decision, &format!("p{number}"), start()))
    });
    let answers = futures::future::join_all(verdicts).await;
    let (won, late): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), late.len()), (1, 199));
    let won = won.into_iter().next().unwrap().unwrap();
    for answer in late {
        let Err(HoldError::Lost { lost, hold }) = answer else { panic!("{answer:?}") };
        assert_eq!(lost, Lost::Already(won.state.name()));
        assert_eq!(hold.state.verdicts(), won.state.verdicts());
    }
    assert_eq!(fixture.kinds().await, ["hold", "verdict"]);
    fixture.verified().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_spent_once() {
    let fixture = Fixture::new();
    let id = fixture.approved(1).await;
    let spends = (0..50).map(|_| fixture.store.spend_approval(id, intent(CallId::new())));
    let answers = futures::future::join_all(spends).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(lost(answer), Lost::Already(StateName::Executing));
    }
    assert_eq!(fixture.verified().unwrap().approvals_spent, 1);
}

#[tokio::test]
async fn an_approval_is_not_spent_on_another_call_or_too_late() {
    let fixture = Fixture::new();
    let id = fixture.approved(1).await;
    let mut other = intent(CallId::new());
    other.asked.digest = Digest::of(b"another call");
    let answer = fixture.store.spend_approval(id, other).await;
    assert!(matches!(lost(answer), Lost::OtherDigest { .. }));
    fixture.clock.advance(Duration::from_secs(51));
    let answer = fixture.store.spend_approval(id, intent(CallId::new())).await;
    assert!(matches!(lost(answer), Lost::TooLate(_)));
    assert_eq!(fixture.state(id).await, StateName::Approved);
    assert_eq!(fixture.kinds().await, ["hold", "verdict"]);
}

#[tokio::test]
async fn a_result_is_kept_and_collected_once() {
    let fixture = Fixture::new();
    let (id, _) = fixture.running(1).await;
    let text = r#"{"b":1.0,"a":[1e2]}"#;
    fixture.store.finish_hold(id, outcome(), result(text)).await.unwrap();
    let again = fixture.store.finish_hold(id, outcome(), result("{}")).await;
    assert_eq!(lost(again), Lost::Already(StateName::Finished));
    let fixture = fixture.reopened();
    assert_eq!(fixture.store.hold_result(id).await.unwrap().unwrap().get(), text);
    assert_eq!(fixture.store.collect_hold(id).await.unwrap().get(), text);
    assert_eq!(lost(fixture.store.collect_hold(id).await), Lost::Already(StateName::Finished));
    assert_eq!(fixture.store.hold_result(id).await.unwrap().unwrap().get(), text);
    let summary = fixture.verified().unwrap();
    assert_eq!((summary.open, summary.approvals_spent), (0, 1));
}

#[tokio::test]
async fn an_agent_has_only_so_many_pending() {
    let fixture = Fixture::new();
    let open = |number, agent: &str| {
        let hold = hold(number, agent);
        let event = opening(&hold);
        fixture.store.open_hold(hold, event, 2)
    };
    open(1, "bot").await.unwrap();
    open(2, "bot").await.unwrap();
    assert!(matches!(open(3, "bot").await, Err(HoldError::TooMany { cap: 2 })));
    open(4, "other").await.unwrap();
    let first = HoldId::from_random([1; 16]);
    fixture.store.end_hold(first, Ending::Withdraw).await.unwrap();
    open(3, "bot").await.unwrap();
    let missing = fixture.store.end_hold(HoldId::from_random([9; 16]), Ending::Withdraw).await;
    assert!(matches!(missing, Err(HoldError::NotFound)));
    let pending = [("rule-bot", 2), ("rule-other", 1), ("writes", 3)];
    let pending = pending.map(|(rule, count)| (rule.to_owned(), count));
    assert_eq!(fixture.store.pending_by_rule().await.unwrap(), pending);
    fixture.verified().unwrap();
}

#[tokio::test]
async fn holds_are_listed_newest_first() {
    let fixture = Fixture::new();
    for (number, agent) in [(1, "a"), (2, "b"), (3, "a"), (4, "b")] {
        fixture.opened(number, agent).await;
    }
    let first = HoldId::from_random([1; 16]);
    fixture.store.end_hold(first, Ending::Withdraw).await.unwrap();
    let list = |states: &[StateName], agent: Option<&str>, limit| {
        let agent = agent.map(|agent| agent.parse().unwrap());
        let query = HoldQuery { states: states.to_vec(), agent, limit };
        let store = &fixture.store;
        async move {
            let holds = store.holds(query).await.unwrap();
            let seconds = |hold: Hold| hold.created_at.as_second() - start().as_second();
            holds.into_iter().map(seconds).collect::<Vec<_>>()
        }
    };
    let (pending, withdrawn) = (StateName::Pending, StateName::Withdrawn);
    assert_eq!(list(&[], None, 0).await, [4, 3, 2, 1]);
    assert_eq!(list(&[pending], None, 2).await, [4, 3]);
    assert_eq!(list(&[], Some("a"), 10).await, [3, 1]);
    assert_eq!(list(&[withdrawn, pending, pending], Some("a"), 10).await, [3, 1]);
    assert_eq!(list(&[withdrawn], Some("b"), 10).await, [0; 0]);
}

#[tokio::test]
async fn a_repeated_call_joins_what_lives_or_was_rejected_lately() {
    let fixture = Fixture::new();
    let joinable = |since: i64| {
        let since = start().saturating_add(SignedDuration::from_secs(since)).unwrap();
        let (store, agent) = (&fixture.store, "bot".parse().unwrap());
        async move {
            let found = store.joinable(&agent, &Digest::of(b"requested"), since).await.unwrap();
            found.into_iter().map(|hold| hold.state.name()).collect::<Vec<_>>()
        }
    };
    fixture.opened(1, "other").await;
    let withdrawn = fixture.opened(2, "bot").await;
    fixture.store.end_hold(withdrawn, Ending::Withdraw).await.unwrap();
    let rejected = fixture.opened(3, "bot").await;
    let no = verdict(Decision::Reject, "ada", start());
    fixture.store.decide_hold(rejected, no).await.unwrap();
    let (finished, _) = fixture.running(4).await;
    fixture.store.finish_hold(finished, outcome(), result("{}")).await.unwrap();
    fixture.running(5).await;
    fixture.approved(6).await;
    fixture.opened(7, "bot").await;
    let living =
        [StateName::Finished, StateName::Executing, StateName::Approved, StateName::Pending];
    assert_eq!(joinable(1).await, living);
    assert_eq!(joinable(0).await[0], StateName::Rejected);
    fixture.store.collect_hold(finished).await.unwrap();
    assert_eq!(joinable(1).await, living[1..]);
}

#[tokio::test]
async fn due_is_what_has_run_out_and_can_be_ended() {
    let fixture = Fixture::new();
    let pending = fixture.opened(1, "bot").await;
    let approved = fixture.approved(2).await;
    let due = || async {
        let holds = fixture.store.due(fixture.clock.now(), 10).await.unwrap();
        holds.into_iter().map(|hold| hold.id).collect::<Vec<_>>()
    };
    fixture.clock.advance(Duration::from_secs(50));
    assert_eq!(due().await, []);
    fixture.clock.advance(Duration::from_nanos(1));
    assert_eq!(due().await, [approved]);
    fixture.store.end_hold(approved, Ending::Lapse).await.unwrap();
    fixture.clock.advance(Duration::from_secs(51));
    assert_eq!(due().await, [pending]);
    fixture.store.end_hold(pending, Ending::Expire).await.unwrap();
    assert_eq!(due().await, []);
    fixture.verified().unwrap();
}

#[tokio::test]
async fn recovery_ends_what_was_between_intent_and_outcome() {
    let fixture = Fixture::new();
    let (plain, done) = (CallId::new(), CallId::new());
    for call in [plain, done] {
        fixture.store.begin_call(intent(call), Wait::Queued).await.unwrap();
    }
    fixture.store.end_call(done, outcome()).await.unwrap();
    let (held, call) = fixture.running(1).await;
    let waiting = fixture.approved(2).await;
    let fixture = fixture.reopened();
    assert_eq!(fixture.verified().unwrap().open, 2);
    let approved = fixture.store.recover(&|_| false).await.unwrap();
    assert_eq!(approved.iter().map(|hold| hold.id).collect::<Vec<_>>(), [waiting]);
    assert_eq!(fixture.state(held).await, StateName::Unknown);
    assert_eq!(fixture.verified().unwrap().open, 0);
    let last = EntryQuery { call: Some(plain), newest: true, limit: 1, ..EntryQuery::default() };
    let last = fixture.store.entries(last).await.unwrap().remove(0).entry.event;
    assert!(
        matches!(last, Event::Outcome { outcome, .. } if outcome.status == OutcomeStatus::Unknown)
    );
    let before = fixture.verified().unwrap().head;
    fixture.store.recover(&|_| false).await.unwrap();
    assert_eq!(fixture.verified().unwrap().head, before);
    let resolved = fixture.store.finish_hold(held, outcome(), None).await.unwrap();
    assert!(matches!(resolved.state, State::Finished { call: ran, .. } if ran == call));
    fixture.verified().unwrap();
}

#[tokio::test]
async fn recovery_runs_an_idempotent_tool_again() {
    let fixture = Fixture::new();
    let (held, call) = fixture.running(1).await;
    let fixture = fixture.reopened();
    let approved = fixture.store.recover(&|tool| tool == "deploy").await.unwrap();
    assert_eq!(approved.iter().map(|hold| hold.id).collect::<Vec<_>>(), [held]);
    fixture.store.spend_approval(held, intent(call)).await.unwrap();
    fixture.store.finish_hold(held, outcome(), result("{}")).await.unwrap();
    assert_eq!(fixture.verified().unwrap().open, 0);
}

#[tokio::test]
async fn a_stored_hold_that_makes_no_sense_is_corrupt() {
    let fixture = Fixture::new();
    let id = fixture.opened(1, "bot").await;
    let Fixture { dir, clock, store } = fixture;
    drop(store);
    let connection = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    connection.execute("UPDATE holds SET state = 'approved'", []).unwrap();
    drop(connection);
    let store = SqliteStore::open(dir.path(), clock).unwrap();
    assert!(matches!(store.hold(id).await, Err(StoreError::Corrupt(_))));
    let answer = store.spend_approval(id, intent(CallId::new())).await;
    assert!(matches!(answer, Err(HoldError::Store(StoreError::Corrupt(_)))));
    store.writable().unwrap();
}
