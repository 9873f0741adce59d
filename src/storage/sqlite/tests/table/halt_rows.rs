//! The table, as far as it is about halts.

use futures::future::BoxFuture;

use super::super::*;
use super::prepared::*;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::halts::{Halt, Scope};
use crate::ids::HaltId;
use crate::storage::{HaltEnding, HaltStore as _};

const HALT: HaltId = HaltId::from_random([9; 16]);

fn ada() -> Person {
    Person { name: "ada".to_owned(), local: false }
}

fn halt(scope: Scope) -> Halt {
    let reason = "an incident".to_owned();
    Halt { id: HALT, scope, reason, by: ada(), since: start(), until: None }
}

fn resumed() -> HaltEnding {
    HaltEnding::Resumed { by: ada(), reason: "it is over".to_owned() }
}

fn halted(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async { store.engage_halt(halt(Scope::All)).await.unwrap() })
}

fn pending_and_halted(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        pending(store).await;
        halted(store).await;
    })
}

fn approved_and_halted(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        approved(store).await;
        halted(store).await;
    })
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "engage_halt",
            asks: asks!(|store| store.engage_halt(halt(Scope::All))),
            writes: &["halt"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "end_halt: resumed",
            given: halted,
            asks: asks!(|store| store.end_halt(HALT, resumed())),
            writes: &["resume"],
            ..PLAIN
        },
        Row {
            name: "end_halt: over",
            given: halted,
            asks: asks!(|store| store.end_halt(HALT, HaltEnding::Over)),
            writes: &["halt_ended"],
            ..PLAIN
        },
        Row {
            name: "halt_holds: pending",
            given: pending_and_halted,
            asks: asks!(|store| store.halt_holds(vec![HELD], "an incident".to_owned())),
            writes: &["hold_changed"],
            ..PLAIN
        },
        Row {
            name: "halt_holds: approved",
            given: approved_and_halted,
            asks: asks!(|store| store.halt_holds(vec![HELD], "an incident".to_owned())),
            writes: &["hold_changed"],
            ..PLAIN
        },
    ]
}

/// What lets a call run or wait is refused once a halt covers it, and so it is after a start.
#[tokio::test]
async fn nothing_begins_that_a_halt_covers() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(start()));
    let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
    approved(&store).await;
    store.grant_standing(grant(), HELD).await.unwrap();
    store.engage_halt(halt(Scope::Tool("deploy".to_owned()))).await.unwrap();
    refuses_all(&store).await;
    let before = store.entries(EntryQuery { limit: 1000, ..EntryQuery::default() }).await.unwrap();
    drop(store);
    let store = SqliteStore::open(dir.path(), clock).unwrap();
    refuses_all(&store).await;
    let after = store.entries(EntryQuery { limit: 1000, ..EntryQuery::default() }).await.unwrap();
    assert_eq!(after.len(), before.len());
    assert!(store.end_halt(HALT, resumed()).await.unwrap());
    store.begin_call(intent(call(7)), Wait::Durable).await.unwrap();
}

async fn refuses_all(store: &SqliteStore) {
    for wait in [Wait::Durable, Wait::Queued] {
        let error = store.begin_call(intent(call(7)), wait).await.unwrap_err();
        assert!(matches!(&error, StoreError::Halted(halt) if halt.id == HALT), "{error}");
    }
    let of_hold = |error: HoldError| matches!(error, HoldError::Store(StoreError::Halted(_)));
    assert!(of_hold(store.begin_standing_call(covered(7)).await.unwrap_err()));
    assert!(of_hold(store.spend_approval(HELD, intent(call(8))).await.unwrap_err()));
    let other = Hold { id: HoldId::from_random([7; 16]), ..held() };
    assert!(of_hold(store.open_hold(other.clone(), opening(&other), 10).await.unwrap_err()));
    // Another tool's calls begin.
    let mut other = intent(CallId::new());
    other.asked.tool = "look".to_owned();
    assert!(store.halts().covering(&other.asked.subject()).is_none());
}
