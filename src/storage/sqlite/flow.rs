//! What agents hold, in the database: a row for each label, with when the agent last called.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::catalog::Label;
use crate::evidence::{How, Mention};
use crate::ids::AgentName;
use crate::storage::{FlowStore, StoreError};

/// Takes note of what an entry written at `time` says of a call: who called, and what it brings once it is
/// dispatched. It goes after the list of calls, which says whose call ended.
pub(super) fn note(
    connection: &Connection,
    time: Timestamp,
    mention: &Mention,
) -> Result<(), Trouble> {
    let now = time.as_millisecond();
    let Mention::Began(began) = mention else {
        if let Mention::Ended { call, .. } = mention {
            connection
                .prepare_cached(
                    "UPDATE held_labels SET last = max(last, ?2)
                     WHERE agent = (SELECT agent FROM calls WHERE call = ?1)",
                )?
                .execute(params![call.to_string(), now])?;
        }
        return Ok(());
    };
    for agent in std::iter::once(&began.agent).chain(&began.via) {
        connection
            .prepare_cached("UPDATE held_labels SET last = max(last, ?2) WHERE agent = ?1")?
            .execute(params![agent.as_str(), now])?;
        for label in began.brings.iter().filter(|_| began.how == How::Running) {
            connection
                .prepare_cached(
                    "INSERT INTO held_labels(agent, label, last) VALUES (?1, ?2, ?3)
                     ON CONFLICT(agent, label) DO NOTHING",
                )?
                .execute(params![agent.as_str(), label.as_str(), now])?;
        }
    }
    Ok(())
}

#[async_trait]
impl FlowStore for SqliteStore {
    async fn held_labels(&self) -> Result<Vec<(AgentName, Label, Timestamp)>, StoreError> {
        self.readers.read(all).await
    }

    async fn shed_labels(
        &self,
        agents: Vec<AgentName>,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let work = move |tx: &mut Tx<'_>| -> Result<(), Trouble> {
            let mut statement = tx
                .connection
                .prepare_cached("DELETE FROM held_labels WHERE agent = ?1 AND last <= ?2")?;
            for agent in &agents {
                statement.execute(params![agent.as_str(), since.as_millisecond()])?;
            }
            Ok(())
        };
        self.durably("shed_labels", work).await.map_err(plain)
    }
}

fn all(connection: &Connection) -> Result<Vec<(AgentName, Label, Timestamp)>, Trouble> {
    let mut statement = connection.prepare("SELECT agent, label, last FROM held_labels")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    let corrupt = || Trouble::corrupt("a held label that makes no sense".to_owned());
    while let Some(row) = rows.next()? {
        let (agent, label): (String, String) = (row.get(0)?, row.get(1)?);
        let last = Timestamp::from_millisecond(row.get(2)?).map_err(|_| corrupt())?;
        let label = Label::try_from(label).map_err(|_| corrupt())?;
        found.push((agent.parse().map_err(|_| corrupt())?, label, last));
    }
    Ok(found)
}
