//! What time does to holds: clocks run out, approved holds that do not run are started, results are forgotten.

use std::sync::Arc;

use jiff::Timestamp;

use super::running::start;
use crate::gateway::Gateway;
use crate::hold::{Ending, StateName};
use crate::storage::{HoldError, HoldQuery, StoreError};

/// How many holds one sweep handles.
const SWEEP_BATCH: u32 = 256;

/// One sweep: holds whose clock ran out end, and approved holds that do not run are started.
///
/// # Errors
/// When the store fails; the next sweep tries again.
pub async fn sweep(gateway: &Arc<Gateway>) -> Result<(), StoreError> {
    for hold in gateway.store.due(gateway.clock.now(), SWEEP_BATCH).await? {
        let ending = match hold.state.name() {
            StateName::Pending => Ending::Expire,
            StateName::Approved => Ending::Lapse,
            StateName::Executing
            | StateName::Finished
            | StateName::Unknown
            | StateName::Rejected
            | StateName::Expired
            | StateName::Withdrawn
            | StateName::Lapsed
            | StateName::Superseded
            | StateName::Halted => continue,
        };
        match gateway.store.end_hold(hold.id, ending).await {
            // A hold that lapsed was decided, and counted, when it was approved.
            Ok(ended) if ended.state.name() == StateName::Expired => {
                gateway.metrics.hold_decided(&ended, gateway.clock.now());
            }
            Ok(_) => {}
            Err(HoldError::Lost { .. } | HoldError::NotFound | HoldError::TooMany { .. }) => {}
            Err(HoldError::Store(error)) => return Err(error),
        }
        gateway.board.announce(hold.id);
    }
    let approved = HoldQuery { states: vec![StateName::Approved], agent: None, limit: SWEEP_BATCH };
    for hold in gateway.store.holds(approved).await? {
        start(gateway, &hold);
    }
    Ok(())
}

/// Forgets results that their agents did not collect in time; gives how many, at most one batch.
///
/// # Errors
/// When the store fails; the next sweep tries again.
pub async fn forget_results(gateway: &Gateway) -> Result<u32, StoreError> {
    let keep = gateway.config.holds.keep_result.0;
    let before = gateway.clock.now().checked_sub(keep).unwrap_or(Timestamp::MIN);
    gateway.store.forget_results(before, SWEEP_BATCH).await
}
