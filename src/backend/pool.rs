//! Worker slots of a backend: so many calls run, so many wait, and the rest are told at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::BackendError;

/// The slots of one backend. Those who wait are served in the order they came.
#[derive(Clone, Debug)]
pub struct Pool {
    slots: Arc<Semaphore>,
    places: Arc<Semaphore>,
    concurrency: usize,
    queue: usize,
}

/// The right to run one call; gives itself back when dropped.
#[derive(Debug)]
#[must_use = "the slot is free again as soon as this is dropped"]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool in which `concurrency` calls run (at least one) and at most `queue` wait.
    #[must_use]
    pub fn new(concurrency: usize, queue: usize) -> Self {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let queue = queue.min(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(concurrency)),
            places: Arc::new(Semaphore::new(queue)),
            concurrency,
            queue,
        }
    }

    /// A slot, now or when it is this caller's turn within `deadline`.
    ///
    /// # Errors
    /// [`BackendError::Busy`] at once when `queue` callers wait already, or when `deadline` passes;
    /// [`BackendError::Cancelled`] when `cancel` is.
    pub async fn acquire(
        &self,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Slot, BackendError> {
        if cancel.is_cancelled() {
            return Err(BackendError::Cancelled);
        }
        // A slot is free here only when nobody waits: the semaphore hands freed ones to the first in line.
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        let busy = || BackendError::Busy { waiting: self.waiting() };
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(BackendError::Cancelled),
            turn = timeout(deadline, Arc::clone(&self.slots).acquire_owned()) => match turn {
                Ok(Ok(permit)) => Ok(Slot { _permit: permit }),
                Ok(Err(_)) | Err(_) => Err(busy()),
            },
        }
    }

    /// How many calls wait for a slot.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.saturating_sub(self.places.available_permits())
    }

    /// How many calls hold a slot.
    #[must_use]
    pub fn running(&self) -> usize {
        self.concurrency.saturating_sub(self.slots.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(1);

    async fn until_waiting(pool: &Pool, count: usize) {
        while pool.waiting() != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn beyond_the_queue_a_caller_is_told_at_once() {
        let pool = Pool::new(1, 1);
        let never = CancellationToken::new();
        let first = pool.acquire(LONG, &never).await.unwrap();
        let second = tokio::spawn({
            let (pool, never) = (pool.clone(), never.clone());
            async move { pool.acquire(LONG, &never).await }
        });
        until_waiting(&pool, 1).await;
        let third = pool.acquire(LONG, &never).await.unwrap_err();
        assert!(matches!(third, BackendError::Busy { waiting: 1 }), "{third}");
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!((pool.running(), pool.waiting()), (1, 0));
        drop(second);
        assert_eq!(pool.running(), 0);
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline_and_on_cancel() {
        let pool = Pool::new(1, 4);
        let cancel = CancellationToken::new();
        let _held = pool.acquire(LONG, &cancel).await.unwrap();
        let late = pool.acquire(SHORT, &cancel).await.unwrap_err();
        assert!(matches!(late, BackendError::Busy { .. }), "{late}");
        let waiting = tokio::spawn({
            let (pool, cancel) = (pool.clone(), cancel.clone());
            async move { pool.acquire(LONG, &cancel).await }
        });
        until_waiting(&pool, 1).await;
        cancel.cancel();
        assert!(matches!(waiting.await.unwrap(), Err(BackendError::Cancelled)));
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test]
    async fn a_pool_without_a_queue_has_no_waiting() {
        let pool = Pool::new(0, 0);
        let never = CancellationToken::new();
        let slot = pool.acquire(LONG, &never).await.unwrap();
        let refused = pool.acquire(LONG, &never).await.unwrap_err();
        assert!(matches!(refused, BackendError::Busy { waiting: 0 }));
        drop(slot);
        assert!(pool.acquire(LONG, &never).await.is_ok());
    }
}
