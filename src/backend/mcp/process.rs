//! A child process that speaks MCP on its standard input and output, and its whole group.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use secrecy::ExposeSecret as _;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Program;
use super::ledger::Ledger;
use super::lines::{Line, Lines};
use crate::backend::BackendError;
use crate::backend::confinement::{Confinement, Start};

/// How long a child may take to end by itself after its input was closed, and again after a
/// termination signal, in seconds.
const GRACE: Duration = Duration::from_secs(1);
/// How long output of a dead child is still read, in seconds; longer only if a process that left
/// the group holds the pipe.
const DRAIN: Duration = Duration::from_secs(1);
/// How much of a line on standard error is logged, in bytes.
const MAX_STDERR_LINE: usize = 1024;

/// A running child. Dropping it ends the child and its group.
pub(super) struct Running {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) leash: Leash,
}

/// Ends a child when dropped, and knows how it ended.
pub(super) struct Leash {
    stop: CancellationToken,
    ended: watch::Receiver<Option<String>>,
}

impl Leash {
    /// Ends the child and its group, and waits until they are gone.
    pub(super) async fn end(&mut self) {
        self.stop.cancel();
        // The other side stops after two graces at most.
        let _ = self.ended.wait_for(Option::is_some).await;
    }

    /// How the child ended, if it has, or does within `patience`.
    pub(super) async fn how_it_ended(&mut self, patience: Duration) -> Option<String> {
        let ended = self.ended.wait_for(Option::is_some);
        let ended = tokio::time::timeout(patience, ended).await.ok()?.ok()?;
        ended.clone()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts `program` in a process group of its own, with no environment but the given one.
pub(super) fn start(program: &Program, ledger: &Arc<Ledger>) -> Result<Running, BackendError> {
    let confined = program.confinement.as_deref().map(|it| it.start(&program.path)).transpose()?;
    let mut command = match &confined {
        // It makes a session of its own, and with it a group.
        Some(start) => {
            let mut command = Command::new(&start.program);
            command.args(&start.arguments).args(&program.args).env_clear();
            command.envs(Confinement::environment(&start.temporary));
            command
        }
        None => {
            let mut command = Command::new(&program.path);
            command.args(&program.args).env_clear().process_group(0);
            command
        }
    };
    command.envs(program.env.iter().map(|(name, value)| (name, value.expose_secret())));
    if let Some(directory) = &program.cwd {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| {
        let path = program.path.display();
        BackendError::Unavailable(format!("cannot start `{path}`: {error}"))
    })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take(), group);
    let (Some(input), Some(output), Some(errors), Some(group)) = pipes else {
        return Err(BackendError::Unavailable("the child has no pipes".to_owned()));
    };
    tokio::spawn(log(Arc::clone(ledger.name()), errors));
    let (stop, (note, ended)) = (CancellationToken::new(), watch::channel(None));
    let watcher =
        Watcher { child, group: Group(Some(group)), ledger: Arc::clone(ledger), note, confined };
    tokio::spawn(watcher.run(stop.clone()));
    Ok(Running { input, output, leash: Leash { stop, ended } })
}

/// Kills a process group when dropped, so that not even a runtime that shuts down leaves it behind.
struct Group(Option<Pid>);

impl Group {
    fn terminate(&self) {
        if let Some(group) = self.0 {
            // An error means that nobody is left in the group.
            let _ = killpg(group, Signal::SIGTERM);
        }
    }

    /// Once: later the number may belong to somebody else.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Watcher {
    child: Child,
    group: Group,
    ledger: Arc<Ledger>,
    note: watch::Sender<Option<String>>,
    /// Whose temporary files go when it has ended.
    confined: Option<Start>,
}

impl Watcher {
    async fn run(mut self, stop: CancellationToken) {
        let stopped = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            () = self.gone() => false,
        };
        if stopped {
            // Its input is being closed, which asks it to end.
            if tokio::time::timeout(GRACE, self.gone()).await.is_err() {
                self.group.terminate();
                let _ = tokio::time::timeout(GRACE, self.gone()).await;
            }
        }
        self.group.kill();
        self.gone().await;
        let how = match self.child.wait().await {
            Ok(status) => format!("it ended with {status}"),
            Err(_) => "it ended".to_owned(),
        };
        if let Some(confined) = self.confined.take() {
            drop(tokio::task::spawn_blocking(move || drop(confined)).await);
        }
        self.note.send_replace(Some(how.clone()));
        // The reader reports the loss when it has read all that was answered before the end.
        if !stopped {
            let _ = tokio::time::timeout(DRAIN, stop.cancelled()).await;
        }
        self.ledger.lose(BackendError::Died(how));
    }

    async fn gone(&mut self) {
        let _ = self.child.wait().await;
    }
}

/// Standard error is for people; it is never taken for a message.
async fn log(backend: Arc<str>, errors: ChildStderr) {
    let mut lines = Lines::patient(errors, MAX_STDERR_LINE);
    while let Ok(line) = lines.next().await {
        let line = match line {
            Line::Whole(line) | Line::TooLong(line) => line,
            Line::End => return,
        };
        let line = String::from_utf8_lossy(&line);
        tracing::debug!(%backend, stderr = ?line);
    }
}
