//! What idle clients cost: memory for each, and what they do to the calls of one that is not idle.
//!
//! `cargo bench --bench idle_clients` prints the table. The gateway has the limits it is shipped with; the
//! clients are of sixteen agents. `docs/benchmarks.md` says more.

#[path = "../end_to_end/settings.rs"]
mod settings;
#[path = "../end_to_end/upstream.rs"]
mod upstream;

mod active;
mod gateway;
mod idle;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use active::Active;
use gateway::Gateway;
use idle::{Idle, Kind};

/// How many idle clients there are.
const CLIENTS: usize = 10_000;
/// How many calls the active client makes without idle clients, before and after, and with them.
const CALLS: usize = 4_000;
/// How long everything is left alone before memory is read.
const SETTLE: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let clients = number(&arguments, "--clients")?.unwrap_or(CLIENTS);
    let calls = number(&arguments, "--calls")?.unwrap_or(CALLS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        // In a thread of its own, so that it does not wait for the clients.
        std::thread::spawn(move || serve_upstream(listener));
        println!("| idle clients | opened in | memory of each | p50 without | p50 with | p99 without | p99 with | p99 × |");
        println!("|---|---|---|---|---|---|---|---|");
        for kind in Kind::ALL {
            measure(kind, &url, (clients, calls)).await.with_context(|| kind.name())?;
        }
        Ok(())
    })
}

fn serve_upstream(listener: tokio::net::TcpListener) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = listener.into_std()?;
    runtime.block_on(async {
        Ok(upstream::serve(tokio::net::TcpListener::from_std(listener)?).await?)
    })
}

async fn measure(kind: Kind, upstream: &str, (clients, calls): (usize, usize)) -> Result<()> {
    let gateway = Gateway::start(upstream)?;
    let mut active = Active::open(&gateway).await?;
    active.calls(calls / 4).await?;
    let mut without = active.calls(calls).await?;
    let before = gateway.resident()?;
    let begun = now();
    let mut idle = Vec::with_capacity(clients);
    for n in 0..clients {
        let token = gateway.token(n).context("a token")?;
        idle.push(Idle::open(&gateway.address, token, kind).await?);
    }
    let opened = begun.elapsed();
    tokio::time::sleep(SETTLE).await;
    let after = gateway.resident()?;
    let mut with = active.calls(calls).await?;
    for client in &mut idle {
        client.is_open()?;
    }
    drop(idle);
    gateway.until_alone(active.connections()).await?;
    without.extend(active.calls(calls).await?);
    let [without, with] = [&mut without, &mut with].map(|times| {
        times.sort_unstable();
        (quantile(times, 50), quantile(times, 99))
    });
    println!(
        "| {clients} × {} | {:.1} s | {:.1} KiB | {} µs | {} µs | {} µs | {} µs | {:.2} |",
        kind.name(),
        opened.as_secs_f64(),
        after.saturating_sub(before) as f64 / clients as f64 / 1024.0,
        without.0.as_micros(),
        with.0.as_micros(),
        without.1.as_micros(),
        with.1.as_micros(),
        with.1.as_secs_f64() / without.1.as_secs_f64(),
    );
    gateway.stop_and_verify()
}

/// The value below which so many hundredths of the sorted `times` lie.
fn quantile(times: &[Duration], hundredths: usize) -> Duration {
    times.get(times.len().saturating_sub(1) * hundredths / 100).copied().unwrap_or_default()
}

/// The number after `name`, if it is given; whatever else `cargo bench` passes is not for us.
fn number(arguments: &[String], name: &str) -> Result<Option<usize>> {
    let after = arguments.iter().skip_while(|word| *word != name).nth(1);
    after.map(|count| count.parse().with_context(|| format!("`{name}` takes a number"))).transpose()
}

/// The clock that measures.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}
