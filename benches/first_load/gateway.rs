//! A gateway with the shipped rules and tools, as a user has it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A child that is killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    directory: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) url: String,
    /// The link that it printed, which signs in once.
    pub(crate) link: String,
}

impl Gateway {
    pub(crate) fn start(directory: &Path, name: &'static str) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = countersign(directory);
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("COUNTERSIGN_POLICIES", shipped.join("policies"))
            .env("COUNTERSIGN_TOOL_MANIFESTS", shipped.join("tool-manifests"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let told = child.stderr.take().context("standard error")?;
        let directory = directory.to_owned();
        let mut gateway = Self { child, directory, name, url: String::new(), link: String::new() };
        let mut lines = BufReader::new(told).lines();
        while gateway.link.is_empty() {
            let line = lines.next().with_context(|| format!("{name}: it did not listen"))??;
            if let Some(url) = line.strip_prefix("listening on ") {
                url.clone_into(&mut gateway.url);
            } else if let Some(link) = line.strip_prefix("sign in: ") {
                link.clone_into(&mut gateway.link);
            }
        }
        // What it says later is of no interest, but a full pipe would stop it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(gateway)
    }

    pub(crate) fn stop_and_verify(mut self) -> Result<String> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let ended = self.child.wait()?;
        ensure!(ended.success(), "{}: {ended}", self.name);
        let verified = countersign(&self.directory).args(["audit", "verify"]).output()?;
        ensure!(verified.status.success(), "{}: {verified:?}", self.name);
        Ok(format!("{}: {}", self.name, String::from_utf8_lossy(&verified.stdout).trim()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn countersign(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(directory).env("COUNTERSIGN_DATA", directory.join("data"));
    command
}
