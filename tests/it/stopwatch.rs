//! `tests/stopwatch`: a new user's way from an empty directory to the first approved call. What is asserted is
//! that they get there; whether within a minute is what the script says when it is run by hand.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::PROGRAM;
use crate::real_clients::{installed, program};

/// What the script prints and how it ends, with a limit in seconds.
fn stopwatch(limit: &str) -> (Option<i32>, String) {
    installed("node_modules/playwright-core");
    program("chromium");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stopwatch");
    let out = Command::new(script)
        .args(["--limit", limit, PROGRAM])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_new_user_gets_from_an_empty_directory_to_an_approved_call() {
    let (code, told) = stopwatch("600");
    assert_eq!(code, Some(0), "{told}");
    for step in ["countersign init\n", "which policy holds\n", "the client has the result\n"] {
        assert!(told.contains(step), "{told}");
    }
    assert!(told.contains("verified: "), "{told}");
}

#[test]
fn the_stopwatch_fails_when_it_takes_too_long() {
    let (code, told) = stopwatch("0");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.ends_with("tests/stopwatch: it took longer than 0 s\n"), "{told}");
}
