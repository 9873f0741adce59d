//! Halts in the database: those that are engaged, one row each; and the store's methods for them.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::trouble::{Trouble, plain};
use super::tx::Tx;
use super::{SqliteStore, holds};
use crate::evidence::Event;
use crate::halts::{Halt, Register};
use crate::hold::{Ending, Hold, StateName};
use crate::ids::{HaltId, HoldId};
use crate::storage::{Ended, HaltEnding, HaltError, HaltStore, HoldError, HoldPlace, StoreError};

/// How many holds are read, or ended, at once.
const PORTION: u32 = 256;

/// The halts that are engaged, oldest first.
pub(super) fn all(connection: &Connection) -> Result<Vec<Halt>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT body FROM halts ORDER BY rowid")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|body| {
        serde_json::from_str(&body?).map_err(|error| Trouble::corrupt(format!("a halt: {error}")))
    })
    .collect()
}

impl Tx<'_> {
    fn engage(&mut self, halt: &Halt) -> Result<(), Trouble> {
        let body =
            serde_json::to_string(halt).map_err(|error| Trouble::engine(error.to_string()))?;
        self.connection
            .prepare_cached("INSERT INTO halts(id, body) VALUES (?1, ?2)")?
            .execute(params![halt.id.to_string(), body])?;
        let Halt { id, scope, reason, by, since: _, until } = halt.clone();
        self.append(Event::Halt { halt: id, scope, reason, by, until }, None)
    }

    fn end_halt(&mut self, id: HaltId, ending: HaltEnding) -> Result<bool, Trouble> {
        let gone = self
            .connection
            .prepare_cached("DELETE FROM halts WHERE id = ?1")?
            .execute([id.to_string()])?;
        if gone == 0 {
            return Ok(false);
        }
        let event = match ending {
            HaltEnding::Resumed { by, reason } => Event::Resume { halt: id, reason, by },
            HaltEnding::Over => Event::HaltEnded { halt: id },
        };
        self.append(event, None)?;
        Ok(true)
    }

    fn halt_holds(&mut self, holds: &[HoldId], why: &str) -> Result<Vec<Ended>, Trouble> {
        let mut ended = Vec::new();
        for id in holds {
            let Some(was) = holds::find(self.connection, *id)? else { continue };
            match self.end_hold(*id, Ending::Halt { why: why.to_owned() }) {
                Ok(hold) => ended.push((was.state.name(), hold)),
                // Decided, run or ended meanwhile: a halt ends what runs by itself.
                Err(Trouble::Own(HoldError::Lost { .. } | HoldError::NotFound)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(ended)
    }
}

#[async_trait]
impl HaltStore for SqliteStore {
    fn halts(&self) -> &Arc<Register> {
        &self.halts
    }

    async fn engage_halt(&self, halt: Halt) -> Result<(), HaltError> {
        let id = halt.id;
        let stored = halt.clone();
        // In force at once, however long the queue is; what was accepted before stands before it in the log.
        self.halts.engage(halt)?;
        let work = move |tx: &mut Tx<'_>| tx.engage(&stored);
        self.durably_when_there_is_room("engage_halt", work).await.map_err(|error| {
            self.halts.disengage(id);
            plain(error).into()
        })
    }

    async fn end_halt(&self, id: HaltId, ending: HaltEnding) -> Result<bool, StoreError> {
        let work = move |tx: &mut Tx<'_>| tx.end_halt(id, ending);
        let ended = self.durably("end_halt", work).await.map_err(plain)?;
        self.halts.disengage(id);
        Ok(ended)
    }

    async fn halt_holds(
        &self,
        mut holds: Vec<HoldId>,
        why: String,
    ) -> Result<Vec<Ended>, StoreError> {
        holds.truncate(usize::try_from(PORTION).unwrap_or(usize::MAX));
        let work = move |tx: &mut Tx<'_>| tx.halt_holds(&holds, &why);
        self.durably("halt_holds", work).await.map_err(plain)
    }

    async fn holds_from(
        &self,
        state: StateName,
        after: Option<HoldPlace>,
    ) -> Result<(Vec<Hold>, Option<HoldPlace>), StoreError> {
        self.readers.read(move |connection| holds::from(connection, state, after, PORTION)).await
    }
}
