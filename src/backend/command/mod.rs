//! Runs one command: a clean environment, a time limit, an output limit, and no process left behind.

mod capture;
mod growth;
mod result;
#[cfg(test)]
mod shipped_tests;
#[cfg(test)]
mod tests;
mod tree;

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::AccessFlags;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Child;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::result::into_result;
pub use self::tree::is_ours;
pub use crate::catalog::template::Output;

use self::capture::{Overflow, Streams};
use self::growth::Growth;
use self::tree::Tree;
use super::BackendError;
use super::confinement::{Confinement, Start};
use crate::ids::CallId;

/// The variable that marks every process of a call, so that none can hide by leaving the process group.
pub const MARK: &str = "COUNTERSIGN_CALL";

/// One command, ready to run.
#[derive(Debug)]
pub struct Command<'a> {
    /// The program, as [`find_program`] found it.
    pub program: &'a Path,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Its standard input; empty when absent.
    pub stdin: Option<Vec<u8>>,
    /// Its whole environment, but for [`MARK`].
    pub environment: Vec<(String, SecretString)>,
    /// Where it runs; the gateway's own directory when absent.
    pub working_directory: Option<&'a Path>,
    /// The call it runs for.
    pub call: CallId,
    /// How it is confined, unless it is not.
    pub confinement: Option<&'a Confinement>,
}

/// What a command may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may run.
    pub deadline: Duration,
    /// How much it may write to its standard output, in bytes; one more ends it.
    pub max_output_bytes: usize,
    /// How much of the end of its standard error is kept, in bytes.
    pub max_error_bytes: usize,
    /// How long it has between SIGTERM and SIGKILL, and what it left behind to let go of its output.
    pub grace: Duration,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub status: Status,
    /// All it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to its standard error.
    pub stderr: Vec<u8>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().unwrap_or_default()),
        }
    }
}

/// Runs `command` to its end, its deadline, its output limit or `cancel`, whichever comes first.
///
/// Whatever comes first, and also when the future is dropped, every process of the call is ended:
/// its process group, the descendants of the command, and all that carry the call's [`MARK`]. Only a
/// process that has both cleared its environment and lost its parent before it was looked for can stay.
///
/// # Errors
/// [`BackendError::Unavailable`] when it did not start, otherwise what ended it early.
pub async fn run(
    command: Command<'_>,
    limits: Limits,
    cancel: CancellationToken,
) -> Result<Finished, BackendError> {
    if cancel.is_cancelled() {
        return Err(BackendError::Cancelled);
    }
    let start = command.confinement.map(|confinement| confinement.start(command.program));
    let start = start.transpose()?;
    let mut child = spawn(&command, start.as_ref())?;
    let mut tree = Tree::of(&child, command.call, start);
    let mut streams = Streams::of(&mut child, command.stdin, limits);
    let most = command.confinement.map(Confinement::processes);
    let mut growth = Growth::of(&tree, most);
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Stop::Cancelled),
        () = growth.past_limit() => Err(Stop::Outgrown),
        done = timeout(limits.deadline, finish(&mut child, &mut tree, &mut streams, limits.grace)) =>
            done.unwrap_or(Err(Stop::Deadline)),
    };
    let stop = match ended {
        Ok(status) => {
            tree.kill_left().await;
            let start = tree.tidy().await;
            let (status, (stdout, stderr)) = (status.into(), streams.into_parts());
            return match start.and_then(|start| start.refusal(status, &stderr)) {
                Some(why) => Err(BackendError::Unavailable(why)),
                None => Ok(Finished { status, stdout, stderr }),
            };
        }
        Err(stop) => stop,
    };
    match stop {
        Stop::Cancelled | Stop::Deadline => tree.stop(&mut child, limits.grace).await,
        Stop::Overflow | Stop::Lost(_) | Stop::Outgrown => tree.kill(&mut child).await,
    }
    tree.tidy().await;
    Err(match stop {
        Stop::Cancelled => BackendError::Cancelled,
        Stop::Deadline => BackendError::Timeout(limits.deadline),
        Stop::Overflow => BackendError::TooLarge { limit: limits.max_output_bytes },
        Stop::Lost(why) => BackendError::Died(why),
        Stop::Outgrown => {
            let most = most.unwrap_or_default();
            BackendError::Died(format!("it was ended: more than {most} processes"))
        }
    })
}

/// Why a command is ended before its own end.
enum Stop {
    Cancelled,
    Deadline,
    Overflow,
    Lost(String),
    /// It has more processes than it may.
    Outgrown,
}

impl From<Overflow> for Stop {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

/// Waits for the command's end and for its output. What it leaves running may hold its pipes open for
/// `grace` and is then killed; what outlives even that is read no further.
async fn finish(
    child: &mut Child,
    tree: &mut Tree,
    streams: &mut Streams,
    grace: Duration,
) -> Result<ExitStatus, Stop> {
    let lost = |error: std::io::Error| Stop::Lost(format!("its end was lost: {error}"));
    let status = tokio::select! {
        status = child.wait() => status.map_err(lost)?,
        drained = streams.drain() => {
            drained?;
            child.wait().await.map_err(lost)?
        }
    };
    if let Ok(drained) = timeout(grace, streams.drain()).await {
        drained?;
        return Ok(status);
    }
    tree.kill_left().await;
    if let Ok(drained) = timeout(grace, streams.drain()).await {
        drained?;
    }
    Ok(status)
}

fn spawn(command: &Command<'_>, start: Option<&Start>) -> Result<Child, BackendError> {
    let mut process = match start {
        // It makes a session of its own, and with it a group.
        Some(start) => {
            let mut process = tokio::process::Command::new(&start.program);
            process.args(&start.arguments);
            process
        }
        None => {
            let mut process = tokio::process::Command::new(command.program);
            process.process_group(0);
            process
        }
    };
    process.args(&command.argv).env_clear();
    if let Some(start) = start {
        process.envs(Confinement::environment(&start.temporary));
    }
    process
        .envs(command.environment.iter().map(|(name, value)| (name, value.expose_secret())))
        .env(MARK, command.call.to_string())
        .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(directory) = command.working_directory {
        if !directory.is_dir() {
            let missing = format!("no directory `{}` to run in", directory.display());
            return Err(BackendError::Unavailable(missing));
        }
        process.current_dir(directory);
    }
    process.spawn().map_err(|error| {
        BackendError::Unavailable(format!("cannot start `{}`: {error}", command.program.display()))
    })
}

/// The executable file that `program` names: an absolute path, or a bare name looked up in `path`.
/// Relative directories do not count, because what they name changes with the working directory.
#[must_use]
pub fn find_program(program: &str, path: &OsStr) -> Option<PathBuf> {
    if program.contains('/') {
        let file = PathBuf::from(program);
        return (file.is_absolute() && executable(&file)).then_some(file);
    }
    if program.is_empty() {
        return None;
    }
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|file| executable(file))
}

fn executable(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, AccessFlags::X_OK).is_ok()
}
