//! Very many holds in the store: what it costs does not grow with them.

use std::collections::BTreeSet;
use std::sync::Mutex;

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::super::{absence, calls, holds, pending};
use super::*;
use crate::hold::Ending;
use crate::ids::AgentName;
use crate::storage::{CallQuery, HoldQuery};

/// The `number`-th of very many holds; every tenth call of an agent is the same.
fn one_of_many(number: u32) -> Hold {
    let agent = format!("agent-{}", number % 100);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let digest = Digest::of(format!("{agent} {}", number % 1000).as_bytes());
    let id = HoldId::from_random(id);
    Hold { id, digest, requested_digest: digest, ..hold(1, &agent) }
}

fn opening_of_many(hold: &Hold) -> Event {
    let asked = Asked { agent: hold.agent.clone(), digest: hold.digest, ..asked(hold.call) };
    let Event::Hold { hold, requested_arguments, decide_by, terms, anew_of, .. } = opening(hold)
    else {
        panic!("not the entry of a hold")
    };
    Event::Hold { hold, asked, requested_arguments, decide_by, terms, anew_of }
}

impl Fixture {
    /// Stores so many pending holds, in few transactions.
    async fn fill(&self, count: u32) {
        for from in (0..count).step_by(5000) {
            let fill = move |tx: &mut Tx<'_>| -> Result<(), Trouble> {
                for number in from..count.min(from + 5000) {
                    let hold = one_of_many(number);
                    holds::insert(tx.connection, &hold)?;
                    tx.append(opening_of_many(&hold), Some(hold.call))?;
                }
                Ok(())
            };
            self.store.durably("fill", fill).await.unwrap();
        }
    }
}

#[tokio::test]
async fn b14_a_store_with_very_many_pending_holds_opens_and_goes_on() {
    const MANY: u32 = 10_000;
    let fixture = Fixture::new();
    fixture.fill(MANY).await;
    let fixture = fixture.reopened();
    assert_eq!(fixture.store.recover(&|_| true).await.unwrap().len(), 0);
    let rules = fixture.store.pending_by_rule().await.unwrap();
    assert!(rules.contains(&("writes".to_owned(), MANY.into())), "{rules:?}");
    let page = fixture.store.pending_calls(None, 100).await.unwrap();
    assert_eq!(page.len(), 100);
    assert!(page.iter().all(|(_, identical)| *identical == MANY / 1000), "{page:?}");

    let hold = one_of_many(7);
    let verdict = Verdict { digest: hold.digest, ..verdict(Decision::Approve, "ada", start()) };
    fixture.store.decide_hold(hold.id, verdict).await.unwrap();
    assert_eq!(fixture.store.identical(&hold.digest).await.unwrap(), MANY / 1000 - 1);

    fixture.clock.advance(Duration::from_secs(200));
    let now = fixture.clock.now();
    let due = fixture.store.due(now, 256).await.unwrap();
    assert_eq!(due.len(), 256, "a look is bounded");
    for hold in due.iter().filter(|hold| hold.state.name() == StateName::Pending) {
        fixture.store.end_hold(hold.id, Ending::Expire).await.unwrap();
    }
    assert!(fixture.verified().unwrap().head.count > MANY.into());
}

#[tokio::test]
async fn a15_a_cap_counts_what_is_pending_now() {
    let fixture = Fixture::new();
    let open = |number, cap| {
        let hold = hold(number, "bot");
        let event = opening(&hold);
        fixture.store.open_hold(hold, event, cap)
    };
    for number in 1..=3 {
        open(number, 3).await.unwrap();
    }
    assert!(matches!(open(4, 3).await, Err(HoldError::TooMany { cap: 3 })));
    // Every way out of `pending` makes room for one.
    let hold_of = |number: u8| HoldId::from_random([number; 16]);
    fixture.store.end_hold(hold_of(1), Ending::Withdraw).await.unwrap();
    open(5, 3).await.unwrap();
    assert!(open(6, 3).await.is_err());
    let no = verdict(Decision::Reject, "ada", start());
    fixture.store.decide_hold(hold_of(2), no).await.unwrap();
    open(7, 3).await.unwrap();
    let yes = verdict(Decision::Approve, "ada", start());
    fixture.store.decide_hold(hold_of(3), yes).await.unwrap();
    open(8, 3).await.unwrap();
    assert!(open(9, 3).await.is_err());
    fixture.clock.advance(Duration::from_secs(200));
    fixture.store.end_hold(hold_of(5), Ending::Expire).await.unwrap();
    open(10, 3).await.unwrap();
    let fixture = fixture.reopened();
    let hold = hold(11, "bot");
    let event = opening(&hold);
    let refused = fixture.store.open_hold(hold, event, 3).await;
    assert!(matches!(refused, Err(HoldError::TooMany { cap: 3 })), "{refused:?}");
}

