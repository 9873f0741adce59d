//! Confinement of programs: what one may reach is set by the kernel before the program starts, for it and
//! all that it starts in turn.

mod apart;
mod calls;
mod exposed;
mod files;
mod kept;
mod kernel;
mod places;
mod plan;
mod shim;
mod temporary;

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

pub use self::exposed::{Exposed, exposed};
pub use self::kept::Kept;
pub use self::kernel::Kernel;
pub use self::places::{Places, problem};
pub use self::shim::shim;
pub use self::temporary::{Temporary, clear, home};

use self::plan::{Plan, REFUSED, WORD};
use super::BackendError;
use super::command::Status;
use crate::catalog::sandbox::Grants;

/// The gateway's own program, also when its file was replaced meanwhile.
pub(super) const OWN: &str = "/proc/self/exe";

/// How one program is confined whenever it is started.
#[derive(Clone, Debug)]
pub struct Confinement {
    own: PathBuf,
    grants: Grants,
    places: Places,
    home: PathBuf,
}

/// One confined start.
#[derive(Debug)]
pub struct Start {
    /// What is started: the gateway's own program.
    pub program: PathBuf,
    /// The arguments before those of the tool's program.
    pub arguments: Vec<String>,
    /// Where the program has its temporary files.
    pub temporary: Temporary,
    word: String,
}

impl Confinement {
    /// Confines to `grants`, which name `places`, with temporary directories in `home`.
    #[must_use]
    pub fn new(grants: Grants, places: Places, home: PathBuf) -> Self {
        Self { own: OWN.into(), grants, places, home }
    }

    /// The same, with another file of the gateway's program: for programs that only use its library.
    #[must_use]
    pub fn with_program(self, own: PathBuf) -> Self {
        Self { own, ..self }
    }

    /// How many processes it may have.
    #[must_use]
    pub const fn processes(&self) -> u32 {
        self.grants.processes
    }

    /// The variables that point the program to its own temporary directory, which is its home too.
    #[must_use]
    pub fn environment(temporary: &Temporary) -> [(&'static str, &Path); 2] {
        [("HOME", temporary.path()), ("TMPDIR", temporary.path())]
    }

    /// What starts `program` confined.
    ///
    /// # Errors
    /// When there is no place for its temporary files. Nothing ran.
    pub fn start(&self, program: &Path) -> Result<Start, BackendError> {
        let refused = |error: &dyn std::fmt::Display| {
            let program = program.display();
            BackendError::Unavailable(format!("`{program}` cannot be confined: {error}"))
        };
        let mut word = [0; 16];
        let random = SystemRandom::new();
        random.fill(&mut word).map_err(|_| refused(&"no random bytes from the system"))?;
        let word = hex::encode(word);
        let temporary = Temporary::new(&self.home, &word).map_err(|error| {
            let home = self.home.display();
            refused(&format!("no directory for temporary files in {home}: {error}"))
        })?;
        let grants = &self.grants;
        let plan = Plan {
            word: word.clone(),
            parent: Some(nix::unistd::getpid().as_raw()),
            apart: nix::unistd::getuid().is_root(),
            program: program.to_owned(),
            read: self.places.read.clone(),
            write: self.places.write.clone(),
            execute: self.places.execute.clone(),
            temporary: temporary.path().to_owned(),
            network: grants.network,
            chmod: grants.chmod,
            memory_bytes: grants.memory_bytes,
            cpu: grants.cpu.map(|span| span.0.as_secs().max(1)),
            processes: shim::running().saturating_add(grants.processes.into()),
            open_files: grants.open_files,
            file_bytes: grants.file_bytes,
            no_signals: !Kernel::look().guards_signals(),
        };
        let plan = serde_json::to_string(&plan).map_err(|error| refused(&error))?;
        let arguments = vec![WORD.to_owned(), plan];
        Ok(Start { program: self.own.clone(), arguments, temporary, word })
    }
}

impl Start {
    /// What is left to know once the program has ended, and its temporary files.
    #[must_use]
    pub fn into_parts(self) -> (Refusals, Temporary) {
        (Refusals { word: self.word }, self.temporary)
    }
}

/// Tells a process that never became its program.
#[derive(Debug)]
pub struct Refusals {
    word: String,
}

impl Refusals {
    /// Why the program never ran, if a process that ended like this, with these last words on standard
    /// error, could not be confined.
    #[must_use]
    pub fn refusal(&self, status: Status, stderr: &[u8]) -> Option<String> {
        if status != Status::Code(REFUSED.into()) {
            return None;
        }
        let said = String::from_utf8_lossy(stderr);
        let said = said.lines().find_map(|line| line.strip_prefix(self.word.as_str()))?;
        Some(format!("it cannot be confined: {}", said.trim()))
    }
}
