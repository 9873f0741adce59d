//! One job's view of the transaction it is part of.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::log::{self, Tip};
use super::trouble::Trouble;
use super::{agents, holds};
use crate::clock::Clock;
use crate::evidence::chain::Draft;
use crate::evidence::{Event, Outcome, OutcomeStatus};
use crate::hold::{Hold, StateName};
use crate::ids::{AgentName, CallId, HoldId};
use crate::storage::{Agent, PreviousToken, Rotation};

/// Why recovery ends a call or moves a hold.
const STOPPED: &str = "the gateway stopped before the outcome was recorded";

/// The transaction under way. Whatever changes, its entry is appended here too.
pub(super) struct Tx<'a> {
    pub(super) connection: &'a Connection,
    pub(super) tip: &'a mut Tip,
    pub(super) clock: &'a dyn Clock,
    /// Calls that began in this transaction and do not run in the database yet: most end in it too.
    pub(super) fresh: HashSet<String>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(connection: &'a Connection, tip: &'a mut Tip, clock: &'a dyn Clock) -> Self {
        Self { connection, tip, clock, fresh: HashSet::new() }
    }

    /// The time at which the transaction's changes happen.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs `job`; if it fails by its own fault, it leaves nothing behind, not even in memory.
    pub(super) fn alone<T>(
        &mut self,
        job: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let before = *self.tip;
        self.run("SAVEPOINT job")?;
        let result = job(self);
        if matches!(result, Err(Trouble::Own(_))) {
            *self.tip = before;
            self.run("ROLLBACK TO job")?;
        }
        if !matches!(result, Err(Trouble::Engine(_))) {
            self.run("RELEASE job")?;
        }
        result
    }

    fn run(&self, sql: &str) -> Result<(), Trouble> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Appends an entry that is ready but for its time.
    pub(super) fn append_draft(
        &mut self,
        draft: &Draft,
        call: Option<&str>,
    ) -> Result<(), Trouble> {
        let now = self.clock.now();
        log::append(self.connection, self.tip, now, draft, call)
    }

    /// Appends the entry of `event`, to be found under `call`.
    pub(super) fn append(&mut self, event: Event, call: Option<CallId>) -> Result<(), Trouble> {
        let draft = Draft::new(event)?;
        self.append_draft(&draft, call.map(|call| call.to_string()).as_deref())
    }

    /// Records the intent of `call` and that it runs.
    pub(super) fn begin(
        &mut self,
        call: &str,
        hold: Option<HoldId>,
        draft: &Draft,
    ) -> Result<(), Trouble> {
        self.starts_running(call, hold)?;
        self.append_draft(draft, Some(call))
    }

    /// As [`Self::begin`], for an entry that stands or falls with the whole transaction.
    pub(super) fn begin_carried(&mut self, call: &str, draft: &Draft) -> Result<(), Trouble> {
        if !self.fresh.insert(call.to_owned()) {
            return Err(Trouble::engine(format!("a second intent for call {call}")));
        }
        self.append_draft(draft, Some(call))
    }

    /// Records the outcome of `call`, as an entry that stands or falls with the whole transaction;
    /// false, and nothing recorded, when it does not run.
    pub(super) fn end_carried(&mut self, call: &str, draft: &Draft) -> Result<bool, Trouble> {
        if !self.fresh.remove(call) && !self.stops_running(call)? {
            return Ok(false);
        }
        self.append_draft(draft, Some(call))?;
        Ok(true)
    }

    /// Stores which of the calls that began here still run; the last thing before the commit.
    pub(super) fn flush(&mut self) -> Result<(), Trouble> {
        std::mem::take(&mut self.fresh).iter().try_for_each(|call| self.starts_running(call, None))
    }

    fn starts_running(&self, call: &str, hold: Option<HoldId>) -> Result<(), Trouble> {
        self.connection
            .prepare_cached("INSERT INTO running(call, hold) VALUES (?1, ?2)")?
            .execute(params![call, hold.map(|hold| hold.to_string())])?;
        Ok(())
    }

    /// Takes `call` from those that run; false when it is not among them.
    pub(super) fn stops_running(&self, call: &str) -> Result<bool, Trouble> {
        let gone = self
            .connection
            .prepare_cached("DELETE FROM running WHERE call = ?1")?
            .execute([call])?;
        Ok(gone > 0)
    }

    /// Ends what a stopped gateway left running; gives the holds that are approved now.
    pub(super) fn recover(&mut self, idempotent: &HashSet<String>) -> Result<Vec<Hold>, Trouble> {
        for call in plain_calls(self.connection)? {
            let outcome = Outcome {
                status: OutcomeStatus::Unknown,
                error: Some(STOPPED.to_owned()),
                result_digest: None,
                result_bytes: None,
                backend_ms: 0,
                asked: Vec::new(),
                cached: false,
                charges: Vec::new(),
            };
            self.append(Event::Outcome { call, hold: None, outcome }, Some(call))?;
        }
        let now = self.now();
        for hold in holds::all_in(self.connection, StateName::Executing)? {
            let again = idempotent.contains(&hold.tool);
            let moved = self.move_hold(hold.id, |hold| hold.interrupt(again, now))?;
            let state = moved.state.name();
            let why = Some(STOPPED.to_owned());
            self.append(Event::HoldChanged { hold: hold.id, state, why }, Some(hold.call))?;
        }
        self.connection.execute("DELETE FROM running", [])?;
        holds::all_in(self.connection, StateName::Approved)
    }

    /// Adds an agent, or replaces it.
    pub(super) fn add_agent(&mut self, agent: &Agent, by: String) -> Result<(), Trouble> {
        agents::put(self.connection, agent)?;
        let event = Event::AgentAdded {
            agent: agent.name.clone(),
            groups: agent.groups.clone(),
            owner: agent.owner.clone(),
            acts_for: agent.acts_for.clone(),
            by,
        };
        self.append(event, None)
    }

    /// Revokes an agent's token; a second time changes nothing.
    pub(super) fn revoke_agent(&mut self, name: &AgentName, by: String) -> Result<bool, Trouble> {
        let Some(mut agent) = agents::find(self.connection, name)? else { return Ok(false) };
        if agent.revoked_at.is_none() {
            agent.revoked_at = Some(self.now());
            agents::put(self.connection, &agent)?;
            self.append(Event::AgentRevoked { agent: name.clone(), by }, None)?;
        }
        Ok(true)
    }

    /// Gives an agent a new token.
    pub(super) fn rotate_agent(
        &mut self,
        name: &AgentName,
        rotation: Rotation,
        by: String,
    ) -> Result<Option<Agent>, Trouble> {
        let found = agents::find(self.connection, name)?;
        let Some(mut agent) = found.filter(|agent| agent.revoked_at.is_none()) else {
            return Ok(None);
        };
        let Rotation { token_digest, overlap_until, expires_at } = rotation;
        let old = agent.token_digest;
        agent.previous = overlap_until.map(|until| PreviousToken { token_digest: old, until });
        agent.token_digest = token_digest;
        agent.expires_at = expires_at.or(agent.expires_at);
        agents::put(self.connection, &agent)?;
        self.append(Event::AgentRotated { agent: name.clone(), overlap_until, by }, None)?;
        Ok(Some(agent))
    }
}

fn plain_calls(connection: &Connection) -> Result<Vec<CallId>, Trouble> {
    let mut statement =
        connection.prepare("SELECT call FROM running WHERE hold IS NULL ORDER BY call")?;
    let calls = statement.query_map([], |row| row.get::<_, String>(0))?;
    calls
        .map(|call| {
            call?.parse().map_err(|_| Trouble::corrupt("a running call without an id".to_owned()))
        })
        .collect()
}
