//! What is spent of budgets, in the database: one row for each of those that are counted apart.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::SqliteStore;
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::evidence::{Alerts, BudgetAlert, Charge, Correction, Event, Spent};
use crate::storage::budgets::Account;
use crate::storage::{BudgetStore, StoreError};

/// Adds what an entry written at `now` says of budgets; gives the shares that are reached by it.
pub(super) fn charge(
    connection: &Connection,
    charges: &[Charge],
    now: Timestamp,
) -> Result<Vec<Event>, Trouble> {
    let mut alerts = Vec::new();
    for charge in charges {
        let mut spent = find(connection, &charge.budget, &charge.who)?.unwrap_or_default();
        spent.add(charge, now);
        alerts.extend(reached(&mut spent, (&charge.budget, &charge.who), &charge.alerts));
        put(connection, &charge.budget, &charge.who, &spent)?;
    }
    Ok(alerts)
}

impl Tx<'_> {
    fn settle_spent(
        &mut self,
        corrections: &[Correction],
        forgotten: &[Account],
    ) -> Result<(), Trouble> {
        for fix in corrections {
            let Some(mut spent) = find(self.connection, &fix.budget, &fix.who)? else { continue };
            spent.correct(fix);
            let alerts = reached(&mut spent, (&fix.budget, &fix.who), &fix.alerts);
            put(self.connection, &fix.budget, &fix.who, &spent)?;
            for alert in alerts {
                self.append(alert, None)?;
            }
        }
        for (budget, who) in forgotten {
            self.connection
                .prepare_cached("DELETE FROM spent WHERE budget = ?1 AND who = ?2")?
                .execute(params![budget, json(who)?])?;
        }
        Ok(())
    }
}

#[async_trait]
impl BudgetStore for SqliteStore {
    async fn spent(&self) -> Result<Vec<(Account, Spent)>, StoreError> {
        self.readers.read(all).await
    }

    async fn settle_spent(
        &self,
        corrections: Vec<Correction>,
        forgotten: Vec<Account>,
    ) -> Result<(), StoreError> {
        self.durably("settle_spent", move |tx| tx.settle_spent(&corrections, &forgotten))
            .await
            .map_err(plain)
    }
}

fn all(connection: &Connection) -> Result<Vec<(Account, Spent)>, Trouble> {
    let mut statement = connection.prepare("SELECT budget, who, body FROM spent")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let [budget, who, body]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
        let who = serde_json::from_str(&who).map_err(|_| corrupt(&budget))?;
        found.push(((budget.clone(), who), read(&budget, &body)?));
    }
    Ok(found)
}

fn reached(
    spent: &mut Spent,
    (budget, who): (&str, &BTreeMap<String, String>),
    alerts: &Alerts,
) -> Vec<Event> {
    let shares = spent.alert(alerts);
    let alert = |share| {
        Event::BudgetAlert(BudgetAlert {
            budget: budget.to_owned(),
            who: who.clone(),
            window: spent.window,
            share,
            spent: spent.amounts,
            of: alerts.of,
        })
    };
    shares.into_iter().map(alert).collect()
}

fn find(
    connection: &Connection,
    budget: &str,
    who: &BTreeMap<String, String>,
) -> Result<Option<Spent>, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM spent WHERE budget = ?1 AND who = ?2")?;
    let body = statement.query_row(params![budget, json(who)?], |row| row.get::<_, String>(0));
    body.optional()?.map(|body| read(budget, &body)).transpose()
}

fn put(
    connection: &Connection,
    budget: &str,
    who: &BTreeMap<String, String>,
    spent: &Spent,
) -> Result<(), Trouble> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO spent(budget, who, body) VALUES (?1, ?2, ?3)")?
        .execute(params![budget, json(who)?, json(spent)?])?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, Trouble> {
    serde_json::to_string(value).map_err(|error| Trouble::engine(error.to_string()))
}

fn read(budget: &str, body: &str) -> Result<Spent, Trouble> {
    serde_json::from_str(body).map_err(|_| corrupt(budget))
}

fn corrupt(budget: &str) -> Trouble {
    Trouble::corrupt(format!("what is spent of budget `{budget}` makes no sense"))
}
