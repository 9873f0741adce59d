//! Sessions of the protocols before 2026-07-28: each belongs to the agent that opened it, is bounded in
//! number and ends when idle. rmcp binds them to nobody and forgets them only by its own clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::calls::Line;
use super::questions::Questions;
use crate::backend::contact::{Client, Level};
use crate::ids::AgentName;
use crate::json::Object;

/// How many calls one session may have under way.
const MAX_IN_FLIGHT: usize = 1024;

/// All open sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    limit: usize,
    idle: Duration,
}

#[derive(Debug)]
struct Session {
    agent: AgentName,
    about: About,
    questions: Arc<Questions>,
    last_used: Duration,
    in_flight: HashMap<String, Line>,
}

/// What a client said of itself when it opened its session, and since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// The name it gives itself.
    pub(super) name: Option<String>,
    /// What it can do, and wants to hear.
    pub(super) peer: Client,
}

/// Why a call cannot begin in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The session has a request with this id under way.
    IdInUse,
    /// Too many calls are under way.
    TooMany,
    /// The session is gone.
    Gone,
}

impl Sessions {
    pub(super) fn new(limit: usize, idle: Duration) -> Self {
        Self { open: Mutex::default(), limit, idle }
    }

    /// Whether one more may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.lock().len() < self.limit
    }

    pub(super) fn opened(&self, id: &str, agent: AgentName, about: About, now: Duration) {
        let questions = Arc::default();
        let session =
            Session { agent, about, questions, last_used: now, in_flight: HashMap::new() };
        self.lock().insert(id.to_owned(), session);
    }

    /// What its client said, if the session exists and is this agent's.
    pub(super) fn client_of(&self, id: &str, agent: &AgentName, now: Duration) -> Option<About> {
        let mut open = self.lock();
        let session = open.get_mut(id).filter(|session| session.agent == *agent)?;
        session.last_used = now;
        Some(session.about.clone())
    }

    pub(super) fn closed(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Notes the least severe log messages that the session's client wants.
    pub(super) fn hears(&self, id: &str, level: Level) {
        if let Some(session) = self.lock().get_mut(id) {
            session.about.peer.level = Some(level);
        }
    }

    /// The requests that the session's client has yet to answer.
    pub(super) fn questions(&self, id: &str) -> Option<Arc<Questions>> {
        self.lock().get(id).map(|session| Arc::clone(&session.questions))
    }

    /// Takes a response of the session's client; false when it answers no request of ours to it.
    pub(super) fn answered(&self, id: &str, message: &Object) -> bool {
        self.questions(id).is_some_and(|questions| questions.answered(message))
    }

    /// Notes that the request `id` is under way.
    pub(super) fn begin(&self, session: &str, id: &Value, line: Line) -> Result<(), Refused> {
        let mut open = self.lock();
        let session = open.get_mut(session).ok_or(Refused::Gone)?;
        if session.in_flight.len() >= MAX_IN_FLIGHT {
            return Err(Refused::TooMany);
        }
        let key = id.to_string();
        if session.in_flight.contains_key(&key) {
            return Err(Refused::IdInUse);
        }
        session.in_flight.insert(key, line);
        Ok(())
    }

    pub(super) fn end(&self, session: &str, id: &Value) {
        if let Some(session) = self.lock().get_mut(session) {
            session.in_flight.remove(&id.to_string());
        }
    }

    /// Takes back the call `id`; false when none of this id is under way here.
    pub(super) fn withdraw(&self, session: &str, id: &Value) -> bool {
        let line = self
            .lock()
            .get(session)
            .and_then(|session| session.in_flight.get(&id.to_string()).cloned());
        line.is_some_and(|line| {
            line.withdraw();
            true
        })
    }

    /// Forgets and names the sessions that were idle too long; one with a call under way is not idle.
    pub(super) fn expire(&self, now: Duration) -> Vec<String> {
        let mut open = self.lock();
        let idle: Vec<String> = open
            .iter()
            .filter(|(_, session)| {
                session.in_flight.is_empty() && now.saturating_sub(session.last_used) > self.idle
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in &idle {
            open.remove(id);
        }
        idle
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_is_its_agents_alone_and_ends_when_idle() {
        let sessions = Sessions::new(1, Duration::from_secs(60));
        let (one, two): (AgentName, AgentName) = ("one".parse().unwrap(), "two".parse().unwrap());
        let about = About { name: Some("client".into()), ..About::default() };
        sessions.opened("s", one.clone(), about.clone(), Duration::ZERO);
        assert!(!sessions.has_room());
        assert_eq!(sessions.client_of("s", &two, Duration::ZERO), None);
        assert_eq!(sessions.client_of("s", &one, Duration::ZERO), Some(about));
        let line = Line::default();
        assert_eq!(sessions.begin("s", &json!(1), line.clone()), Ok(()));
        assert_eq!(sessions.begin("s", &json!(1), line.clone()), Err(Refused::IdInUse));
        assert!(sessions.expire(Duration::from_secs(100)).is_empty());
        assert!(sessions.withdraw("s", &json!(1)));
        assert!(line.cancel.is_cancelled());
        assert!(!sessions.withdraw("s", &json!("1")));
        sessions.end("s", &json!(1));
        assert_eq!(sessions.expire(Duration::from_secs(100)), ["s"]);
        assert!(sessions.has_room());
    }
}
