//! The table, as far as it is about definitions.

use futures::future::BoxFuture;

use super::super::*;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::catalog::{Changed, DefinitionKey, DefinitionKind, DefinitionNews, Said};
use crate::json::Object;
use crate::storage::DefinitionStore as _;

fn said(description: &str) -> Said {
    let definition = Object::from_iter([("description".to_owned(), description.into())]);
    let digest = Digest::of(&crate::digest::canonical(&definition).unwrap());
    let of = DefinitionKind::Tool;
    let key = DefinitionKey { backend: "tracker".to_owned(), of, name: "create".to_owned() };
    Said { key, digest, definition }
}

fn first(said: Said) -> DefinitionNews {
    DefinitionNews { first: vec![said], ..DefinitionNews::default() }
}

fn changes() -> DefinitionNews {
    let (now, before) = (said("another"), Some(said("one").definition));
    let changed = vec![Changed { now, before, since: start() }];
    DefinitionNews { changed, ..DefinitionNews::default() }
}

fn ended() -> DefinitionNews {
    DefinitionNews { ended: vec![said("one").key], ..DefinitionNews::default() }
}

fn ada() -> Person {
    Person { name: "ada".to_owned(), local: false }
}

fn accepted(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async { store.note_definitions(first(said("one"))).await.unwrap() })
}

fn waiting(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        accepted(store).await;
        store.note_definitions(changes()).await.unwrap();
    })
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "note_definitions: first",
            asks: asks!(|store| store.note_definitions(first(said("one")))),
            writes: &["definitions_seen"],
            ..PLAIN
        },
        Row {
            name: "note_definitions: changed",
            given: accepted,
            asks: asks!(|store| store.note_definitions(changes())),
            writes: &["definitions_quarantined"],
            job: 1,
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "note_definitions: ended",
            given: waiting,
            asks: asks!(|store| store.note_definitions(ended())),
            writes: &["definitions_quarantined"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "accept_definition",
            given: waiting,
            asks: asks!(|store| store.accept_definition(said("another"), ada())),
            writes: &["definition_accepted"],
            again: Again::Recorded,
            ..PLAIN
        },
    ]
}

/// The first that is accepted of a name stays so: another that comes as first changes nothing.
#[tokio::test]
async fn what_is_kept_is_what_was_accepted() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(start()));
    let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
    waiting(&store).await;
    store.note_definitions(first(said("third"))).await.unwrap();
    let kept = store.definitions().await.unwrap();
    assert_eq!(kept.accepted, [said("one")]);
    assert_eq!(kept.noted, [(said("one").key, said("another").digest, start())]);
    store.accept_definition(said("another"), ada()).await.unwrap();
    drop(store);
    let store = SqliteStore::open(dir.path(), clock).unwrap();
    let kept = store.definitions().await.unwrap();
    assert_eq!((kept.accepted, kept.noted), (vec![said("another")], Vec::new()));
}

/// A definition that somebody changed in the database is none that anybody accepted.
#[tokio::test]
async fn a_definition_that_is_not_itself_is_not_read() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(dir.path(), Arc::new(ManualClock::new(start()))).unwrap();
    let forged = Said { digest: said("one").digest, ..said("another") };
    store.note_definitions(first(forged)).await.unwrap();
    let error = store.definitions().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}
