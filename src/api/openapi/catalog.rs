//! The operations on definitions of servers.

use super::operation::{Operation, change, get};
use crate::api::{AcceptWanted, QuarantineView, ToolView};
use crate::principal::Role::Operator;

pub(super) fn all() -> Vec<Operation> {
    vec![
        get(
            "/api/v1/catalog/quarantine",
            "list_quarantine",
            "The definitions that changed at their servers and wait for an operator, by name; at most 100.",
        )
        .gives::<Vec<QuarantineView>>(),
        change(
            "post",
            "/api/v1/catalog/accept",
            Operator,
            "accept_definition",
            "Accept a definition as it is now: it is offered again.",
        )
        .takes::<AcceptWanted>()
        .gives::<ToolView>()
        .fails(404, "Nothing of this name waits.")
        .fails(409, "It changed again since it was shown.")
        .fails(422, "The catalog that it would make does not fit the policy."),
    ]
}
