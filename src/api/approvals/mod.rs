//! Holds, and what people decide about them.

mod identical;
mod signing;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::people::Shown;
use super::{Body, Failure, Path, Query, Reviewer, Viewer};
use crate::call::holding;
use crate::digest::Digest;
use crate::evidence::Signature;
use crate::evidence::passkey::MAX_PART;
use crate::gateway::Gateway;
use crate::hold::{Decision, Hold, Rendered, Resolution, StateName, Verdict};
use crate::ids::AgentName;
use crate::json::Object;
use crate::principal::Person;
use crate::storage::HoldQuery;

use self::signing::Under;
pub(super) use identical::decide_identical;
pub use identical::{IdenticalDecided, IdenticalGiven, NotDecided};
pub(super) use signing::state;
pub use signing::{SigningPasskey, StatementMade, StatementWanted};
pub use view::HoldView;

/// How many holds a list shows when nobody says.
const LISTED: u32 = 100;
/// The longest reason, in characters.
const MAX_REASON: usize = 2000;
/// The longest name of a sender's for a verdict, in bytes.
const MAX_KEY: usize = 128;

/// Which holds to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only those in this state.
    state: Option<StateName>,
    /// Only this agent's.
    agent: Option<AgentName>,
    /// At most so many, and at most 1000; 100 when absent.
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
    /// Whether identical pending holds stand for themselves; if not, one stands for all.
    each: Option<bool>,
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<HoldView>>, Failure> {
    let limit = wanted.limit.unwrap_or(LISTED);
    if wanted.state == Some(StateName::Pending) && !wanted.each.unwrap_or_default() {
        let calls = gateway.store.pending_calls(wanted.agent, limit).await?;
        let view = |(hold, identical)| HoldView { identical, ..HoldView::from(hold) };
        return Ok(Json(calls.into_iter().map(view).collect()));
    }
    let states = wanted.state.into_iter().collect();
    let query = HoldQuery { states, agent: wanted.agent, limit };
    let holds = gateway.store.holds(query).await?;
    Ok(Json(holds.into_iter().map(HoldView::from).collect()))
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Viewer,
    Path(id): Path<String>,
) -> Result<Json<HoldView>, Failure> {
    let hold = find(&gateway, &id).await?;
    let state = hold.state.name();
    let result =
        if state == StateName::Finished { gateway.store.hold_result(hold.id).await? } else { None };
    let identical = if state == StateName::Pending {
        gateway.store.identical(&hold.digest).await?.max(1)
    } else {
        1
    };
    Ok(Json(HoldView { result, identical, ..HoldView::from(hold) }))
}

/// A person's verdict, bound to the digest that person saw.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerdictGiven {
    /// Approve or reject.
    pub decision: Decision,
    /// The call digest that was shown.
    pub digest: Digest,
    /// Why; shown to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub reason: Option<String>,
    /// The arguments that are approved in place of those that were shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Object>,
    /// What the person looked at.
    #[serde(default, deserialize_with = "an_object", skip_serializing_if = "Option::is_none")]
    pub rendered: Option<Rendered>,
    /// The person's signature; with `edit`, of the changed call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The sender's name for this verdict: sent again under it, it counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub idempotency_key: Option<String>,
}

impl VerdictGiven {
    /// A verdict that nothing comes with.
    #[must_use]
    pub const fn new(decision: Decision, digest: Digest) -> Self {
        Self {
            decision,
            digest,
            reason: None,
            edit: None,
            rendered: None,
            signature: None,
            idempotency_key: None,
        }
    }

    fn of(
        self,
        person: Person,
        Shown(authenticated): Shown,
        gateway: &Gateway,
    ) -> Result<(Verdict, Option<Object>), Failure> {
        let chars = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
        if chars(&self.reason) > MAX_REASON {
            return Err(long("reason", MAX_REASON));
        }
        if chars(&self.idempotency_key) > MAX_KEY {
            return Err(long("idempotency key", MAX_KEY));
        }
        if self.signature.as_ref().is_some_and(|signature| !signature.fits()) {
            return Err(long("signature's part", MAX_PART));
        }
        if self.rendered.as_ref().is_some_and(|rendered| rendered.by.chars().count() > MAX_KEY) {
            return Err(long("renderer's name", MAX_KEY));
        }
        let verdict = Verdict {
            reason: self.reason,
            rendered: self.rendered,
            signature: self.signature,
            idempotency_key: self.idempotency_key,
            authenticated,
            ..Verdict::new(person, self.decision, self.digest, gateway.clock.now())
        };
        Ok((verdict, self.edit))
    }
}

