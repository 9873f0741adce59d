//! The list of calls: what is noted with each entry, and how a search of very many is bounded.

use super::super::calls;
use super::*;
use crate::storage::{CallQuery, CallStatus, ListedCall};

impl Fixture {
    async fn calls(&self, query: CallQuery) -> Vec<ListedCall> {
        self.store.calls(query).await.unwrap().calls
    }

    /// A call in each way to stand, oldest first.
    async fn one_of_each(&self) -> Vec<CallId> {
        let (running, done, turned_away) = (CallId::new(), CallId::new(), refused());
        let (store, refused) = (&self.store, turned_away.call);
        store.begin_call(intent(running), Wait::Durable).await.unwrap();
        store.begin_call(intent(done), Wait::Durable).await.unwrap();
        store.end_call(done, outcome()).await.unwrap();
        store.refuse_call(turned_away).await.unwrap();
        let (held, ran) = (hold(1, "bot"), CallId::new());
        let (id, opened, digest) = (held.id, held.call, held.digest);
        store.open_hold(held.clone(), opening(&held), 10).await.unwrap();
        let tried = Event::VerdictRefused {
            hold: id,
            person: Person::local("eve".to_owned()),
            decision: Decision::Approve,
            why: "not asked".to_owned(),
        };
        store.record(tried).await.unwrap();
        let approve = verdict(Decision::Approve, "ada", self.clock.now());
        store.decide_hold(id, Verdict { digest, ..approve }).await.unwrap();
        store.spend_approval(id, intent(ran)).await.unwrap();
        self.settled().await;
        vec![running, done, refused, opened, ran]
    }

    /// Everything that the table holds, and under what entries are found.
    fn rows(&self) -> Vec<String> {
        let connection = schema::open_reader(self.dir.path()).unwrap();
        let mut rows = Vec::new();
        for sql in [
            "SELECT concat_ws('|', first, at, call, agent, tool, status, coalesce(refusal, '-'), rules,
                coalesce(hold, '-')) FROM calls ORDER BY first",
            "SELECT concat_ws('|', idx, coalesce(call, '-')) FROM entries ORDER BY idx",
        ] {
            let mut statement = connection.prepare(sql).unwrap();
            let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
            rows.extend(found.map(Result::unwrap));
        }
        rows
    }
}

fn statuses(calls: &[ListedCall]) -> Vec<CallStatus> {
    calls.iter().rev().map(|call| call.status).collect()
}

#[tokio::test]
async fn each_call_stands_as_its_last_entry_says() {
    use CallStatus::{Held, Refused, Running, Success, Unknown};
    let fixture = Fixture::new();
    let made = fixture.one_of_each().await;
    let all = fixture.calls(CallQuery::default()).await;
    assert_eq!(all.iter().rev().map(|call| call.call).collect::<Vec<_>>(), made);
    assert_eq!(statuses(&all), [Running, Success, Refused, Held, Running]);
    assert_eq!(all[0].hold.unwrap().1, StateName::Executing);
    // After a stop nobody knows what became of those that ran.
    let fixture = fixture.reopened();
    fixture.store.recover(&|_| false).await.unwrap();
    let all = fixture.calls(CallQuery::default()).await;
    assert_eq!(statuses(&all), [Unknown, Success, Refused, Held, Unknown]);
    assert_eq!(all[0].hold.unwrap().1, StateName::Unknown);
    let timeline = fixture.store.timeline(all[1].call).await.unwrap().unwrap();
    let places: Vec<u64> = timeline.entries.iter().map(|stored| stored.index).collect();
    assert_eq!(places, [5, 6, 7, 8, 11], "{:?}", fixture.kinds().await);
    assert!(fixture.store.timeline(CallId::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_database_of_the_form_before_gets_the_same_list() {
    let fixture = Fixture::new();
    fixture.one_of_each().await;
    let noted = fixture.rows();
    assert!(noted.len() > 10, "{noted:?}");
    let Fixture { dir, clock, store } = fixture;
    drop(store);
    let connection = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    connection
        .execute_batch(
            "DROP TABLE calls; DROP TABLE halts;
             UPDATE entries SET call = NULL WHERE body ->> '$.kind' = 'verdict_refused';
             DROP TABLE revisions; DROP TABLE revision_texts; DROP TABLE rolled_back;
             DROP TABLE definitions; DROP TABLE quarantined; DROP TABLE spent; DROP TABLE held_labels;
             DROP TABLE workflows; DROP TABLE workflow_calls;
             PRAGMA user_version = 3;",
        )
        .unwrap();
    connection.close().unwrap();
    let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
    let fixture = Fixture { dir, clock, store };
    assert_eq!(fixture.rows(), noted);
    fixture.verified().unwrap();
}

/// So many calls of one agent, of which only the first was refused.
fn fill(connection: &rusqlite::Connection, count: u32) {
    let fill = "INSERT INTO calls(first, at, call, agent, tool, status, rules)
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
        SELECT 10 * n, strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + n, 'unixepoch'),
            printf('00000000-0000-7000-8000-%012x', n), 'bot', 'deploy',
            CASE n WHEN 1 THEN 'refused' ELSE 'success' END, '[]' FROM numbers";
    connection.execute(fill, [count]).unwrap();
}

#[tokio::test]
async fn a_search_goes_over_so_many_calls_and_on_from_there() {
    let fixture = Fixture::new();
    let connection = schema::open_writer(fixture.dir.path()).unwrap();
    fill(&connection, 45_000);
    let refused =
        |below| CallQuery { status: Some(CallStatus::Refused), below, ..CallQuery::default() };
    let (mut below, mut found, mut asked) = (None, Vec::new(), 0);
    loop {
        let page = calls::list(&connection, &refused(below)).unwrap();
        found.extend(page.calls);
        asked += 1;
        if page.next.is_none() {
            break;
        }
        below = page.next;
    }
    assert_eq!((asked, found.len()), (3, 1));
    assert_eq!(found[0].first, 10);
}

#[tokio::test]
async fn calls_are_found_by_when_they_began() {
    let fixture = Fixture::new();
    let connection = schema::open_writer(fixture.dir.path()).unwrap();
    let second = |number: i64| {
        let begun = start().saturating_add(SignedDuration::from_secs(number)).unwrap();
        Some(begun)
    };
    let found = |after, before| {
        let query = CallQuery { after, before, ..CallQuery::default() };
        let calls = calls::list(&connection, &query).unwrap().calls;
        calls.iter().rev().map(|call| call.first / 10).collect::<Vec<_>>()
    };
    assert!(found(second(1), None).is_empty(), "of an empty list");
    fill(&connection, 9);
    assert_eq!(found(second(7), None), [7, 8, 9]);
    assert_eq!(found(None, second(3)), [1, 2]);
    assert_eq!(found(second(4), second(6)), [4, 5]);
    assert_eq!(found(second(-5), second(100)), (1..=9).collect::<Vec<_>>());
    assert!(found(second(10), None).is_empty());
    assert!(found(None, second(1)).is_empty());
}
