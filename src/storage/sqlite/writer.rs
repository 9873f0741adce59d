//! The one thread that writes: it takes what has queued, commits it at once and then answers everybody.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt as _;
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};

use super::faults::Faults;
use super::job::{Carried, Job, Step};
use super::log::{self, Tip};
use super::trouble::{EngineFault, Trouble};
use super::tx::Tx;
use crate::clock::Clock;
use crate::storage::StoreError;

/// How many jobs wait in the queue at most.
pub(super) const QUEUE: usize = 8192;

/// How many jobs one commit takes along at most.
pub(super) const BATCH: usize = 512;

/// How long entries that nobody waits for stay in memory for others to share their commit.
const LINGER: Duration = Duration::from_millis(5);

/// How many entries are carried over failures at most; beyond that the queue is left to fill up, so
/// that calls wait to end.
const CARRIED: usize = 65_536;

/// How long after a failure the next attempt is made, if no job brings it about before.
const RETRY: Duration = Duration::from_secs(1);

/// How many bytes an attempt without jobs tries to add, to see whether the disk has room again.
const PROBE_BYTES: u32 = 65_536;

/// Whether the log can be written, as the last attempt showed; shared with those who ask.
#[derive(Debug, Default)]
pub(super) struct Health(ArcSwapOption<EngineFault>);

impl Health {
    /// The error of the last attempt.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.0.load().as_ref().map_or(Ok(()), |fault| Err(fault.unwritable()))
    }

    /// The error after which nothing is written until the process starts anew.
    pub(super) fn check_for_good(&self) -> Result<(), StoreError> {
        match &*self.0.load() {
            Some(fault) if !fault.again => Err(fault.unwritable()),
            Some(_) | None => Ok(()),
        }
    }

    fn is_good(&self) -> bool {
        self.0.load().is_none()
    }
}

/// What the writer shares with those who queue and ask.
pub(super) struct Shared {
    pub(super) health: Arc<Health>,
    pub(super) hurry: Arc<Notify>,
    pub(super) written: Arc<watch::Sender<u64>>,
}

