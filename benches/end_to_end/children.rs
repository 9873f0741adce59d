//! The processes: upstream, proxies and gateway, each a child that ends with this one.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::client::{Caller, Era};
use crate::{now, settings};

/// The targets' names.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const DEFAULT_PROXY: &str = "plain rmcp proxy";
pub(crate) const TUNED_PROXY: &str = "tuned rmcp proxy";
const READ: &str = "Countersign, read";
const WRITE: &str = "Countersign, write";

/// Where data directories stand: the build directory, on a real disk, as a gateway's would.
pub(crate) const DISK: &str = env!("CARGO_TARGET_TMPDIR");
const COUNTERSIGN: &str = env!("CARGO_BIN_EXE_countersign");
/// How long anything may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many ticks the kernel counts per second of processor time (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) tool: &'static str,
    pub(crate) token: Option<String>,
    pub(crate) pid: u32,
}

/// All of them.
pub(crate) struct Children {
    upstream: Kept,
    proxies: [Kept; 2],
    gateway: Kept,
    token: String,
    http: reqwest::Client,
    directory: TempDir,
}

/// A child that is killed when dropped, and where it listens.
struct Kept {
    child: Child,
    base: String,
}

impl Children {
    pub(crate) async fn start() -> Result<Self> {
        let own = std::env::current_exe()?;
        let upstream = Kept::start(Command::new(&own).arg("upstream"), false)?;
        let url = upstream.mcp();
        let proxy = |kind| Kept::start(Command::new(&own).args(["proxy", kind, &url]), false);
        let proxies = [proxy("default")?, proxy("tuned")?];
        let directory = TempDir::new_in(DISK)?;
        settings::write(directory.path(), &url)?;
        let mut serve = countersign(directory.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        let gateway = Kept::start(&mut serve, true)?;
        let added = countersign(directory.path()).args(["agents", "add", "bench"]).output()?;
        let token = told(&added)?.trim().to_owned();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let children = Self { upstream, proxies, gateway, token, http, directory };
        for target in children.targets() {
            ready(&target).await.with_context(|| target.name)?;
        }
        Ok(children)
    }

    pub(crate) fn targets(&self) -> [Target; 5] {
        let [default, tuned] = &self.proxies;
        let target = |name, kept: &Kept, tool, token| Target {
            name,
            url: kept.mcp(),
            tool,
            token,
            pid: kept.child.id(),
        };
        let token = || Some(self.token.clone());
        [
            target(DIRECT, &self.upstream, "echo", None),
            target(DEFAULT_PROXY, default, "echo", None),
            target(TUNED_PROXY, tuned, "echo", None),
            target(READ, &self.gateway, "echo", token()),
            target(WRITE, &self.gateway, "echo_write", token()),
        ]
    }

    /// How many calls the upstream has run so far.
    pub(crate) async fn upstream_calls(&self) -> Result<u64> {
        let url = format!("{}/calls", self.upstream.base);
        Ok(self.http.get(url).send().await?.text().await?.parse()?)
    }

    /// How many calls the gateway says it carried to the end.
    pub(crate) async fn governed_calls(&self) -> Result<u64> {
        let socket = self.directory.path().join("data/countersign.sock");
        let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build()?;
        let text = local.get("http://localhost/metrics").send().await?.text().await?;
        let counts = text
            .lines()
            .filter(|line| line.starts_with("countersign_tool_calls_total{"))
            .filter(|line| line.contains("outcome=\"success\""))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        Ok(counts.sum())
    }

    /// Stops the gateway and verifies its record, which must hold an intent and an outcome of every call.
    pub(crate) fn stop_and_verify(mut self, governed: u64) -> Result<String> {
        let pid = nix::unistd::Pid::from_raw(self.gateway.child.id().try_into()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        self.gateway.child.wait()?;
        let verified = countersign(self.directory.path()).args(["audit", "verify"]).output()?;
        let told = told(&verified)?.trim().to_owned();
        let entries: Option<u64> =
            told.split(|it: char| !it.is_ascii_digit()).find_map(|word| word.parse().ok());
        let entries = entries.with_context(|| told.clone())?;
        ensure!(entries >= 2 * governed, "{governed} calls, but {told}");
        Ok(format!("{told} (of {governed} calls)"))
    }
}

impl Kept {
    fn start(command: &mut Command, on_stderr: bool) -> Result<Self> {
        command.stdin(Stdio::piped());
        if on_stderr {
            command.stderr(Stdio::piped())
        } else {
            command.stdout(Stdio::piped())
        };
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let said: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(out), _) => Box::new(out),
            (None, Some(err)) => Box::new(err),
            (None, None) => bail!("a child without output"),
        };
        let mut kept = Self { child, base: String::new() };
        let mut lines = BufReader::new(said).lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(base) = line.strip_prefix("listening on ") {
                base.clone_into(&mut kept.base);
                break;
            }
            eprintln!("{line}");
        }
        ensure!(!kept.base.is_empty(), "{command:?} did not listen");
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
        Ok(kept)
    }

    fn mcp(&self) -> String {
        format!("{}/mcp", self.base)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn countersign(directory: &Path) -> Command {
    let mut command = Command::new(COUNTERSIGN);
    command.current_dir(directory).env("COUNTERSIGN_DATA", directory.join("data"));
    command
}

fn told(output: &Output) -> Result<String> {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {out}{err}", output.status);
    Ok(out.into_owned())
}

/// A target is ready when it has answered a call of each era.
async fn ready(target: &Target) -> Result<()> {
    let begun = now();
    for era in [Era::Modern, Era::Legacy] {
        loop {
            let called = async { Caller::open(target, era).await?.call().await };
            match called.await {
                Ok(_) => break,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
    Ok(())
}

/// The processor time that the process has used, all threads, in user and kernel.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it stands in parentheses and may hold anything.
    let after = stat.rsplit_once(')').context("no stat")?.1;
    let ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks: u32 = ticks.sum::<Result<u32, _>>()?;
    Ok(Duration::from_secs_f64(f64::from(ticks) / TICKS))
}

/// Says where a child listens.
pub(crate) fn announce(listener: &TcpListener) -> Result<()> {
    println!("listening on http://{}", listener.local_addr()?);
    Ok(())
}

/// Resolves when the parent is gone: then standard input ends.
pub(crate) fn parent_gone() -> impl Future<Output = ()> + Send + 'static {
    let (gone, wait) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        drop(gone);
    });
    async move { drop(wait.await) }
}
