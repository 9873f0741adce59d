//! Every operation of the API. `tests/it/openapi.rs` compares it with the routes.

use serde_json::json;

use super::catalog;
use super::halts;
use super::operation::{Operation, change, get};
use super::revisions::revisions;
use super::workflows;
use crate::api::{
    AgentEdit, AgentRotation, AgentView, BudgetList, CallList, CallTimeline, Check, EntryList,
    EntryView, ExplainView, ExplainWanted, HoldView, IdenticalDecided, IdenticalGiven, Invitation,
    InvitationWanted, KeyGiven, LimitList, LinkMade, NewAgent, NewPersonToken, NewReviewer,
    NewToken, PolicyView, ReloadedView, Renewal, ResolutionGiven, ReviewerEdit, ReviewerView,
    StandingView, StandingWanted, StatementMade, StatementWanted, TableView, ToolView, TryView,
    TryWanted, VerdictGiven, Verified, WhoAmI, approvals, audit, budgets, calls, events, limits,
    reports, table,
};
use crate::halts::Halt;
use crate::json::Object;
use crate::principal::Role::{Operator, Reviewer, Viewer};
use crate::storage::Statistics;

/// What a call that somebody asks for and that there is not answers.
const NO_SUCH: &str = "There is nothing of this name.";
/// The first who decides wins.
const TOO_LATE: &str = "Somebody was first, or it is not as it was when it was looked at.";
/// A name is taken, or there are too many.
const TAKEN: &str = "There is one already, it was revoked, or there are too many.";
/// A person who may decide in general may not decide this.
const NOT_YOURS: &str = "The person may not do this; or the session did not show its token.";

pub(super) fn operations() -> Vec<Operation> {
    let mut all = reading();
    all.extend(record());
    all.extend(deciding());
    all.extend(asking());
    all.extend(standing());
    all.extend(agents());
    all.extend(people());
    all.extend(halts::all());
    all.extend(catalog::all());
    all.extend(workflows::all());
    all.extend(revisions());
    all
}

fn reading() -> Vec<Operation> {
    vec![
        get("/api/v1/whoami", "whoami", "Whom the gateway takes the caller for.").gives::<WhoAmI>(),
        get("/api/v1/approvals", "list_holds", "Held calls, newest first; at most 1000.")
            .asks::<approvals::Wanted>()
            .gives::<Vec<HoldView>>(),
        get(
            "/api/v1/approvals/{id}",
            "show_hold",
            "One held call, with its result if there is one.",
        )
        .gives::<HoldView>()
        .fails(404, NO_SUCH),
        get("/api/v1/standing", "list_standing", "The standing approvals in force.")
            .gives::<Vec<StandingView>>(),
        get("/api/v1/halts", "list_halts", "The halts that are engaged, oldest first.")
            .gives::<Vec<Halt>>(),
        get("/api/v1/catalog", "list_tools", "The tools.").gives::<Vec<ToolView>>(),
        get("/api/v1/policy", "show_policy", "The rules in force.").gives::<PolicyView>(),
        get(
            "/api/v1/policy/table",
            "show_decision_table",
            "What can be decided, agents against tools.",
        )
        .asks::<table::Wanted>()
        .gives::<TableView>(),
        get("/api/v1/limits", "list_limits", "The limits in force, and what is left of them.")
            .asks::<limits::Wanted>()
            .gives::<LimitList>(),
        get("/api/v1/budgets", "list_budgets", "The budgets in force, and what is spent of them.")
            .asks::<budgets::Wanted>()
            .gives::<BudgetList>(),
        get("/api/v1/agents", "list_agents", "The agents, by name.").gives::<Vec<AgentView>>(),
        get("/api/v1/reviewers", "list_people", "The people, by name.")
            .gives::<Vec<ReviewerView>>(),
    ]
}

