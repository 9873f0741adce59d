//! Calls, to be searched, and everything that the record says of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EntryView, Failure, Path, Query, Viewer};
use crate::gateway::Gateway;
use crate::hold::StateName;
use crate::ids::{AgentName, CallId, HoldId};
use crate::storage::{CallQuery, CallStatus, ListedCall};

/// How many calls a list shows when nobody says.
const LISTED: u32 = 50;
/// How many it shows at the most.
const MAX_LISTED: u32 = 200;
/// How many characters an identifier has.
const ID_LENGTH: usize = 36;

/// A call as people see it in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallView {
    /// The call.
    pub call: CallId,
    /// When the record first tells of it.
    pub at: Timestamp,
    /// The place of that entry in the log.
    pub index: u64,
    /// The agent.
    pub agent: AgentName,
    /// The tool.
    pub tool: String,
    /// Where it stands.
    pub status: CallStatus,
    /// The kind of its refusal, one word.
    pub refusal: Option<String>,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// The hold that it opened, or whose approval it spent.
    pub hold: Option<HoldId>,
    /// That hold's state now.
    pub hold_state: Option<StateName>,
}

impl From<ListedCall> for CallView {
    fn from(call: ListedCall) -> Self {
        let (hold, hold_state) = call.hold.unzip();
        Self {
            call: call.call,
            at: call.at,
            index: call.first,
            agent: call.agent,
            tool: call.tool,
            status: call.status,
            refusal: call.refusal,
            rules: call.rules,
            hold,
            hold_state,
        }
    }
}

/// A part of the list of calls.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallList {
    /// The calls, newest first.
    pub calls: Vec<CallView>,
    /// What to give as `cursor` to go on; absent at the end. A search that finds little may give few calls,
    /// or none, and go on all the same: one request goes over 20 000 calls at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Everything that the record says of one call and of the hold it belongs to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallTimeline {
    /// The call.
    pub call: CallView,
    /// All calls of its hold, itself among them, oldest first; at most 100.
    pub calls: Vec<CallId>,
    /// The entries about them, in order; at most 1000.
    pub entries: Vec<EntryView>,
    /// Whether there may be more entries than those.
    pub more: bool,
}

/// Which calls to list; all that is given must fit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only this agent's.
    agent: Option<AgentName>,
    /// Only calls of this tool.
    tool: Option<String>,
    /// Only those that stand so.
    status: Option<CallStatus>,
    /// Only those that this rule decided.
    rule: Option<String>,
    /// Only those that belong to this hold.
    hold: Option<HoldId>,
    /// Only those whose identifier begins so.
    #[schemars(regex(pattern = "^[0-9a-fA-F-]{1,36}$"))]
    id: Option<String>,
    /// Only those that began then or later.
    after: Option<Timestamp>,
    /// Only those that began earlier.
    before: Option<Timestamp>,
    /// At most so many; 50 when absent.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// Where an earlier answer said that it goes on.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    cursor: Option<String>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<CallList>, Failure> {
    let bad = |told: &str| Failure::new(StatusCode::BAD_REQUEST, told);
    let limit = wanted.limit.unwrap_or(LISTED);
    if !(1..=MAX_LISTED).contains(&limit) {
        return Err(bad("`limit` is 1 to 200"));
    }
    let digits = |id: &String| {
        (1..=ID_LENGTH).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    if !wanted.id.as_ref().is_none_or(digits) {
        return Err(bad("`id` is the beginning of a call's identifier"));
    }
    let below = wanted.cursor.as_deref().map(place).transpose()?;
    let query = CallQuery {
        agent: wanted.agent,
        tool: wanted.tool,
        status: wanted.status,
        rule: wanted.rule,
        hold: wanted.hold,
        id: wanted.id.map(|id| id.to_ascii_lowercase()),
        after: wanted.after,
        before: wanted.before,
        below,
        limit,
    };
    let page = gateway.store.calls(query).await?;
    Ok(Json(CallList {
        calls: page.calls.into_iter().map(CallView::from).collect(),
        next: page.next.map(|place| format!("{place:016x}")),
    }))
}

pub(super) fn place(cursor: &str) -> Result<u64, Failure> {
    let fits = cursor.len() == 16
        && cursor.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let place = u64::from_str_radix(cursor, 16).ok().filter(|_| fits);
    place.ok_or_else(|| {
        Failure::new(StatusCode::BAD_REQUEST, "`cursor` is not what an earlier answer gave")
    })
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Path(id): Path<String>,
) -> Result<Json<CallTimeline>, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no call `{id}`"));
    let call: CallId = id.parse().map_err(|_| unknown())?;
    let found = gateway.store.timeline(call).await?.ok_or_else(unknown)?;
    let entries: Result<Vec<_>, _> = found.entries.iter().map(EntryView::of).collect();
    let entries = entries
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(CallTimeline {
        call: found.call.into(),
        calls: found.calls,
        entries,
        more: found.more,
    }))
}
