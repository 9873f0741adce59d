//! A process of the gateway's own program that confines itself and then becomes a tool's program.
//!
//! Between the fork of a process with many threads and its next program, next to nothing may be done; so
//! the gateway starts itself anew, and this runs before anything else does.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::fs::Mode;
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getuid, set_parent_process_death_signal, setrlimit, setsid,
    umask,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities,
};

use super::kernel::Kernel;
use super::plan::{Plan, REFUSED, WORD};
use super::{apart, calls, files};

/// What nobody but the owner gets on new files.
const UMASK: Mode = Mode::RWXG.union(Mode::RWXO);

/// Becomes the program that the arguments name, if they are those of a confined one, and returns only
/// when it could not. `None` for any other start of the program.
#[must_use]
pub fn shim() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != WORD {
        return None;
    }
    let plan = arguments.next().and_then(|plan| plan.into_string().ok());
    let plan: Option<Plan> = plan.and_then(|plan| serde_json::from_str(&plan).ok());
    let Some(plan) = plan else {
        eprintln!("error: `{WORD}` is for the gateway itself");
        return Some(ExitCode::from(2));
    };
    let done = begin(&plan).and_then(|()| match apart::run(&plan, arguments) {
        Ok(code) => Ok(code),
        Err(arguments) => {
            confine(&plan)?;
            Err(become_program(&plan, arguments))
        }
    });
    Some(done.unwrap_or_else(|why| {
        eprintln!("{} {why}", plan.word);
        ExitCode::from(REFUSED)
    }))
}

/// Ties the process to the one that started it, and to nothing else.
fn begin(plan: &Plan) -> Result<(), String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    // Whoever started the gateway may have left it files; none of them is the program's.
    close_fds::set_fds_cloexec(3, &[]);
    // A session of its own: no terminal, and a group that the gateway can end as one.
    if plan.parent.is_some() {
        setsid().map_err(failed("session"))?;
    }
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("death of the gateway"))?;
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != plan.parent {
        return Err("the gateway is gone".to_owned());
    }
    Ok(())
}

fn become_program(plan: &Plan, arguments: impl Iterator<Item = OsString>) -> String {
    let mut command = Command::new(&plan.program);
    command.args(arguments);
    if let Err(why) = limit(plan) {
        return why;
    }
    let error = command.exec();
    format!("cannot start `{}`: {error}", plan.program.display())
}

fn confine(plan: &Plan) -> Result<(), String> {
    let kernel = Kernel::look();
    if let Some(why) = kernel.lacks() {
        return Err(why.to_owned());
    }
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    umask(UMASK);
    clear_ambient_capability_set().map_err(failed("capabilities"))?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(failed("capabilities"))?;
    files::confine(plan, kernel)?;
    calls::confine(plan)
}

/// Last, because a process with little memory may not come as far as this.
fn limit(plan: &Plan) -> Result<(), String> {
    let set = |resource, limit: u64| {
        // What the gateway itself may not exceed, nothing that it starts may.
        let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Some(limit.min(most));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })
            .map_err(|error| format!("limits: {error}"))
    };
    set(Resource::Core, 0)?;
    set(Resource::Nofile, plan.open_files)?;
    set(Resource::Fsize, plan.file_bytes)?;
    if let Some(seconds) = plan.cpu {
        // A second more for the hard limit, or the signal that says why would never come.
        let (soft, hard) = (Some(seconds), Some(seconds.saturating_add(1)));
        setrlimit(Resource::Cpu, Rlimit { current: soft, maximum: hard })
            .map_err(|error| format!("limits: {error}"))?;
    }
    // The kernel counts all processes of the user, and never root's.
    set(Resource::Nproc, plan.processes)?;
    match plan.memory_bytes {
        Some(bytes) => set(Resource::As, bytes),
        None => Ok(()),
    }
}

/// How many processes and threads the user has now; 0 for root, whose are not counted.
pub(super) fn running() -> u64 {
    let own = getuid();
    if own.is_root() {
        return 0;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == own.as_raw()))
        // A directory has a link for each directory in it, and two of its own.
        .filter_map(|entry| fs::metadata(entry.path().join("task")).ok())
        .map(|tasks| tasks.nlink().saturating_sub(2))
        .sum()
}
