//! The table, as far as it is about revisions; and how many of them are kept.

use futures::future::BoxFuture;

use super::super::*;
use super::prepared::*;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::evidence::{Cause, Loading};
use crate::storage::history::{
    ComesInForce, FileKind, HistoryStore as _, KeptFile, MAX_REVISION_BYTES, MAX_REVISIONS, Pin,
    RolledBack,
};

fn file(text: &str) -> KeptFile {
    let name = "policies/rules.yaml".to_owned();
    KeptFile { kind: FileKind::Policy, name, text: text.into() }
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A revision of one file with this text.
fn revision(text: &str, how: Loading) -> ComesInForce {
    let files = vec![file(text)];
    let cause = Cause::from(how);
    ComesInForce { revision: digest(text), rules: 1, tools: 2, cause, files, pin: Pin::Stays }
}

fn back_to(text: &str) -> ComesInForce {
    let (revision_, by) = (digest(text), "ada".to_owned());
    let pinned =
        RolledBack { revision: revision_, at: start(), by, reason: "a bad push".to_owned() };
    ComesInForce { pin: Pin::Becomes(pinned), ..revision(text, Loading::Rollback) }
}

fn two(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        nothing(store).await;
        store.put_in_force(revision("one", Loading::Start)).await.unwrap();
        store.put_in_force(revision("two", Loading::Files)).await.unwrap();
    })
}

fn gone_back(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        two(store).await;
        store.put_in_force(back_to("one")).await.unwrap();
    })
}

pub(super) fn rows() -> Vec<Row> {
    let row = Row { writes: &["revision_loaded"], again: Again::Recorded, ..PLAIN };
    vec![
        Row {
            name: "put_in_force: another",
            given: two,
            asks: asks!(|store| store.put_in_force(revision("three", Loading::Reload))),
            ..row
        },
        Row {
            name: "put_in_force: an earlier one",
            given: two,
            asks: asks!(|store| store.put_in_force(back_to("one"))),
            ..row
        },
        Row {
            name: "put_in_force: the files again",
            given: gone_back,
            asks: asks!(|store| store
                .put_in_force(ComesInForce { pin: Pin::Ends, ..revision("two", Loading::Reload) })),
            ..row
        },
    ]
}

#[tokio::test]
async fn revisions_are_kept_within_bounds_and_what_is_in_force_among_them() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(dir.path(), Arc::new(ManualClock::new(start()))).unwrap();
    store.put_in_force(revision("first", Loading::Start)).await.unwrap();
    store.put_in_force(back_to("first")).await.unwrap();
    for number in 0..MAX_REVISIONS + 5 {
        store.put_in_force(revision(&number.to_string(), Loading::Files)).await.unwrap();
        // A start with what was kept before keeps it once.
        store.put_in_force(revision(&number.to_string(), Loading::Start)).await.unwrap();
    }
    let kept = store.revisions().await.unwrap();
    assert_eq!(kept.len() as u32, MAX_REVISIONS);
    let last = (MAX_REVISIONS + 4).to_string();
    assert_eq!(kept[0].revision, digest(&last));
    assert_eq!(store.revision_files(digest("3")).await.unwrap(), None, "the oldest are gone");
    for text in ["first", &last] {
        assert_eq!(store.revision_files(digest(text)).await.unwrap(), Some(vec![file(text)]));
    }
    // Long texts push out others before their number does; one beyond all bounds is told without its files.
    let half = "x".repeat(usize::try_from(MAX_REVISION_BYTES / 2).unwrap());
    for end in ["a", "b", "c"] {
        store.put_in_force(revision(&format!("{half}{end}"), Loading::Files)).await.unwrap();
    }
    let kept = store.revisions().await.unwrap();
    assert!(kept.len() <= 3, "{}", kept.len());
    assert_eq!(store.revision_files(digest(&format!("{half}a"))).await.unwrap(), None);
    assert!(store.revision_files(digest(&format!("{half}c"))).await.unwrap().is_some());
    assert!(store.revision_files(digest("first")).await.unwrap().is_some());
    store.put_in_force(revision(&format!("{half}{half}d"), Loading::Files)).await.unwrap();
    let newest = store.revisions().await.unwrap().remove(0);
    assert!(!newest.kept && newest.files == 1, "{newest:?}");
}

#[tokio::test]
async fn a_kept_text_that_somebody_changed_comes_not_into_force() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(dir.path(), Arc::new(ManualClock::new(start()))).unwrap();
    store.put_in_force(revision("deny", Loading::Start)).await.unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    assert_eq!(connection.execute("UPDATE revision_texts SET text = 'allow'", []).unwrap(), 1);
    let error = store.revision_files(digest("deny")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}
