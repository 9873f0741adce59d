//! What is read and what is refused.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default, rename = "any")]
    _any: serde_json::Value,
}

fn problem(text: &str) -> String {
    let file = SourceFile { name: "sample.yaml".into(), text: text.into() };
    read::<Sample>(&file).unwrap_err().to_string()
}

#[test]
fn points_at_line_and_column() {
    let check = |text: &str, starts: &str| {
        let told = problem(text);
        assert!(told.starts_with(starts), "{told}");
    };
    check("name: a\nname: b\n", "sample.yaml:2:1: duplicate key `name`");
    check("name: a\nany:\n  x: {k: 1, k: 2}\n", "sample.yaml:3:13: duplicate key `k`");
    check("nam: a\n", "sample.yaml:1:1: unknown field `nam`");
    check("name: &a b\n", "sample.yaml:1:");
    check("name: a\nany: !!int 3\n", "sample.yaml:2:");
    check("name: a\nany: .nan\n", "sample.yaml:2:6: a number must be finite");
    check("name: a\n---\nname: b\n", "sample.yaml:2:1: one file holds one document");
    check("name: [a\n", "sample.yaml:");
    check("any: {<<: 3}\n", "sample.yaml:1:7: merge keys");
    assert!(problem("nam: a\n").contains("did you mean `name`?"));
}

#[test]
fn knows_where_values_stand() {
    let text = "name: a\nany:\n  list: [x, y]\n";
    let file = SourceFile { name: "sample.yaml".into(), text: text.into() };
    let (_, places) = read::<Sample>(&file).unwrap();
    assert_eq!(line_and_column(text, places.value("/any/list/1").offset), (3, 13));
    assert_eq!(line_and_column(text, places.key("/any/list").offset), (3, 3));
    assert_eq!(line_and_column(text, places.value("/any/list/9/z").offset), (3, 9));
}

#[test]
fn long_lines_are_not_shown() {
    let told = problem(&format!("name: a\nany: 1 # {}\nnome: b\n", "x".repeat(10_000)));
    assert!(
        told.starts_with("sample.yaml:3:1: ") && told.contains("did you mean `name`?"),
        "{told}"
    );
    assert!(told.len() < 1_000 && !told.contains("xxx"), "{told}");
    assert!(problem("name: a\nnome: b # seen\n").contains("# seen"));
}

/// A file of one text that `tail` ends.
fn refused(tail: &str) -> String {
    problem(&format!("name: a\nany:\n{tail}\n"))
}

#[test]
fn d6_what_yaml_multiplies_or_hides_is_refused() {
    let mut laughs = "  a0: &a0 [ha, ha]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("  a{level}: &a{level} [{below}]\n"));
    }
    assert!(refused(&laughs).contains("anchors and aliases"));
    for (tail, why) in [
        ("  k: *unknown", "sample.yaml:3:"),
        ("  base: {x: 1}\n  k:\n    <<: {x: 2}", "merge keys"),
        ("  k: 1\n  k: 2", "duplicate key `k`"),
        ("  \"k\": 1\n  'k': 2", "duplicate key `k`"),
        ("  \"\\u006b\": 1\n  k: 2", "duplicate key `k`"),
        ("  k: !!python/object/apply:os.system [id]", "tags"),
        ("  k: !!binary aGFoYQ==", "tags"),
        ("  k: !!str 1", "tags"),
        ("  ? [a, b]\n  : c", "a key must be a plain text"),
        ("  ? {a: b}\n  : c", "a key must be a plain text"),
        ("  k: -.inf", "a number must be finite"),
        ("  k: .NaN", "a number must be finite"),
    ] {
        let told = refused(tail);
        assert!(told.contains(why), "{tail}: {told}");
    }
    let huge = format!("name: {}\n", "a".repeat(MAX_FILE_BYTES));
    assert!(problem(&huge).contains("larger than"));
}

#[test]
fn d6_no_text_is_taken_for_something_else() {
    let text = "name: a\nany: [NO, no, yes, on, OFF, y, 1:30, 0o17, 2026-01-01, 'null', 1_000]\n";
    let file = SourceFile { name: "sample.yaml".into(), text: text.into() };
    let (sample, _) = read::<Sample>(&file).unwrap();
    let texts = serde_json::json!(["NO", "no", "yes", "on", "OFF", "y", "1:30"]);
    let read = sample._any.as_array().unwrap();
    assert_eq!(&read[..7], texts.as_array().unwrap().as_slice());
    assert_eq!(&read[8..], serde_json::json!(["2026-01-01", "null", "1_000"]).as_array().unwrap());
    // A leading zero makes no number of another base.
    for (written, as_octal) in [("017", 15), ("0017", 15)] {
        let text = format!("name: a\nany: {written}\n");
        let file = SourceFile { name: "sample.yaml".into(), text: text.into() };
        if let Ok((sample, _)) = super::read::<Sample>(&file) {
            assert_ne!(sample._any, serde_json::json!(as_octal), "{written}");
        }
    }
}
