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
use crate::now;

/// The targets' names.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const DEFAULT_PROXY: &str = "plain rmcp proxy";
pub(crate) const TUNED_PROXY: &str = "tuned rmcp proxy";
const READ: &str = "Countersign, read";
const WRITE: &str = "Countersign, write";

/// Where data directories stand: the build directory, on a real disk, as a gateway's would.
pub(crate) const DISK: &str = env!("CARGO_TARGET_TMPDIR");
const COUNTERSIGN: &str = env!("CARGO_BIN_EXE_countersign");
/// What the gateway sends to the upstream as its own credential, and looks for in every result.
const SECRET: &str = "bench-secret-4f1d8a6c2e";
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
        settle(directory.path(), &url)?;
        let mut serve = countersign(directory.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]).env("BENCH_SECRET", SECRET);
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
        let url = format!("{}/metrics", self.gateway.base);
        let text = self.http.get(url).send().await?.text().await?;
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

/// A gateway as a user has it: the shipped rules and manifests, and the upstream's tool as a read and as a
/// write. Only the numbers of the limits are raised, so that they count every call and refuse none.
fn settle(directory: &Path, upstream: &str) -> Result<()> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rate = regex::Regex::new(r"rate: \d+/\w+, burst: \d+")?;
    for folder in ["policies", "tool-manifests"] {
        std::fs::create_dir(directory.join(folder))?;
        for file in std::fs::read_dir(shipped.join(folder))? {
            let file = file?;
            let name = file.file_name();
            if !name.to_string_lossy().ends_with(".yaml") {
                continue;
            }
            let text = std::fs::read_to_string(file.path())?;
            let text = rate.replace_all(&text, "rate: 60000000/minute, burst: 1000000");
            std::fs::write(directory.join(folder).join(name), text.as_bytes())?;
        }
    }
    std::fs::write(directory.join("policies/bench.yaml"), POLICY)?;
    let manifest = MANIFEST.replace("UPSTREAM", upstream);
    std::fs::write(directory.join("tool-manifests/bench.yaml"), manifest)?;
    Ok(())
}

const POLICY: &str = r"
rules:
  - name: bench-writes
    match: { capability: bench, action_type: write }
    decision: ALLOW
  - name: bench-counts
    match: { capability: bench }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_count: 10 }
limits:
  - { name: calls-per-agent, match: { capability: bench }, per: agent, rate: 60000000/minute, burst: 1000000 }
";

const MANIFEST: &str = r#"
backend:
  name: bench
  mcp: { url: "UPSTREAM", headers: { X-Bench-Key: "${BENCH_SECRET}" } }
  concurrency: 64
  queue: 1024
  secrets: { BENCH_SECRET: { env: BENCH_SECRET } }
attributes: { capability: bench, action: echo, environment: development }
tools:
  - name: echo
    description: Say the text again.
    attributes: { action_type: read, risk: low }
    input_schema:
      type: object
      additionalProperties: false
      required: [text]
      properties:
        text: { type: string, minLength: 1, maxLength: 10000 }
        count: { type: integer, minimum: 0, maximum: 100 }
        tags: { type: array, maxItems: 10, items: { type: string, pattern: "^[a-z]{1,20}$" } }
        exact: { type: boolean }
  - name: echo_write
    from: echo
    description: Say the text again, as if that changed something.
    attributes: { action_type: write, risk: low }
    input_schema:
      type: object
      additionalProperties: false
      required: [text]
      properties:
        text: { type: string, minLength: 1, maxLength: 10000 }
        count: { type: integer, minimum: 0, maximum: 100 }
        tags: { type: array, maxItems: 10, items: { type: string, pattern: "^[a-z]{1,20}$" } }
        exact: { type: boolean }
"#;

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
