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
    open: Mutex<Open>,
    limit: usize,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Open {
    sessions: HashMap<String, Session>,
    /// How many are about to be opened: they count against the limit, or many at once would go beyond it.
    opening: usize,
}

/// A session that is about to be opened; its place is given back when dropped.
#[derive(Debug)]
pub(super) struct Opening<'a>(&'a Sessions);

impl Opening<'_> {
    pub(super) fn opened(self, id: &str, agent: AgentName, about: About, now: Duration) {
        let questions = Arc::default();
        let session =
            Session { agent, about, questions, last_used: now, in_flight: HashMap::new() };
        self.0.lock().sessions.insert(id.to_owned(), session);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.opening = open.opening.saturating_sub(1);
    }
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

    /// A place for one more; none when as many as may be are open, or about to be.
    pub(super) fn opening(&self) -> Option<Opening<'_>> {
        let mut open = self.lock();
        if open.sessions.len() + open.opening >= self.limit {
            return None;
        }
        open.opening += 1;
        Some(Opening(self))
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// What its client said, if the session exists and is this agent's.
    pub(super) fn client_of(&self, id: &str, agent: &AgentName, now: Duration) -> Option<About> {
        let mut open = self.lock();
        let session = open.sessions.get_mut(id).filter(|session| session.agent == *agent)?;
        session.last_used = now;
        Some(session.about.clone())
    }

    pub(super) fn closed(&self, id: &str) {
        self.lock().sessions.remove(id);
    }

    /// Notes the least severe log messages that the session's client wants.
    pub(super) fn hears(&self, id: &str, level: Level) {
        if let Some(session) = self.lock().sessions.get_mut(id) {
            session.about.peer.level = Some(level);
        }
    }

    /// The requests that the session's client has yet to answer.
    pub(super) fn questions(&self, id: &str) -> Option<Arc<Questions>> {
        self.lock().sessions.get(id).map(|session| Arc::clone(&session.questions))
    }

    /// Takes a response of the session's client; false when it answers no request of ours to it.
    pub(super) fn answered(&self, id: &str, message: &Object) -> bool {
        self.questions(id).is_some_and(|questions| questions.answered(message))
    }

    /// Notes that the request `id` is under way.
    pub(super) fn begin(&self, session: &str, id: &Value, line: Line) -> Result<(), Refused> {
        let mut open = self.lock();
        let session = open.sessions.get_mut(session).ok_or(Refused::Gone)?;
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
        if let Some(session) = self.lock().sessions.get_mut(session) {
            session.in_flight.remove(&id.to_string());
        }
    }

    /// Takes back the call `id`; false when none of this id is under way here.
    pub(super) fn withdraw(&self, session: &str, id: &Value) -> bool {
        let line = self
            .lock()
            .sessions
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
            .sessions
            .iter()
            .filter(|(_, session)| {
                session.in_flight.is_empty() && now.saturating_sub(session.last_used) > self.idle
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in &idle {
            open.sessions.remove(id);
        }
        idle
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
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
        let place = sessions.opening().unwrap();
        assert!(sessions.opening().is_none(), "a place was given twice");
        drop(place);
        let place = sessions.opening().unwrap();
        place.opened("s", one.clone(), about.clone(), Duration::ZERO);
        assert!(sessions.opening().is_none());
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
        assert_eq!(sessions.count(), 0);
        assert!(sessions.opening().is_some());
    }
}
