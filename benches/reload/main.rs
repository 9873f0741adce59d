//! What calls notice of 100 000 rules that are taken up anew meanwhile: `cargo bench --bench reload`.

#[path = "../end_to_end/settings.rs"]
mod settings;
#[path = "../end_to_end/upstream.rs"]
mod upstream;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use countersign::authentication::Agents;
use countersign::call::{self, Answer, Request};
use countersign::clock::{Clock, SystemClock};
use countersign::config::{Config, Edge, Holds};
use countersign::evidence::Loading;
use countersign::gateway::Gateway;
use countersign::ids::CallId;
use countersign::json::Object;
use countersign::principal::Principal;
use countersign::server;
use countersign::storage::sqlite::SqliteStore;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How many rules there are.
const RULES: usize = 100_000;
/// How many of them one file has.
const OF_ONE_FILE: usize = 5_000;
/// How often the files are taken up; before each time as many calls are made without.
const ROUNDS: usize = 6;
/// How long the gateway may take to learn what the upstream offers.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(compare())
}

async fn compare() -> Result<()> {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let gateway = start(&directory).await?;
    let principal = Agents::default().local(&"bench".parse()?, "bench").context("no principal")?;
    for tool in ["echo", "echo_write"] {
        let mut table = Table::new();
        table
            .load_preset(presets::ASCII_MARKDOWN)
            .set_header([tool, "calls", "p50 µs", "p99 µs", "most µs", "p50 ×", "p99 ×"]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let (mut without, mut with, mut reloads) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (times, took) =
                while_reloading(&gateway, &principal, tool, (round, &directory)).await?;
            let meanwhile = times.len();
            let quiet = calls(&gateway, &principal, tool, |made| made < meanwhile).await?;
            // The first round warms up.
            if round > 0 {
                with.extend(times);
                without.extend(quiet);
                reloads.push(took);
            }
        }
        without.sort_unstable();
        with.sort_unstable();
        let micros = |times: &[Duration], per_mille| quantile(times, per_mille).as_secs_f64() * 1e6;
        for (name, times) in [("without", &without), ("with reloads", &with)] {
            let ratio = |part| micros(times, part) / micros(&without, part);
            table.add_row([
                name.to_owned(),
                times.len().to_string(),
                format!("{:.0}", micros(times, 500)),
                format!("{:.0}", micros(times, 990)),
                format!("{:.0}", micros(times, 1_000)),
                format!("{:.2}", ratio(500)),
                format!("{:.2}", ratio(990)),
            ]);
        }
        let longest = reloads.iter().max().copied().unwrap_or_default();
        println!(
            "{table}\n{ROUNDS} reloads of {RULES} rules, the longest in {:.1} s\n",
            longest.as_secs_f64()
        );
    }
    Ok(())
}

/// Calls while all files are taken up once.
async fn while_reloading(
    gateway: &Arc<Gateway>,
    principal: &Principal,
    tool: &str,
    (round, directory): (usize, &TempDir),
) -> Result<(Vec<Duration>, Duration)> {
    // Another revision each time, or nothing would be swapped.
    let text = format!("# {tool} {round}\nrules: []\n");
    std::fs::write(directory.path().join("policies/round.yaml"), text)?;
    let done = Arc::new(AtomicBool::new(false));
    let (reloading, is_done) = (Arc::clone(gateway), Arc::clone(&done));
    let reloading = tokio::spawn(async move {
        let start = now();
        let reloaded = reloading.reload(Loading::Reload.into()).await;
        is_done.store(true, Ordering::SeqCst);
        reloaded.map(|reloaded| (reloaded.before.is_some(), now() - start))
    });
    let times = calls(gateway, principal, tool, |_| !done.load(Ordering::SeqCst)).await?;
    let (is_another, took) = reloading.await??;
    ensure!(is_another, "the files were the same");
    Ok((times, took))
}

/// Makes one call after the other as long as `go_on` says of their number so far, and says how long each took.
async fn calls(
    gateway: &Arc<Gateway>,
    principal: &Principal,
    tool: &str,
    go_on: impl Fn(usize) -> bool,
) -> Result<Vec<Duration>> {
    let arguments =
        json!({ "text": "the quick brown fox", "count": 3, "tags": ["a"], "exact": true });
    let arguments: Object = serde_json::from_value(arguments)?;
    let mut times = Vec::new();
    while go_on(times.len()) {
        let request = Request {
            call: CallId::new(),
            principal: principal.clone(),
            tool: tool.to_owned(),
            arguments: arguments.clone(),
            client: None,
            workflow: None,
            compensates: None,
            reason: None,
            hold: None,
            approval: None,
            cancel: CancellationToken::new(),
            contact: countersign::backend::Contact::default(),
        };
        let start = now();
        let answer = call::run(Arc::clone(gateway), request).await;
        times.push(now() - start);
        ensure!(matches!(answer, Answer::Result(_)), "answered {answer:?}");
    }
    Ok(times)
}

async fn start(directory: &TempDir) -> Result<Arc<Gateway>> {
    // The shipped manifests make their workspace where the gateway runs.
    std::env::set_current_dir(directory)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    tokio::spawn(upstream::serve(listener));
    settings::write(directory.path(), &url)?;
    fill(&directory.path().join("policies"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let data = directory.path().join("data");
    let store = SqliteStore::open(&data, Arc::clone(&clock))?;
    let config = Config {
        listens: false,
        file: None,
        listen: "127.0.0.1:0".to_owned(),
        data,
        policies: directory.path().join("policies"),
        tool_manifests: directory.path().join("tool-manifests"),
        watch: false,
        definitions: countersign::config::Definitions::default(),
        holds: Holds::default(),
        workflows: countersign::config::Workflows::default(),
        edge: Edge::default(),
        notifications: countersign::notify::Settings::default(),
        public_url: None,
        authentication: countersign::authentication::Settings::default(),
        path: "/usr/bin:/bin".to_owned(),
        user: "bench".to_owned(),
    };
    let gateway = Gateway::open(config, Arc::clone(&clock), Arc::new(store)).await?;
    let sockets = server::Sockets::bind(&gateway.config.data)?;
    tokio::spawn(server::run(Arc::clone(&gateway), sockets, None, CancellationToken::new()));
    let until = clock.monotonic() + PATIENCE;
    while gateway.revision().catalog.available("echo").is_none() {
        ensure!(clock.monotonic() < until, "the upstream was not learned");
        clock.sleep(Duration::from_millis(20)).await;
    }
    Ok(gateway)
}

/// Rules of very many other agents, beside those that decide, in files that are small enough to be read.
fn fill(policies: &Path) -> Result<()> {
    for file in 0..RULES / OF_ONE_FILE {
        let numbers = file * OF_ONE_FILE..(file + 1) * OF_ONE_FILE;
        let rule = |number: usize| {
            format!(
                "- {{ name: r{number}, match: {{ agent: agent-{number} }}, decision: ALLOW }}\n"
            )
        };
        let rules: String = numbers.map(rule).collect();
        std::fs::write(policies.join(format!("many-{file}.yaml")), format!("rules:\n{rules}"))?;
    }
    Ok(())
}

/// The value below which so many of a thousand of the sorted `times` lie.
fn quantile(times: &[Duration], per_mille: usize) -> Duration {
    let last = times.len().saturating_sub(1);
    times.get(last * per_mille / 1_000).copied().unwrap_or_default()
}

/// The clock that measures.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}
