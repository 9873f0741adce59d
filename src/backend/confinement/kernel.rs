//! What the running kernel can confine a program with.

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope,
};

/// Where the kernel lists what a filter of system calls may answer.
const SECCOMP: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// What the kernel can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    files: Files,
    calls: bool,
}

/// How well the kernel guards files (Landlock).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Files {
    /// Not at all, or not against truncation, which would let a program empty any file.
    No,
    /// Files (ABI 3, Linux 6.2).
    Named,
    /// Devices too (ABI 5, Linux 6.10).
    Devices,
    /// And signals to, and abstract sockets of, programs outside (ABI 6, Linux 6.12).
    Signals,
}

impl Kernel {
    /// Looks. It restricts nothing and takes some microseconds.
    #[must_use]
    pub fn look() -> Self {
        let files = [(Files::Signals, ABI::V6), (Files::Devices, ABI::V5), (Files::Named, ABI::V3)]
            .into_iter()
            .find(|(_, abi)| can(*abi))
            .map_or(Files::No, |(files, _)| files);
        let calls = std::fs::read_to_string(SECCOMP).is_ok_and(|text| text.contains("errno"));
        Self { files, calls }.tested()
    }

    /// The same, less what a test takes away.
    #[cfg(feature = "testing")]
    fn tested(self) -> Self {
        match crate::config::variable("COUNTERSIGN_TEST_KERNEL").as_deref() {
            Some("no-landlock") => Self { files: Files::No, ..self },
            Some("no-seccomp") => Self { calls: false, ..self },
            Some("old-landlock") => Self { files: self.files.min(Files::Named), ..self },
            Some(_) | None => self,
        }
    }

    #[cfg(not(feature = "testing"))]
    const fn tested(self) -> Self {
        self
    }

    /// Why no program can be confined here, if none can.
    #[must_use]
    pub fn lacks(&self) -> Option<&'static str> {
        match (self.files, self.calls) {
            (Files::No, _) => {
                Some("this kernel has no Landlock of Linux 6.2 or later, or it is not enabled")
            }
            (_, false) => Some("this kernel cannot filter system calls (seccomp)"),
            (Files::Named | Files::Devices | Files::Signals, true) => None,
        }
    }

    /// What confinement is made of here, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match (self.lacks(), self.guards_signals()) {
            (Some(why), _) => why.to_owned(),
            (None, true) => "files, network, signals and resources of tools can be confined".to_owned(),
            (None, false) => {
                "files, network and resources of tools can be confined; they may send no signals, because \
                 only Linux 6.12 can tell whose they are"
                    .to_owned()
            }
        }
    }

    /// Whether a program can be kept from signalling others without keeping it from signals altogether.
    pub(super) fn guards_signals(&self) -> bool {
        self.files >= Files::Signals
    }

    /// The interface of Landlock to ask for: all of it must be there.
    pub(super) fn abi(&self) -> ABI {
        match self.files {
            Files::No | Files::Named => ABI::V3,
            Files::Devices => ABI::V5,
            Files::Signals => ABI::V6,
        }
    }
}

fn can(abi: ABI) -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let Ok(ruleset) = ruleset.handle_access(AccessFs::from_all(abi)) else { return false };
    let scopes = Scope::from_all(abi);
    let ruleset = if scopes.is_empty() { Ok(ruleset) } else { ruleset.scope(scopes) };
    ruleset.and_then(Ruleset::create).is_ok()
}
