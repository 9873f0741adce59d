//! The store of an embedded gateway: one SQLite database in a data directory that one process owns.
//!
//! A crash leaves what the last commit left. `running` names the calls between intent and outcome,
//! and [`Store::recover`] ends them when the gateway starts again.

mod absence;
mod access;
mod acting;
mod agents;
mod calls;
mod channels;
mod definitions;
mod faults;
mod flow;
mod halts;
mod held;
mod history;
mod holds;
mod job;
mod log;
mod methods;
mod opening;
mod owner;
mod pending;
mod readers;
mod reports;
mod reviewers;
mod schema;
mod spent;
mod standing;
#[cfg(test)]
mod tests;
mod trouble;
mod tx;
mod wal;
mod workflows;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::fcntl::Flock;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::clock::Clock;
use crate::evidence::Asked;
use crate::evidence::chain::Draft;
use crate::halts::Register;
use crate::ids::CallId;
#[expect(unused_imports, reason = "for the documentation above")]
use crate::storage::Store;
use crate::storage::{HoldError, StoreError};

use job::{Carried, Durable, Job, Step};
pub use log::{LogReader, MAX_ENTRIES, open_log_read_only};
use readers::{READERS, Readers};
use trouble::Trouble;
use tx::Tx;
use writer::{Health, QUEUE, Shared, Writer};

/// The store of an embedded gateway. Dropping it writes what has queued and releases the directory.
pub struct SqliteStore {
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    health: Arc<Health>,
    /// Ends the writer's lingering: somebody waits, or the queue fills up.
    hurry: Arc<Notify>,
    readers: Readers,
    /// The turn of whoever verifies the log.
    verifying: Arc<Semaphore>,
    /// For reads that go over much, so that none keeps a call waiting: one at a time.
    reports: Readers,
    /// Where calls and halts meet; also what is accepted here and a halt.
    halts: Arc<Register>,
    /// The place of the last entry that is on disk.
    written: Arc<watch::Sender<u64>>,
    /// Released last, when nothing writes any more.
    _owned: Flock<File>,
}

impl SqliteStore {
    /// Opens the store in `dir`, which is created if there is none, and owns it until dropped.
    ///
    /// # Errors
    /// [`StoreError::Owned`] when another process owns `dir`; [`StoreError::Corrupt`] when the log does
    /// not end where its head says, or the database is cut off or gone; [`StoreError::Engine`] when the database cannot be opened or is of
    /// a newer version.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let owned = owner::own(dir)?;
        let torn = wal::examine(dir)?;
        let mut connection = schema::open_writer(dir)?;
        let mut tip = log::tip(&connection)?;
        opening::go_on(&mut connection, &mut tip, clock.as_ref(), torn)?;
        let halts = Arc::new(Register::new(halts::all(&connection)?));
        owner::mark_used(&owned)?;
        let health = Arc::<Health>::default();
        let hurry = Arc::<Notify>::default();
        let written = Arc::new(watch::Sender::new(tip.head.count));
        let shared = Shared {
            health: Arc::clone(&health),
            hurry: Arc::clone(&hurry),
            written: Arc::clone(&written),
        };
        let writer = Writer::new(connection, tip, clock, shared, dir.to_owned());
        let failed = |error: std::io::Error| StoreError::Engine(format!("the writer: {error}"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&runtime, jobs))
            .map_err(failed)?;
        let readers = Readers::new(dir.to_owned(), READERS);
        let (queue, thread) = (Some(queue), Some(thread));
        let reports = Readers::new(dir.to_owned(), 1);
        let verifying = Arc::new(Semaphore::new(1));
        Ok(Self {
            queue,
            thread,
            health,
            hurry,
            readers,
            verifying,
            reports,
            halts,
            written,
            _owned: owned,
        })
    }

    fn queue(&self) -> Result<&mpsc::Sender<Job>, StoreError> {
        self.queue.as_ref().ok_or_else(stopped)
    }

    /// Queues an entry that nobody waits for, if there is a place for it now.
    fn accept(&self, step: Step, call: CallId, draft: Draft) -> Result<(), StoreError> {
        self.health.check()?;
        let job = Job::Carried(Carried { step, call: call.to_string(), draft });
        let queue = self.queue()?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy { capacity: QUEUE },
            TrySendError::Closed(_) => stopped(),
        })?;
        if queue.capacity() < QUEUE / 2 {
            self.hurry.notify_one();
        }
        Ok(())
    }

    /// Queues work if there is a place for it now, and waits until it is on disk.
    async fn durably<T: Send + 'static>(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, HoldError> {
        self.queue_now(method, work)?.written().await
    }

    /// Queues work if there is a place for it now; it is on disk when its answer is there.
    fn queue_now<T: Send + 'static>(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<Queued<T>, StoreError> {
        let (job, answer) = Durable::new(method, work);
        self.queue()?.try_send(Job::Durable(job)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy { capacity: QUEUE },
            TrySendError::Closed(_) => stopped(),
        })?;
        self.hurry.notify_one();
        Ok(Queued(answer))
    }

    /// As [`Self::durably`], for what lets a call run: refused when a halt covers the call. What is queued
    /// before a halt stands before it in the log.
    async fn durably_unless_halted<T: Send + 'static>(
        &self,
        asked: &Asked,
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, HoldError> {
        let queue = || self.queue_now(method, work);
        let queued = self.halts.unless_halted(|| asked.subject(), queue);
        queued.map_err(StoreError::Halted)??.written().await
    }

    /// As [`Self::durably`], but waits for a place: what has happened outside must be recorded.
    async fn durably_when_there_is_room<T: Send + 'static>(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, HoldError> {
        let (job, answer) = Durable::new(method, work);
        self.queue()?.send(Job::Durable(job)).await.map_err(|_| stopped())?;
        self.hurry.notify_one();
        answer.await.map_err(|_| stopped())?
    }
}

/// Work that has a place in the queue, and whose answer comes when it is on disk.
struct Queued<T>(oneshot::Receiver<Result<T, HoldError>>);

impl<T> Queued<T> {
    async fn written(self) -> Result<T, HoldError> {
        self.0.await.map_err(|_| stopped())?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("health", &self.health).finish_non_exhaustive()
    }
}

fn stopped() -> StoreError {
    StoreError::Unwritable("the store has stopped".to_owned())
}
