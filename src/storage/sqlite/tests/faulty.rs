//! A disk that is full and gets room again, and a sync that fails.
#![cfg(feature = "testing")]

use super::*;

/// How long a test waits for the writer to try again, at most.
const PATIENCE: Duration = Duration::from_secs(30);

impl Fixture {
    fn ask_for(&self, fault: &str) {
        std::fs::write(self.dir.path().join(fault), "").unwrap();
    }

    fn ask_no_more_for(&self, fault: &str) {
        std::fs::remove_file(self.dir.path().join(fault)).unwrap();
    }

    /// Returns when the writer has found that it can write.
    async fn recovered(&self) {
        let writable = async {
            while self.store.writable().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, writable).await.unwrap();
    }

    /// Fills the disk; gives how many entries fitted.
    async fn filled(&self) -> u64 {
        self.ask_for("disk-full");
        let mut fitted = 0;
        loop {
            match self.store.record(loaded()).await {
                Ok(()) => fitted += 1,
                Err(StoreError::Unwritable(_)) => return fitted,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_that_was_accepted() {
    let fixture = Fixture::new();
    let call = CallId::new();
    fixture.store.begin_call(intent(call), Wait::Durable).await.unwrap();
    let fitted = fixture.filled().await;
    assert!(matches!(fixture.store.writable(), Err(StoreError::Unwritable(_))));
    let begun = fixture.store.begin_call(intent(CallId::new()), Wait::Queued).await;
    assert!(matches!(begun, Err(StoreError::Unwritable(_))));
    let refusal = fixture.store.refuse_call(refused()).await;
    assert!(matches!(refusal, Err(StoreError::Unwritable(_))));
    fixture.store.end_call(call, outcome()).await.unwrap();
    fixture.ask_no_more_for("disk-full");
    fixture.recovered().await;
    fixture.settled().await;
    let summary = fixture.verified().unwrap();
    assert_eq!(summary.open, 0);
    assert!(summary.head.count >= fitted + 3);
}

#[tokio::test]
async fn entries_that_were_queued_when_the_disk_filled_come_in_order() {
    let fixture = Fixture::new();
    fixture.ask_for("disk-full");
    let mut accepted = Vec::new();
    loop {
        let call = CallId::new();
        match fixture.store.begin_call(intent(call), Wait::Queued).await {
            Ok(_) => accepted.push(call),
            Err(StoreError::Busy { .. }) => tokio::task::yield_now().await,
            Err(StoreError::Unwritable(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
    for call in &accepted {
        fixture.store.end_call(*call, outcome()).await.unwrap();
    }
    fixture.ask_no_more_for("disk-full");
    fixture.recovered().await;
    fixture.settled().await;
    let summary = fixture.verified().unwrap();
    assert_eq!((summary.intents, summary.open), (accepted.len() as u64, 0));
    assert_eq!(summary.head.count, accepted.len() as u64 * 2 + 1);
}

#[tokio::test]
async fn a_failed_sync_ends_writing_until_the_process_is_new() {
    let fixture = Fixture::new();
    let call = CallId::new();
    fixture.store.begin_call(intent(call), Wait::Durable).await.unwrap();
    fixture.ask_for("fsync-fails");
    let failed = fixture.store.record(loaded()).await;
    assert!(matches!(failed, Err(StoreError::Unwritable(_))));
    fixture.ask_no_more_for("fsync-fails");
    let after = [
        fixture.store.record(loaded()).await,
        fixture.store.end_call(call, outcome()).await,
        fixture.store.refuse_call(refused()).await,
        fixture.store.begin_call(intent(CallId::new()), Wait::Durable).await.map(|_| ()),
        fixture.store.begin_call(intent(CallId::new()), Wait::Queued).await.map(|_| ()),
        fixture.store.writable(),
    ];
    for answer in after {
        assert!(matches!(answer, Err(StoreError::Unwritable(_))), "{answer:?}");
    }
    let fixture = fixture.reopened();
    fixture.store.recover(&|_| false).await.unwrap();
    let summary = fixture.verified().unwrap();
    assert_eq!((summary.head.count, summary.open), (2, 0));
}

#[tokio::test]
async fn a_failed_job_leaves_the_rest_of_its_batch_alone() {
    let fixture = Fixture::new();
    let call = CallId::new();
    let (first, second, third) = tokio::join!(
        fixture.store.begin_call(intent(call), Wait::Durable),
        fixture.store.begin_call(intent(call), Wait::Durable),
        fixture.store.record(loaded()),
    );
    assert!(first.is_ok() && second.is_err() && third.is_ok());
    assert_eq!(fixture.verified().unwrap().head.count, 2);
}

/// Not a test by itself: what the process that is to die runs, in the directory it is started in.
#[tokio::test]
#[ignore = "started by `a_process_that_dies_at_a_commit_leaves_all_of_it_or_nothing`"]
async fn dies() {
    let dir = Path::new("data");
    let store = SqliteStore::open(dir, Arc::new(ManualClock::new(start()))).unwrap();
    for _ in 0..2 {
        let call = CallId::new();
        store.begin_call(intent(call), Wait::Durable).await.unwrap();
        store.end_call(call, outcome()).await.unwrap();
        store.record(loaded()).await.unwrap();
    }
    let hold = hold(1, "bot");
    let (id, event) = (hold.id, opening(&hold));
    store.open_hold(hold, event, 1).await.unwrap();
    store.decide_hold(id, verdict(Decision::Approve, "ada", start())).await.unwrap();
    store.spend_approval(id, intent(CallId::new())).await.unwrap();
    store.finish_hold(id, outcome(), None).await.unwrap();
}

#[test]
fn a_process_that_dies_at_a_commit_leaves_all_of_it_or_nothing() {
    use std::os::unix::process::ExitStatusExt as _;
    let points = [
        ("begin_call.before", 0, 0),
        ("begin_call.after:2", 4, 1),
        ("open_hold.before", 6, 0),
        ("open_hold.after", 7, 0),
        ("decide_hold.before", 7, 0),
        ("decide_hold.after", 8, 0),
        ("spend_approval.before", 8, 0),
        ("spend_approval.after", 9, 1),
        ("finish_hold.before", 9, 1),
        ("finish_hold.after", 10, 0),
    ];
    for (point, count, open) in points {
        let dir = TempDir::new().unwrap();
        let test = "storage::sqlite::tests::faulty::dies";
        let died = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", test])
            .current_dir(dir.path())
            .env("COUNTERSIGN_FAIL_AT", point)
            .output()
            .unwrap();
        assert_eq!(died.status.signal(), Some(9), "{point}: {died:?}");
        let data = dir.path().join("data");
        drop(SqliteStore::open(&data, Arc::new(ManualClock::new(start()))).unwrap());
        let summary = open_log_read_only(&data).unwrap().verify().unwrap().unwrap();
        assert_eq!((summary.head.count, summary.open), (count, open), "{point}");
    }
}
