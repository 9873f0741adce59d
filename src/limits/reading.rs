//! What is left of a limit, for whom: read, and not counted.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::counts::Key;
use super::{Counter, Limits};
use crate::ids::AgentName;
use crate::policy::{Dimension, Limit};

/// How many keys of one limit are looked at for one reading; a gateway keeps about that many.
const MAX_LOOKED_AT: usize = 100_000;

/// What is left for those who used up some of a limit; whoever is not named has all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Who has the least left comes first.
    pub left: Vec<Left>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// What is left for one of those that are counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// By dimension, who it is. A client and a workflow are those of the agent that stands there too.
    pub who: BTreeMap<Dimension, String>,
    /// How many calls fit at once now.
    pub calls: u32,
    /// How long until the next one fits; nothing where one fits now.
    pub next: Duration,
    /// How long until it is as if nothing had been counted.
    pub full: Duration,
}

impl Limits {
    /// What is left of `limit`, for at most `most` of those who used some of it; with `agent`, only for what
    /// is counted for this agent, or for all agents together.
    #[must_use]
    pub fn read(&self, limit: &Limit, agent: Option<&AgentName>, most: usize) -> Reading {
        let now = self.clock.monotonic();
        let (counts, since) = {
            let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            match counters.get(&limit.name).filter(|counter| counter.is_of(limit)) {
                Some(counter) => (counter.counts.clone(), counter.since),
                // Nothing was counted yet by these numbers.
                None => return Reading::default(),
            }
        };
        let now = now.saturating_sub(since);
        let (mut left, mut looked_at) = (Vec::new(), 0_usize);
        counts.each(|key, full_at| {
            looked_at += 1;
            let ahead = Duration::from_nanos(full_at).saturating_sub(now);
            if !ahead.is_zero() {
                let who = named(limit, key);
                if agent.is_none_or(|agent| is_about(&who, agent)) {
                    left.push(of(limit, who, ahead));
                }
            }
            looked_at < MAX_LOOKED_AT
        });
        left.sort_by(|a, b| (a.calls, b.full, &a.who).cmp(&(b.calls, a.full, &b.who)));
        let more = left.len() > most || looked_at >= MAX_LOOKED_AT;
        left.truncate(most);
        Reading { left, more }
    }
}

impl Counter {
    fn is_of(&self, limit: &Limit) -> bool {
        self.shape == (limit.count.get(), limit.period, limit.burst.get())
    }
}

/// By GCRA: the time that is counted ahead, against that which a burst may be ahead.
fn of(limit: &Limit, who: BTreeMap<Dimension, String>, ahead: Duration) -> Left {
    let each = (limit.period / limit.count.get()).max(Duration::from_nanos(1));
    let burst = limit.burst.get();
    let all = each.saturating_mul(burst);
    let free = all.saturating_sub(ahead);
    let calls = u32::try_from(free.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX).min(burst);
    let next = if calls > 0 { Duration::ZERO } else { each.saturating_sub(free) };
    Left { who, calls, next, full: ahead }
}

fn named(limit: &Limit, key: &Key) -> BTreeMap<Dimension, String> {
    let mut who = BTreeMap::new();
    for (dimension, (agent, name)) in limit.per.iter().zip(key.parts()) {
        if let Some(agent) = agent {
            who.insert(Dimension::Agent, agent.to_owned());
        }
        if *dimension != Dimension::Gateway {
            who.insert(*dimension, name.to_owned());
        }
    }
    who
}

fn is_about(who: &BTreeMap<Dimension, String>, agent: &AgentName) -> bool {
    who.get(&Dimension::Agent).is_none_or(|name| name == agent.as_str())
}
