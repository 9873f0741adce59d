//! A call whose outcome nobody recorded, on the page.

use serde_json::json;

use super::{pictures, visit};
use crate::crash::{died_at, held};
use crate::harness::text;
use crate::verdicts::entries;

#[test]
fn what_became_of_a_call_is_said_where_it_is_shown() {
    let gateway = died_at(held(), "finish_hold.before");
    let id = text(&gateway.holds_when("unknown", 1)[0]["id"]);
    let saw = visit(
        &gateway,
        "unknown",
        json!({ "id": id, "reason": "the file has the line", "into": pictures() }),
    );
    assert_eq!(saw["row"], "outcome unknown", "{saw}");
    assert_eq!(saw["ways"], json!(["It was done", "It failed", "Run it again …"]), "{saw}");
    assert_eq!(saw["violations"], json!([]), "{saw}");
    assert_eq!(saw["left"], 0, "{saw}");
    assert_eq!(gateway.hold(&id)["state"], "finished");
    let said = entries(&gateway, "hold_resolved");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["resolution"], "done");
    assert_eq!(said[0]["verdict"]["reason"], "the file has the line", "{said:?}");
    assert_eq!(gateway.ran(), ["one"], "it ran once");
}
