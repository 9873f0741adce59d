//! What is measured of a store, one round at a time; after a round it is as it was before.

use std::time::Duration;

use anyhow::{Result, ensure};
use countersign::clock::Clock as _;
use countersign::hold::{Decision, Ending, StateName, Verdict};
use countersign::ids::AgentName;
use countersign::principal::Person;
use countersign::storage::{HoldError, HoldQuery, Store as _};
use jiff::SignedDuration;

use crate::holds::{Filled, opening};
use crate::now;

/// How many rows a page has.
pub(crate) const PAGE: u32 = 100;
/// As many as one sweep takes.
const SWEEP: u32 = 256;
/// The agent that has no hold but the one under way.
const NEWCOMER: &str = "newcomer";

/// What an operation's time is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// The store with one hold.
    One,
    /// The store with exactly as many holds as a page shows.
    Page,
}

/// The operations, in the order in which a round measures them.
pub(crate) const OPERATIONS: [(&str, Beside); 13] = [
    ("the newest of all, as people see them", Beside::One),
    ("first page of all, as people see them", Beside::Page),
    ("first page of all, each by itself", Beside::Page),
    ("refuse one more of an agent at its cap", Beside::One),
    ("another agent: joinable", Beside::One),
    ("another agent: open", Beside::One),
    ("another agent: its list", Beside::One),
    ("show one", Beside::One),
    ("sweep: what is due", Beside::One),
    ("sweep: what is approved", Beside::One),
    ("start: count by rule", Beside::One),
    ("start: time that is owed", Beside::One),
    ("another agent: decide", Beside::One),
];

/// One time of each operation.
pub(crate) async fn round(filled: &Filled) -> Result<Vec<Duration>> {
    let (store, form) = (&filled.store, filled.form);
    let mut taken = Vec::with_capacity(OPERATIONS.len());
    macro_rules! timed {
        ($work:expr) => {{
            let begun = now();
            let done = $work.await;
            taken.push(begun.elapsed());
            done
        }};
    }
    let newcomer: AgentName = NEWCOMER.parse()?;
    let newest = timed!(store.pending_calls(None, 1))?;
    ensure!(newest.len() == 1, "a list of {}", newest.len());
    let page = timed!(store.pending_calls(None, PAGE))?;
    ensure!(page.len() == form.sets().min(PAGE) as usize, "a page of {}", page.len());
    let pending =
        HoldQuery { states: vec![StateName::Pending], limit: PAGE, ..HoldQuery::default() };
    let each = timed!(store.holds(pending))?;
    ensure!(each.len() == form.rows().min(PAGE) as usize, "a page of {}", each.len());

    let more = filled.hold("agent-0", 0)?;
    let entry = opening(&more);
    let refused = timed!(store.open_hold(more, entry, form.holds_of_each));
    ensure!(matches!(refused, Err(HoldError::TooMany { .. })), "{refused:?}");

    let hold = filled.hold(NEWCOMER, 0)?;
    let since = filled.clock.now();
    let joined = timed!(store.joinable(&newcomer, &hold.requested_digest, since))?;
    ensure!(joined.is_empty(), "{} holds to join", joined.len());
    let entry = opening(&hold);
    let hold = timed!(store.open_hold(hold, entry, 100))?;
    let its = timed!(store.pending_calls(Some(newcomer), PAGE))?;
    ensure!(its.len() == 1, "a list of {}", its.len());
    let shown = timed!(async {
        let shown = store.hold(hold.id).await?;
        store.identical(&hold.digest).await.map(|count| (shown, count))
    })?;
    ensure!(shown.0.is_some() && shown.1 == 1, "{shown:?}");

    let due = timed!(store.due(filled.clock.now(), SWEEP))?;
    ensure!(due.is_empty(), "{} are due", due.len());
    let approved =
        HoldQuery { states: vec![StateName::Approved], limit: SWEEP, ..HoldQuery::default() };
    let approved = timed!(store.holds(approved))?;
    ensure!(approved.is_empty(), "{} are approved", approved.len());
    let rules = timed!(store.pending_by_rule())?;
    ensure!(rules.len() == 1, "{rules:?}");
    let owed = timed!(store.extend_holds(SignedDuration::from_mins(1).unsigned_abs(), SWEEP))?;
    ensure!(owed == 0, "time is owed to {owed}");

    let person = Person::local("ada".to_owned());
    let verdict = Verdict::new(person, Decision::Approve, hold.digest, filled.clock.now());
    let decided = timed!(store.decide_hold(hold.id, verdict))?;
    ensure!(decided.state.name() == StateName::Approved, "{:?}", decided.state);
    let ending = Ending::Supersede { why: "the round is over".to_owned(), anew: None };
    store.end_hold(hold.id, ending).await?;
    Ok(taken)
}
