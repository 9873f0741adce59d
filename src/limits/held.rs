//! What agents hold: what their calls brought, until nothing was called for them for a while. It stands in memory,
//! so that a decision asks no database; what stands here is what the store has.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::catalog::Label;
use crate::clock::Clock;
use crate::ids::AgentName;
use crate::principal::Principal;

/// What agents hold.
pub struct Held {
    clock: Arc<dyn Clock>,
    agents: Mutex<HashMap<AgentName, Holding>>,
}

/// What one agent holds.
struct Holding {
    labels: BTreeSet<Label>,
    /// When it last called, or a call that brought something ended.
    last: Timestamp,
    /// Calls that bring something and have not ended.
    running: usize,
}

/// A call that brings something, until it ends: while it runs its agents shed nothing.
#[must_use]
pub struct Bringing<'a> {
    held: &'a Held,
    agents: Vec<AgentName>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Held {
    /// What the store has: agents, a label each holds, and when it last called.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, stored: Vec<(AgentName, Label, Timestamp)>) -> Self {
        let mut agents: HashMap<AgentName, Holding> = HashMap::new();
        for (agent, label, last) in stored {
            let holding = agents.entry(agent).or_insert_with(|| Holding::since(last));
            holding.labels.insert(label);
            holding.last = holding.last.max(last);
        }
        Self { clock, agents: Mutex::new(agents) }
    }

    /// The agent calls: it goes on holding what it holds, and so does the orchestrator that acts for it.
    pub fn called(&self, principal: &Principal) {
        let now = self.clock.now();
        let mut all = self.locked();
        for agent in agents(principal) {
            if let Some(holding) = all.get_mut(agent) {
                holding.last = holding.last.max(now);
            }
        }
    }

    /// What is held where this principal calls: by the agent, and by the orchestrator that acts for it.
    #[must_use]
    pub fn of(&self, principal: &Principal) -> Vec<Label> {
        let all = self.locked();
        let held: BTreeSet<&Label> = agents(principal)
            .filter_map(|agent| all.get(agent))
            .flat_map(|it| &it.labels)
            .collect();
        held.into_iter().cloned().collect()
    }

    /// What this agent holds by itself.
    #[must_use]
    pub fn by(&self, agent: &AgentName) -> Vec<Label> {
        let all = self.locked();
        all.get(agent).map(|it| it.labels.iter().cloned().collect()).unwrap_or_default()
    }

    /// A call that brings `labels` is about to be dispatched: from now on they are held.
    pub fn bring(&self, principal: &Principal, labels: &[Label]) -> Bringing<'_> {
        if labels.is_empty() {
            return Bringing { held: self, agents: Vec::new() };
        }
        let now = self.clock.now();
        let agents: Vec<AgentName> = agents(principal).cloned().collect();
        let mut all = self.locked();
        for agent in &agents {
            let holding = all.entry(agent.clone()).or_insert_with(|| Holding::since(now));
            holding.labels.extend(labels.iter().cloned());
            holding.last = holding.last.max(now);
            holding.running = holding.running.saturating_add(1);
        }
        drop(all);
        Bringing { held: self, agents }
    }

    /// Forgets what agents hold who have not called since `since`, and gives these agents.
    #[must_use]
    pub fn shed(&self, since: Timestamp) -> Vec<AgentName> {
        let mut all = self.locked();
        let idle = all.extract_if(|_, it| it.running == 0 && it.last <= since);
        idle.map(|(agent, _)| agent).collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<AgentName, Holding>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holding {
    const fn since(last: Timestamp) -> Self {
        Self { labels: BTreeSet::new(), last, running: 0 }
    }
}

impl Drop for Bringing<'_> {
    fn drop(&mut self) {
        if self.agents.is_empty() {
            return;
        }
        let now = self.held.clock.now();
        let mut all = self.held.locked();
        for agent in &self.agents {
            if let Some(holding) = all.get_mut(agent) {
                holding.running = holding.running.saturating_sub(1);
                holding.last = holding.last.max(now);
            }
        }
    }
}

fn agents(principal: &Principal) -> impl Iterator<Item = &AgentName> {
    std::iter::once(principal.agent()).chain(principal.via().map(|via| &via.agent))
}
