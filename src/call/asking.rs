//! Calls whose client was asked something and has yet to come back with the answer (MCP 2026-07-28: the
//! answer to `tools/call` is what is asked, and another `tools/call` brings the answers). They run on.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio_util::sync::CancellationToken;

use super::{Answer, Request, run};
use crate::backend::Contact;
use crate::backend::contact::{Attendance, Round};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::ids::{AgentName, HoldId};

/// How many calls may wait for clients to come back at once.
const MAX_PARKED: usize = 1024;

/// A call that runs; its answer as a future, whoever awaits it.
pub struct Running {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    /// The way back from it.
    pub contact: Contact,
    /// Cancelled when its caller takes it back.
    pub cancel: CancellationToken,
}

impl Running {
    /// Begins a call; it runs once its answer is first waited for.
    #[must_use]
    pub fn begin(gateway: &Arc<Gateway>, request: Request) -> Self {
        let (contact, cancel) = (request.contact.clone(), request.cancel.clone());
        Self { answer: Box::pin(run(Arc::clone(gateway), request)), contact, cancel }
    }
}

impl Future for Running {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.answer.as_mut().poll(context)
    }
}

/// What waits for its client.
pub enum What {
    /// A call.
    Call(Running),
    /// The run of a held call.
    Hold(HoldId),
}

/// What was asked of a client, and on whose behalf.
pub struct Asked {
    /// On whose behalf.
    pub what: What,
    /// What was asked.
    pub rounds: Vec<Round>,
    /// The client's place with the call.
    pub attendance: Attendance,
}

/// Whose answer is awaited: that of this agent, with a request that says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The agent.
    pub agent: AgentName,
    /// The digest of the tool's name and the arguments, as they came.
    pub request: Digest,
}

/// All that wait.
#[derive(Default)]
pub struct Parked {
    open: Mutex<HashMap<String, (Asker, Asked)>>,
}

impl Parked {
    /// Keeps `asked` under `token` until it is taken, or nobody awaits its answers any more; false when too
    /// many are kept already.
    pub fn park(self: &Arc<Self>, token: String, asker: Asker, asked: Asked) -> bool {
        let overs: Vec<_> = asked.rounds.iter().map(|round| round.over.clone()).collect();
        {
            let mut open = self.lock();
            if open.len() >= MAX_PARKED {
                return false;
            }
            asked.attendance.falls_silent();
            open.insert(token.clone(), (asker, asked));
        }
        let parked = Arc::clone(self);
        // Ends with the rounds, each of which has its deadline.
        tokio::spawn(async move {
            for over in overs {
                over.cancelled().await;
            }
            drop(parked.lock().remove(&token));
        });
        true
    }

    /// Takes what is kept under `token`, once, if it is this asker's; foreign ones look like none.
    pub fn take(&self, token: &str, asker: &Asker) -> Option<Asked> {
        let mut open = self.lock();
        if open.get(token)?.0 != *asker {
            return None;
        }
        open.remove(token).map(|(_, asked)| asked)
    }

    /// Plain data, whole between statements.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Asker, Asked)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("open", &self.lock().len()).finish()
    }
}
