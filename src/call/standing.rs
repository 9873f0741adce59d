//! The standing approvals in force, at hand for every call; and how they come and go.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::holding::asked_again;
use crate::clock::Clock;
use crate::digest::{self, Digest};
use crate::gateway::Gateway;
use crate::hold::{Hold, Standing};
use crate::ids::{AgentName, HoldId, StandingId};
use crate::json::Object;
use crate::policy;
use crate::principal::Person;
use crate::storage::{HoldError, Store, StoreError};

/// The longest that a standing approval may be granted for.
const MAX_TERM: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many standing approvals one agent may have for one tool.
const MAX_FOR_TOOL: usize = 100;

/// Standing approvals by agent and tool. Kept in step with the store, which has the last word when a call
/// begins.
#[derive(Debug, Default)]
pub struct Grants(Mutex<HashMap<(AgentName, String), Vec<Standing>>>);

impl Grants {
    /// Reads them from the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let grants = Self::default();
        for standing in store.standing().await? {
            grants.put(standing);
        }
        Ok(grants)
    }

    /// Those in force for calls of `tool` by `agent`.
    #[must_use]
    pub fn of(&self, agent: &AgentName, tool: &str, clock: &dyn Clock) -> Vec<Standing> {
        let grants = self.lock();
        if grants.is_empty() {
            return Vec::new();
        }
        let now = clock.now();
        let found = grants.get(&(agent.clone(), tool.to_owned()));
        found.into_iter().flatten().filter(|standing| standing.is_live(now)).cloned().collect()
    }

    /// All in force at `now`, by agent and tool.
    #[must_use]
    pub fn all(&self, now: Timestamp) -> Vec<Standing> {
        let grants = self.lock();
        let mut all: Vec<Standing> =
            grants.values().flatten().filter(|standing| standing.is_live(now)).cloned().collect();
        all.sort_by(|a, b| (&a.agent, &a.tool, a.until).cmp(&(&b.agent, &b.tool, b.until)));
        all
    }

    fn put(&self, standing: Standing) {
        let key = (standing.agent.clone(), standing.tool.clone());
        let mut grants = self.lock();
        let known = grants.entry(key).or_default();
        known.retain(|other| other.id != standing.id && other.until >= standing.granted_at);
        known.push(standing);
    }

    fn remove(&self, id: StandingId) {
        self.lock().retain(|_, known| {
            known.retain(|standing| standing.id != id);
            !known.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(AgentName, String), Vec<Standing>>> {
        // Whole between statements, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a person wants to grant.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who.
    pub person: Person,
    /// What the arguments must keep to.
    pub bounds: Object,
    /// Until when.
    pub until: Timestamp,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// Why a standing approval was not granted.
#[derive(Debug, thiserror::Error)]
pub enum NotGranted {
    /// It cannot be what is meant; nothing changed.
    #[error("{0}")]
    Unfit(String),
    /// The person may not, or the store failed.
    #[error(transparent)]
    Hold(#[from] HoldError),
}

/// The standing approval that `wish` makes for calls like that of `hold`, not granted yet.
///
/// # Errors
/// When its bounds or its term do not fit, or policy would not hold such a call, or not on the same terms.
pub fn draft(gateway: &Gateway, hold: &Hold, wish: Wish) -> Result<Standing, NotGranted> {
    let unfit = |why: String| NotGranted::Unfit(why);
    let now = gateway.clock.now();
    if wish.until <= now || wish.until.duration_since(now) > MAX_TERM {
        return Err(unfit("it must end after now and within 30 days".to_owned()));
    }
    let revision = gateway.revision();
    let tool = revision
        .catalog
        .available(&hold.tool)
        .ok_or_else(|| unfit(format!("`{}` is not available now", hold.tool)))?;
    // It waives rules and never a budget, so what is spent now has no part in it.
    let proposal = asked_again(&revision, &gateway.held, hold, None, now)
        .ok_or_else(|| unfit("policy would not hold such a call now".to_owned()))?;
    // Who may grant is asked by the hold's terms, but what is waived are the rules of now.
    if proposal.terms != hold.terms {
        let why = "the rules ask for other approvals than when the call was held; grant it from a call \
                   that is held now";
        return Err(unfit(why.to_owned()));
    }
    policy::check_bounds(&wish.bounds, tool).map_err(unfit)?;
    if !policy::within(&wish.bounds, tool, &hold.arguments) {
        return Err(unfit("the held call itself is beyond these bounds".to_owned()));
    }
    let mut standing = Standing {
        id: StandingId::from_random([0; 16]),
        agent: hold.agent.clone(),
        tool: hold.tool.clone(),
        definition_fingerprint: *tool.fingerprint(),
        waives: proposal.asking,
        bounds: wish.bounds,
        until: wish.until,
        reason: wish.reason,
        granted_by: wish.person,
        granted_at: Timestamp::UNIX_EPOCH,
        revoked_at: None,
    };
    // Named after what it says, so that what was shown is what is granted.
    let canonical = digest::canonical(&standing).map_err(|error| unfit(error.to_string()))?;
    let digest = Digest::of(&canonical);
    let mut id = [0; 16];
    id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    standing.id = StandingId::from_random(id);
    standing.granted_at = now;
    Ok(standing)
}

/// Grants a standing approval that was drafted for calls like that of the hold `of`.
///
/// # Errors
/// When the person may not, there are too many, or the store fails.
pub async fn grant(gateway: &Gateway, standing: Standing, of: HoldId) -> Result<(), NotGranted> {
    if gateway.standing.of(&standing.agent, &standing.tool, &*gateway.clock).len() >= MAX_FOR_TOOL {
        let why = format!("the agent has {MAX_FOR_TOOL} for this tool already; revoke some");
        return Err(NotGranted::Unfit(why));
    }
    gateway.store.grant_standing(standing.clone(), of).await?;
    gateway.standing.put(standing);
    Ok(())
}

/// Revokes a standing approval; false when there is none of this identifier in force. No call that has not
/// begun runs under it from then on.
///
/// # Errors
/// When the store fails.
pub async fn revoke(gateway: &Gateway, id: StandingId, by: String) -> Result<bool, StoreError> {
    let revoked = gateway.store.revoke_standing(id, by).await?;
    gateway.standing.remove(id);
    Ok(revoked)
}
