//! Every process of one call: found by process group, parentage and mark, and ended to the last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::timeout;

use super::MARK;
use crate::backend::confinement::{Refusals, Start};
use crate::ids::CallId;

/// How often processes are looked for and killed before giving up.
const MAX_ROUNDS: u32 = 200;
/// How long to wait between two rounds for the killed to be gone.
const ROUND: Duration = Duration::from_millis(10);
/// How long a killed command may take to be reaped.
const REAP: Duration = Duration::from_secs(2);

/// The processes of a call. When it is dropped, none of them is left to run.
#[derive(Debug)]
pub(super) struct Tree {
    /// Empty once nothing is left to do.
    hunt: Option<Hunt>,
    /// What goes with the last of them: their temporary files.
    start: Option<Start>,
}

impl Tree {
    /// The tree of a command that was just started and not yet waited for.
    pub(super) fn of(child: &Child, call: CallId, start: Option<Start>) -> Self {
        let hunt = child.id().and_then(|id| i32::try_from(id).ok()).map(|root| Hunt {
            root,
            born: Process::read(root).map_or(0, |process| process.born),
            mark: format!("{MARK}={call}").into_bytes(),
            seen: BTreeMap::new(),
        });
        Self { hunt, start }
    }

    /// A search for its processes, to count them.
    pub(super) fn census(&self) -> Option<Hunt> {
        self.hunt.clone()
    }

    /// When all have ended: removes their temporary files, and gives back how they were started.
    pub(super) async fn tidy(&mut self) -> Option<Refusals> {
        let start = self.start.take()?;
        let (refusals, temporary) = start.into_parts();
        drop(tokio::task::spawn_blocking(move || drop(temporary)).await);
        Some(refusals)
    }

    /// SIGTERM to the process group, then, at the command's end or after `grace`, SIGKILL to all.
    pub(super) async fn stop(&mut self, child: &mut Child, grace: Duration) {
        // Looked at before the command ends: afterwards its children no longer name it as parent.
        if let Some(Ok(looked)) = self.hunting(Hunt::look).await {
            looked.signal_group(Signal::SIGTERM);
            self.hunt = Some(looked);
        }
        let _ended = timeout(grace, child.wait()).await;
        self.kill(child).await;
    }

    /// SIGKILL to all, until none is left.
    pub(super) async fn kill(&mut self, child: &mut Child) {
        self.kill_left().await;
        let _reaped = timeout(REAP, child.wait()).await;
    }

    /// As [`Tree::kill`], when the command itself has ended and been waited for.
    pub(super) async fn kill_left(&mut self) {
        if let Some(Ok(ended)) = self.hunting(Hunt::finish_off).await {
            self.hunt = None;
            if !ended {
                tracing::error!("processes of a command could not be ended");
            }
        }
    }

    /// Blocks on `/proc` aside. The hunt stays with the tree meanwhile: if this future is dropped,
    /// the tree's own drop still knows what to kill.
    async fn hunting<T: Send + 'static>(
        &self,
        work: impl FnOnce(Hunt) -> T + Send + 'static,
    ) -> Option<Result<T, tokio::task::JoinError>> {
        let hunt = self.hunt.clone()?;
        Some(tokio::task::spawn_blocking(move || work(hunt)).await)
    }
}

impl Drop for Tree {
    /// Has work to do when the future of a running command is dropped: all is killed now once, since
    /// the gateway itself may be on its way out, and to the last on a thread that nobody waits for.
    fn drop(&mut self) {
        let Some(mut hunt) = self.hunt.take() else { return };
        if hunt.round() == 0 {
            return;
        }
        let start = self.start.take();
        let last = std::thread::Builder::new().name("end-command".to_owned());
        let end = move || {
            hunt.finish_off();
            drop(start);
        };
        if let Err(error) = last.spawn(end) {
            tracing::error!(%error, "processes of a command may be left");
        }
    }
}

/// A search for the processes of a call. It blocks on `/proc`, for about a millisecond.
#[derive(Clone, Debug)]
pub(super) struct Hunt {
    /// The command's process, which leads the group.
    root: i32,
    /// When it started: no process of the call is older.
    born: u64,
    /// `NAME=value`, as it stands in the environment of every process of the call.
    mark: Vec<u8>,
    /// Processes known to belong to the call, with their start, since numbers are used again.
    seen: BTreeMap<i32, u64>,
}

impl Hunt {
    /// How many processes of the call there are.
    pub(super) fn count(mut self) -> usize {
        self.alive().len()
    }

