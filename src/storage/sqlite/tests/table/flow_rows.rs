//! The table, as far as it is about what agents hold.

use futures::future::BoxFuture;

use super::super::*;
use super::prepared::call;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::catalog::Label;
use crate::storage::FlowStore as _;

fn label() -> Label {
    Label::try_from("private_data".to_owned()).unwrap()
}

fn bringing(number: u8) -> Intent {
    Intent { brings: vec![label()], ..intent(call(number)) }
}

fn brought(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        store.begin_call(bringing(4), Wait::Durable).await.unwrap();
    })
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "begin_call: brings",
            asks: asks!(|store| store.begin_call(bringing(5), Wait::Durable)),
            writes: &["intent"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "shed_labels",
            given: brought,
            asks: asks!(|store| {
                let agent = intent(call(4)).asked.agent;
                store.shed_labels(vec![agent], "2027-01-01T00:00:00Z".parse().unwrap())
            }),
            ..PLAIN
        },
    ]
}

#[tokio::test]
async fn what_a_call_brings_is_held_from_its_intent_on_until_its_agent_was_idle() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    brought(store).await;
    let held = store.held_labels().await.unwrap();
    let agent = intent(call(4)).asked.agent;
    let [(who, what, last)] = held.as_slice() else { panic!("{held:?}") };
    assert_eq!((who, what), (&agent, &label()));
    let before = *last - jiff::SignedDuration::from_secs(1);
    store.shed_labels(vec![agent.clone()], before).await.unwrap();
    assert_eq!(store.held_labels().await.unwrap(), held, "it called since");
    store.shed_labels(vec![agent], *last).await.unwrap();
    assert!(store.held_labels().await.unwrap().is_empty());
    fixture.verified().unwrap();
}
