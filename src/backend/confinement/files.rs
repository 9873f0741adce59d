//! Which files a confined program reaches: rules of Landlock, applied to this process and all it starts.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};

use super::kernel::Kernel;
use super::plan::Plan;

/// Programs and libraries, and what the loader, the resolver and the C library read. What is missing on
/// this machine is left out; nobody but root can put anything there.
pub(super) const SYSTEM: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"];
const READABLE: [&str; 39] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/perl",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/dev/random",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/mounts",
    // That of the program itself, not of what it starts.
    "/proc/self",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];
const WRITABLE: [&str; 3] = ["/dev/full", "/dev/null", "/dev/zero"];

type Rights = BitFlags<AccessFs>;

/// Applies the rules of `plan`.
///
/// # Errors
/// In words, when the kernel does not enforce all of them, or a path that the plan grants is not there.
pub(super) fn confine(plan: &Plan, kernel: Kernel) -> Result<(), String> {
    let abi = kernel.abi();
    let failed = |error: landlock::RulesetError| format!("Landlock: {error}");
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(abi)).map_err(failed)?;
    let ruleset = match Scope::from_all(abi) {
        scopes if scopes.is_empty() => ruleset,
        scopes => ruleset.scope(scopes).map_err(failed)?,
    };
    let mut rules = Rules { ruleset: ruleset.create().map_err(failed)?, abi };
    rules.system()?;
    rules.granted(&plan.read, reading())?;
    rules.granted(&plan.write, writing(abi))?;
    rules.granted(&plan.execute, reading() | AccessFs::Execute)?;
    rules.granted(std::slice::from_ref(&plan.temporary), writing(abi))?;
    // Its own file, wherever it is; `execute` may be needed for what it runs in turn.
    let program = open(&plan.program, ResolveFlags::empty())
        .map_err(|error| format!("`{}`: {error}", plan.program.display()))?;
    rules.add(program, reading() | AccessFs::Execute)?;
    let status = rules.ruleset.restrict_self().map_err(failed)?;
    if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
        return Ok(());
    }
    Err("Landlock does not enforce all that is asked".to_owned())
}

fn reading() -> Rights {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// Everything but running programs, making sockets and devices, and controlling devices.
fn writing(abi: ABI) -> Rights {
    let all = AccessFs::from_all(abi);
    let not = AccessFs::Execute
        | AccessFs::MakeSock
        | AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::IoctlDev;
    all & !not
}

struct Rules {
    ruleset: RulesetCreated,
    abi: ABI,
}

impl Rules {
    fn system(&mut self) -> Result<(), String> {
        let null = reading() | AccessFs::WriteFile | AccessFs::Truncate;
        for (paths, rights) in [
            (&SYSTEM[..], reading() | AccessFs::Execute),
            (&READABLE[..], reading()),
            (&WRITABLE[..], null),
        ] {
            for path in paths {
                if let Ok(place) = open(Path::new(path), ResolveFlags::empty()) {
                    self.add(place, rights)?;
                }
            }
        }
        Ok(())
    }

    /// These paths were made free of links when the gateway started. Whoever put a link in the way since
    /// then, an agent that may write there, moves no grant.
    fn granted(&mut self, paths: &[PathBuf], rights: Rights) -> Result<(), String> {
        for path in paths {
            let place = open(path, ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
                .map_err(|error| format!("`{}`, which is granted: {error}", path.display()))?;
            self.add(place, rights)?;
        }
        Ok(())
    }

    fn add(&mut self, place: OwnedFd, rights: Rights) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("Landlock: {error}");
        let kind = fstat(&place).map_err(|error| failed(&error))?.st_mode;
        let is_directory = rustix::fs::FileType::from_raw_mode(kind).is_dir();
        let rights = if is_directory { rights } else { rights & AccessFs::from_file(self.abi) };
        let rule = PathBeneath::new(place, rights);
        (&mut self.ruleset).add_rule(rule).map(drop).map_err(|error| failed(&error))
    }
}

fn open(path: &Path, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}
