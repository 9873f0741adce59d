//! A namespace of process numbers for a program of root's: the kernel limits how many processes any other
//! user has, but never root, so root's have to be ended as one, however fast they start others.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, raise};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::OWN;
use super::plan::{Plan, REFUSED, WORD};

/// Runs the rest of `plan` as the first process of a new namespace, with whose end the kernel ends all others
/// in it; waits for it, and ends as it did.
///
/// # Errors
/// With the arguments, when that is not asked for or this machine does not allow it, as in some containers.
pub(super) fn run(
    plan: &Plan,
    arguments: impl Iterator<Item = OsString>,
) -> Result<ExitCode, impl Iterator<Item = OsString>> {
    if !plan.apart || unshare(CloneFlags::CLONE_NEWPID).is_err() {
        return Err(arguments);
    }
    let plan = Plan { parent: None, apart: false, ..plan.clone() };
    Ok(wait(&plan, arguments).unwrap_or_else(|why| {
        eprintln!("{} {why}", plan.word);
        ExitCode::from(REFUSED)
    }))
}

fn wait(plan: &Plan, arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    let text = serde_json::to_string(plan).map_err(|error| error.to_string())?;
    // What asks the program to end is sent to the whole group; this process ends after it.
    let asked = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    asked.thread_block().map_err(|error| format!("signals: {error}"))?;
    let mut command = Command::new(OWN);
    let started = command.arg(WORD).arg(text).args(arguments).status();
    let ended = started.map_err(|error| format!("cannot go on: {error}"))?;
    if let Some(signal) = ended.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        // Its limit is this process's too, so that its end leaves no second image of memory.
        let _limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _unblocked = SigSet::empty().thread_set_mask();
        // The runtime has a handler for some, which stands back after the first.
        let _raised = raise(signal).and_then(|()| raise(signal));
    }
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(REFUSED)))
}