/// What the record says.
fn record() -> Vec<Operation> {
    vec![
        get("/api/v1/audit", "list_entries", "Entries of the audit log, in order; at most 1000.")
            .asks::<audit::Wanted>()
            .gives::<Vec<EntryView>>(),
        get(
            "/api/v1/audit/search",
            "search_entries",
            "Entries that say certain words, newest first.",
        )
        .asks::<audit::Sought>()
        .gives::<EntryList>()
        .fails(500, "An entry cannot be shown as JSON."),
        change(
            "post",
            "/api/v1/audit/verify",
            Viewer,
            "verify_log",
            "Verify the audit log as it is now, from its first entry to its last.",
        )
        .gives::<Verified>()
        .fails(409, "Somebody else has it verified just now."),
        get(
            "/api/v1/statistics",
            "statistics",
            "How calls fared; of more than 200 000 calls in the span, the newest.",
        )
        .asks::<reports::Wanted>()
        .gives::<Statistics>(),
        get("/api/v1/calls", "list_calls", "Calls, newest first.")
            .asks::<calls::Wanted>()
            .gives::<CallList>(),
        get("/api/v1/calls/{id}", "show_call", "All that the record says of one call.")
            .gives::<CallTimeline>()
            .fails(404, NO_SUCH)
            .fails(500, "An entry cannot be shown as JSON."),
        get("/api/v1/events", "follow", "What changes, as it happens.")
            .asks::<events::From>()
            .heeds("Last-Event-ID", "The number of the event that was heard last.", number())
            .gives_text(
                "text/event-stream",
                "Server-sent events: `hold`, `entry`, `halts`, `reset`; each says what to look at again.",
            ),
        get("/api/v1/doctor", "doctor", "What a person should look at.").gives::<Vec<Check>>(),
        get("/api/v1/openapi.json", "describe", "This document.").gives::<Object>(),
        get("/metrics", "metrics", "What is counted.").gives_text(
            "application/openmetrics-text",
            "The metrics, in the form of OpenMetrics 1.0.",
        ),
    ]
}

fn number() -> serde_json::Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn deciding() -> Vec<Operation> {
    vec![
        change(
            "post",
            "/api/v1/approvals/{id}/statement",
            Reviewer,
            "state",
            "What a person signs to give a verdict, and which passkeys can; changes nothing.",
        )
        .takes::<StatementWanted>()
        .gives::<StatementMade>()
        .fails(404, NO_SUCH)
        .fails(409, TOO_LATE),
        change(
            "post",
            "/api/v1/approvals/{id}/verdict",
            Reviewer,
            "decide",
            "Approve or reject one held call, bound to the digest that was shown.",
        )
        .takes::<VerdictGiven>()
        .gives::<HoldView>()
        .fails(403, NOT_YOURS)
        .fails(404, NO_SUCH)
        .fails(409, TOO_LATE),
        change(
            "post",
            "/api/v1/approvals/{id}/identical",
            Reviewer,
            "decide_identical",
            "One verdict on a held call and on all that wait for the very same.",
        )
        .takes::<IdenticalGiven>()
        .gives::<IdenticalDecided>()
        .fails(404, NO_SUCH)
        .fails(409, TOO_LATE),
        change(
            "post",
            "/api/v1/approvals/{id}/resolution",
            Reviewer,
            "resolve",
            "Say what became of a call whose outcome was not recorded.",
        )
        .takes::<ResolutionGiven>()
        .gives::<HoldView>()
        .fails(403, NOT_YOURS)
        .fails(404, NO_SUCH)
        .fails(409, TOO_LATE),
    ]
}

fn standing() -> Vec<Operation> {
    vec![
        change(
            "post",
            "/api/v1/standing",
            Reviewer,
            "grant_standing",
            "Show a standing approval as the rule it would be; with `confirm`, grant it.",
        )
        .takes::<StandingWanted>()
        .gives::<StandingView>()
        .fails(403, NOT_YOURS)
        .fails(404, NO_SUCH)
        .fails(409, TOO_LATE),
        change(
            "delete",
            "/api/v1/standing/{id}",
            Reviewer,
            "revoke_standing",
            "End a standing approval.",
        )
        .fails(404, NO_SUCH),
        change(
            "post",
            "/api/v1/notifications/test",
            Operator,
            "test_notifications",
            "Send a test message to each channel of notices.",
        )
        .gives::<Vec<Check>>(),
    ]
}

