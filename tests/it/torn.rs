//! Writes that did not reach the disk whole: a torn write-ahead log, a database that was cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::clock::SystemClock;
use countersign::evidence::Event;
use countersign::storage::sqlite::{SqliteStore, open_log_read_only};
use countersign::storage::{EntryQuery, StoredEntry};
use serde_json::json;

use crate::clients::Client;
use crate::harness::{ALLOW_ALL, TestGateway};

const DATABASE: &str = "countersign.db";
const LOG: &str = "countersign.db-wal";

/// A gateway with a record of a few calls.
fn recorded() -> TestGateway {
    let gateway =
        TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).unverified().start();
    let client = gateway.modern("a");
    for n in 0..3 {
        client.call("count", json!({ "line": n.to_string() }));
    }
    gateway
}

/// Where the commits in a write-ahead log end, by its format: frames that say how large the database is.
fn commits(log: &[u8]) -> Vec<usize> {
    let number = |place: usize| u32::from_be_bytes(log[place..place + 4].try_into().unwrap());
    let frame = 24 + number(8) as usize;
    let ours = |place: &usize| log[place + 8..place + 16] == log[16..24];
    let frames = (32..log.len()).step_by(frame).take_while(|place| place + frame <= log.len());
    let frames = frames.take_while(ours);
    frames.filter(|place| number(place + 4) > 0).map(|place| place + frame).collect()
}

/// A copy of the data directory in which `file` has only its first `length` bytes.
fn cut(gateway: &TestGateway, file: &str, length: usize) -> PathBuf {
    let copy = gateway.dir().join("cut");
    drop(fs::remove_dir_all(&copy));
    fs::create_dir(&copy).unwrap();
    for name in [DATABASE, LOG, "lock"] {
        let Ok(mut bytes) = fs::read(gateway.data().join(name)) else { continue };
        if name == file {
            bytes.truncate(length);
        }
        fs::write(copy.join(name), bytes).unwrap();
    }
    copy
}

/// Opens a data directory as a gateway would and gives its record, verified.
#[track_caller]
fn opened(data: &Path) -> Vec<StoredEntry> {
    drop(SqliteStore::open(data, Arc::new(SystemClock::new())).unwrap());
    let log = open_log_read_only(data).unwrap();
    log.verify().unwrap().unwrap();
    log.entries(&EntryQuery::default()).unwrap()
}

fn repaired(entry: &StoredEntry) -> Option<u64> {
    if let Event::TailRepaired { bytes } = entry.entry.event { Some(bytes) } else { None }
}

#[test]
fn b3_a_torn_log_is_cut_to_the_last_commit() {
    let mut gateway = recorded();
    gateway.kill();
    let log = fs::read(gateway.data().join(LOG)).unwrap();
    let commits = commits(&log);
    let [.., before, end] = commits[..] else { panic!("{} commits", commits.len()) };

    let whole = opened(&cut(&gateway, LOG, end));
    assert!(whole.iter().all(|entry| repaired(entry).is_none()));
    // Cut off between two commits nothing shows that there was one more.
    let kept = opened(&cut(&gateway, LOG, before));
    assert!(kept.len() < whole.len());
    assert!(kept.iter().all(|entry| repaired(entry).is_none()));

    // Every byte near the ends of frames, and some between.
    let frame = 24 + 4096;
    let near = |length: &usize| {
        let place = (length - before) % frame;
        place < 26 || place > frame - 4 || place.is_multiple_of(1031)
    };
    let mut tried = 0;
    for length in (before + 1..end).filter(near) {
        let found = opened(&cut(&gateway, LOG, length));
        let (last, rest) = found.split_last().unwrap();
        assert_eq!(repaired(last), Some((length - before) as u64), "cut at {length}");
        let chains =
            |entries: &[StoredEntry]| entries.iter().map(|it| it.chain).collect::<Vec<_>>();
        assert_eq!(chains(rest), chains(&kept), "cut at {length}");
        tried += 1;
    }
    assert!(tried > 100, "only {tried} cuts");

    // A repair is made once.
    let copy = cut(&gateway, LOG, end - 1);
    assert_eq!(opened(&copy).len(), opened(&copy).len());
}

#[test]
fn b3_a_gateway_goes_on_after_a_torn_log() {
    let mut gateway = recorded();
    let client = gateway.modern("b");
    gateway.kill();
    let path = gateway.data().join(LOG);
    let log = fs::read(&path).unwrap();
    fs::write(&path, &log[..commits(&log).last().unwrap() - 1]).unwrap();
    gateway.launch();
    assert!(gateway.log().contains("not whole"), "{}", gateway.log());
    // The agent that the last commit added is gone with it.
    let client = client.again(gateway.url());
    assert_eq!(client.reply("tools/list", json!({})).status, 401);
    gateway.modern("c").call("count", json!({ "line": "after" }));
    assert_eq!(gateway.cli(&["audit", "verify"]).code, 0);
    let entries = gateway.entries();
    let repaired = entries.iter().filter(|it| it["entry"]["kind"] == "tail_repaired").count();
    assert_eq!(repaired, 1);
}

#[test]
fn b3_a_database_that_was_cut_off_is_refused() {
    let mut gateway = recorded();
    gateway.stop();
    let connection = rusqlite::Connection::open(gateway.data().join(DATABASE)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    connection.close().unwrap();
    assert!(!gateway.data().join(LOG).exists());
    let length = fs::metadata(gateway.data().join(DATABASE)).unwrap().len() as usize;
    for cut_to in [0, 1, 99, 100, 4095, 4096, length / 2, length - 4096, length - 1] {
        let copy = cut(&gateway, DATABASE, cut_to);
        let path = copy.to_str().unwrap();
        let refused = gateway.cli(&["serve", "--listen", "127.0.0.1:0", "--data", path]);
        assert_eq!(refused.code, 1, "cut to {cut_to}: {refused:?}");
        let told =
            refused.stderr.contains("is cut off") || refused.stderr.contains("is empty or gone");
        assert!(
            told && refused.stderr.contains("restore a backup"),
            "cut to {cut_to}: {refused:?}"
        );
        assert_eq!(fs::metadata(copy.join(DATABASE)).unwrap().len() as usize, cut_to);
    }
    // The same while commits are in the write-ahead log.
    gateway.launch();
    gateway.kill();
    let length = fs::metadata(gateway.data().join(DATABASE)).unwrap().len() as usize;
    for cut_to in [0, 4096, length - 1] {
        let copy = cut(&gateway, DATABASE, cut_to);
        let opened = SqliteStore::open(&copy, Arc::new(SystemClock::new()));
        assert!(opened.is_err(), "cut to {cut_to}");
    }
}
