//! Agents in the database.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::trouble::Trouble;
use crate::ids::AgentName;
use crate::storage::Agent;

/// Stores an agent, in place of the one with its name.
pub(super) fn put(connection: &Connection, agent: &Agent) -> Result<(), Trouble> {
    let body = serde_json::to_string(agent).map_err(|error| Trouble::engine(error.to_string()))?;
    connection.execute(
        "INSERT INTO agents(name, token_digest, body) VALUES (?1, ?2, ?3)
         ON CONFLICT(name) DO UPDATE SET token_digest = excluded.token_digest, body = excluded.body",
        params![agent.name.as_str(), agent.token_digest.to_string(), body],
    )?;
    Ok(())
}

/// Notes when tokens were last used, of those agents that are still there.
pub(super) fn note_uses(
    connection: &Connection,
    uses: &[(AgentName, Timestamp)],
) -> Result<(), Trouble> {
    for (name, used) in uses {
        if let Some(mut agent) = find(connection, name)? {
            agent.last_used = Some(*used);
            put(connection, &agent)?;
        }
    }
    Ok(())
}

/// One agent.
pub(super) fn find(connection: &Connection, name: &AgentName) -> Result<Option<Agent>, Trouble> {
    let body = connection
        .query_row("SELECT body FROM agents WHERE name = ?1", [name.as_str()], |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    body.map(|body| read(name.as_str(), &body)).transpose()
}

/// All agents, by name.
pub(super) fn all(connection: &Connection) -> Result<Vec<Agent>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT name, body FROM agents ORDER BY name")?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| row.map_err(Trouble::from).and_then(|(name, body)| read(&name, &body))).collect()
}

fn read(name: &str, body: &str) -> Result<Agent, Trouble> {
    let agent: Agent = serde_json::from_str(body)
        .map_err(|error| Trouble::corrupt(format!("agent `{name}`: {error}")))?;
    if agent.name.as_str() == name {
        Ok(agent)
    } else {
        Err(Trouble::corrupt(format!("agent `{name}` under another name")))
    }
}
