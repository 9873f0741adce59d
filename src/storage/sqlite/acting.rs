//! For whom agents may act, in the database.

use async_trait::async_trait;

use super::trouble::{Trouble, plain};
use super::{SqliteStore, Tx, agents};
use crate::evidence::Event;
use crate::ids::AgentName;
use crate::storage::{ActingStore, Agent, StoreError};

#[async_trait]
impl ActingStore for SqliteStore {
    async fn let_act_for(
        &self,
        name: &AgentName,
        acts_for: Vec<AgentName>,
        by: String,
    ) -> Result<Option<Agent>, StoreError> {
        let name = name.clone();
        let work = move |tx: &mut Tx<'_>| tx.let_act_for(&name, acts_for, by);
        self.durably("let_act_for", work).await.map_err(plain)
    }
}

impl Tx<'_> {
    fn let_act_for(
        &mut self,
        name: &AgentName,
        acts_for: Vec<AgentName>,
        by: String,
    ) -> Result<Option<Agent>, Trouble> {
        let found = agents::find(self.connection, name)?;
        let Some(mut agent) = found.filter(|agent| agent.revoked_at.is_none()) else {
            return Ok(None);
        };
        agent.acts_for = acts_for.clone();
        agents::put(self.connection, &agent)?;
        self.append(Event::AgentActsFor { agent: name.clone(), acts_for, by }, None)?;
        Ok(Some(agent))
    }
}
