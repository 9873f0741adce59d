//! `tasks/get`, `tasks/update` and `tasks/cancel` (SEP-2663): a held call as a task that its agent follows. What
//! it asks meanwhile goes out as its tool wrote it, so `tasks/get` is written here and not by rmcp.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::answers::{self, set};
use super::calls::Era;
use super::wire::{INTERNAL_ERROR, INVALID_PARAMS, MISSING_CAPABILITY, Members, RpcError, members};
use crate::backend::contact::Client;
use crate::call::refusal::Refusal;
use crate::call::{Answer, holding};
use crate::catalog::Kind;
use crate::gateway::Gateway;
use crate::hold::{Hold, StateName};
use crate::ids::HoldId;
use crate::principal::Principal;
use crate::storage::HoldError;

/// The extension's name among a client's capabilities.
pub(super) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The tasks of one agent.
pub(super) struct Tasks<'a> {
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) principal: &'a Principal,
}

impl Tasks<'_> {
    /// What became of the task `id` so far, for a request that says this of its `client`.
    ///
    /// # Errors
    /// When the agent has no such task, or the store fails.
    pub(super) async fn get(&self, id: &str, client: &Client) -> Result<Members, RpcError> {
        let gateway = self.gateway;
        let (id, hold) = self.find(id).await?;
        gateway.board.attend(hold.id, gateway.clock.monotonic());
        let task = answers::task_of(gateway, id, &hold);
        let mut said = members(&serde_json::to_value(task).map_err(internal)?);
        set(&mut said, "resultType", &"complete");
        let state = hold.state.name();
        if !state.is_terminal() {
            if !gateway.followed.has(hold.id) {
                // A gateway before this one gave the task to its client, or another hold stood for it.
                follow(gateway, hold.id, client)?;
            }
            let asked = gateway.followed.asks(hold.id, &client.abilities);
            if !asked.is_empty() {
                set(&mut said, "status", &"input_required");
                set(&mut said, "statusMessage", &"the tool asks its client and waits");
                set(&mut said, "inputRequests", &asked);
            }
            return Ok(said);
        }
        gateway.followed.end(hold.id);
        if answers::broke(&hold) {
            set(&mut said, "error", &answers::breakdown(&self.result(&hold).await?));
        } else if state != StateName::Withdrawn {
            set(&mut said, "result", &self.result(&hold).await?);
        }
        Ok(said)
    }

    /// Hands the client's answers to what the task's tool asks.
    ///
    /// # Errors
    /// When the agent has no such task, or the store fails.
    pub(super) async fn update(
        &self,
        id: &str,
        answers: BTreeMap<String, Value>,
    ) -> Result<(), RpcError> {
        let (_, hold) = self.find(id).await?;
        self.gateway.board.attend(hold.id, self.gateway.clock.monotonic());
        self.gateway.followed.answer(hold.id, answers);
        Ok(())
    }

    /// Takes the task's call back.
    ///
    /// # Errors
    /// When the agent has no such task, or the store fails.
    pub(super) async fn cancel(&self, id: &str) -> Result<(), RpcError> {
        let (_, hold) = self.find(id).await?;
        match holding::withdraw(self.gateway, hold.id).await {
            // Too late to withdraw is acknowledged all the same; `tasks/get` says what became of it.
            Ok(_) | Err(HoldError::Lost { .. }) => Ok(()),
            Err(error) => Err(internal(error)),
        }
    }

    /// The hold that stands behind a task now, if it is this agent's, and the task's own identifier; a
    /// foreign one looks like none.
    async fn find(&self, id: &str) -> Result<(HoldId, Hold), RpcError> {
        let unknown = || RpcError::new(INVALID_PARAMS, "Unknown task");
        let id = id.parse().map_err(|_| unknown())?;
        let hold = self.gateway.store.hold(id).await.map_err(internal)?;
        // What is held beside calls of tools is waited for in legs: nobody was given a task for it.
        let agent = self.principal.agent();
        let theirs = |hold: &Hold| hold.agent == *agent && Kind::of(&hold.tool) == Kind::Tool;
        let hold = hold.filter(theirs).ok_or_else(unknown)?;
        Ok((id, holding::current(self.gateway, hold).await.map_err(internal)?))
    }

    async fn result(&self, hold: &Hold) -> Result<Members, RpcError> {
        let gateway = self.gateway;
        let answer = if hold.state.name() == StateName::Finished {
            let kept = gateway.store.hold_result(hold.id).await.map_err(internal)?;
            // The agent has it now: the same call is a new call from here on.
            match gateway.store.collect_hold(hold.id).await {
                Ok(_) | Err(HoldError::Lost { .. }) => {}
                Err(error) => return Err(internal(error)),
            }
            match kept {
                Some(text) => holding::told(hold, text),
                None => Answer::Refused(Refusal::of_hold(hold)),
            }
        } else {
            holding::tell(gateway, hold.clone()).await
        };
        answers::finished(gateway, Era::Modern, answer)
    }
}

/// Lets `client` follow `hold`: what its tool asks is kept for it.
///
/// # Errors
/// When the system has no random bytes.
pub(super) fn follow(gateway: &Gateway, hold: HoldId, client: &Client) -> Result<(), RpcError> {
    let mark = gateway.random::<8>().map_err(internal)?;
    gateway.followed.follow(hold, &gateway.board.contact(hold), client, mark);
    Ok(())
}

/// The error for a request that does not declare the extension (SEP-2663, protocol errors).
pub(super) fn undeclared() -> RpcError {
    let mut error = RpcError::new(MISSING_CAPABILITY, "Missing required client capability");
    error.data = Some(json!({ "requiredCapabilities": { "extensions": { EXTENSION: {} } } }));
    error
}

fn internal(error: impl std::fmt::Display) -> RpcError {
    tracing::error!(%error, "a request about a task failed");
    RpcError::new(INTERNAL_ERROR, "the gateway failed; its operators can see why")
}
