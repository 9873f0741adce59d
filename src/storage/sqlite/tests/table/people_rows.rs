//! The table, as far as it is about agents and people.

use super::super::*;
use super::prepared::*;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::principal::Role;
use crate::storage::ActingStore as _;
use crate::storage::ReviewerChange;
use jiff::Timestamp;

pub(super) fn rows() -> Vec<Row> {
    agents().into_iter().chain(people()).collect()
}

fn by() -> String {
    "root".to_owned()
}

fn agents() -> Vec<Row> {
    vec![
        Row {
            name: "add_agent",
            asks: asks!(|store| store.add_agent(agent(), by())),
            writes: &["agent_added"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "revoke_agent",
            given: known_agent,
            asks: asks!(|store| store.revoke_agent(&agent().name, by())),
            writes: &["agent_revoked"],
            ..PLAIN
        },
        Row {
            name: "note_uses",
            given: known_agent,
            asks: asks!(|store| store.note_uses(vec![(agent().name, Timestamp::UNIX_EPOCH)])),
            ..PLAIN
        },
        Row {
            name: "let_act_for",
            given: known_agent,
            asks: asks!(|store| store.let_act_for(&agent().name, vec![agent().name], by())),
            writes: &["agent_acts_for"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "rotate_agent",
            given: known_agent,
            asks: asks!(|store| store.rotate_agent(
                &agent().name,
                Rotation {
                    token_digest: Digest::of(b"new"),
                    overlap_until: None,
                    expires_at: None
                },
                by(),
            )),
            writes: &["agent_rotated"],
            again: Again::Recorded,
            ..PLAIN
        },
    ]
}

fn people() -> Vec<Row> {
    vec![
        Row {
            name: "add_reviewer",
            asks: asks!(|store| store.add_reviewer(reviewer(), by())),
            writes: &["reviewer_added"],
            again: Again::Refused("there is a person `bob` already"),
            ..PLAIN
        },
        Row {
            name: "change_reviewer",
            given: known_person,
            asks: asks!(|store| store.change_reviewer(
                &reviewer().name,
                ReviewerChange { role: Some(Role::Viewer), ..ReviewerChange::default() },
                by(),
            )),
            writes: &["reviewer_changed"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "revoke_reviewer",
            given: known_person,
            asks: asks!(|store| store.revoke_reviewer(&reviewer().name, by())),
            writes: &["reviewer_revoked"],
            ..PLAIN
        },
        Row {
            name: "register_key",
            given: known_person,
            asks: asks!(|store| store.register_key(&reviewer().name, key())),
            writes: &["key_registered"],
            again: Again::Refused("is registered for `bob` already"),
            ..PLAIN
        },
        Row {
            name: "remove_key",
            given: known_key,
            asks: asks!(|store| store.remove_key(&reviewer().name, "SHA256:1", by())),
            writes: &["key_removed"],
            again: Again::Refused("has no key"),
            ..PLAIN
        },
    ]
}
