//! The table, as far as it is about budgets.

use std::collections::BTreeMap;

use futures::future::BoxFuture;

use super::super::*;
use super::prepared::call;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::evidence::{Alerts, Amounts, Charge, Correction, Spent, Window};
use crate::storage::BudgetStore as _;

fn who() -> BTreeMap<String, String> {
    BTreeMap::from([("agent".to_owned(), "bot".to_owned())])
}

fn alerts() -> Alerts {
    let of = Amounts { calls: 4, tokens: 100, ..Amounts::default() };
    Alerts { of, at: vec![50, 90] }
}

fn charge(amounts: Amounts, window: Window) -> Charge {
    Charge { budget: "some".to_owned(), who: who(), window, amounts, alerts: alerts() }
}

fn one_call() -> Amounts {
    Amounts { calls: 1, ..Amounts::default() }
}

fn spending(number: u8, amounts: Amounts) -> Intent {
    Intent { charges: vec![charge(amounts, Window::default())], ..intent(call(number)) }
}

fn tokens(estimated: u64, counted: u64) -> Correction {
    Correction {
        budget: "some".to_owned(),
        who: who(),
        window: Window::default(),
        estimated,
        counted,
        alerts: alerts(),
    }
}

fn spent(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let tokens = Amounts { tokens: 40, ..Amounts::default() };
        store.begin_call(spending(4, tokens), Wait::Durable).await.unwrap();
    })
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "begin_call: spends",
            asks: asks!(|store| {
                let two = Amounts { calls: 2, ..Amounts::default() };
                store.begin_call(spending(5, two), Wait::Durable)
            }),
            writes: &["intent", "budget_alert"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "settle_spent: counted",
            given: spent,
            asks: asks!(|store| store.settle_spent(vec![tokens(40, 60)], Vec::new())),
            writes: &["budget_alert"],
            again: Again::Never,
            ..PLAIN
        },
        Row {
            name: "settle_spent: forgotten",
            given: spent,
            asks: asks!(|store| store.settle_spent(Vec::new(), vec![("some".to_owned(), who())])),
            ..PLAIN
        },
    ]
}

async fn stored(store: &SqliteStore) -> Vec<Spent> {
    store.settle().await.unwrap();
    store.spent().await.unwrap().into_iter().map(|(_, spent)| spent).collect()
}

#[tokio::test]
async fn what_is_spent_is_added_up_in_the_transaction_of_the_entry_that_says_so() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    store.begin_call(spending(1, one_call()), Wait::Durable).await.unwrap();
    store.begin_call(spending(2, one_call()), Wait::Queued).await.unwrap();
    let outcome = Outcome {
        charges: vec![charge(Amounts { tokens: 30, ..Amounts::default() }, Window::default())],
        ..outcome()
    };
    store.end_call(call(2), outcome).await.unwrap();
    let found = stored(store).await;
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.amounts, Amounts { calls: 2, tokens: 30, ..Amounts::default() });
    assert_eq!(one.alerted, 50);
    // The same intent again is refused, and takes nothing.
    store.begin_call(spending(1, one_call()), Wait::Durable).await.unwrap_err();
    assert_eq!(stored(store).await, found);
    store.settle_spent(vec![tokens(30, 10)], Vec::new()).await.unwrap();
    assert_eq!(stored(store).await[0].amounts.tokens, 10);
    assert_eq!(fixture.kinds().await.iter().filter(|kind| *kind == "budget_alert").count(), 1);
    fixture.verified().unwrap();
}

#[test]
fn a_window_that_is_over_counts_no_more() {
    let at = |hour: i64| Timestamp::from_second(hour * 3_600).unwrap();
    let hour = |from: i64| Window { from: Some(at(from)), until: Some(at(from + 1)) };
    let mut spent = Spent::default();
    spent.add(&charge(one_call(), hour(1)), at(1));
    spent.add(&charge(one_call(), hour(1)), at(1));
    assert_eq!(spent.counted_in(&hour(1)).calls, 2);
    assert_eq!(spent.counted_in(&hour(2)).calls, 0);
    spent.add(&charge(one_call(), hour(2)), at(2));
    assert_eq!((spent.window, spent.amounts.calls), (hour(2), 1));
    // What a call took that began before is not of this window.
    spent.add(&charge(one_call(), hour(1)), at(2));
    assert_eq!(spent.amounts.calls, 1);
    // A budget that gets another window keeps what is spent, until that of before is over.
    let day = Window { from: Some(at(0)), until: Some(at(24)) };
    assert_eq!(spent.counted_in(&day).calls, 1);
    assert_eq!(spent.counted_in(&Window::default()).calls, 1);
    spent.add(&charge(one_call(), Window::default()), at(2));
    assert_eq!(spent.amounts.calls, 2);
}
