//! What other files would have decided about recorded calls. Nothing runs, counts or is recorded.

mod recorded;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Failure, Operator};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::ids::{AgentName, CallId};
use crate::policy::Ruling;
use crate::source::SourceFile;
use tally::Tally;

/// How many recorded calls one simulation goes over.
const MAX_CALLS: u32 = 100_000;
/// How many it goes over when nobody says.
const CALLS: u32 = 10_000;
/// How many calls are read and judged at once.
const PORTION: u32 = 2_000;
/// How long one simulation may take; what was judged by then is told.
const DEADLINE: Duration = Duration::from_secs(25);
/// How many files a candidate has at the most; all together are bounded by the body of a request, 2 MiB.
const MAX_FILES: usize = 1_000;
/// The longest name of a file, in bytes.
const MAX_NAME: usize = 1_000;

/// Other files, and over which calls to try them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateWanted {
    /// The policies; all of them.
    #[schemars(length(max = 1000))]
    pub policies: Vec<CandidateFile>,
    /// The manifests; those in force when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub tool_manifests: Option<Vec<CandidateFile>>,
    /// Only calls that began then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only the last so many calls, at most 100 000; 10 000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "super::body::whole")]
    #[schemars(range(max = 100_000))]
    pub last: Option<u64>,
}

/// A file that is tried.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CandidateFile {
    /// Its name, for what is told of it.
    #[schemars(length(max = 1000))]
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What other files would have decided.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SimulationView {
    /// The digest of the revision that the files make.
    pub candidate: Digest,
    /// How many calls were judged.
    pub judged: u64,
    /// When the oldest of them began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whether all calls that were asked for were gone over; not, when there was no more time.
    pub whole: bool,
    /// How many calls were decided in one way, and would be in another or the same.
    pub matrix: Vec<ReplayedCell>,
    /// How many calls would be decided otherwise.
    pub flips: u64,
    /// Some of them, newest first, at most 5 of each kind and tool and 50 in all.
    pub samples: Vec<FlipView>,
    /// How many of the calls waited for people.
    pub held_before: u64,
    /// How many would wait. Calls that a standing approval covered are taken to be covered again.
    pub held_after: u64,
    /// The same for each day between the oldest call and now; absent where that is less than an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_per_day: Option<(f64, f64)>,
    /// The calls that could not be judged, by why; at most 20 reasons.
    pub not_judged: Vec<UnjudgedView>,
}

/// How many calls were decided in one way, and would be in another or the same.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedCell {
    /// As it was.
    pub before: Ruling,
    /// As it would be.
    pub after: Ruling,
    /// How many.
    pub calls: u64,
}

/// A call that would be decided otherwise.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FlipView {
    /// The call.
    pub call: CallId,
    /// When it began.
    pub at: Timestamp,
    /// The agent.
    pub agent: AgentName,
    /// The tool.
    pub tool: String,
    /// What was decided.
    pub before: Ruling,
    /// The rules that decided.
    pub rules_before: Vec<String>,
    /// What would be decided.
    pub after: Ruling,
    /// The rules that would decide.
    pub rules_after: Vec<String>,
    /// What agent or reviewer would be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Calls that could not be judged.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnjudgedView {
    /// Why.
    pub why: String,
    /// How many.
    pub calls: u64,
}

pub(super) async fn simulate(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Body(wanted): Body<SimulateWanted>,
) -> Result<Json<SimulationView>, Failure> {
    let _place = super::place_to_ask(&gateway)?;
    let until = gateway.clock.monotonic() + DEADLINE;
    let now = gateway.clock.now();
    let mut left = wanted.last.map_or(CALLS, |last| u32::try_from(last).unwrap_or(u32::MAX));
    if left > MAX_CALLS {
        let told = format!("a simulation goes over at most {MAX_CALLS} calls");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let policies = files(wanted.policies)?;
    let manifests = wanted.tool_manifests.map(files).transpose()?;
    let building = Arc::clone(&gateway);
    let built = tokio::task::spawn_blocking(move || building.candidate(policies, manifests));
    let candidate = built.await.map_err(failed)?.map_err(|problems| {
        Failure::new(StatusCode::CONFLICT, format!("the files are wrong: {problems}"))
    })?;
    let candidate = Arc::new(candidate);
    let mut tally = Tally::default();
    let (mut below, mut whole) = (None, true);
    // In parts, so that it ends with the request that asked for it.
    while left > 0 {
        let page = gateway.store.first_entries(below, wanted.since, left.min(PORTION)).await?;
        left = left.saturating_sub(u32::try_from(page.entries.len()).unwrap_or(u32::MAX));
        below = page.next;
        let candidate = Arc::clone(&candidate);
        let judging = tokio::task::spawn_blocking(move || {
            for stored in page.entries {
                tally.judge(&candidate, stored.entry);
            }
            tally
        });
        tally = judging.await.map_err(failed)?;
        if below.is_none() {
            break;
        }
        if gateway.clock.monotonic() >= until {
            whole = false;
            break;
        }
    }
    Ok(Json(tally.done(candidate.digest, now, whole)))
}

fn files(given: Vec<CandidateFile>) -> Result<Vec<SourceFile>, Failure> {
    if given.len() > MAX_FILES || given.iter().any(|file| file.name.len() > MAX_NAME) {
        let told = format!("at most {MAX_FILES} files, with names of at most {MAX_NAME} bytes");
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let one = |file: CandidateFile| SourceFile { name: file.name, text: file.text.into() };
    Ok(given.into_iter().map(one).collect())
}

fn failed(_: tokio::task::JoinError) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the calls were not judged")
}
