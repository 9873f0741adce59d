//! What is known of pending holds as a whole: how many each rule holds and each agent has, and which are
//! identical. Kept with every change, so that a list or a cap costs the same, however many wait.

use rusqlite::{Connection, OptionalExtension, params};

use super::holds::{MAX_HOLDS, nanos, select};
use super::log::at_most;
use super::trouble::Trouble;
use crate::digest::Digest;
use crate::hold::Hold;
use crate::ids::{AgentName, HoldId};

/// Counts a hold that is pending now.
pub(super) fn enter(connection: &Connection, hold: &Hold) -> Result<(), Trouble> {
    count_rules(connection, hold, 1)?;
    connection
        .prepare_cached(
            "INSERT INTO pending_agents(agent, holds) VALUES (?1, 1)
             ON CONFLICT(agent) DO UPDATE SET holds = holds + 1",
        )?
        .execute([hold.agent.as_str()])?;
    connection
        .prepare_cached(
            "INSERT INTO pending_calls(digest, agent, holds, newest, oldest)
             VALUES (?1, ?2, 1, ?3, ?3)
             ON CONFLICT(digest) DO UPDATE SET
                holds = holds + 1,
                newest = max(newest, excluded.newest),
                oldest = min(oldest, excluded.oldest)",
        )?
        .execute(params![hold.digest.to_string(), hold.agent.as_str(), nanos(hold.created_at)])?;
    Ok(())
}

/// Counts out a hold that was pending, as it was then; its row says already what it is now.
pub(super) fn leave(connection: &Connection, hold: &Hold) -> Result<(), Trouble> {
    count_rules(connection, hold, -1)?;
    let agent = hold.agent.as_str();
    connection
        .prepare_cached("UPDATE pending_agents SET holds = holds - 1 WHERE agent = ?1")?
        .execute([agent])?;
    connection
        .prepare_cached("DELETE FROM pending_agents WHERE agent = ?1 AND holds <= 0")?
        .execute([agent])?;
    let digest = hold.digest.to_string();
    connection
        .prepare_cached("UPDATE pending_calls SET holds = holds - 1 WHERE digest = ?1")?
        .execute([&digest])?;
    connection
        .prepare_cached("DELETE FROM pending_calls WHERE digest = ?1 AND holds <= 0")?
        .execute([&digest])?;
    connection
        .prepare_cached(
            "UPDATE pending_calls SET oldest = (SELECT min(created_at) FROM holds
                WHERE holds.digest = ?1 AND state = 'pending')
             WHERE digest = ?1 AND oldest = ?2",
        )?
        .execute(params![digest, nanos(hold.created_at)])?;
    Ok(())
}

/// Whether an agent has `cap` pending holds or more.
pub(super) fn at_cap(
    connection: &Connection,
    agent: &AgentName,
    cap: u32,
) -> Result<bool, Trouble> {
    let pending: Option<i64> = connection
        .prepare_cached("SELECT holds FROM pending_agents WHERE agent = ?1")?
        .query_row([agent.as_str()], |row| row.get(0))
        .optional()?;
    Ok(pending.unwrap_or(0) >= i64::from(cap))
}

/// How many holds are pending, by rule.
pub(super) fn by_rule(connection: &Connection) -> Result<Vec<(String, u64)>, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT rule, holds FROM pending_rules ORDER BY rule")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The oldest hold of each set of identical ones, with the size of the set; newest sets first.
pub(super) fn calls(
    connection: &Connection,
    agent: Option<&AgentName>,
    limit: u32,
) -> Result<Vec<(Hold, u32)>, Trouble> {
    let filter = if agent.is_some() { "WHERE agent = ?2" } else { "WHERE ?2 IS NULL" };
    let mut sets = connection.prepare_cached(&format!(
        "SELECT digest, holds, oldest FROM pending_calls {filter} ORDER BY newest DESC LIMIT ?1"
    ))?;
    let sets = sets
        .query_map(params![at_most(limit, MAX_HOLDS), agent.map(AgentName::as_str)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?, row.get::<_, i64>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::with_capacity(sets.len());
    // Holds of one page stand side by side in this index, while each digest is somewhere else in its own.
    let clause = "INDEXED BY holds_in_state
        WHERE state = 'pending' AND created_at = ?2 AND digest = ?1 LIMIT 1";
    for (digest, count, oldest) in sets {
        let hold = select(connection, clause, params![digest, oldest])?.pop();
        found.extend(hold.map(|hold| (hold, count)));
    }
    Ok(found)
}

/// How many pending holds are for the call with this digest.
pub(super) fn identical(connection: &Connection, digest: &Digest) -> Result<u32, Trouble> {
    let count = connection
        .prepare_cached("SELECT holds FROM pending_calls WHERE digest = ?1")?
        .query_row([digest.to_string()], |row| row.get(0))
        .optional()?;
    Ok(count.unwrap_or(0))
}

/// The pending holds for the call with this digest, oldest first.
pub(super) fn identical_holds(
    connection: &Connection,
    digest: &Digest,
) -> Result<Vec<HoldId>, Trouble> {
    let clause = "WHERE digest = ?1 AND state = 'pending' ORDER BY created_at LIMIT ?2";
    let holds = select(connection, clause, params![digest.to_string(), MAX_HOLDS])?;
    Ok(holds.into_iter().map(|hold| hold.id).collect())
}

fn count_rules(connection: &Connection, hold: &Hold, change: i64) -> Result<(), Trouble> {
    let mut count = connection.prepare_cached(
        "INSERT INTO pending_rules(rule, holds) VALUES (?1, ?2)
         ON CONFLICT(rule) DO UPDATE SET holds = holds + excluded.holds",
    )?;
    let mut forget =
        connection.prepare_cached("DELETE FROM pending_rules WHERE rule = ?1 AND holds <= 0")?;
    for rule in &hold.rules {
        count.execute(params![rule, change])?;
        if change < 0 {
            forget.execute([rule])?;
        }
    }
    Ok(())
}
