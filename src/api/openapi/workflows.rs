//! The operations on workflows.

use super::operation::{Operation, change, get};
use crate::api::workflows::{PartWanted, Wanted};
use crate::api::{UndoView, UndoWanted, WorkflowList, WorkflowTimeline};
use crate::principal::Role::Operator;

/// What a workflow that somebody asks for and that there is not answers.
const NO_SUCH: &str = "There is no such workflow.";

pub(super) fn all() -> Vec<Operation> {
    vec![
        get("/api/v1/workflows", "list_workflows", "Workflows, those that began last first.")
            .asks::<Wanted>()
            .gives::<WorkflowList>(),
        get("/api/v1/workflows/{id}", "show_workflow", "A workflow and its calls, in order.")
            .asks::<PartWanted>()
            .gives::<WorkflowTimeline>()
            .fails(404, NO_SUCH),
        change(
            "post",
            "/api/v1/workflows/{id}/rollback",
            Operator,
            "roll_back_workflow",
            "Show what rolling a workflow back would do; with the digest of that plan, do it.",
        )
        .takes::<UndoWanted>()
        .gives::<UndoView>()
        .fails(404, NO_SUCH)
        .fails(
            409,
            "The plan is another than the one that was shown, or another rollback is under way.",
        ),
    ]
}