fn long(what: &str, most: usize) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, format!("a {what} has at most {most} characters"))
}

pub(super) async fn decide(
    State(gateway): State<Arc<Gateway>>,
    Reviewer(person): Reviewer,
    shown: Shown,
    under: Under,
    Path(id): Path<String>,
    Body(given): Body<VerdictGiven>,
) -> Result<Json<HoldView>, Failure> {
    let hold = find(&gateway, &id).await?;
    let (verdict, edit) = given.of(person, shown, &gateway)?;
    let verdict = under.checked(&gateway, &hold, verdict).await?;
    let decided = match edit {
        None => holding::decide(&gateway, hold.id, verdict).await?,
        Some(_) if verdict.decision == Decision::Reject => {
            let told = "a rejection changes no arguments; leave `edit` out";
            return Err(Failure::new(StatusCode::BAD_REQUEST, told));
        }
        Some(arguments) => holding::amend(&gateway, &hold, arguments, verdict).await?,
    };
    Ok(Json(decided.into()))
}

/// What a person says of a hold whose outcome was not recorded.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ResolutionGiven {
    /// What became of the call, or that it may run again.
    pub resolution: Resolution,
    /// Who says so and of which call.
    #[serde(flatten)]
    pub verdict: VerdictGiven,
}

impl<'de> Deserialize<'de> for ResolutionGiven {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (resolution, verdict) = beside("resolution", deserializer)?;
        Ok(Self { resolution, verdict })
    }
}

pub(super) async fn resolve(
    State(gateway): State<Arc<Gateway>>,
    Reviewer(person): Reviewer,
    shown: Shown,
    under: Under,
    Path(id): Path<String>,
    Body(given): Body<ResolutionGiven>,
) -> Result<Json<HoldView>, Failure> {
    let hold = find(&gateway, &id).await?;
    let (verdict, edit) = given.verdict.of(person, shown, &gateway)?;
    let verdict = under.checked(&gateway, &hold, verdict).await?;
    if edit.is_some() || verdict.decision == Decision::Reject {
        let told = "a resolution is an approval of what is said, and changes no arguments";
        return Err(Failure::new(StatusCode::BAD_REQUEST, told));
    }
    let resolved = holding::resolve(&gateway, &hold, given.resolution, verdict).await?;
    Ok(Json(resolved.into()))
}

/// Reads a member that is an object: serde would take an array for one too.
fn an_object<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let object = Option::<Object>::deserialize(deserializer)?;
    object
        .map(|members| T::deserialize(Value::Object(members)))
        .transpose()
        .map_err(D::Error::custom)
}

/// Reads a body that is a verdict with one member beside it, which serde's `flatten` would read with any
/// other members too.
fn beside<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    name: &'static str,
    deserializer: D,
) -> Result<(T, VerdictGiven), D::Error> {
    let mut members = Object::deserialize(deserializer)?;
    let value = members.remove(name).ok_or_else(|| D::Error::missing_field(name))?;
    let value = T::deserialize(value).map_err(D::Error::custom)?;
    let verdict = VerdictGiven::deserialize(Value::Object(members)).map_err(D::Error::custom)?;
    Ok((value, verdict))
}

/// The hold with this identifier, or with the only identifier that begins so.
pub(super) async fn find(gateway: &Gateway, id: &str) -> Result<Hold, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("no hold `{id}`"));
    if let Ok(id) = id.parse() {
        return gateway.store.hold(id).await?.ok_or_else(unknown);
    }
    if id.len() < 4 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let recent = gateway.store.holds(HoldQuery { limit: 1000, ..HoldQuery::default() }).await?;
    let mut found = recent.into_iter().filter(|hold| hold.id.to_string().starts_with(id));
    match (found.next(), found.next()) {
        (Some(hold), None) => Ok(hold),
        (Some(_), Some(_)) => {
            let told = format!("more than one hold begins with `{id}`; give more digits");
            Err(Failure::new(StatusCode::BAD_REQUEST, told))
        }
        (None, _) => Err(unknown()),
    }
}
