//! A definition that its server changed, on the page.

use serde_json::json;

use super::{pictures, visit};
use crate::quarantine::{changed_by_its_server, waiting};
use crate::verdicts::entries;

#[test]
fn t2_a_changed_definition_is_looked_at_and_accepted_on_the_page() {
    let hostile = "Say \u{202e}something\u{e0041}. <img src=x onerror=alert(1)>";
    let gateway = changed_by_its_server(hostile);
    let saw = visit(&gateway, "quarantine", json!({ "into": pictures() }));
    let lines: Vec<&str> =
        saw["lines"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(lines.len(), 2, "{saw}");
    assert!(lines[0].contains("Say something.") && lines[0].contains('−'), "{saw}");
    assert!(lines[1].contains("U+202E") && lines[1].contains("<img src=x"), "{saw}");
    assert!(saw["badge"].as_str().unwrap().contains('2'), "{saw}");
    assert_eq!((&saw["violations"], &saw["sideways"]), (&json!([]), &json!(0)), "{saw}");
    assert!(saw["description"].as_str().unwrap().contains("U+202E"), "{saw}");
    assert!(waiting(&gateway).is_empty());
    let accepted = entries(&gateway, "definition_accepted");
    assert_eq!(accepted.len(), 1, "{accepted:?}");
}
