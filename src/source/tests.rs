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
