//! What waits in the commit queue: entries that nobody waits for, and changes that somebody does.

use tokio::sync::oneshot;

use super::trouble::{EngineFault, Trouble};
use super::tx::Tx;
use crate::evidence::chain::Draft;
use crate::storage::{HoldError, StoreError};

/// One piece of work for the writer.
pub(super) enum Job {
    /// Nobody waits; it is carried over every failure until it is written.
    Carried(Carried),
    /// Somebody waits for the answer.
    Durable(Durable),
}

impl Job {
    /// The store's method it comes from.
    #[cfg(feature = "testing")]
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Carried(carried) => match carried.step {
                Step::Begin => "begin_call",
                Step::End => "end_call",
                Step::Refuse => "refuse_call",
            },
            Self::Durable(durable) => durable.method,
        }
    }
}

/// An entry that was accepted when it got its place in the queue.
pub(super) struct Carried {
    pub(super) step: Step,
    pub(super) call: String,
    pub(super) draft: Draft,
}

/// What a carried entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A call begins.
    Begin,
    /// A call ended.
    End,
    /// A call was turned away.
    Refuse,
}

/// A change whose answer is given after the commit.
pub(super) struct Durable {
    #[cfg(feature = "testing")]
    method: &'static str,
    work: Box<Work>,
}

/// Does the work inside a transaction, or takes note of why there is none.
type Work = dyn FnOnce(Result<&mut Tx<'_>, StoreError>) -> Done + Send;

/// Gives the answer, once it is known whether the commit succeeded.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Work that was done and is not committed.
pub(super) struct Done {
    /// The failure that takes the whole transaction along.
    pub(super) fault: Option<EngineFault>,
    /// Whom to tell.
    pub(super) answer: Answer,
}

impl Durable {
    /// A job for `method` that does `work`, and where its answer will come.
    pub(super) fn new<T: Send + 'static>(
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T, HoldError>>) {
        #[cfg(not(feature = "testing"))]
        let _ = method;
        let (reply, answer) = oneshot::channel();
        let work = move |tx: Result<&mut Tx<'_>, StoreError>| {
            let (result, fault) = match tx.map_err(Trouble::from).and_then(|tx| tx.alone(work)) {
                Ok(value) => (Ok(value), None),
                Err(Trouble::Own(error)) => (Err(error), None),
                Err(Trouble::Engine(fault)) => (Err(fault.unwritable().into()), Some(fault)),
            };
            let answer = move |committed: Result<(), StoreError>| {
                // Whoever asked may have gone away; what is done stays done.
                let _ = reply.send(committed.map_err(HoldError::from).and(result));
            };
            Done { fault, answer: Box::new(answer) }
        };
        let job = Self {
            #[cfg(feature = "testing")]
            method,
            work: Box::new(work),
        };
        (job, answer)
    }

    /// Does the work.
    pub(super) fn run(self, tx: Result<&mut Tx<'_>, StoreError>) -> Done {
        (self.work)(tx)
    }

    /// Answers with `error`, the work not done.
    pub(super) fn refuse(self, error: &StoreError) {
        let done = self.run(Err(error.clone()));
        (done.answer)(Err(error.clone()));
    }
}
