//! Work that takes a processor for long, aside from calls: compiling very many rules, and giving back what
//! they took.

use std::io;
use std::thread;

use tokio::sync::oneshot;

use super::{InForce, OpenError, Revision};

/// How much others come first: calls get nine parts of a processor that this work wants too.
const NICENESS: i32 = 10;

/// Does `work` on a thread of its own that leaves processors to calls.
///
/// # Errors
/// When there can be no thread, or the work ended without a result.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OpenError> {
    let (done, result) = oneshot::channel();
    let worker = spawn(move || {
        drop(done.send(work()));
    });
    worker.map_err(|error| OpenError::Other(format!("no thread to take files up on: {error}")))?;
    result.await.map_err(|_| OpenError::Other("taking files up ended without a result".to_owned()))
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("aside".to_owned()).spawn(move || {
        // On Linux the priority is the thread's, and of what it starts: nothing that stays may be started here.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "files are taken up at the priority of calls");
        }
        work();
    })
}

impl Drop for InForce {
    /// The last call that kept a revision would otherwise give back all its rules before it is answered.
    fn drop(&mut self) {
        let revision = std::mem::replace(&mut self.revision, Revision::nothing());
        drop(spawn(move || drop(revision)));
    }
}
