//! The record is changed behind the gateway's back: `audit verify` names the first entry that is wrong.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::json;

use crate::clients::Client;
use crate::harness::{ALLOW_ALL, TestGateway};

/// A stopped gateway with a record of a few entries.
fn recorded() -> TestGateway {
    let mut gateway =
        TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).unverified().start();
    let client = gateway.modern("a");
    for n in 0..3 {
        client.call("count", json!({ "line": n.to_string() }));
    }
    client.request("tools/call", json!({ "name": "absent", "arguments": {} }));
    gateway.stop();
    gateway
}

/// A copy of the data directory whose database `change` has been applied to.
fn changed(gateway: &TestGateway, name: &str, change: impl FnOnce(&Connection)) -> String {
    let copy = gateway.dir().join(name);
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(gateway.data()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    let connection = Connection::open(copy.join("countersign.db")).unwrap();
    change(&connection);
    connection.close().unwrap();
    copy.to_str().unwrap().to_owned()
}

/// Asserts that the record in `data` does not verify, and that the first wrong entry is `index`.
#[track_caller]
fn fails_at(gateway: &TestGateway, data: &str, index: i64) {
    let verified = gateway.cli(&["audit", "verify", "--data", data]);
    assert_eq!(verified.code, 1, "entry {index} was changed unnoticed: {verified:?}");
    let said = verified.stdout;
    let named = said.split(|c: char| !c.is_ascii_digit()).any(|word| word == index.to_string());
    assert!(named, "entry {index} is not named: {said}");
    fs::remove_dir_all(Path::new(data)).unwrap();
}

fn bodies(gateway: &TestGateway) -> Vec<(i64, String)> {
    let connection = Connection::open(gateway.data().join("countersign.db")).unwrap();
    let mut rows = connection.prepare("SELECT idx, body FROM entries ORDER BY idx").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn an_untouched_copy_verifies() {
    let gateway = recorded();
    let copy = changed(&gateway, "copy", |_| {});
    let verified = gateway.cli(&["audit", "verify", "--data", &copy]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let count = bodies(&gateway).len();
    assert!(count >= 8, "only {count} entries");
    assert!(verified.stdout.contains(&format!("{count} entries")), "{verified:?}");
}

#[test]
fn b4_a_flipped_byte_in_any_entry() {
    let gateway = recorded();
    for (index, body) in bodies(&gateway) {
        // The first byte, one in the middle and the last.
        for place in [0, body.len() / 2, body.len() - 1] {
            let mut bytes = body.clone().into_bytes();
            bytes[place] ^= 1;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            let copy = changed(&gateway, "flipped", |connection| {
                let done = connection.execute(
                    "UPDATE entries SET body = ?1 WHERE idx = ?2",
                    params![flipped, index],
                );
                assert_eq!(done.unwrap(), 1);
            });
            fails_at(&gateway, &copy, index);
        }
    }
}

#[test]
fn a_changed_chain_value() {
    let gateway = recorded();
    for (index, _) in bodies(&gateway) {
        let copy = changed(&gateway, "chain", |connection| {
            let zero = [0_u8; 32];
            connection
                .execute("UPDATE entries SET chain = ?1 WHERE idx = ?2", params![zero, index])
                .unwrap();
        });
        fails_at(&gateway, &copy, index);
    }
}

#[test]
fn a_deleted_entry() {
    let gateway = recorded();
    let entries = bodies(&gateway);
    for (index, _) in &entries {
        let copy = changed(&gateway, "deleted", |connection| {
            connection.execute("DELETE FROM entries WHERE idx = ?1", params![index]).unwrap();
        });
        fails_at(&gateway, &copy, *index);
    }
}

#[test]
fn a_deleted_entry_whose_place_was_closed_up() {
    let gateway = recorded();
    let copy = changed(&gateway, "closed-up", |connection| {
        connection.execute("DELETE FROM entries WHERE idx = 3", []).unwrap();
        connection.execute("UPDATE entries SET idx = -idx WHERE idx > 3", []).unwrap();
        connection.execute("UPDATE entries SET idx = -idx - 1 WHERE idx < 0", []).unwrap();
        connection.execute("UPDATE head SET count = count - 1", []).unwrap();
    });
    fails_at(&gateway, &copy, 3);
}

#[test]
fn two_swapped_entries() {
    let gateway = recorded();
    let copy = changed(&gateway, "swapped", |connection| {
        for (from, to) in [(4, -1), (5, 4), (-1, 5)] {
            connection
                .execute("UPDATE entries SET idx = ?2 WHERE idx = ?1", params![from, to])
                .unwrap();
        }
    });
    fails_at(&gateway, &copy, 4);
}

#[test]
fn a_truncated_record() {
    let gateway = recorded();
    let count = bodies(&gateway).len() as i64;
    let copy = changed(&gateway, "truncated", |connection| {
        connection.execute("DELETE FROM entries WHERE idx > ?1", params![count - 2]).unwrap();
    });
    fails_at(&gateway, &copy, count - 1);
}

#[test]
fn an_entry_put_in() {
    let gateway = recorded();
    let entries = bodies(&gateway);
    let (last, body) = entries.last().unwrap();
    let copy = changed(&gateway, "put-in", |connection| {
        let chain = [7_u8; 32];
        connection
            .execute(
                "INSERT INTO entries(idx, body, chain) VALUES (?1, ?2, ?3)",
                params![last + 1, body, chain],
            )
            .unwrap();
    });
    fails_at(&gateway, &copy, last + 1);
}

#[test]
fn a_gateway_does_not_go_on_with_a_record_that_lost_its_end() {
    let mut gateway = recorded();
    let connection = Connection::open(gateway.data().join("countersign.db")).unwrap();
    connection.execute("DELETE FROM entries WHERE idx > 5", []).unwrap();
    connection.close().unwrap();
    let served = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(served.code, 1, "{served:?}");
    gateway.kill();
}
