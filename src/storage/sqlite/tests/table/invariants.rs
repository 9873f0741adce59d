//! What must be true of a store that was opened again, whatever happened: the record verifies, and it and
//! the holds tell the same story.

use std::collections::HashMap;

use super::super::*;
use super::{DATA, Row};
use crate::evidence::Intent;
use crate::hold::StateName;
use crate::storage::HoldQuery;

/// A hold, as the record tells of it.
struct Recorded {
    state: StateName,
    digest: Digest,
    approvals: usize,
    executions: usize,
}

/// Opens the store as a gateway does, and checks I1, I2, I4, I6 and I7 as far as a store can hold them.
pub(super) async fn check(row: &Row, dir: &TempDir) {
    let name = row.name;
    let store = row.open(dir.path()).await;
    store.recover(&|_| false).await.unwrap();
    let log = open_log_read_only(&dir.path().join(DATA)).unwrap();
    let summary = log.verify().unwrap().unwrap_or_else(|fault| panic!("{name}: {fault}"));
    assert_eq!(summary.open, 0, "{name}: an execution without an end");
    let recorded = story(name, &store).await;
    let query = HoldQuery { limit: 1000, ..HoldQuery::default() };
    let holds = store.holds(query).await.unwrap();
    assert_eq!(holds.len(), recorded.len(), "{name}: a hold is lost, or came from nowhere");
    let pending = holds.iter().filter(|hold| hold.state.name() == StateName::Pending).count();
    let listed = store.pending_calls(None, 1000).await.unwrap();
    let listed: usize = listed.iter().map(|(_, identical)| *identical as usize).sum();
    assert_eq!(listed, pending, "{name}: the list of people does not show what is pending");
    for hold in holds {
        let told = &recorded[&hold.id];
        assert_eq!(hold.state.name(), told.state, "{name}");
        assert_eq!(hold.digest, told.digest, "{name}");
        assert_ne!(told.state, StateName::Executing, "{name}: nobody executes after a start");
        assert!(told.executions <= told.approvals, "{name}: executed without an approval");
    }
}

/// Follows the record from its beginning.
async fn story(name: &str, store: &SqliteStore) -> HashMap<HoldId, Recorded> {
    let mut holds: HashMap<HoldId, Recorded> = HashMap::new();
    let query = EntryQuery { limit: 1000, ..EntryQuery::default() };
    for stored in store.entries(query).await.unwrap() {
        follow(name, &mut holds, stored.entry.event);
    }
    holds
}

fn follow(name: &str, holds: &mut HashMap<HoldId, Recorded>, event: Event) {
    match event {
        Event::Hold { hold, asked, .. } => {
            let digest = asked.digest;
            let new = Recorded { state: StateName::Pending, digest, approvals: 0, executions: 0 };
            assert!(holds.insert(hold, new).is_none(), "{name}");
        }
        Event::Verdict { hold, state, verdict } => {
            let known = holds.get_mut(&hold).unwrap();
            assert_eq!((known.state, known.digest), (StateName::Pending, verdict.digest));
            known.approvals += usize::from(state == StateName::Approved);
            known.state = state;
        }
        Event::HoldAmended { hold, amendment, .. } => {
            let known = holds.get_mut(&hold).unwrap();
            assert_eq!((known.state, known.digest), (StateName::Pending, amendment.from));
            known.digest = amendment.to;
        }
        Event::HoldResolved { hold, state, .. } => {
            let known = holds.get_mut(&hold).unwrap();
            assert_eq!(known.state, StateName::Unknown, "{name}");
            known.approvals += usize::from(state == StateName::Approved);
            known.state = state;
        }
        Event::Intent(Intent { asked, hold: Some(hold), .. }) => {
            let known = holds.get_mut(&hold).unwrap();
            assert_eq!((known.state, known.digest), (StateName::Approved, asked.digest));
            known.executions += 1;
            known.state = StateName::Executing;
        }
        Event::Outcome { hold: Some(hold), .. } => {
            let known = holds.get_mut(&hold).unwrap();
            let runs = [StateName::Executing, StateName::Unknown].contains(&known.state);
            assert!(runs, "{name}: an outcome of what did not run");
            known.state = StateName::Finished;
        }
        Event::HoldChanged { hold, state, .. } => {
            let known = holds.get_mut(&hold).unwrap();
            let open = [StateName::Pending, StateName::Approved, StateName::Executing];
            assert!(open.contains(&known.state), "{name}: it had ended");
            known.state = state;
        }
        Event::Intent(_)
        | Event::Outcome { .. }
        | Event::Refusal(_)
        | Event::VerdictRefused { .. }
        | Event::StandingGranted { .. }
        | Event::StandingRevoked { .. }
        | Event::DefinitionsSeen { .. }
        | Event::DefinitionsQuarantined { .. }
        | Event::DefinitionAccepted { .. }
        | Event::RevisionLoaded { .. }
        | Event::AgentAdded { .. }
        | Event::AgentActsFor { .. }
        | Event::AgentRevoked { .. }
        | Event::AgentRotated { .. }
        | Event::ReviewerAdded { .. }
        | Event::ReviewerChanged { .. }
        | Event::ReviewerRevoked { .. }
        | Event::KeyRegistered { .. }
        | Event::Access { .. }
        | Event::KeyRemoved { .. }
        | Event::ClockSkew { .. }
        | Event::Absence { .. }
        | Event::BudgetAlert(_)
        | Event::HoldsExtended { .. }
        | Event::Halt { .. }
        | Event::Resume { .. }
        | Event::HaltEnded { .. }
        | Event::TailRepaired { .. } => {}
    }
}