/// The writer's own state. A crash between two commits leaves what the last one left.
pub(super) struct Writer {
    connection: Connection,
    tip: Tip,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    hurry: Arc<Notify>,
    written: Arc<watch::Sender<u64>>,
    faults: Faults,
    /// Accepted, but not written because a commit failed; written before anything else.
    carried: VecDeque<Carried>,
    /// Why nothing more is written until the process starts anew.
    poisoned: Option<StoreError>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        tip: Tip,
        clock: Arc<dyn Clock>,
        Shared { health, hurry, written }: Shared,
        dir: PathBuf,
    ) -> Self {
        let faults = Faults::new(dir);
        let (carried, poisoned) = (VecDeque::new(), None);
        Self { connection, tip, clock, health, hurry, written, faults, carried, poisoned }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, runtime: &Runtime, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH);
        while runtime.block_on(self.next(&mut queue, &mut jobs)) {
            self.turn(std::mem::take(&mut jobs));
        }
        if !self.carried.is_empty() {
            self.turn(Vec::new());
        }
        if !self.carried.is_empty() {
            tracing::error!(entries = self.carried.len(), "the record could not be written; lost");
        }
    }

    /// Waits for jobs, or for the moment to try again; false when there will be none.
    async fn next(&self, queue: &mut mpsc::Receiver<Job>, jobs: &mut Vec<Job>) -> bool {
        if self.health.is_good() || self.poisoned.is_some() {
            let received = queue.recv_many(jobs, BATCH).await > 0;
            linger(&self.hurry, queue, jobs).await;
            return received;
        }
        if self.carried.len() >= CARRIED {
            tokio::time::sleep(RETRY).await;
            return !queue.is_closed();
        }
        let received = tokio::time::timeout(RETRY, queue.recv_many(jobs, BATCH)).await;
        !matches!(received, Ok(0))
    }

    fn turn(&mut self, jobs: Vec<Job>) {
        while !self.carried.is_empty() && self.poisoned.is_none() {
            let chunk = self.carried.drain(..self.carried.len().min(BATCH)).map(Job::Carried);
            let chunk = chunk.collect();
            if let Err((error, kept)) = self.transact(chunk) {
                for carried in kept.into_iter().rev() {
                    self.carried.push_front(carried);
                }
                return self.refuse(jobs, &error);
            }
        }
        if let Some(error) = self.poisoned.clone() {
            return self.refuse(jobs, &error);
        }
        if jobs.is_empty() && self.health.is_good() {
            return;
        }
        if let Err((_, kept)) = self.transact(jobs) {
            self.carried.extend(kept);
        }
    }

    /// Turns away who waits; keeps what was accepted before, unless it can never be written.
    fn refuse(&mut self, jobs: Vec<Job>, error: &StoreError) {
        for job in jobs {
            match job {
                Job::Carried(carried) if self.poisoned.is_none() => self.carried.push_back(carried),
                Job::Carried(carried) => {
                    tracing::error!(call = carried.call, step = ?carried.step, "lost: {error}");
                }
                Job::Durable(durable) => durable.refuse(error),
            }
        }
    }

    /// Does all `jobs` in one transaction and answers. When it fails nothing of it stands, and the
    /// carried ones among them are given back in their order.
    fn transact(&mut self, jobs: Vec<Job>) -> Result<(), (StoreError, Vec<Carried>)> {
        let before = self.tip;
        let points = self.faults.points(&jobs);
        let (mut kept, mut answers) = (Vec::new(), Vec::new());
        let mut fault = self.begin(jobs.is_empty()).err();
        let mut tx = Tx::new(&self.connection, &mut self.tip, self.clock.as_ref());
        for job in jobs {
            match job {
                Job::Carried(carried) => {
                    if fault.is_none() {
                        fault = write_carried(&mut tx, &carried).err();
                    }
                    kept.push(carried);
                }
                Job::Durable(durable) => {
                    let done = durable.run(match &fault {
                        None => Ok(&mut tx),
                        Some(fault) => Err(fault.unwritable()),
                    });
                    fault = fault.or(done.fault);
                    answers.push(done.answer);
                }
            }
        }
        let flushed = fault.map_or_else(|| tx.flush().map_err(engine_fault), Err);
        let committed = flushed
            .and_then(|()| self.faults.before_commit(&points))
            .and_then(|()| self.commit(before));
        let result = self.settle(committed, before);
        self.faults.after_commit(&points, result.is_ok());
        answers.into_iter().for_each(|answer| answer(result.clone()));
        result.map_err(|error| (error, kept))
    }

    fn begin(&self, probe: bool) -> Result<(), EngineFault> {
        self.faults.limit_pages(&self.connection).map_err(engine_fault)?;
        self.execute("BEGIN IMMEDIATE")?;
        if probe {
            self.execute("SAVEPOINT probe")?;
            self.execute("CREATE TABLE probe(bytes BLOB)")?;
            self.execute(&format!("INSERT INTO probe VALUES (zeroblob({PROBE_BYTES}))"))?;
            self.execute("ROLLBACK TO probe")?;
            self.execute("RELEASE probe")?;
        }
        Ok(())
    }

    fn commit(&self, before: Tip) -> Result<(), EngineFault> {
        // After a failure something must be written, or the commit would prove nothing.
        if self.tip.head != before.head || !self.health.is_good() {
            log::save_head(&self.connection, &self.tip.head).map_err(engine_fault)?;
        }
        self.execute("COMMIT")
    }

    /// Takes note of how the transaction ended, before anybody hears of it.
    fn settle(&mut self, ended: Result<(), EngineFault>, before: Tip) -> Result<(), StoreError> {
        let Err(fault) = ended else {
            if !self.health.is_good() {
                tracing::info!("the record can be written again");
                self.health.0.store(None);
            }
            if self.tip.head != before.head {
                self.written.send_replace(self.tip.head.count);
            }
            return Ok(());
        };
        self.tip = before;
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!("rollback: {error}");
        }
        let error = fault.unwritable();
        if self.health.is_good() || !fault.again {
            tracing::error!(again = fault.again, "the record cannot be written: {}", fault.why);
        }
        if !fault.again {
            self.poisoned = Some(error.clone());
        }
        self.health.0.store(Some(Arc::new(fault)));
        Err(error)
    }

    fn execute(&self, sql: &str) -> Result<(), EngineFault> {
        let mut statement = self.connection.prepare_cached(sql).map_err(engine_fault)?;
        statement.execute([]).map(|_| ()).map_err(engine_fault)
    }
}

