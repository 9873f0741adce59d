//! What time does to holds: clocks run out, approved holds that do not run are started, results are forgotten.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::running::start;
use crate::call::halting;
use crate::gateway::Gateway;
use crate::hold::{Ending, Hold, StateName};
use crate::storage::{HoldError, HoldQuery, StoreError};

/// How many holds one look of a sweep handles.
const SWEEP_BATCH: u32 = 256;
/// How many times one sweep looks for more at most: then it is the turn of what is approved.
const SWEEP_LOOKS: u32 = 16;
/// How many holds end at once. They share a commit, which a person's verdict beside them waits for.
const SWEEP_TOGETHER: usize = 32;

/// One sweep: holds whose clock ran out end, and approved holds that do not run are started. However many
/// are due, it handles at most 4096 of them; the next goes on.
///
/// # Errors
/// When the store fails; the next sweep tries again.
pub async fn sweep(gateway: &Arc<Gateway>) -> Result<(), StoreError> {
    halting::sweep(gateway).await?;
    for _ in 0..SWEEP_LOOKS {
        let due = gateway.store.due(gateway.clock.now(), SWEEP_BATCH).await?;
        let found = due.len();
        let ends = due.into_iter().map(|hold| end(gateway, hold));
        stream::iter(ends)
            .buffer_unordered(SWEEP_TOGETHER)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        if u32::try_from(found).is_ok_and(|found| found < SWEEP_BATCH) {
            break;
        }
    }
    let approved = HoldQuery { states: vec![StateName::Approved], agent: None, limit: SWEEP_BATCH };
    for hold in gateway.store.holds(approved).await? {
        start(gateway, &hold);
    }
    Ok(())
}

/// Ends a hold whose clock has run out, unless somebody was first.
async fn end(gateway: &Gateway, hold: Hold) -> Result<(), StoreError> {
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
        | StateName::Halted => return Ok(()),
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
    super::announce(gateway, hold.id).await;
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
