//! The operations on halts.

use super::operation::{Operation, change};
use crate::api::{HaltConsidered, HaltReach, HaltResumed, HaltWanted};
use crate::halts::Halt;
use crate::principal::Role::Operator;

/// What a halt that somebody asks for and that there is not answers.
const NO_SUCH: &str = "There is nothing of this name.";

pub(super) fn all() -> Vec<Operation> {
    vec![
        change(
            "post",
            "/api/v1/halts",
            Operator,
            "halt",
            "Stop calls: no call in scope runs until the halt is resumed.",
        )
        .takes::<HaltWanted>()
        .gives::<Halt>()
        .fails(409, "There are too many."),
        change(
            "post",
            "/api/v1/halts/reach",
            Operator,
            "consider_halt",
            "What a halt would reach now; it changes nothing.",
        )
        .takes::<HaltConsidered>()
        .gives::<HaltReach>(),
        change(
            "post",
            "/api/v1/halts/{id}/resume",
            Operator,
            "resume",
            "End a halt; gives it as it was.",
        )
        .takes::<HaltResumed>()
        .gives::<Halt>()
        .fails(404, NO_SUCH),
    ]
}