/// What is asked of the rules, and tried.
fn asking() -> Vec<Operation> {
    vec![
        change(
            "post",
            "/api/v1/policy/explain",
            Viewer,
            "explain",
            "Say what would be decided about a call, and why; nothing runs and nothing is counted.",
        )
        .takes::<ExplainWanted>()
        .gives::<ExplainView>()
        .fails(403, NOT_YOURS)
        .fails(404, NO_SUCH)
        .fails(409, "The record has not all of the call."),
        change(
            "post",
            "/api/v1/try",
            Operator,
            "try_call",
            "Call a tool, as an agent of the person's own: rules, limits and holds are as for any agent.",
        )
        .takes::<TryWanted>()
        .gives::<TryView>()
        .fails(409, "An agent has the name by which the page calls for the person.")
        .fails(500, "The result cannot be shown as JSON."),
    ]
}

fn agents() -> Vec<Operation> {
    vec![
        change(
            "post",
            "/api/v1/policy/reload",
            Operator,
            "reload",
            "Read policies and manifests again, and put them in force as a whole or not at all.",
        )
        .gives::<ReloadedView>()
        .fails(409, "The files are wrong; what is in force stays so."),
        change("post", "/api/v1/agents", Operator, "add_agent", "Add an agent; gives its token.")
            .takes::<NewAgent>()
            .gives::<NewToken>()
            .fails(409, TAKEN),
        change(
            "delete",
            "/api/v1/agents/{name}",
            Operator,
            "revoke_agent",
            "End an agent's token.",
        )
        .fails(404, NO_SUCH),
        change(
            "patch",
            "/api/v1/agents/{name}",
            Operator,
            "change_agent",
            "Say for which agents an agent may act.",
        )
        .takes::<AgentEdit>()
        .gives::<AgentView>()
        .fails(404, NO_SUCH),
        change(
            "post",
            "/api/v1/agents/{name}/token",
            Operator,
            "rotate_agent",
            "Give an agent a new token.",
        )
        .takes::<AgentRotation>()
        .gives::<NewToken>()
        .fails(404, NO_SUCH),
    ]
}

fn people() -> Vec<Operation> {
    let one = "/api/v1/reviewers/{name}";
    let operator = |method, path, id, summary| change(method, path, Operator, id, summary);
    vec![
        operator("post", "/api/v1/reviewers", "add_person", "Add a person; gives a token.")
            .takes::<NewReviewer>()
            .gives::<NewPersonToken>()
            .fails(409, TAKEN),
        operator("patch", one, "change_person", "Change a person's role, groups or names.")
            .takes::<ReviewerEdit>()
            .gives::<ReviewerView>()
            .fails(404, NO_SUCH)
            .fails(409, TAKEN),
        operator("delete", one, "revoke_person", "End a person's token, sessions and role.")
            .fails(404, NO_SUCH),
        operator(
            "post",
            "/api/v1/reviewers/{name}/token",
            "renew_person",
            "Give a person a new token.",
        )
        .takes::<Renewal>()
        .gives::<NewPersonToken>()
        .fails(404, NO_SUCH)
        .fails(409, TAKEN),
        operator(
            "post",
            "/api/v1/reviewers/{name}/keys",
            "add_key",
            "Register a public key that a person signs verdicts with.",
        )
        .takes::<KeyGiven>()
        .gives::<ReviewerView>()
        .fails(404, NO_SUCH)
        .fails(409, TAKEN),
        operator(
            "delete",
            "/api/v1/reviewers/{name}/keys/{fingerprint}",
            "remove_key",
            "Take a public key from a person.",
        )
        .fails(404, NO_SUCH),
        operator(
            "post",
            "/api/v1/reviewers/{name}/invitation",
            "invite",
            "Make a link by which a person sets up how to sign in.",
        )
        .takes::<InvitationWanted>()
        .gives::<Invitation>()
        .fails(404, NO_SUCH)
        .fails(409, "There is such a person with another role or groups, or no browser can reach the gateway."),
        operator(
            "delete",
            "/api/v1/reviewers/{name}/sessions",
            "sign_out",
            "End all sessions of a person.",
        )
        .fails(404, NO_SUCH),
        operator(
            "post",
            "/api/v1/sign-in-link",
            "make_sign_in_link",
            "Make a link to sign in; only over the local socket.",
        )
        .gives::<LinkMade>()
        .fails(409, "No browser can reach the gateway."),
    ]
}
