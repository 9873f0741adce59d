//! Halts, as the log says: no intent of a call in scope follows one before its end.

use std::collections::HashMap;

use super::story::Twist;
use crate::evidence::{Event, Intent};
use crate::halts::Scope;
use crate::ids::HaltId;

/// The halts that are engaged at a place in the log.
#[derive(Debug, Default)]
pub(super) struct Halted(HashMap<HaltId, Scope>);

impl Halted {
    /// Takes an entry into account, if it is about halts.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), Twist> {
        if let Event::Halt { halt, scope, .. } = event
            && self.0.insert(*halt, scope.clone()).is_some()
        {
            return Err(Twist::SecondHalt(*halt));
        }
        if let Event::Resume { halt, .. } | Event::HaltEnded { halt } = event
            && self.0.remove(halt).is_none()
        {
            return Err(Twist::NotHalted(*halt));
        }
        Ok(())
    }

    /// Whether a call may begin here, by what its intent says of it.
    pub(super) fn check(&self, intent: &Intent) -> Result<(), Twist> {
        if self.0.is_empty() {
            return Ok(());
        }
        let subject = intent.asked.subject();
        match self.0.iter().find(|(_, scope)| scope.covers(&subject)) {
            Some((halt, _)) => Err(Twist::WhileHalted { call: intent.asked.call, halt: *halt }),
            None => Ok(()),
        }
    }
}
