//! The operations on revisions of policies and manifests.

use super::operation::{Operation, change, get};
use crate::api::{
    HistoryView, ReloadedView, RevisionFiles, RollbackWanted, SimulateWanted, SimulationView,
};
use crate::principal::Role::Operator;

/// What a revision that nobody kept answers.
const NO_SUCH: &str = "No revision of this name is kept.";

pub(super) fn revisions() -> Vec<Operation> {
    vec![
        get(
            "/api/v1/policy/history",
            "list_revisions",
            "The revisions that were in force, the newest first; at most 200.",
        )
        .gives::<HistoryView>(),
        change(
            "get",
            "/api/v1/policy/history/{revision}",
            Operator,
            "show_revision",
            "The files of a revision.",
        )
        .gives::<RevisionFiles>()
        .fails(404, NO_SUCH)
        .fails(409, "Its files are not kept, or the text stands for several."),
        change(
            "post",
            "/api/v1/policy/simulate",
            Operator,
            "simulate",
            "What other files would have decided about recorded calls; it changes nothing.",
        )
        .takes::<SimulateWanted>()
        .gives::<SimulationView>()
        .fails(409, "The files are wrong."),
        change(
            "post",
            "/api/v1/policy/rollback",
            Operator,
            "roll_back",
            "Go back to an earlier revision, which stays in force until a reload.",
        )
        .takes::<RollbackWanted>()
        .gives::<ReloadedView>()
        .fails(404, NO_SUCH)
        .fails(409, "Its files are not kept or do not load, or the text stands for several."),
    ]
}
