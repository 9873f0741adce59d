//! The table, as far as it is about workflows; and how their calls are counted.

use futures::future::BoxFuture;

use super::super::*;
use super::Row;
use super::rows::{PLAIN, asks};
use crate::ids::AgentName;
use crate::storage::{WorkflowCounts, WorkflowQuery, WorkflowStore as _};

fn of_workflow(call: CallId, name: &str) -> Intent {
    let mut intent = intent(call);
    intent.asked.workflow = Some(name.to_owned());
    intent
}

fn bot() -> AgentName {
    "bot".parse().unwrap()
}

fn has_one(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let call = CallId::new();
        store.begin_call(of_workflow(call, "w"), Wait::Durable).await.unwrap();
        store.end_call(call, outcome()).await.unwrap();
    })
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "end_workflow",
            given: has_one,
            asks: asks!(|store| store.end_workflow(&bot(), "w")),
            ..PLAIN
        },
        Row {
            name: "end_idle_workflows",
            given: has_one,
            asks: asks!(|store| store.end_idle_workflows(start(), 10)),
            ..PLAIN
        },
    ]
}

async fn all(store: &SqliteStore) -> Vec<(String, bool, WorkflowCounts)> {
    store.settle().await.unwrap();
    let found = store.workflows(WorkflowQuery::default()).await.unwrap().workflows;
    found.into_iter().map(|it| (it.name, it.ended.is_some(), it.counts)).collect()
}

#[tokio::test]
async fn a_workflow_ends_when_it_is_idle_and_its_name_begins_another() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(start()));
    let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
    let counts = WorkflowCounts::default();
    let running = CallId::new();
    store.begin_call(of_workflow(running, "w"), Wait::Durable).await.unwrap();
    clock.advance(Duration::from_secs(60));
    // What runs is not idle; what ended is, from then on.
    assert!(store.end_idle_workflows(clock.now(), 10).await.unwrap().is_empty());
    assert_eq!(
        all(&store).await,
        [("w".to_owned(), false, WorkflowCounts { running: 1, ..counts })]
    );
    store.end_call(running, outcome()).await.unwrap();
    store.settle().await.unwrap();
    assert!(store.end_idle_workflows(start(), 10).await.unwrap().is_empty());
    let ended = store.end_idle_workflows(clock.now(), 10).await.unwrap();
    assert_eq!((ended[0].began, ended[0].ended), (start(), Some(clock.now())));
    assert!(store.end_idle_workflows(clock.now(), 10).await.unwrap().is_empty(), "it ends once");
    assert!(store.end_workflow(&bot(), "w").await.unwrap().is_none());
    // The name begins another; a refusal belongs to it as well.
    let mut refused = refused();
    refused.workflow = Some("w".to_owned());
    store.refuse_call(refused).await.unwrap();
    let (done, again) =
        (WorkflowCounts { succeeded: 1, ..counts }, WorkflowCounts { refused: 1, ..counts });
    assert_eq!(all(&store).await, [("w".to_owned(), false, again), ("w".to_owned(), true, done)]);
    // A stop makes a failure of what ran.
    store.begin_call(of_workflow(CallId::new(), "w"), Wait::Durable).await.unwrap();
    drop(store);
    let store = SqliteStore::open(dir.path(), clock).unwrap();
    store.recover(&|_| false).await.unwrap();
    assert_eq!(all(&store).await[0].2, WorkflowCounts { failed: 1, ..again });
    assert!(store.end_workflow(&bot(), "w").await.unwrap().unwrap().ended.is_some());
}
