//! The gateway that is measured: a process of its own, as a user has it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{now, settings};

/// How many agents there are; each has no more streams than one may have.
const AGENTS: usize = 16;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    directory: TempDir,
    tokens: Vec<String>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Gateway {
    pub(crate) fn start(upstream: &str) -> Result<Self> {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        settings::write(directory.path(), upstream)?;
        let mut command = countersign(&directory);
        command.args(["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stderr.take().context("its output")?;
        let mut gateway = Self { child, directory, tokens: Vec::new(), address: String::new() };
        let mut lines = BufReader::new(said).lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(address) = line.strip_prefix("listening on http://") {
                address.clone_into(&mut gateway.address);
                break;
            }
        }
        ensure!(!gateway.address.is_empty(), "the gateway did not listen");
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
        for n in 0..AGENTS {
            let name = format!("bench-{n}");
            let added = countersign(&gateway.directory).args(["agents", "add", &name]).output()?;
            gateway.tokens.push(told(&added)?.trim().to_owned());
        }
        Ok(gateway)
    }

    /// The token of one of the agents.
    pub(crate) fn token(&self, n: usize) -> Option<&str> {
        self.tokens.get(n % AGENTS).map(String::as_str)
    }

    /// How much memory the process has, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Waits until it has no more than so many connections.
    pub(crate) async fn until_alone(&self, connections: u64) -> Result<()> {
        let socket = self.directory.path().join("data/countersign.sock");
        let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build()?;
        let begun = now();
        while begun.elapsed() < PATIENCE {
            let text = local.get("http://localhost/metrics").send().await?.text().await?;
            let open = text
                .lines()
                .find_map(|line| line.strip_prefix("countersign_connections{listener=\"tcp\"} "));
            if open.context("the metric")?.parse::<u64>()? <= connections {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("connections are left")
    }

    /// Stops it in good order; its record must verify.
    pub(crate) fn stop_and_verify(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        self.child.wait()?;
        told(&countersign(&self.directory).args(["audit", "verify"]).output()?).map(drop)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn countersign(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .current_dir(directory.path())
        .env("COUNTERSIGN_DATA", directory.path().join("data"))
        .stdin(Stdio::null());
    command
}

fn told(output: &Output) -> Result<String> {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {out}{err}", output.status);
    Ok(out.into_owned())
}
