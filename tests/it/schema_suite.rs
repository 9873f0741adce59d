//! The test suite of JSON Schema's own authors, draft 2020-12, through the reader, the bounds and the checks that
//! schemas of manifests and servers go through. What comes out differently is in `schema_suite.txt`, with the
//! restriction of `docs/manifests.md` that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use countersign::catalog::{Schema, SchemaError};
use countersign::json::{self, Object};
use serde_json::{Value, json};

use crate::real_clients::installed;

/// What is expected to come out differently, and why.
const EXPECTED: &str = include_str!("schema_suite.txt");
/// How many values the suite checks at least: required, and optional.
const AT_LEAST: [usize; 2] = [1250, 640];

/// Why a schema is refused, by what the refusal says.
const REFUSALS: [(&str, &str); 6] = [
    ("is outside the schema; references must start with `#`", "reference-outside"),
    ("names nothing in the schema", "reference-to-no-place"),
    ("write the reference without `%`", "reference-escaped"),
    ("a subschema with an `$id` of its own", "own-id"),
    ("is not accepted; use 2020-12 or draft 7", "other-draft"),
    ("a subschema of another draft", "other-draft"),
];
/// The same of patterns, whose refusals the engine words.
const PATTERN: &str = "pattern";
/// Values are checked for their `format`, which the suite's required part only notes.
const FORMAT: &str = "format-checked";
/// What only the optional part may have: an answer that is not the suite's.
const ANSWERED: &str = "answered-differently";

/// Every JSON file below `folder`, but not below a folder `optional` where `whole` is not said.
fn files(folder: &Path, whole: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && whole {
            found.extend(files(&path, whole));
        } else if path.extension().is_some_and(|it| it == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn compile(schema: &Value) -> Result<Schema, SchemaError> {
    // A schema of a tool is always an object; what is only `true` or `false` stands in one.
    let alone = || Object::from_iter([("allOf".to_owned(), json!([schema]))]);
    Schema::compile(schema.as_object().cloned().unwrap_or_else(alone))
}

/// The restriction that a refusal comes from.
fn restriction(error: &SchemaError) -> &'static str {
    let known = REFUSALS.iter().find(|(says, _)| error.why.contains(says));
    if let Some((_, restriction)) = known {
        return restriction;
    }
    assert!(error.why.contains("is not a \"regex\""), "{error:?}");
    PATTERN
}

/// What came out differently: by restriction, the places and how many values were concerned.
#[derive(Default)]
struct Differences {
    places: BTreeMap<(&'static str, String), usize>,
    values: usize,
}

impl Differences {
    fn note(&mut self, why: &'static str, place: &str, values: usize) {
        *self.places.entry((why, place.to_owned())).or_default() += values;
    }

    fn of(folder: &Path, whole: bool) -> Self {
        let mut differences = Self::default();
        for file in files(folder, whole) {
            let name = file.strip_prefix(folder).unwrap().with_extension("");
            let Value::Array(cases) = json::parse(&fs::read(&file).unwrap()).unwrap() else {
                panic!("{} is no list", name.display())
            };
            for case in &cases {
                differences.case(&name.display().to_string(), case);
            }
        }
        differences
    }

    fn case(&mut self, file: &str, case: &Value) {
        let place = format!("{file}: {}", case["description"].as_str().unwrap());
        let tests = case["tests"].as_array().unwrap();
        self.values += tests.len();
        let schema = match compile(&case["schema"]) {
            Ok(schema) => schema,
            Err(error) => return self.note(restriction(&error), &place, tests.len()),
        };
        for test in tests {
            let faults = schema.check(&test["data"]).err();
            let valid = test["valid"].as_bool().unwrap();
            if faults.is_none() == valid {
                continue;
            }
            let by_format = faults.as_ref().is_some_and(|faults| {
                faults.iter().all(|fault| fault.message.starts_with("must be a valid "))
            });
            let place = format!("{place}: {}", test["description"].as_str().unwrap());
            self.note(if by_format { FORMAT } else { ANSWERED }, &place, 1);
        }
    }
}

#[test]
fn d5_the_suite_of_json_schema_is_answered_as_it_says_or_refused_for_a_reason_that_is_documented() {
    let suite = installed("schema-suite/tests/draft2020-12");
    let parts = [("required", suite.clone(), false), ("optional", suite.join("optional"), true)];
    let mut found = String::new();
    for ((part, folder, whole), at_least) in parts.into_iter().zip(AT_LEAST) {
        let differences = Differences::of(&folder, whole);
        assert!(differences.values >= at_least, "{part}: the suite is not whole");
        for ((why, place), values) in &differences.places {
            assert!(part == "optional" || *why != ANSWERED, "{place} is answered differently");
            writeln!(found, "{part} {why} {values} {place}").unwrap();
        }
    }
    let expected: BTreeSet<&str> = EXPECTED.lines().filter(|line| !line.starts_with('#')).collect();
    let found: BTreeSet<&str> = found.lines().collect();
    let new: Vec<_> = found.difference(&expected).collect();
    let gone: Vec<_> = expected.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "not expected: {new:#?}\nno longer so: {gone:#?}");
}