    fn look(mut self) -> Self {
        self.alive();
        self
    }

    fn finish_off(mut self) -> bool {
        for _ in 0..MAX_ROUNDS {
            if self.round() == 0 {
                return true;
            }
            std::thread::sleep(ROUND);
        }
        false
    }

    /// Kills what is there; how many there were.
    fn round(&mut self) -> usize {
        let alive = self.alive();
        // At once, because processes that are killed one after the other can start others meanwhile.
        for group in alive.iter().map(|process| process.group).collect::<BTreeSet<_>>() {
            if self.is_theirs(group, &alive) {
                let _gone_already = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
        }
        for process in &alive {
            // Read again right before, so that a number used anew in between is left alone.
            if Process::read(process.id).is_some_and(|now| now.born == process.born) {
                let _gone_already = kill(Pid::from_raw(process.id), Signal::SIGKILL);
            }
        }
        alive.len()
    }

    /// Whether a group was made by a process of the call: then nobody else is in it.
    fn is_theirs(&self, group: i32, alive: &[Process]) -> bool {
        group > 1
            && (self.seen.contains_key(&group) || alive.iter().any(|process| process.id == group))
    }

    fn signal_group(&self, signal: Signal) {
        match killpg(Pid::from_raw(self.root), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(%error, "cannot signal the process group of a command"),
        }
    }

    /// The processes of the call that still run, each of them remembered.
    fn alive(&mut self) -> Vec<Process> {
        let others: Vec<_> = Process::all().filter(|process| process.born >= self.born).collect();
        // Somebody else's leader with our number can only be there when our group is gone.
        let group_is_ours = !others.iter().any(|p| p.id == self.root && p.born != self.born);
        let (mut members, others) = others.into_iter().partition::<Vec<_>, _>(|process| {
            (process.id == self.root && process.born == self.born)
                || (process.group == self.root && group_is_ours)
                || self.seen.get(&process.id) == Some(&process.born)
        });
        let others = descend(&mut members, others);
        let (marked, others) =
            others.into_iter().partition::<Vec<_>, _>(|process| process.carries(&self.mark));
        members.extend(marked);
        descend(&mut members, others);
        self.seen.extend(members.iter().map(|process| (process.id, process.born)));
        members.retain(|process| !process.ended);
        members
    }
}

/// How many ancestors of a process are looked at.
const MAX_ANCESTORS: usize = 128;

/// Whether `process` was started, however indirectly, by this gateway or by a tool of any gateway. A
/// process that has both cleared its environment and lost its parent looks like anybody's.
#[must_use]
pub fn is_ours(process: i32) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut next = Process::read(process).filter(|_| process != own);
    for _ in 0..MAX_ANCESTORS {
        let Some(process) = next else { return false };
        if process.parent == own || process.is_marked() {
            return true;
        }
        next = Process::read(process.parent);
    }
    // A chain this long is nobody's terminal.
    true
}

/// Moves from `others` to `members` all that descend from a member; what is left is returned.
fn descend(members: &mut Vec<Process>, mut others: Vec<Process>) -> Vec<Process> {
    let mut ids: BTreeSet<i32> = members.iter().map(|process| process.id).collect();
    loop {
        let (children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| ids.contains(&process.parent));
        others = rest;
        if children.is_empty() {
            return others;
        }
        ids.extend(children.iter().map(|process| process.id));
        members.extend(children);
    }
}

/// One line of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Debug)]
struct Process {
    id: i32,
    parent: i32,
    group: i32,
    /// In clock ticks since the machine started.
    born: u64,
    /// Dead, and only waits to be reaped.
    ended: bool,
}

impl Process {
    fn all() -> impl Iterator<Item = Self> {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::read)
    }

    fn read(id: i32) -> Option<Self> {
        let line = std::fs::read(format!("/proc/{id}/stat")).ok()?;
        // The name, the second field, may hold spaces and parentheses; the last `)` ends it.
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let born = fields.nth(16)?.parse().ok()?;
        Some(Self { id, parent, group, born, ended })
    }

    fn is_marked(&self) -> bool {
        let mark = format!("{MARK}=").into_bytes();
        std::fs::read(format!("/proc/{}/environ", self.id))
            .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one.starts_with(&mark)))
    }

    fn carries(&self, mark: &[u8]) -> bool {
        std::fs::read(format!("/proc/{}/environ", self.id))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == mark))
    }
}