/// Bringing it to the disk is what a commit costs, so one is made for the many entries that nobody waits
/// for. The queue is not listened to meanwhile: it would wake this thread for each of them.
async fn linger(hurry: &Notify, queue: &mut mpsc::Receiver<Job>, jobs: &mut Vec<Job>) {
    // Who hurried before has a place in the queue already.
    let _ = hurry.notified().now_or_never();
    if take(queue, jobs) {
        drop(tokio::time::timeout(LINGER, hurry.notified()).await);
        take(queue, jobs);
    }
}

/// Takes what has queued; true when there is room for more and nobody waits.
fn take(queue: &mut mpsc::Receiver<Job>, jobs: &mut Vec<Job>) -> bool {
    while jobs.len() < BATCH
        && let Ok(job) = queue.try_recv()
    {
        jobs.push(job);
    }
    jobs.len() < BATCH && !jobs.is_empty() && jobs.iter().all(|job| matches!(job, Job::Carried(_)))
}

/// Writes one carried entry. It needs no savepoint: what it refuses, it refuses before it has changed
/// anything, and any other failure is the whole transaction's.
fn write_carried(tx: &mut Tx<'_>, carried: &Carried) -> Result<(), EngineFault> {
    let Carried { step, call, draft } = carried;
    let written = match step {
        Step::Begin => tx.begin_carried(call, draft),
        Step::Refuse => tx.append_draft(draft, Some(call)),
        Step::End => tx.end_carried(call, draft).map(|ran| {
            if !ran {
                tracing::error!(call, "an outcome of a call that does not run; not recorded");
            }
        }),
    };
    // An accepted entry that cannot be written, a second intent for instance, leaves a call running
    // without its record: then nothing more may run.
    written.map_err(engine_fault)
}

/// The failure of something that is nobody's own: the engine's.
fn engine_fault(trouble: impl Into<Trouble>) -> EngineFault {
    match trouble.into() {
        Trouble::Engine(fault) => fault,
        Trouble::Own(error) => EngineFault { why: error.to_string(), again: false },
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Durable;
    use super::*;
    use crate::digest::Digest;
    use crate::evidence::Event;
    use crate::evidence::chain::Draft;

    fn carried() -> Job {
        let event = Event::RevisionLoaded {
            revision: Digest::of(b"revision"),
            rules: 0,
            tools: 0,
            cause: crate::evidence::Cause::default(),
        };
        let draft = Draft::new(event).unwrap();
        Job::Carried(Carried { step: Step::Refuse, call: "call".to_owned(), draft })
    }

    #[test]
    fn who_waits_is_not_kept_waiting_for_company() {
        let (sender, mut queue) = mpsc::channel(8);
        let durable = || Job::Durable(Durable::new("record", |_| Ok(())).0);

        let mut jobs = vec![carried()];
        sender.try_send(carried()).unwrap();
        assert!(take(&mut queue, &mut jobs));
        assert_eq!(jobs.len(), 2);

        sender.try_send(durable()).unwrap();
        assert!(!take(&mut queue, &mut jobs));
        assert_eq!(jobs.len(), 3);
        assert!(
            !take(&mut queue, &mut Vec::new()),
            "nothing came, so there is nothing to linger for"
        );
    }
}
