//! A short run of what `fuzz/` runs for long: every input of the committed corpora, and a fixed number of
//! changes of them, which are the same each time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check that cannot go on fails here"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use countersign::fuzzing::{MAX_INPUT_BYTES, PART, TARGETS};

/// How many changed inputs each target reads. Those that load whole files take their time.
const CHANGES: usize = 2_000;
const CHANGES_OF_FILES: usize = 200;
/// How large one corpus may be, in files and in bytes.
const MAX_FILES: usize = 300;
const MAX_BYTES: usize = 300 << 10;
/// What is put into inputs besides their own bytes.
const WORDS: [&[u8]; 18] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n\n",
    b"\r\n",
    b"\0",
    b"\\u0000",
    b"\"id\":1",
    b"null",
    b"1e400",
    b"data: ",
    b"  - ",
    b"$ref",
    &[PART],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs of a target, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<(String, Vec<u8>)> = fs::read_dir(root().join("corpus").join(target))
        .unwrap_or_else(|error| panic!("{target}: {error}"))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// Numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// One to four changes of `input`, some of them with bytes of `other`.
    fn changed(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len() + 1);
            let end = (place + self.below(16)).min(bytes.len());
            let word = WORDS[self.below(WORDS.len())];
            match self.below(6) {
                0 if place < bytes.len() => bytes[place] ^= 1 << self.below(8),
                1 if place < bytes.len() => bytes[place] = self.next().to_le_bytes()[0],
                2 => drop(bytes.drain(place..end)),
                3 => {
                    let again = bytes[place..end].to_vec();
                    drop(bytes.splice(place..place, again));
                }
                4 => drop(bytes.splice(place..place, word.iter().copied())),
                _ => {
                    let begin = self.below(other.len() + 1);
                    bytes.truncate(place);
                    bytes.extend_from_slice(&other[begin..]);
                }
            }
        }
        bytes.truncate(MAX_INPUT_BYTES);
        bytes
    }
}

fn short_run(target: &str, changes: usize) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let read = |input: &[u8], what: &str| {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
        assert!(outcome.is_ok(), "{target} on {what}: {}", input.escape_ascii());
    };
    let inputs = corpus(target);
    for (name, input) in &inputs {
        read(input, name);
    }
    let mut numbers = Numbers(1);
    for change in 0..changes {
        let (name, input) = &inputs[change % inputs.len()];
        let (_, other) = &inputs[numbers.below(inputs.len())];
        let input = numbers.changed(input, other);
        read(&input, &format!("change {change} of {name}"));
    }
}

/// A test for each target, so that they run beside one another, and a list of them.
macro_rules! short_runs {
    ($($target:ident: $changes:expr,)*) => {
        const RUN: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                short_run(stringify!($target), $changes);
            }
        )*
    };
}

short_runs! {
    jsonrpc_http: CHANGES,
    jsonrpc_stdio: CHANGES,
    manifests: CHANGES_OF_FILES,
    passkey_answer: CHANGES,
    policies: CHANGES_OF_FILES,
    request_state: CHANGES,
    schemas: CHANGES_OF_FILES,
    strict_json: CHANGES,
    upstream_answer: CHANGES_OF_FILES,
    upstream_sse: CHANGES,
}

#[test]
fn every_target_has_a_corpus_and_a_short_run() {
    let files = fs::read_dir(root().join("fuzz_targets")).unwrap();
    let targets: BTreeSet<String> = files
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(targets, names(RUN), "fuzz/fuzz_targets and tests/fuzz.rs");
    assert_eq!(targets, names(&TARGETS.map(|(name, _)| name)), "fuzz/fuzz_targets and the library");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml: {target}");
        let main = fs::read_to_string(root().join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(main.contains(&format!("countersign::fuzzing::{target}(data)")), "{target}");
        let corpus = corpus(&target);
        let bytes: usize = corpus.iter().map(|(_, input)| input.len()).sum();
        assert!(
            !corpus.is_empty() && corpus.len() <= MAX_FILES,
            "{target}: {} inputs",
            corpus.len()
        );
        assert!(bytes <= MAX_BYTES, "{target}: {bytes} bytes");
    }
}
