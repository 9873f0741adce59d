//! What the page says while an earlier revision is in force.

use serde_json::{Value, json};

use super::{desk, pictures, visit};
use crate::harness::text;

#[test]
fn that_an_earlier_revision_is_in_force_is_said_above_the_rules() {
    let (gateway, _agent) = desk();
    let before = text(&gateway.api_get("/api/v1/policy").json()["revision"]);
    gateway.put_policy("held.yaml", "rules:\n  - { name: pushed, match: {}, decision: DENY }\n");
    gateway.cli(&["policy", "reload"]).done();
    let reason = "it denies <b>all</b>";
    gateway.cli(&["policy", "rollback", &before, "--reason", reason]).done();
    let into = pictures().map_or(Value::Null, |into| json!(into));
    let saw = visit(&gateway, "rolled back", json!({ "into": into }));
    let said = saw["said"].as_str().unwrap();
    for told in [&before["sha256:".len()..][..12], reason, "countersign policy reload"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!((&saw["found"], &saw["sideways"]), (&json!([]), &json!(0)));
}
