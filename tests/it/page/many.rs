//! Many calls that wait: some are shown at first, the others on demand.

use serde_json::json;

use super::{desk, visit};
use crate::clients::Client as _;

#[test]
fn more_calls_than_are_shown_at_first_are_reached() {
    let (gateway, agent) = desk();
    for number in 0..60 {
        agent.call("note", json!({ "text": format!("number {number}") }));
    }
    let holds = gateway.holds_when("pending", 60);
    let oldest = holds.iter().find(|it| it["arguments"]["text"] == "number 0").unwrap();
    let newest = holds.iter().find(|it| it["arguments"]["text"] == "number 59").unwrap();
    // Whichever the list begins with, the other is not among the first.
    let mut asked = Vec::new();
    for wanted in [oldest, newest, oldest] {
        let saw = visit(&gateway, "many", json!({ "count": 60, "oldest": wanted["id"] }));
        assert_eq!(saw["first"], json!({ "rows": 25, "count": "25+" }), "{saw}");
        asked.push(saw["asked"].as_u64().unwrap());
        assert_eq!(saw["more"], json!({ "count": "60", "button": 0 }), "{saw}");
        assert_eq!(saw["focused"], 25, "{saw}");
        assert_eq!(saw["found"], wanted["id"], "{saw}");
    }
    // A browser that is slow may see something change meanwhile; not each time.
    assert_eq!(asked.iter().min(), Some(&1), "the list was fetched more than once: {asked:?}");
}