#[tokio::test]
async fn a_list_shows_the_oldest_of_each_set_also_when_newer_ones_are_gone() {
    let fixture = Fixture::new();
    let twin = |number: u8, seconds| Hold {
        digest: Digest::of(b"the same"),
        requested_digest: Digest::of(b"the same"),
        created_at: start().saturating_add(SignedDuration::from_secs(seconds)).unwrap(),
        ..hold(number, "bot")
    };
    let alone = Hold { created_at: start(), ..hold(9, "bot") };
    for hold in [twin(1, 1), twin(2, 2), alone.clone()] {
        fixture.store.open_hold(hold.clone(), opening(&hold), 9).await.unwrap();
    }
    let shown = || async {
        let sets = fixture.store.pending_calls(None, 9).await.unwrap();
        sets.into_iter().map(|(hold, count)| (hold.id, count)).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, [(twin(1, 1).id, 2), (alone.id, 1)]);
    fixture.store.end_hold(twin(2, 2).id, Ending::Withdraw).await.unwrap();
    assert_eq!(shown().await, [(twin(1, 1).id, 1), (alone.id, 1)]);
    fixture.store.end_hold(twin(1, 1).id, Ending::Withdraw).await.unwrap();
    assert_eq!(shown().await, [(alone.id, 1)]);
}

/// Every statement that this file's queries run is planned by SQLite: none goes over all rows, none sorts.
#[tokio::test]
async fn lists_counts_sweeps_and_joins_use_an_index() {
    let fixture = Fixture::new();
    fixture.fill(200).await;
    let mut connection = schema::open_writer(fixture.dir.path()).unwrap();
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let hearing = Arc::clone(&heard);
    let hear = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(_, sql) = event {
            hearing.lock().unwrap().insert(sql.to_owned());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(hear)).unwrap();
    run_every_query(&connection);
    connection.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>).unwrap();

    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() > 20, "{heard:#?}");
    for sql in heard {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = plan.raw_query();
        while let Some(step) = rows.next().unwrap() {
            let step: String = step.get("detail").unwrap();
            // A limit ends a walk along an index that gives the order; rules are few.
            let along = step.contains(" USING ") && sql.contains("LIMIT");
            let scans = step.starts_with("SCAN") && !along && step != "SCAN pending_rules";
            assert!(!scans && !step.contains("TEMP B-TREE"), "{step}: {sql}");
        }
    }
}

fn run_every_query(connection: &rusqlite::Connection) {
    let (was, agent): (Hold, AgentName) = (one_of_many(3), "agent-3".parse().unwrap());
    let (now, later) = (start(), start().saturating_add(SignedDuration::from_hours(1)).unwrap());
    for states in [vec![], vec![StateName::Pending], vec![StateName::Approved]] {
        for agent in [None, Some(agent.clone())] {
            let query = HoldQuery { states: states.clone(), agent, limit: 100 };
            holds::list(connection, &query).unwrap();
        }
    }
    holds::insert(connection, &one_of_many(1003)).unwrap();
    for agent in [None, Some(&agent)] {
        pending::calls(connection, agent, 100).unwrap();
    }
    pending::identical(connection, &was.digest).unwrap();
    pending::identical_holds(connection, &was.digest).unwrap();
    pending::by_rule(connection).unwrap();
    pending::at_cap(connection, &agent, 100).unwrap();
    holds::find(connection, was.id).unwrap();
    holds::result(connection, was.id).unwrap();
    holds::joinable(connection, &agent, &was.requested_digest, now).unwrap();
    holds::due(connection, later, 256).unwrap();
    holds::all_in(connection, StateName::Executing).unwrap();
    holds::all_in(connection, StateName::Approved).unwrap();
    holds::forget_results(connection, later, 256).unwrap();
    absence::ended_in(connection, now, later).unwrap();
    let by = |query: CallQuery| calls::list(connection, &query).unwrap();
    let any = CallQuery { after: Some(now), before: Some(later), ..CallQuery::default() };
    by(any.clone());
    by(CallQuery { hold: Some(was.id), ..any.clone() });
    by(CallQuery { tool: Some("deploy".to_owned()), ..any.clone() });
    by(CallQuery { id: Some("01".to_owned()), ..any.clone() });
    let found = by(CallQuery { agent: Some(agent.clone()), ..any }).calls;
    calls::timeline(connection, found[0].call).unwrap().unwrap();
    let hold = one_of_many(7777);
    holds::insert(connection, &hold).unwrap();
    let ended = hold.clone().end(Ending::Withdraw, now).unwrap();
    holds::update(connection, &hold, &ended).unwrap();
}
