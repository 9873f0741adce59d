//! A log that was changed on disk: what `verify` says of it, and that no gateway goes on after it.

use super::*;
use crate::evidence::verify::What;

/// A directory with eight entries that no process owns.
async fn written() -> (TempDir, Arc<ManualClock>) {
    let fixture = Fixture::new();
    for _ in 0..4 {
        let call = CallId::new();
        fixture.store.begin_call(intent(call), Wait::Durable).await.unwrap();
        fixture.store.end_call(call, outcome()).await.unwrap();
    }
    let Fixture { dir, clock, .. } = fixture;
    (dir, clock)
}

async fn fault_after(change: &str) -> Fault {
    let (dir, _clock) = written().await;
    let connection = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    connection.execute_batch(change).unwrap();
    drop(connection);
    open_log_read_only(dir.path()).unwrap().verify().unwrap().unwrap_err()
}

#[tokio::test]
async fn names_the_first_entry_that_was_changed() {
    let cases = [
        (
            "UPDATE entries SET body = replace(body, 'deploy', 'destroy') WHERE idx >= 3",
            3,
            What::Edited,
        ),
        ("UPDATE entries SET body = CAST(x'ff' AS TEXT) WHERE idx = 2", 2, What::Edited),
        ("UPDATE entries SET chain = x'00' WHERE idx = 5", 5, What::Edited),
        ("DELETE FROM entries WHERE idx = 4", 4, What::Missing { next: 5 }),
        ("DELETE FROM entries WHERE idx = 1", 1, What::Missing { next: 2 }),
        ("DELETE FROM entries WHERE idx > 6", 7, What::Truncated { count: 8 }),
        ("DELETE FROM entries", 1, What::Truncated { count: 8 }),
        ("DELETE FROM head", 1, What::BeyondHead { count: 0 }),
        ("UPDATE head SET chain = zeroblob(32)", 8, What::OtherHead),
        (
            "UPDATE entries SET idx = 100 WHERE idx = 3;
             UPDATE entries SET idx = 3 WHERE idx = 6;
             UPDATE entries SET idx = 6 WHERE idx = 100",
            3,
            What::Edited,
        ),
        ("UPDATE entries SET idx = -1 WHERE idx = 8", 0, What::OutOfOrder { after: 0 }),
    ];
    for (change, index, what) in cases {
        assert_eq!(fault_after(change).await, Fault { index, what }, "{change}");
    }
}

#[tokio::test]
async fn no_gateway_goes_on_after_a_truncated_log() {
    for change in ["DELETE FROM entries WHERE idx > 6", "DELETE FROM head"] {
        let (dir, clock) = written().await;
        let connection = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        let opened = SqliteStore::open(dir.path(), clock);
        assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{change}");
    }
}

#[tokio::test]
async fn reads_the_log_beside_a_running_gateway() {
    let fixture = Fixture::new();
    let log = open_log_read_only(fixture.dir.path()).unwrap();
    for count in 1..=3 {
        fixture.settled().await;
        assert_eq!(log.verify().unwrap().unwrap().head.count, count);
        assert_eq!(log.head().unwrap().count, count);
        assert_eq!(log.entries(&EntryQuery::default()).unwrap().len() as u64, count);
        assert_eq!(log.rows(0).unwrap().len() as u64, count);
    }
}
